//! The admin port: is it alive, can it do its work now, and everything that is measured.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// How a process stands. Asked on threads that may wait.
pub(crate) trait Stands: Send + Sync {
    /// Whether it gets on with its work; if not, why, and it should be started again.
    fn life(&self) -> Result<(), String>;

    /// Whether it would do now what it is for; if not, why.
    fn readiness(&self) -> Result<(), String>;

    /// Everything measured, in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// The routes of the admin port.
pub(crate) fn routes(standing: Arc<dyn Stands>) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(standing)
}

type Standing = State<Arc<dyn Stands>>;

async fn alive(State(standing): Standing) -> Response {
    told("alive", ask(move || standing.life()).await)
}

async fn ready(State(standing): Standing) -> Response {
    told("ready", ask(move || standing.readiness()).await)
}

async fn metrics(State(standing): Standing) -> Response {
    let text = ask(move || Ok(standing.metrics())).await;
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why).into_response(),
    }
}

async fn ask<T: Send + 'static>(question: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(question).await.unwrap_or_else(|e| Err(e.to_string()))
}

fn told(word: &str, answer: Result<(), String>) -> Response {
    match answer {
        Ok(()) => format!("{word}\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not {word}: {why}\n")).into_response(),
    }
}
