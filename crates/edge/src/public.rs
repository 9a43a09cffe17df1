//! What every public port has beside its own routes: the description of all of them, answers to what is not there, and leave for
//! pages of other origins to ask.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, Method, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, any, get};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::problem::{method_not_allowed, not_found};

/// OpenAPI 3.1, of the door and the console.
pub const OPENAPI: &str = include_str!("openapi.json");

/// How long a browser remembers that it may ask.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A port's own routes, with what all ports have; `others` is at every other path.
///
/// Any origin may ask: who is who says the key alone, never a cookie.
pub fn public(routes: Router, others: MethodRouter) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            header::RETRY_AFTER,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
        ])
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
