//! What every public port has beside its own routes: the OpenAPI description of all of them, an answer to unknown paths, and CORS
//! headers, which let pages of other origins ask.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, any, get};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::problem::{method_not_allowed, not_found};
use crate::quota::{RATELIMIT, RATELIMIT_POLICY};

/// OpenAPI 3.1, of the edge and the console.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// Time for which a browser remembers that a page may ask; then it asks again.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Headers of an answer that pages of other origins may read.
const EXPOSED: [HeaderName; 3] = [header::RETRY_AFTER, RATELIMIT, RATELIMIT_POLICY];

/// A port's own routes, with what all ports have; `others` handles every other path.
///
/// Any origin may ask: only the key identifies a client, never a cookie.
pub fn public(routes: Router, others: MethodRouter) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(PREFLIGHT_KEPT);
    routes
        .route("/openapi.json", get(openapi))
        .fallback_service(others)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(cors)
}

/// The handler of other paths, for ports that have none.
pub fn nothing() -> MethodRouter {
    any(not_found)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// Adds to an answer that goes by no route the headers that the layer of [`public`] adds to the others.
pub fn open_to_pages(headers: &mut HeaderMap) {
    const ALL: HeaderValue = HeaderValue::from_static("*");
    const VARY: HeaderValue =
        HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");
    const EXPOSE: HeaderValue = HeaderValue::from_static("retry-after,ratelimit,ratelimit-policy");
    headers.insert(header::VARY, VARY);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ALL);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE);
}
