//! `POST /v1/events`: parse, check, stamp, frame; 202 once every accepted event is durable (contract section 9).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt, Limited};
use log::local::Refused;
use tokio::sync::Semaphore;

use crate::intake::Intake;
use crate::keys::{Grant, Keys, Scope};
use crate::metrics::{Metrics, Shed};
use crate::problem::Problem;
use crate::reading::{Answer, Context, Read, Shape, read};
use crate::room::{Room, UNIT_BYTES, units};
use crate::served::Served;

/// A body may have so many bytes.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A body must have come within so long.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// An event waits at most so long to be durable before its sender is asked to come again.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Of a body that is refused so much is read all the same, and for so long.
const DISCARD_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// What the door knows.
#[derive(Debug)]
pub struct Door {
    /// The shards; a request is of one of them.
    pub(crate) intakes: Vec<Arc<Intake>>,
    requests: AtomicUsize,
    /// A key has fewer.
    pub(crate) served: Arc<Served>,
    pub keys: Option<Arc<Keys>>,
    pub metrics: Metrics,
    /// Memory of requests under way.
    pub(crate) room: Arc<Semaphore>,
}

impl Door {
    /// `inflight_bytes_max` bounds the memory of all requests under way.
    #[must_use]
    pub fn new(
        intakes: Vec<Arc<Intake>>,
        served: Arc<Served>,
        keys: Option<Arc<Keys>>,
        metrics: Metrics,
        inflight_bytes_max: usize,
    ) -> Self {
        assert!(!intakes.is_empty(), "a door has a shard at least");
        let room = Arc::new(Semaphore::new(inflight_bytes_max / UNIT_BYTES));
        Self { intakes, requests: AtomicUsize::new(0), served, keys, metrics, room }
    }

    /// The routes of the door.
    pub fn routes(self: &Arc<Self>) -> Router {
        Router::new().route("/v1/events", post(take)).with_state(Arc::clone(self))
    }
}

async fn take(State(door): State<Arc<Door>>, request: Request) -> Response {
    let began = Instant::now();
    let response = match door.take(request, began).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    door.metrics.requests.with_label_values(&[response.status().as_str()]).inc();
    response
}

impl Door {
    async fn take(&self, request: Request, began: Instant) -> Result<Response, Problem> {
        let (head, mut body) = request.into_parts();
        let taken = match self.admit(&head.headers, began) {
            Ok(admitted) => self.take_body(&mut body, admitted, began).await,
            Err(problem) => Err(problem),
        };
        // Whoever waits to be told to go on has not sent the body.
        if taken.is_err() && !head.headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        taken
    }

    /// Decides by the head alone whether the body is read.
    fn admit(&self, headers: &HeaderMap, began: Instant) -> Result<Admitted, Problem> {
        let grant = match &self.keys {
            Some(keys) => keys.grant(headers, Scope::Ingest)?,
            None => Grant::everything(),
        };
        if grant.is_for_nobody(self.served.now().keys()) {
            let what = format!("key {} is of no merchant that is served here", grant.key);
            return Err(Problem::new(StatusCode::FORBIDDEN, what));
        }
        let shape = shape(headers)?;
        let length = length(headers)?;
        let mut room = Room::new(Arc::clone(&self.room), self.metrics.inflight_bytes.clone());
        // What is promised must fit now; it is taken as it comes, so that a promise alone keeps nobody out.
        let fits = units(length.unwrap_or(0)) <= self.room.available_permits() && room.hold(0);
        if fits { Ok(Admitted { grant, shape, room }) } else { Err(self.busy(began)) }
    }

    /// The shard of the next request.
    fn intake(&self) -> &Arc<Intake> {
        &self.intakes[self.requests.fetch_add(1, Ordering::Relaxed) % self.intakes.len()]
    }

    /// Turns a request away that was not read, or not to its end; it counts as one event.
    fn busy(&self, began: Instant) -> Problem {
        self.metrics.received.inc();
        self.metrics.shed(Shed::Busy, 1);
        Problem::busy("too much is under way; send it again", retry_after_s(began))
    }

