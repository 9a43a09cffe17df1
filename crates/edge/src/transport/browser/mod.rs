//! Scans that a phone's browser makes itself by opening the link of a code, without a key (contract section 9): `GET /c/{token}`,
//! GS1 Digital Links, and every other path that is the link of a code. A link resolves as the same text does in an event. The
//! scan is made durable, and the browser is redirected to the campaign's landing page.
//!
//! - [`cookie`]: the shopper who holds the phone
//! - [`link_hosts`]: the merchant of a link, by its host and path
//! - [`region`]: the region of a scan, by a proxy's header or the client's address
//! - `visitor`: visitors that open a link without meaning to scan

pub mod cookie;
pub mod link_hosts;
pub mod region;
pub(crate) mod visitor;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use bumpalo::Bump;
use domain::model::code::Kind;
use domain::model::event::Code;
use domain::model::rules::batches::ItemState;
use domain::model::rules::rulebook::Rulebook;
use serde_json::json;
use web::client_address::Client;
use web::merchants::Rulebooks;
use web::problem::{Problem, method_not_allowed, not_found};
use web::scan_id;
use wire::code::parse_link;
use wire::event::{CODE_BYTES_MAX, KeylessScan};

use self::cookie::Shopper;
use crate::ingest::body_reader::read_scan;
use crate::ingest::service::{IngestService, over_limit};
use crate::metrics::Shed;
use crate::transport::browser::visitor::{NotAScan, uncounted};

/// The route of tokens.
pub fn routes(service: &Arc<IngestService>) -> Router {
    visitor::prepare();
    Router::new().route("/c/{token}", get(link)).with_state(Arc::clone(service))
}

/// The handler of every other path: the link of a code may have any path.
pub fn links(service: &Arc<IngestService>) -> MethodRouter {
    any(link).with_state(Arc::clone(service))
}

/// Any path that is no other route: the link of a code, or nothing.
async fn link(State(service): State<Arc<IngestService>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let text = code_text(&head);
    let of_host = link_hosts::merchant(&service.link_hosts, host(&head), head.uri.path());
    let target = target(&service.served.rulebooks(), &text, of_host);
    let is_known = target.as_ref().is_some_and(|target| target.is_known);
    if !is_known && is_of_software(head.uri.path()) {
        return not_found(head.uri).await.into_response();
    }
    if !matches!(head.method, Method::GET | Method::HEAD) {
        let problem =
            if is_known { method_not_allowed(head.method, head.uri).await } else { not_found(head.uri).await };
        return problem.into_response();
    }
    service.visit(&text, target, &head).await
}

/// The link that was opened, as the text of a code. A query that does not change the code is left out: with it, a
/// link may be longer than the text of a code may be.
fn code_text(head: &Parts) -> String {
    let host = host(head);
    let whole = format!("https://{host}{}", head.uri.path_and_query().map_or("/", |path| path.as_str()));
    let bare = format!("https://{host}{}", head.uri.path());
    let arena = Bump::new();
    if parse_link(&whole, &arena) == parse_link(&bare, &arena) { bare } else { whole }
}

/// The host that a browser asks.
fn host(head: &Parts) -> &str {
    head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost")
}

/// Whether a path is one that software asks for by itself: the front page, the interface, and files (`/favicon.ico`,
/// `/.well-known/x`, `/index.php`). It is no scan of a code, unless the rules have the code.
fn is_of_software(path: &str) -> bool {
    let is_file = path.contains('.') && !path.starts_with("/c/");
    path.trim_matches('/').is_empty() || path.starts_with("/v1/") || path.starts_with("/r/") || is_file
}

/// The merchant of a code, and the page that its campaign redirects to.
struct Target {
    merchant: String,
    landing: Option<String>,
    /// Whether the merchant's rules define the code, and may say so: a code that is dark looks like an unknown one.
    is_known: bool,
}

