//! `GET /v1/results/{id}`: what became of a scan, waiting a while if it is on its way (contract section 9).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::model::event::Action;
use domain::model::fact::ScanResult;
use domain::model::ids::{event_key, keyless_answer_key};
use ledger::answers::Answer;
use ledger::error::LedgerError;
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{error, warn};
use web::auth::{Grant, Keys, Scope};
use web::merchants::MerchantCatalog;
use web::problem::Problem;
use web::scan_id;

use crate::pending_results::PendingResults;

/// Maximum wait of a request for a result; a longer one is shortened to it.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Ids of events have no more bytes, and shoppers neither (a device that stands in has `device:` before it).
const ID_BYTES_MAX: usize = 64;
const SHOPPER_BYTES_MAX: usize = 71;
/// Maximum number of connections to the ledger; further questions wait for one.
const CONNECTIONS_MAX: usize = 8;
/// Maximum time that a question waits for a connection; then its request gets 503.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// What the console knows.
#[derive(Debug)]
pub struct Console {
    /// Answers that the ledger does not hold yet.
    pub(crate) pending: Arc<PendingResults>,
    /// Where the ledger is.
    pub(crate) ledger: LedgerUrl,
    /// The merchants that are served; a key may have fewer.
    pub(crate) served: Arc<MerchantCatalog>,
    /// The API keys; `None` where no key is needed.
    pub(crate) keys: Option<Arc<Keys>>,
    connections: Mutex<Vec<Ledger>>,
    free: Arc<Semaphore>,
}

/// The query of `GET /v1/results`.
#[derive(Debug, Deserialize)]
struct ResultQuery {
    shopper: Option<String>,
    merchant: Option<String>,
    /// Milliseconds.
    wait: Option<u64>,
}

/// The query of `GET /r`.
#[derive(Debug, Deserialize)]
struct KeylessQuery {
    /// Milliseconds.
    wait: Option<u64>,
}

impl Console {
    /// A console that answers from these.
    #[must_use]
    pub fn new(
        pending: Arc<PendingResults>,
        ledger: LedgerUrl,
        served: Arc<MerchantCatalog>,
        keys: Option<Arc<Keys>>,
    ) -> Self {
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { pending, ledger, served, keys, connections: Mutex::default(), free }
    }

    /// The routes of the console, its page aside.
    pub fn routes(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/v1/results/{id}", get(result))
            .route("/r/{r}", get(keyless_result))
            .with_state(Arc::clone(self))
    }

    /// What the client may read.
    ///
    /// # Errors
    /// 401 without a valid key, 403 without the scope `read`.
    pub(crate) fn grant(&self, headers: &HeaderMap) -> Result<Grant, Problem> {
        self.keys.as_ref().map_or_else(|| Ok(Grant::everything()), |keys| keys.grant(headers, Scope::Read))
    }

    /// Asks the ledger on a thread that may wait.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Problem> {
        let free = tokio::time::timeout(CONNECTION_TIMEOUT, Arc::clone(&self.free).acquire_owned()).await;
        let permit = free.map_err(|_| Problem::busy("too many questions wait for the ledger; ask again", 2))?;
        let own = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || {
            let kept = own.connections.lock().pop();
            let mut ledger = kept.map_or_else(|| Ledger::open(&own.ledger), Ok)?;
            let answer = question(&mut ledger)?;
            own.connections.lock().push(ledger);
            // The question ends here, even if its request has ended before.
            drop(permit);
            Ok::<T, LedgerError>(answer)
        });
        let failed = |error: &dyn std::fmt::Display| {
            error!(%error, "the ledger did not answer");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the ledger did not answer")
        };
        match asked.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_passing() => {
                warn!(%error, cause = error.cause(), "the ledger did not answer");
                Err(Problem::busy("the ledger does not answer now; ask again", 2))
            }
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }

    fn merchant(&self, given: Option<String>, grant: &Grant) -> Result<String, Problem> {
        let served = self.served.now();
        let mut own = served.keys().filter(|m| grant.may_for(m));
        match given {
            Some(name) if own.any(|m| *m == name) => Ok(name),
            Some(name) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                format!("merchant {name} is not among those that you may ask for"),
            )),
            None => match (own.next(), own.next()) {
                (Some(only), None) => Ok(only.clone()),
                _ => Err(Problem::new(
                    StatusCode::BAD_REQUEST,
                    "merchant= is missing; it may be left out only where there is one",
                )),
            },
        }
    }

    /// What is known of a scan now.
    async fn look(self: &Arc<Self>, scan: &Scan<'_>) -> Result<Option<Answer>, Problem> {
        let found = self.one(scan.answer).await?;
        match found {
            Some(Answer { result: ScanResult::Yours, code: Some(code), received, whose, .. }) => {
                let (merchant, shopper) = match &whose {
                    Some((merchant, shopper)) => (merchant.as_str(), shopper.as_str()),
                    None => scan.whose,
                };
                let again = self.entry(merchant, &code, shopper).await?;
                let pending = Answer {
                    received,
                    desk: 1,
                    result: ScanResult::Pending,
                    code: None,
                    campaign: None,
                    prize: None,
                    granted: None,
                    claim: None,
                    whose: None,
                };
                Ok(Some(Answer { code: Some(code), ..again.unwrap_or(pending) }))
            }
            other => Ok(other),
        }
    }

    /// The answer to one event: the newer of those in memory and in the ledger.
    async fn one(self: &Arc<Self>, event: u128) -> Result<Option<Answer>, Problem> {
        if let Some(answer) = self.pending.answer(event)
            && answer.result != ScanResult::Pending
        {
            return Ok(Some(answer));
        }
        let stored = self.ask(move |ledger| ledger.answer(event)).await?;
        // Read again: an answer may have come during the query.
        let held = self.pending.answer(event);
        Ok(stored.into_iter().chain(held).max_by_key(|a| (a.received, a.desk)))
    }

    /// The result of the shopper's entry by a one-item code.
    async fn entry(self: &Arc<Self>, merchant: &str, code: &str, shopper: &str) -> Result<Option<Answer>, Problem> {
        if let Some(event) = self.pending.entry(merchant, code, shopper)
            && let Some(answer) = self.one(event).await?.filter(Answer::is_of_entry)
        {
            return Ok(Some(answer));
        }
        let [m, c, s] = [merchant, code, shopper].map(ToOwned::to_owned);
        let Some((event, permanent)) = self.ask(move |ledger| ledger.entry(&m, &c, &s)).await? else { return Ok(None) };
        // Its own answer, while that is kept: the permanent tables do not say whether the draw is pending.
        Ok(Some(self.one(event).await?.filter(Answer::is_of_entry).unwrap_or(permanent)))
    }
}

