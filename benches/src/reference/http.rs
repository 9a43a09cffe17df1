//! A bare server of hyper.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use bumpalo::Bump;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use wire::batch;
use wire::event::{Merchants, read};

/// Maximum number of connections that wait to be accepted; the kernel refuses further ones.
const BACKLOG: u32 = 1_024;

/// What the server does with a body.
#[derive(Clone)]
pub(super) enum Job {
    Hello { answer: Bytes },
    Parse { merchants: Arc<Merchants> },
}

impl Job {
    pub(super) fn hello(events: u64) -> Self {
        Self::Hello { answer: receipt(events, Vec::new()) }
    }

    pub(super) fn parse(merchant: String, currency: String) -> Self {
        Self::Parse { merchants: Arc::new(Merchants::new([(merchant, currency)])) }
    }

    fn answer(&self, media: &[u8], body: &[u8]) -> (StatusCode, Bytes) {
        match self {
            Self::Hello { answer } => (StatusCode::ACCEPTED, answer.clone()),
            Self::Parse { merchants } => {
                let (accepted, rejected) = parse(media, body, merchants);
                let status = if accepted > 0 { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST };
                (status, receipt(accepted, rejected))
            }
        }
    }
}

fn receipt(accepted: u64, rejected: Vec<(usize, String)>) -> Bytes {
    let row = |(index, error): (usize, String)| json!({"index": index, "error": error});
    let rejected: Vec<_> = rejected.into_iter().map(row).collect();
    json!({"accepted": accepted, "durable": "log", "rejected": rejected}).to_string().into()
}

/// The number of valid events in a body, and the errors of the others.
fn parse(media: &[u8], body: &[u8], merchants: &Merchants) -> (u64, Vec<(usize, String)>) {
    let mut arena = Bump::new();
    let (mut accepted, mut rejected) = (0, Vec::new());
    let mut event = |index: usize, object: &[u8]| {
        arena.reset();
        match read(object, merchants, &arena) {
            Ok(_) => accepted += 1,
            Err(wrong) => {
                rejected.push((index, wrong.errors.first().map_or(String::new(), |first| first.error.clone())));
            }
        }
    };
    if media.starts_with(b"application/x-ndjson") {
        // A line that is too long is read as an empty event, which is refused.
        batch::lines(body).enumerate().for_each(|(index, line)| event(index, line.object.unwrap_or_default()));
    } else {
        match batch::json(body) {
            Ok(objects) => objects.into_iter().enumerate().for_each(|(index, object)| event(index, object)),
            Err(broken) => rejected.push((0, broken.to_string())),
        }
    }
    (accepted, rejected)
}

pub(super) fn serve(address: SocketAddr, job: &Job) -> Result<()> {
    let first = socket(address)?;
    let address = first.local_addr()?;
    let others = (1..super::processors()).map(|_| socket(address));
    let sockets: Vec<TcpSocket> = std::iter::once(Ok(first)).chain(others).collect::<Result<_>>()?;
    let threads: Vec<_> = sockets
        .into_iter()
        .map(|socket| {
            let job = job.clone();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async { accept(socket.listen(BACKLOG)?, job).await })
            })
        })
        .collect();
    super::print(&format!("http://{address}"))?;
    threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
}

fn socket(address: SocketAddr) -> Result<TcpSocket> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        Ok::<_, std::io::Error>(socket)
    };
    open().with_context(|| format!("--http {address}: cannot be bound"))
}

async fn accept(listener: TcpListener, job: Job) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let job = job.clone();
        let service = service_fn(move |request| answer(request, job.clone()));
        // A client whose connection breaks connects again.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, job: Job) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let (status, body) = match body.collect().await {
        Ok(body) => job.answer(head.headers.get(CONTENT_TYPE).map_or(b"", |media| media.as_bytes()), &body.to_bytes()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string().into()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_by_the_edge() {
        let job = Job::parse("acme".to_owned(), "CNY".to_owned());
        let event = r#"{"id":"1","action":"visit","shopper":"u1","merchant":"acme"}"#;
        let answer = |media: &str, body: &str| {
            let (status, body) = job.answer(media.as_bytes(), body.as_bytes());
            (status.as_u16(), String::from_utf8(body.to_vec()).expect("text"))
        };
        for (media, body, accepted) in [
            ("application/json", event.to_owned(), 1),
            ("application/json", format!("[{event},{event}]"), 2),
            ("application/x-ndjson", format!("{event}\n{event}\n{event}\n"), 3),
        ] {
            let text = format!(r#"{{"accepted":{accepted},"durable":"log","rejected":[]}}"#);
            assert_eq!(answer(media, &body), (202, text));
        }
        let (status, text) = answer("application/x-ndjson", &format!("{event}\n{{}}"));
        assert!(status == 202 && text.contains(r#""accepted":1"#) && text.contains(r#""index":1"#), "{text}");
        assert_eq!(answer("application/json", "[").0, 400);
    }
}