    async fn take_body(&self, body: &mut Body, admitted: Admitted, began: Instant) -> Result<Response, Problem> {
        let Admitted { grant, shape, mut room } = admitted;
        let Some(body) = read_body(body, &mut room).await? else { return Err(self.busy(began)) };
        let intake = self.intake();
        let context = Context { served: &self.served, metrics: &self.metrics, grant: &grant, intake };
        let Read { parcel, answer } = read(&body, shape, context).map_err(|e| too_large(e.to_string()))?;
        drop(body);
        if answer.accepted == 0 {
            return Ok(json(StatusCode::BAD_REQUEST, &answer, room));
        }
        let durable = tokio::time::timeout(DURABLE_TIMEOUT, intake.take(parcel)).await;
        match durable {
            Ok(Ok(())) => {
                self.metrics.ack_seconds.observe(began.elapsed().as_secs_f64());
                Ok(json(StatusCode::ACCEPTED, &answer, room))
            }
            Ok(Err(Refused::Full)) => Err(Problem::busy("the log has no room; send it again", 5)),
            Ok(Err(Refused::TooLarge)) => Err(too_large("an event is larger than the log takes".to_owned())),
            Ok(Err(refused @ (Refused::Failed | Refused::Closed))) => {
                Err(Problem::busy(format!("{refused}; send it again"), 2))
            }
            // It is counted as what it becomes.
            Err(_) => Err(Problem::busy("the log did not answer in time; send it again, nothing counts twice", 5)),
        }
    }
}

/// A request whose body is read.
struct Admitted {
    grant: Grant,
    shape: Shape,
    room: Room,
}

fn shape(headers: &HeaderMap) -> Result<Shape, Problem> {
    let unsupported = |what: String| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what);
    if let Some(encoding) =
        headers.get(header::CONTENT_ENCODING).filter(|e| !e.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let encoding = encoding.to_str().unwrap_or("that");
        return Err(unsupported(format!("Content-Encoding: this build does not take {encoding}; send it as it is")));
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media = given.split(';').next().unwrap_or("").trim();
    if media.eq_ignore_ascii_case("application/json") {
        Ok(Shape::Json)
    } else if media.eq_ignore_ascii_case("application/x-ndjson") {
        Ok(Shape::Ndjson)
    } else {
        let what = if media.is_empty() { "is missing".to_owned() } else { format!("is {media}") };
        Err(unsupported(format!("Content-Type {what}; send application/json or application/x-ndjson")))
    }
}

/// The length that a request states, if it states one.
fn length(headers: &HeaderMap) -> Result<Option<usize>, Problem> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = length.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    match length.filter(|&length| length <= BODY_BYTES_MAX) {
        Some(length) => Ok(Some(length)),
        None => Err(body_too_large()),
    }
}

/// Reads a body as far as there is room; `None` if there is no more.
async fn read_body(body: &mut Body, room: &mut Room) -> Result<Option<Vec<u8>>, Problem> {
    let mut bytes = Vec::new();
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body ended early: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > BODY_BYTES_MAX {
                return Err(body_too_large());
            }
            if !room.hold(bytes.len() + data.len()) {
                return Ok(false);
            }
            bytes.extend_from_slice(&data);
        }
        Ok(true)
    };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(whole)) => Ok(whole.then_some(bytes)),
        Ok(Err(problem)) => Err(problem),
        Err(_) => {
            let what = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, what))
        }
    }
}

/// Reads a body that is not wanted and forgets it, within bounds: whoever still sends does not read the answer.
async fn discard(body: Body) {
    let mut body = Limited::new(body, DISCARD_BYTES_MAX);
    let over = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, over).await;
}

fn body_too_large() -> Problem {
    too_large(format!("the body has more than {BODY_BYTES_MAX} bytes; send several requests"))
}

fn too_large(what: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, what)
}

/// 1 to 3 seconds, so that those who are turned away do not all come back at once.
fn retry_after_s(began: Instant) -> u32 {
    1 + began.elapsed().subsec_nanos() % 3
}

/// The answer; what memory it was given is given back once it is written.
fn json(status: StatusCode, answer: &Answer, mut room: Room) -> Response {
    let body = serde_json::to_vec(answer).expect("numbers and texts");
    // An answer may be larger than its request; it is not refused any more, but it counts.
    room.hold_at_least(body.len());
    let json = HeaderValue::from_static("application/json");
    let body = Bytes::from_owner(Held { body, _room: room });
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}

/// An answer with the memory that it takes, until it is written.
struct Held {
    body: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}