async fn result(
    State(console): State<Arc<Console>>,
    id: Result<Path<String>, PathRejection>,
    asked: Result<Query<ResultQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let (id, asked) = match (id, asked) {
        (Ok(Path(id)), Ok(Query(asked))) => (id, asked),
        (Err(error), _) => return Problem::new(StatusCode::BAD_REQUEST, error.body_text()).into_response(),
        (_, Err(error)) => return Problem::new(StatusCode::BAD_REQUEST, error.body_text()).into_response(),
    };
    match answer_to(&console, &id, asked, &headers).await {
        Ok(found) => Json(found).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn answer_to(
    console: &Arc<Console>,
    id: &str,
    asked: ResultQuery,
    headers: &HeaderMap,
) -> Result<Value, Problem> {
    let grant = console.grant(headers)?;
    let shopper = asked.shopper.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "shopper= is missing"))?;
    for (name, text, most) in [("id", id, ID_BYTES_MAX), ("shopper=", &*shopper, SHOPPER_BYTES_MAX)] {
        if !(1..=most).contains(&text.len()) {
            let what = format!("{name} has {} bytes; events have 1 to {most}", text.len());
            return Err(Problem::new(StatusCode::BAD_REQUEST, what));
        }
    }
    let merchant = console.merchant(asked.merchant, &grant)?;
    let answer = event_key(&merchant, &shopper, Action::Scan.as_str(), id);
    console.wait_for(id, &Scan { answer, whose: (&merchant, &shopper) }, asked.wait).await
}

/// `GET /r/{r}`: a client that knows the random id of a keyless scan may read its result, and nothing else.
async fn keyless_result(
    State(console): State<Arc<Console>>,
    id: Result<Path<String>, PathRejection>,
    asked: Result<Query<KeylessQuery>, QueryRejection>,
) -> Response {
    let answer = match (&id, asked) {
        (Ok(Path(id)), Ok(Query(KeylessQuery { wait }))) if scan_id::is_one(id) => {
            let scan = Scan { answer: keyless_answer_key(id), whose: ("", "") };
            console.wait_for(id, &scan, wait).await
        }
        (_, Err(error)) => Err(Problem::new(StatusCode::BAD_REQUEST, error.body_text())),
        _ => Err(Problem::new(StatusCode::NOT_FOUND, "this is not the id of a scan; send r as it came")),
    };
    let mut response = answer.map_or_else(IntoResponse::into_response, |found| Json(found).into_response());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A scan that is asked for.
struct Scan<'a> {
    /// The key of its answer.
    answer: u128,
    /// Merchant and shopper, where the request names them.
    whose: (&'a str, &'a str),
}

impl Console {
    /// The answer to a scan as soon as it is known, or what is known after the wait, in milliseconds.
    async fn wait_for(self: &Arc<Self>, id: &str, scan: &Scan<'_>, wait_ms: Option<u64>) -> Result<Value, Problem> {
        let until = Instant::now() + Duration::from_millis(wait_ms.unwrap_or(0)).min(WAIT_MAX);
        let mut news = self.pending.watch();
        loop {
            news.mark_unchanged();
            // The ledger is asked once at the beginning and once at the end; between them only new facts wake this request.
            let found = self.look(scan).await?;
            let is_known = found.as_ref().is_some_and(|answer| answer.result != ScanResult::Pending);
            if is_known || Instant::now() >= until || self.pending.is_released() {
                let is_again = self.own_result(scan.answer).await? == Some(ScanResult::Yours);
                return Ok(json_of(id, found.as_ref(), is_again));
            }
            let mut is_answered = false;
            while !is_answered {
                match tokio::time::timeout_at(until, news.changed()).await {
                    Ok(Ok(())) => {
                        is_answered = self.pending.answer(scan.answer).is_some() || self.pending.is_released();
                    }
                    Ok(Err(_)) | Err(_) => break,
                }
            }
        }
    }

    /// The result of the event itself.
    async fn own_result(self: &Arc<Self>, event: u128) -> Result<Option<ScanResult>, Problem> {
        Ok(self.one(event).await?.map(|answer| answer.result))
    }
}

/// What is known of a scan, with its id.
fn json_of(id: &str, answer: Option<&Answer>, is_again: bool) -> Value {
    let mut told = answer.map_or_else(|| json!({ "state": "pending" }), |answer| answer.json(is_again));
    told["id"] = json!(id);
    told
}
