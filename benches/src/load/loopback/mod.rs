//! Whole runs over loopback against a stub of an edge that sheds, disconnects and loses events on purpose.

mod datagrams;
mod requests;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};

use super::args::LoadArgs;
use super::report::Report;

/// The faults of the stub; 0 is never.
#[derive(Clone, Copy, Default)]
struct Faults {
    /// Interval, in requests, at which it answers 503 and accepts nothing.
    shed_every: u64,
    /// Interval, in requests, at which it accepts all events and closes without an answer.
    break_every: u64,
    /// Scans that it accepts and does not count.
    lose: i64,
    refuse: bool,
    /// Delay of each answer.
    slow_ms: u64,
    /// The lag that `/metrics` always shows.
    lag: u64,
    /// Events that it counts as received and as nothing else.
    uncounted: usize,
    /// Interval, in datagrams, at which one is lost; the kernel's count shows it if `drop_is_counted`.
    drop_every: u64,
    drop_is_counted: bool,
}

/// An edge, its admin port and its ledger in one.
struct Stub {
    faults: Faults,
    file: PathBuf,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    requests: u64,
    /// (shopper, id)
    ids: HashSet<(String, String)>,
    counters: BTreeMap<String, i64>,
    /// Events, by transport.
    accepted: BTreeMap<&'static str, usize>,
    datagrams: u64,
    /// Datagrams that it reports as dropped by its kernel.
    dropped: u64,
    /// Requested results; the first request for each is answered as pending.
    asked: HashSet<String>,
}

impl Stub {
    /// Starts a stub. Returns it with the URL of its HTTP and admin port, and its UDP address.
    async fn start(faults: Faults, file: &Path) -> (Arc<Self>, String, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let stub = Arc::new(Self { faults, file: file.to_owned(), taken: Mutex::default() });
        let serving = Arc::clone(&stub);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket");
                let stub = Arc::clone(&serving);
                let service = service_fn(move |request| Arc::clone(&stub).answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let udp = socket.local_addr().expect("an address");
        tokio::spawn(datagrams::serve(Arc::clone(&stub), socket));
        (stub, url, udp)
    }

    /// Answers a request; an error closes the connection.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let path = request.uri().path().to_owned();
        if path == "/metrics" {
            return Ok(self.metrics());
        }
        if let Some(id) = path.strip_prefix("/v1/results/") {
            let state = if self.taken.lock().asked.insert(id.to_owned()) { "pending" } else { "counted" };
            return Ok(said(200, &json!({"id": id, "state": state})));
        }
        let media = request.headers()[CONTENT_TYPE].clone();
        let body = request.into_body().collect().await?.to_bytes();
        tokio::time::sleep(Duration::from_millis(self.faults.slow_ms)).await;
        let mut taken = self.taken.lock();
        taken.requests += 1;
        let is_turn = |every: u64| every > 0 && taken.requests.is_multiple_of(every);
        let (shed, breaks) = (is_turn(self.faults.shed_every), is_turn(self.faults.break_every));
        if shed {
            let mut response = said(503, &json!({"title": "busy"}));
            response.headers_mut().insert(RETRY_AFTER, 0.into());
            return Ok(response);
        }
        if self.faults.refuse {
            return Ok(said(
                400,
                &json!({"accepted": 0, "rejected": [{"index": 0, "error": "the code is not known"}]}),
            ));
        }
        let count = take(&mut taken, "http", &body);
        assert_eq!(media, if count > 1 && body[0] == b'{' { "application/x-ndjson" } else { "application/json" });
        if breaks {
            bail!("closed on purpose");
        }
        Ok(said(202, &json!({"accepted": count, "durable": "log", "rejected": []})))
    }

    /// Answers with the metrics, and first writes the ledger, so that it holds all accepted events when no lag is shown.
    fn metrics(&self) -> Response<Full<Bytes>> {
        let db = rusqlite::Connection::open(&self.file).expect("a ledger");
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS counters(merchant TEXT, scope TEXT, key TEXT, day INTEGER, metric TEXT, facts INTEGER,
             value INTEGER NOT NULL, PRIMARY KEY(merchant, scope, key, day, metric, facts)) WITHOUT ROWID, STRICT;",
        )
        .expect("a table");
        let taken = self.taken.lock();
        for (metric, value) in &taken.counters {
            let value = value - if metric == "scans" { self.faults.lose } else { 0 };
            db.execute("REPLACE INTO counters VALUES ('acme', 'merchant', '*', 1, ?1, 0, ?2)", (metric, value))
                .expect("a row");
        }
        let lag = self.faults.lag;
        let accepted = |transport| taken.accepted.get(transport).copied().unwrap_or(0);
        let (http, udp) = (accepted("http"), accepted("udp"));
        let Taken { datagrams, dropped, .. } = *taken;
        let received = http + udp + if http > 0 { self.faults.uncounted } else { 0 };
        let text = format!(
            "# a comment\nmashang_lag_frames{{stage=\"ledger\",partition=\"0\"}} {lag}\nmashang_events_received_total {received}\n\
             mashang_events_accepted_total{{transport=\"http\"}} {http}\nmashang_events_accepted_total{{transport=\"udp\"}} {udp}\n\
             mashang_udp_datagrams_total {datagrams}\nmashang_udp_kernel_drops_total {dropped}\n"
        );
        Response::new(Full::new(text.into()))
    }
}

/// Counts each event of a body under its action, or under `duplicates` if it was received before.
fn take(taken: &mut Taken, transport: &'static str, body: &[u8]) -> usize {
    let texts = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let lists = texts.map(|text| match text.expect("JSON") {
        Value::Array(events) => events,
        event => vec![event],
    });
    let mut count = 0;
    for event in lists.flatten() {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        let metric = if taken.ids.insert((text("shopper"), text("id"))) {
            text("action") + "s"
        } else {
            "duplicates".to_owned()
        };
        *taken.counters.entry(metric).or_default() += 1;
        count += 1;
    }
    *taken.accepted.entry(transport).or_default() += count;
    count
}

fn said(status: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.to_string().into())).expect("a response")
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

/// A run of one second without warm-up, against a stub with faults.
async fn run(faults: Faults, options: &str) -> (Result<Report>, Arc<Stub>) {
    run_at(None, faults, options).await
}

async fn run_at(url: Option<&str>, faults: Faults, options: &str) -> (Result<Report>, Arc<Stub>) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ledger.sqlite");
    let (stub, admin, udp) = Stub::start(faults, &file).await;
    let udp = udp.to_string();
    let url = url.unwrap_or(&admin);
    let ledger = file.display().to_string();
    let given = ["load", "--merchant", "acme", "--seconds", "1", "--seed", "7"];
    let given = given.into_iter().chain(["--url", url, "--admin", &admin, "--udp", &udp, "--ledger", &ledger]);
    let warmup = if options.contains("--warmup") { "" } else { "--warmup=0" };
    let cli =
        Cli::try_parse_from(given.chain(options.split_whitespace()).chain(warmup.split_whitespace())).expect("options");
    (super::load(&cli.load).await, stub)
}

fn counted(stub: &Stub) -> i64 {
    stub.taken.lock().counters.values().sum()
}
