//! What every public port has beside its own routes: the description of all of them, answers to what is not there, and leave for
//! pages of other origins to ask.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, any, get};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::problem::{method_not_allowed, not_found};
use crate::quota::{RATELIMIT, RATELIMIT_POLICY};

/// OpenAPI 3.1, of the door and the console.
pub const OPENAPI: &str = include_str!("openapi.json");

/// How long a browser remembers that it may ask.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// What pages of other origins may read of an answer's head.
const EXPOSED: [HeaderName; 3] = [header::RETRY_AFTER, RATELIMIT, RATELIMIT_POLICY];

/// A port's own routes, with what all ports have; `others` is at every other path.
///
/// Any origin may ask: who is who says the key alone, never a cookie.
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

/// For ports that have nothing at other paths.
pub fn nothing() -> MethodRouter {
    any(not_found)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// Says in an answer that goes by no route what the layer of [`public`] says in the others.
pub fn open_to_pages(headers: &mut HeaderMap) {
    const ALL: HeaderValue = HeaderValue::from_static("*");
    const VARY: HeaderValue =
        HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");
    const EXPOSE: HeaderValue = HeaderValue::from_static("retry-after,ratelimit,ratelimit-policy");
    headers.insert(header::VARY, VARY);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ALL);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE);
}
