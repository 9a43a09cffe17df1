//! A kept-alive HTTP/1.1 connection, which connects again after it breaks. Clones that are used at the same time have several
//! requests in flight on it (pipelining).
//!
//! It uses little processor time, because the server may run on the same machine: it has no task of its own, and writes each
//! request once.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::unconstrained;

use super::place::{Key, Place};

/// Maximum size of an answer's body, bytes; a larger one is an error. The largest is that of `/metrics`.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Maximum number of headers; more are an error.
const HEADERS_MAX: usize = 64;

/// A request had no answer; it is not known whether the server has received it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{place}: cannot connect: {error}")]
    Connect { place: String, error: io::Error },
    #[error("{place}: the connection broke: {error}")]
    Io { place: String, error: io::Error },
    #[error("{place}: the answer {what}")]
    Answer { place: String, what: &'static str },
    #[error("{place}: no answer in {:.1} s", after.as_secs_f64())]
    Timeout { place: String, after: Duration },
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn excerpt(&self) -> String {
        excerpt(&self.body)
    }
}

/// The beginning of a body, for a message.
pub(crate) fn excerpt(body: &[u8]) -> String {
    const CHARS_MAX: usize = 300;
    String::from_utf8_lossy(body).chars().take(CHARS_MAX).collect()
}

/// Clones share one connection.
#[derive(Clone)]
pub(crate) struct Connection {
    place: Arc<Place>,
    /// The header with the key, or empty.
    authorization: Arc<str>,
    timeout: Duration,
    link: Arc<Mutex<Option<Arc<Link>>>>,
}

struct Link {
    stream: TcpStream,
    writing: Mutex<()>,
    reading: Mutex<Vec<u8>>,
    broken: AtomicBool,
}

impl Connection {
    pub(crate) fn new(place: &Place, key: Option<&Key>, timeout: Duration) -> Self {
        let authorization =
            key.map_or(String::new(), |Key { id, secret }| format!("authorization: Bearer {id}.{secret}\r\n"));
        Self { place: Arc::new(place.clone()), authorization: authorization.into(), timeout, link: Arc::default() }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Broken> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{}\r\n", self.place.host, self.authorization);
        self.call(head.as_bytes()).await
    }

    /// Sends a POST. Each of the further headers has its end of line.
    pub(crate) async fn post(&self, path: &str, media: &str, headers: &str, body: &[u8]) -> Result<Answer, Broken> {
        let (host, authorization, bytes) = (&self.place.host, &self.authorization, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\n{authorization}content-type: {media}\r\n{headers}content-length: {bytes}\r\n\r\n"
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.call(&request).await
    }

    async fn call(&self, request: &[u8]) -> Result<Answer, Broken> {
        let place = || self.place.to_string();
        let mut used = None;
        let exchange = self.exchange(request, &mut used);
        let outcome = tokio::time::timeout(self.timeout, exchange).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Broken::Timeout { place: place(), after: self.timeout }));
        if let (Err(_), Some(link)) = (&outcome, used) {
            // A late answer must not be read as that of the next request.
            link.broken.store(true, Ordering::Relaxed);
        }
        outcome
    }

    async fn exchange(&self, request: &[u8], used: &mut Option<Arc<Link>>) -> Result<Answer, Broken> {
        let link = self.link().await?;
        let link = used.insert(link);
        let broke = |error| Broken::Io { place: self.place.to_string(), error };
        let writing = link.writing.lock().await;
        write_all(&link.stream, request).await.map_err(broke)?;
        // The place in the queue for answers is taken before another clone may write: the lock is fair, and `unconstrained`
        // makes sure that the first poll requests it.
        let mut turn = pin!(unconstrained(link.reading.lock()));
        let first = poll_fn(|context| Poll::Ready(turn.as_mut().poll(context))).await;
        drop(writing);
        let mut unread = match first {
            Poll::Ready(unread) => unread,
            Poll::Pending => turn.await,
        };
        if link.broken.load(Ordering::Relaxed) {
            return Err(broke(io::Error::other("an earlier request on the same connection had no answer")));
        }
        read_answer(link, &mut unread).await.map_err(|wrong| match wrong {
            Wrong::Io(error) => broke(error),
            Wrong::Answer(what) => Broken::Answer { place: self.place.to_string(), what },
        })
    }

    async fn link(&self) -> Result<Arc<Link>, Broken> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| link.is_open()) {
            return Ok(Arc::clone(link));
        }
        let failed = |error| Broken::Connect { place: self.place.to_string(), error };
        let stream = TcpStream::connect(&self.place.authority).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let fresh =
            Link { stream, writing: Mutex::default(), reading: Mutex::default(), broken: AtomicBool::new(false) };
        Ok(Arc::clone(link.insert(Arc::new(fresh))))
    }
}

