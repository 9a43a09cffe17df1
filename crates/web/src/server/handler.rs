//! What answers the requests of a port.

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use tower_service::Service as _;
use wire::compression::BODY_BYTES_MAX;

use crate::auth::Keys;
use crate::client_address::Client;
use crate::host;
use crate::networks::Trust;
use crate::problem::Problem;
use crate::public::open_to_pages;
use crate::quota::client_limits::ClientLimits;

/// Maximum number of bytes of a refused body that are read, and the time for it; beyond it the connection ends.
const DISCARD_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer: from a route, or from a handler that uses none.
pub type Answer = Response<Either<Full<Bytes>, Body>>;

/// Answers the requests of a port.
pub trait Handler: Debug + Send + Sync + 'static {
    /// Answers one request. `peer` is the other end of the connection, and `proxies` are the networks whose headers name the
    /// client behind it.
    fn answer(&self, request: Request<Incoming>, peer: Client, proxies: &Trust) -> impl Future<Output = Answer> + Send;
}

/// Routes that answer the requests of a port.
#[derive(Clone, Debug)]
pub struct Routes {
    /// The routes; each finds the [`Client`] among the extensions of a request.
    pub router: Router,
    /// Whether only requests for this machine, and from its own pages, are answered: the rule for ports without keys.
    pub local_only: bool,
    /// The keys in force. A request with a valid one does not count as its client's.
    pub keys: Option<Arc<Keys>>,
    /// What clients without a key may do; `None` where all clients are of this machine.
    pub client_limits: Option<Arc<ClientLimits>>,
}

impl Routes {
    /// Returns the request if its host is one that this port answers for.
    ///
    /// # Errors
    /// The refusal. It ends the connection, because a request of this kind may hide another one behind it.
    pub async fn admit(&self, request: Request<Incoming>) -> Result<Request<Incoming>, Answer> {
        let Err(problem) = host::check(&request, self.local_only) else { return Ok(request) };
        let (head, body) = request.into_parts();
        if !head.headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        let mut response = problem.response();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Err(response.map(|body| Either::Left(Full::new(body))))
    }

    /// Answers by a route, which finds the client among the request's extensions.
    pub async fn route(&self, mut request: Request<Incoming>, peer: Client, proxies: &Trust) -> Answer {
        let client = peer.behind(request.headers(), proxies);
        request.extensions_mut().insert(client);
        if self.has_too_many_requests(&request, client) {
            let mut response = too_many_requests().response();
            open_to_pages(response.headers_mut());
            return response.map(|body| Either::Left(Full::new(body)));
        }
        let response: Result<_, Infallible> = self.router.clone().call(request.map(Body::new)).await;
        let Ok(response) = response;
        response.map(Either::Right)
    }

    /// Counts a request without a valid key, and returns whether its client has sent too many. A preflight is no request of its
    /// own.
    fn has_too_many_requests(&self, request: &Request<Incoming>, client: Client) -> bool {
        let Some(limits) = &self.client_limits else { return false };
        let is_counted = request.method() != Method::OPTIONS
            && !self.keys.as_ref().is_some_and(|keys| keys.knows(request.headers()));
        is_counted && limits.has_too_many_requests(client.address, Instant::now())
    }
}

impl Handler for Routes {
    async fn answer(&self, request: Request<Incoming>, peer: Client, proxies: &Trust) -> Answer {
        match self.admit(request).await {
            Ok(request) => self.route(request, peer, proxies).await,
            Err(refusal) => refusal,
        }
    }
}

/// Refuses a request of a client that has sent too many without a valid key.
#[must_use]
pub fn too_many_requests() -> Problem {
    Problem::enough("too many requests without a key come from this address; send fewer", 1)
}

/// Reads the body of a refused request and drops it, within limits: a sender that is still writing does not read the answer.
pub async fn discard(body: Incoming) {
    let mut body = Limited::new(body, DISCARD_BYTES_MAX);
    let over = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, over).await;
}