impl IngestService {
    /// Answers a browser that opens a code's link; no answer may be cached.
    async fn visit(&self, text: &str, target: Option<Target>, head: &Parts) -> Response {
        let began = Instant::now();
        let mut response = match (target, uncounted(&head.method, &head.headers)) {
            (None, Some(_)) => unknown(),
            (None, None) => self.answer_without_merchant(head, began),
            (Some(target), Some(why)) => {
                self.metrics.uncounted(why);
                if target.is_known { pass(why, target.landing.as_deref()) } else { unknown() }
            }
            (Some(target), None) => self.scan(text, &target, head, began).await,
        };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.metrics.answered(response.status());
        response
    }

    async fn scan(&self, text: &str, target: &Target, head: &Parts, began: Instant) -> Response {
        let shopper = Shopper::of(&head.headers, &self.visitor_key);
        let id = scan_id::new();
        let result = self.take_scan(text, target, (&shopper, &id), head, began).await;
        match result {
            Ok(durable) => {
                let mut response = match &target.landing {
                    _ if !target.is_known => unknown(),
                    Some(landing) => redirect(&with_result(landing, &id)),
                    None => {
                        let body = json!({ "accepted": 1, "durable": durable, "r": id });
                        (StatusCode::ACCEPTED, axum::Json(body)).into_response()
                    }
                };
                give_cookie(&mut response, &shopper, head);
                response
            }
            Err(problem) => {
                let response = refusal(problem);
                // A path that names no code is not found, also where a scan of it could not be counted.
                let is_nothing = !target.is_known && text.len() <= CODE_BYTES_MAX;
                if is_nothing && response.status() == StatusCode::BAD_REQUEST { unknown() } else { response }
            }
        }
    }

    /// Answers a person whose code belongs to no merchant here, so that there is no scan to count. The answer is that to a code
    /// that is forged or dark, with a cookie and the same limit: it does not say which numbers of batches there are.
    fn answer_without_merchant(&self, head: &Parts, began: Instant) -> Response {
        if self.has_too_many_scans(head.extensions.get(), began) {
            return refusal(too_many_scans());
        }
        let mut response = unknown();
        give_cookie(&mut response, &Shopper::of(&head.headers, &self.visitor_key), head);
        response
    }

    fn has_too_many_scans(&self, client: Option<&Client>, began: Instant) -> bool {
        let limits = self.client_limits.as_ref().zip(client);
        limits.is_some_and(|(limits, client)| limits.has_too_many_scans(client.address, began))
    }

    /// Makes a scan durable; returns where.
    async fn take_scan(
        &self,
        text: &str,
        target: &Target,
        (shopper, id): (&Shopper, &str),
        head: &Parts,
        began: Instant,
    ) -> Result<&'static str, Problem> {
        let client = head.extensions.get::<Client>();
        if self.has_too_many_scans(client, began) {
            self.metrics.received.inc();
            self.metrics.shed(Shed::Client, 1);
            return Err(too_many_scans());
        }
        let grant = self.keyless_grant();
        let permit = self.memory_permit(0, None).ok_or_else(|| self.busy(began))?;
        let batcher = self.batcher();
        let context = self.context(&grant, batcher, began);
        let region = self.regions.find(&head.headers, client);
        let region = region.as_deref();
        let scan = KeylessScan { merchant: &target.merchant, shopper: shopper.id(), id, code: text, region };
        let read = read_scan(scan, context);
        if read.batch.events() == 0 {
            return Err(match read.answer.turned_away {
                0 => Problem::new(StatusCode::BAD_REQUEST, read.answer.first_error()),
                _ => over_limit(&read, began),
            });
        }
        self.make_durable(read, permit, &grant, batcher, began).await.map(|answer| answer.durable)
    }
}