impl Link {
    /// Whether a request may be sent. Servers close idle connections.
    fn is_open(&self) -> bool {
        let idle_and_ended = || {
            // No request waits for an answer, so only the end of the connection can be readable.
            let read = self.reading.try_lock().map(|_| self.stream.try_read(&mut [0]));
            read.is_ok_and(|read| !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock))
        };
        !self.broken.load(Ordering::Relaxed) && !idle_and_ended()
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

enum Wrong {
    Io(io::Error),
    Answer(&'static str),
}

/// Reads one answer, first from the bytes that were received already.
async fn read_answer(link: &Link, unread: &mut Vec<u8>) -> Result<Answer, Wrong> {
    loop {
        if let Some(head) = Head::parse(unread).map_err(Wrong::Answer)? {
            let end = head.bytes + head.body_bytes;
            if unread.len() >= end {
                let body = unread[head.bytes..end].to_vec();
                unread.drain(..end);
                if head.closes {
                    link.broken.store(true, Ordering::Relaxed);
                }
                return Ok(Answer { status: head.status, retry_after: head.retry_after, body });
            }
        }
        unread.reserve(4_096);
        link.stream.readable().await.map_err(Wrong::Io)?;
        match read_some(&link.stream, unread) {
            Ok(0) => return Err(Wrong::Io(ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(Wrong::Io(error)),
        }
    }
}

fn read_some(stream: &TcpStream, unread: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 16 * 1024];
    let bytes = stream.try_read(&mut chunk)?;
    unread.extend_from_slice(&chunk[..bytes]);
    Ok(bytes)
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    bytes: usize,
    body_bytes: usize,
    status: u16,
    /// In seconds; this server sends no date.
    retry_after: Option<Duration>,
    closes: bool,
}

impl Head {
    /// Parses a head; `None` if it is not complete yet.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes).map_err(|_| "is no HTTP/1.1")?;
        let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
        let value = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok().map(str::trim)
        };
        let body_bytes = value("content-length").and_then(|length| length.parse().ok());
        let body_bytes = body_bytes.ok_or("has no Content-Length, which this client needs")?;
        if body_bytes > ANSWER_BYTES_MAX {
            return Err("is larger than this client reads");
        }
        Ok(Some(Self {
            bytes: head_bytes,
            body_bytes,
            status: response.code.unwrap_or_default(),
            retry_after: value("retry-after").and_then(|after| after.parse().ok()).map(Duration::from_secs),
            closes: value("connection").is_some_and(|what| what.eq_ignore_ascii_case("close")),
        }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn heads_are_parsed() {
        let parse = |text: &str| Head::parse(text.as_bytes());
        let whole = "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nConnection: close\r\ncontent-length: 2\r\n\r\nab";
        let head = Head {
            bytes: whole.len() - 2,
            body_bytes: 2,
            status: 503,
            retry_after: Some(Duration::from_secs(3)),
            closes: true,
        };
        assert_eq!(parse(whole), Ok(Some(head)));
        assert_eq!(parse("HTTP/1.1 200 OK\r\n"), Ok(None));
        assert!(parse("SMTP\r\n\r\n").is_err());
        assert!(
            parse("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err_and(|e| e.contains("Content-Length"))
        );
        assert!(parse("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").is_err());
    }

    /// Waits for two requests, and answers each with its path.
    async fn two_at_once(listener: TcpListener) {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut got = Vec::new();
        while got.windows(4).filter(|end| end == b"\r\n\r\n").count() < 2 {
            stream.readable().await.expect("bytes");
            let _ = read_some(&stream, &mut got);
        }
        let text = String::from_utf8(got).expect("text");
        let paths = text.lines().filter_map(|line| line.strip_prefix("GET ")?.split(' ').next());
        let answers: String =
            paths.map(|path| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len())).collect();
        write_all(&stream, answers.as_bytes()).await.expect("it is sent");
    }

    #[tokio::test]
    async fn closed_connection_is_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let place = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a place");
        let connection = Connection::new(&place, None, Duration::from_secs(10));
        for _ in 0..2 {
            let serve = async {
                let (stream, _) = listener.accept().await.expect("a connection");
                write_all(&stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("it is sent");
                stream
            };
            let (answer, stream) = tokio::join!(connection.get("/"), serve);
            assert!(answer.expect("an answer").is_success());
            drop(stream);
            let link = connection.link.lock().await.clone().expect("a link");
            link.stream.readable().await.expect("the end of the connection");
        }
    }

    #[tokio::test]
    async fn pipelined_clones_get_their_own_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let place = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a place");
        let server = tokio::spawn(two_at_once(listener));
        let connection = Connection::new(&place, None, Duration::from_secs(10));
        let other = connection.clone();
        let (one, two) = tokio::join!(connection.get("/one"), other.get("/two"));
        assert_eq!(one.expect("an answer").body, b"/one");
        assert_eq!(two.expect("an answer").body, b"/two");
        server.await.expect("no panic");
    }
}
