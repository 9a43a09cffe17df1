//! One kept-alive HTTP/1.1 connection, which is made anew when it breaks.

use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Answers are small; `/metrics` is the largest.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// `http://HOST:PORT`.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What is connected to.
    authority: String,
    host: HeaderValue,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?}: {what}; write http://HOST:PORT");
        let uri: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http is spoken here"));
        }
        if !matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/")) {
            return Err(wrong("has a path"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("holds a name or password"));
        }
        let port = authority.port_u16().unwrap_or(80);
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("has no host"))?;
        Ok(Self { authority: format!("{}:{port}", authority.host()), host })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// An API key as the header that carries it; never shown.
#[derive(Clone, Debug)]
pub(crate) struct Key(HeaderValue);

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = text.split_once('.').is_some_and(|(id, secret)| !id.is_empty() && !secret.is_empty());
        let header = HeaderValue::from_str(&format!("Bearer {text}")).ok().filter(|_| whole);
        let mut header = header.ok_or("a key is ID.SECRET, in printable characters")?;
        header.set_sensitive(true);
        Ok(Self(header))
    }
}

/// A request broke off: whether the server has taken it is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{place}: cannot connect: {error}")]
    Connect { place: Place, error: std::io::Error },
    #[error("{place}: the connection broke: {error}")]
    Http { place: Place, error: hyper::Error },
    #[error("{place}: the answer broke off: {error}")]
    Answer { place: Place, error: Box<dyn std::error::Error + Send + Sync> },
    #[error("{place}: no answer in {} s", after.as_secs())]
    Timeout { place: Place, after: Duration },
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// As much of the body as fits into a message.
    pub(crate) fn excerpt(&self) -> String {
        const CHARS_MAX: usize = 300;
        String::from_utf8_lossy(&self.body).chars().take(CHARS_MAX).collect()
    }
}

pub(crate) struct Connection {
    place: Place,
    key: Option<Key>,
    timeout: Duration,
    link: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub(crate) fn new(place: &Place, key: Option<&Key>, timeout: Duration) -> Self {
        Self { place: place.clone(), key: key.cloned(), timeout, link: None }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Broken> {
        let request = self.request(Method::GET, path, None, Bytes::new());
        self.call(request).await
    }

    pub(crate) async fn post(&mut self, path: &str, media: &'static str, body: Bytes) -> Result<Answer, Broken> {
        let request = self.request(Method::POST, path, Some(HeaderValue::from_static(media)), body);
        self.call(request).await
    }

    fn request(&self, method: Method, path: &str, media: Option<HeaderValue>, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("paths are made here, of URL characters");
        let headers = request.headers_mut();
        headers.insert(HOST, self.place.host.clone());
        if let Some(media) = media {
            headers.insert(CONTENT_TYPE, media);
        }
        if let Some(Key(header)) = &self.key {
            headers.insert(AUTHORIZATION, header.clone());
        }
        request
    }

    async fn call(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        let (place, after) = (self.place.clone(), self.timeout);
        let outcome = tokio::time::timeout(after, self.exchange(request)).await;
        let outcome = outcome.unwrap_or(Err(Broken::Timeout { place, after }));
        if outcome.is_err() {
            // An answer that comes late must not be taken for that of the next request.
            self.link = None;
        }
        outcome
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        let place = self.place.clone();
        let link = match self.link.as_mut() {
            Some(link) if !link.is_closed() => link,
            _ => self.link.insert(connect(&self.place).await?),
        };
        let broke = |error| Broken::Http { place: place.clone(), error };
        link.ready().await.map_err(broke)?;
        let response = link.send_request(request).await.map_err(broke)?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Broken::Answer { place, error })?.to_bytes();
        Ok(Answer { status, retry_after, body })
    }
}

async fn connect(place: &Place) -> Result<SendRequest<Full<Bytes>>, Broken> {
    let failed = |error| Broken::Connect { place: place.clone(), error };
    let stream = TcpStream::connect(&place.authority).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let (link, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| Broken::Http { place: place.clone(), error })?;
    // What breaks here shows at the request that is under way, or at the next one.
    tokio::spawn(connection);
    Ok(link)
}

/// In seconds; a date is not what this server sends.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let read = |text: &str| text.parse::<Place>().map(|place| place.authority);
        assert_eq!(read("http://127.0.0.1:8080"), Ok("127.0.0.1:8080".to_owned()));
        assert_eq!(read("http://[::1]:8080/"), Ok("[::1]:8080".to_owned()));
        assert_eq!(read("http://edge"), Ok("edge:80".to_owned()));
        for wrong in ["https://edge", "edge:80", "http://edge/v1", "http://a:b@edge", ""] {
            assert!(read(wrong).is_err_and(|error| error.contains("http://HOST:PORT")), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let key: Key = "k1.hush".parse().expect("a key");
        assert!(!format!("{key:?}").contains("hush"));
        assert!("k1".parse::<Key>().is_err());
    }
}