/// The merchant of a code: the one that lists it, or whose batch a token names; of several, that of the link's host. Any other code is
/// that of the only merchant that is served, or that of the link's host.
fn target(rulebooks: &Rulebooks, text: &str, of_host: Option<&str>) -> Option<Target> {
    let arena = Bump::new();
    let code = Code { text, link: parse_link(text, &arena) };
    let lists = |book: &&Arc<Rulebook>| {
        let found = book.resolve(&code);
        found.listed.is_some() || found.place.is_some() || found.item.is_some() || found.kind == Kind::Forged
    };
    let mut own = rulebooks.values().filter(lists);
    let book = match (own.next(), own.next()) {
        (Some(only), None) => only,
        (None, _) if rulebooks.len() == 1 => rulebooks.values().next()?,
        (None, _) => rulebooks.get(of_host?)?,
        (Some(_), Some(_)) => rulebooks.get(of_host?).filter(lists)?,
    };
    let found = book.resolve(&code);
    let of_batch = || book.batches.terms[found.item?.batch as usize].campaign;
    let campaign = found.listed.map_or_else(of_batch, |index| book.codes[index as usize].campaign);
    let landing = campaign.and_then(|index| book.rules.campaigns[index as usize].landing.clone());
    let is_dark = found.item.is_some_and(|item| item.state == ItemState::Dark);
    let is_known = !is_dark && !matches!(found.kind, Kind::Unknown | Kind::Forged);
    Some(Target { merchant: book.rules.merchant.clone(), landing, is_known })
}

/// The answer to a person whose code belongs to no merchant here. It says nothing of the code: one that is forged or dark gets the
/// same answer.
fn unknown() -> Response {
    let what = "no merchant here has this code; compare the link with the printed one";
    Problem::new(StatusCode::NOT_FOUND, what).into_response()
}

/// Gives a browser the cookie of its shopper.
fn give_cookie(response: &mut Response, shopper: &Shopper, head: &Parts) {
    let is_secure = head.extensions.get::<Client>().is_some_and(|client| client.is_secure);
    response.headers_mut().insert(header::SET_COOKIE, shopper.set_cookie(is_secure));
}

/// The answer to a browser whose scan is refused.
fn refusal(problem: Problem) -> Response {
    let mut response = problem.into_response();
    // A browser that gets this header retries by itself.
    if let Some(after) = response.headers().get(header::RETRY_AFTER).cloned() {
        response.headers_mut().insert(header::REFRESH, after);
    }
    response
}

fn too_many_scans() -> Problem {
    Problem::enough("too many scans come from this address; open the link again", 1)
}

/// Redirects a visitor that is not counted to the landing page, without a result to ask for. A prefetch gets nothing at all: a
/// browser that kept the redirect would not come when its user does. What a page embeds gets nothing either.
fn pass(why: NotAScan, landing: Option<&str>) -> Response {
    match landing {
        Some(landing) if !matches!(why, NotAScan::Prefetch | NotAScan::Embedded) => redirect(landing),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

fn redirect(to: &str) -> Response {
    // Rules have absolute https URLs only, encoded where needed.
    let Ok(location) = HeaderValue::from_str(to) else { return StatusCode::NO_CONTENT.into_response() };
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
}

/// A landing with `r=` in its query.
fn with_result(landing: &str, id: &str) -> String {
    let (before, fragment) = landing.find('#').map_or((landing, ""), |at| landing.split_at(at));
    let and = match before.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{before}{and}r={id}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_goes_into_the_query() {
        for (landing, wanted) in [
            ("https://m.example/wheel", "https://m.example/wheel?r=7"),
            ("https://m.example", "https://m.example?r=7"),
            ("https://m.example/?a=b", "https://m.example/?a=b&r=7"),
            ("https://m.example/?", "https://m.example/?r=7"),
            ("https://m.example/?a=b&", "https://m.example/?a=b&r=7"),
            ("https://m.example/a&b", "https://m.example/a&b?r=7"),
            ("https://m.example/a&", "https://m.example/a&?r=7"),
            ("https://m.example/#top?x", "https://m.example/?r=7#top?x"),
        ] {
            assert_eq!(with_result(landing, "7"), wanted);
        }
    }
}
