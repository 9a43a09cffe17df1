//! The phones and tills of the demo: a client that sends events over HTTP and asks for results.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::table::{Quantiles, Speed};

/// Maximum number of events in one request; further events go into the next one.
const BATCH: usize = 500;
/// Maximum number of attempts to send a batch, each with the same events and ids; then the batch is dropped.
const ATTEMPTS_MAX: u32 = 20;

/// Sends events and measures the latencies.
pub struct Client {
    address: String,
    connection: Option<SendRequest<Full<Bytes>>>,
    accepted: i64,
    acks: Histogram<u64>,
    results: Histogram<u64>,
}

impl Client {
    /// A client for the service at an address such as `127.0.0.1:8080`.
    pub fn new(address: String) -> Self {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that fit");
        Self { address, connection: None, accepted: 0, acks: histogram(), results: histogram() }
    }

    /// The number of events that the service accepted with 202.
    pub fn accepted(&self) -> i64 {
        self.accepted
    }

    /// The latencies, and the rate if `before` events were accepted one second ago.
    pub fn speed(&self, before: i64) -> Speed {
        let quantiles = |h: &Histogram<u64>| Quantiles {
            p50_us: h.value_at_quantile(0.5).cast_signed(),
            p99_us: h.value_at_quantile(0.99).cast_signed(),
        };
        Speed {
            events_per_second: self.accepted - before,
            ack: quantiles(&self.acks),
            result: quantiles(&self.results),
        }
    }

    /// Sends each line until it is accepted, then asks for the result of the last scan among them.
    pub async fn send(&mut self, lines: &[String]) {
        for batch in lines.chunks(BATCH) {
            let body = Bytes::from(batch.join("\n"));
            for _ in 0..ATTEMPTS_MAX {
                match self.post(body.clone()).await {
                    Ok(true) => break,
                    Ok(false) => tokio::time::sleep(Duration::from_millis(500)).await,
                    Err(_) => self.connection = None,
                }
            }
        }
        if let Some(scan) = lines.iter().rev().find(|line| line.contains("\"action\":\"scan\"")) {
            let sent = Instant::now();
            if matches!(self.result(scan).await, Ok(true)) {
                self.results.saturating_record(micros(sent));
            }
        }
    }

    /// Posts a batch and returns whether the service accepted it.
    async fn post(&mut self, body: Bytes) -> Result<bool> {
        let request = Request::post("/v1/events")
            .header(header::HOST, &self.address)
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .body(Full::new(body))?;
        let sent = Instant::now();
        let (status, answer) = self.request(request).await?;
        if status != StatusCode::ACCEPTED {
            return Ok(false);
        }
        self.acks.saturating_record(micros(sent));
        self.accepted += answer["accepted"].as_i64().unwrap_or(0);
        Ok(true)
    }

    /// Waits for a scan's result and returns whether there is one.
    async fn result(&mut self, scan: &str) -> Result<bool> {
        let scan: Value = serde_json::from_str(scan)?;
        let (id, shopper) = (scan["id"].as_str().context("an id")?, scan["shopper"].as_str().context("a shopper")?);
        let request = Request::get(format!("/v1/results/{id}?shopper={shopper}&wait=2000"))
            .header(header::HOST, &self.address)
            .body(Full::default())?;
        let (_, answer) = self.request(request).await?;
        Ok(answer["state"] != "pending" && answer["draw"]["result"] != "pending")
    }

    async fn request(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Value)> {
        let connection = match &mut self.connection {
            Some(connection) if !connection.is_closed() => connection,
            closed => {
                let stream = TcpStream::connect(&self.address).await?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                closed.insert(sender)
            }
        };
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
