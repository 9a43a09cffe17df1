//! What answers the requests of a port.

use std::convert::Infallible;
use std::fmt::Debug;

use axum::Router;
use axum::body::{Body, Bytes};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tower_service::Service as _;

use crate::client_address::Client;
use crate::networks::Trust;

/// An answer: from a route, or from a handler that uses none.
pub type Answer = Response<Either<Full<Bytes>, Body>>;

/// Answers the requests of a port.
pub trait Handler: Debug + Send + Sync + 'static {
    /// Answers one request. `peer` is the other end of the connection, and `proxies` are the networks whose headers name the
    /// client behind it.
    fn answer(&self, request: Request<Incoming>, peer: Client, proxies: &Trust) -> impl Future<Output = Answer> + Send;
}

/// Routes that answer every request of a port.
#[derive(Clone, Debug)]
pub struct Routes(pub Router);

impl Routes {
    /// Answers by a route, which finds the client among the request's extensions.
    pub async fn route(&self, mut request: Request<Incoming>, peer: Client, proxies: &Trust) -> Answer {
        let client = peer.behind(request.headers(), proxies);
        request.extensions_mut().insert(client);
        let response: Result<_, Infallible> = self.0.clone().call(request.map(Body::new)).await;
        let Ok(response) = response;
        response.map(Either::Right)
    }
}

impl Handler for Routes {
    async fn answer(&self, request: Request<Incoming>, peer: Client, proxies: &Trust) -> Answer {
        self.route(request, peer, proxies).await
    }
}
