//! Which request goes where: events straight to the ingest service, everything else by the routes.

use std::sync::Arc;

use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::{Method, Request};
use web::client_address::Client;
use web::networks::Trust;
use web::public::open_to_pages;
use web::server::handler::{Answer, Handler, Routes};

use crate::ingest::service::{IngestService, PATH};

/// Answers the requests of the edge's port.
#[derive(Debug)]
pub struct EdgeHandler {
    /// Gets `POST /v1/events`.
    pub ingest: Arc<IngestService>,
    /// Gets everything else.
    pub routes: Routes,
}

impl Handler for EdgeHandler {
    async fn answer(&self, request: Request<Incoming>, peer: Client, proxies: &Trust) -> Answer {
        let request = match self.routes.admit(request).await {
            Ok(request) => request,
            Err(refusal) => {
                self.ingest.metrics.answered(refusal.status());
                return refusal;
            }
        };
        if request.method() == Method::POST && request.uri().path() == PATH {
            let client = peer.behind(request.headers(), proxies);
            let mut response = self.ingest.answer(request, client).await;
            open_to_pages(response.headers_mut());
            return response.map(|body| Either::Left(Full::new(body)));
        }
        self.routes.route(request, peer, proxies).await
    }
}
