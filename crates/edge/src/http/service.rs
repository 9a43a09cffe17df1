//! Which request goes where: events straight to the door, everything else by the routes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use tower_service::Service as _;

use crate::client::Client;
use crate::events::{Door, PATH};
use crate::network::Trust;
use crate::public::open_to_pages;

/// Who answers the requests of a port.
#[derive(Debug)]
pub struct Service {
    /// Gets `POST /v1/events`.
    pub door: Option<Arc<Door>>,
    /// Gets everything else.
    pub routes: Router,
}

impl Service {
    pub(super) async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: Client,
        proxies: &Trust,
    ) -> Result<Response<Either<Full<Bytes>, Body>>, Infallible> {
        if let Some(door) =
            self.door.as_ref().filter(|_| request.method() == Method::POST && request.uri().path() == PATH)
        {
            let mut response = door.answer(request).await;
            open_to_pages(response.headers_mut());
            return Ok(response.map(|body| Either::Left(Full::new(body))));
        }
        let client = peer.behind(request.headers(), proxies);
        request.extensions_mut().insert(client);
        let response = self.routes.clone().call(request.map(Body::new)).await?;
        Ok(response.map(Either::Right))
    }
}
