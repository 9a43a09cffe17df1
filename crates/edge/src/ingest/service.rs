//! `POST /v1/events`: parse, check, stamp, frame; 202 once every accepted event is durable (contract section 9).

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::routing::any;
use eventlog::api::AppendError;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use web::auth::{Grant, Keys, Scope};
use web::client_address::Client;
use web::merchants::MerchantCatalog;
use web::problem::{Problem, method_not_allowed};
use web::quota::client_limits::ClientLimits;
use web::quota::rate_table::RateTable;
use web::quota::{Level, RATELIMIT, RATELIMIT_POLICY};
use web::server::handler::{discard, too_many_requests};
use wire::compression::{BODY_BYTES_MAX, Encoding, UnpackError, Unpacking};
use wire::event::cloud::{Headers, is_json};

use crate::ingest::batcher::{Batcher, SubmitError, wait_for_turn};
use crate::ingest::body_reader::{Answer, Context, Read, Shape, read, unreadable};
use crate::ingest::limits::{Limits, Shedding};
use crate::ingest::memory::{MemoryBudget, MemoryPermit, Share, units};
use crate::ingest::senders::Senders;
use crate::metrics::{Metrics, Shed};
use crate::transport::browser::cookie::VisitorKey;
use crate::transport::browser::link_hosts::LinkHost;
use crate::transport::browser::region::Regions;

/// Where events are sent to.
pub const PATH: &str = "/v1/events";
/// Maximum number of events of one body that become durable together while there are several senders; further ones wait for the
/// next round, so that the events of others are not behind all of them.
const TOGETHER_MAX: u64 = 128;
/// Length of a body, in bytes, from which on it waits for the turn of its key while there are several senders; a packed one always
/// does.
const LARGE_BYTES: usize = 16 * 1024;
/// Maximum time from the start of a body to its end; a slower one is refused.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

thread_local! {
    /// The number of a thread that takes requests.
    static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The ingest service: what all requests share.
#[derive(Debug)]
pub struct IngestService {
    /// The shards; each thread belongs to one of them.
    pub(crate) batchers: Vec<Arc<Batcher>>,
    threads: AtomicUsize,
    /// The merchants that are served; a key may have fewer.
    pub(crate) served: Arc<MerchantCatalog>,
    /// The API keys; `None` where no key is needed.
    pub(crate) keys: Option<Arc<Keys>>,
    everything: Grant,
    /// The metrics of the edge.
    pub(crate) metrics: Metrics,
    /// The memory budget of requests in flight.
    pub(crate) memory: Arc<MemoryBudget>,
    /// Counts the events of each shopper.
    pub(crate) limiter: RateTable,
    senders: Senders,
    /// Names the shoppers of keyless scans.
    pub(crate) visitor_key: VisitorKey,
    /// What clients without a key may do.
    pub(crate) client_limits: Option<Arc<ClientLimits>>,
    /// The merchants of links whose codes several have.
    pub(crate) link_hosts: Vec<LinkHost>,
    /// Finds the regions of keyless scans.
    pub(crate) regions: Arc<Regions>,
    /// Refuses requests while the workers' memory is short.
    shedding: Arc<Shedding>,
}

impl IngestService {
    /// A service that submits events to these batchers, a shard each.
    #[must_use]
    pub fn new(
        batchers: Vec<Arc<Batcher>>,
        served: Arc<MerchantCatalog>,
        keys: Option<Arc<Keys>>,
        metrics: Metrics,
        limits: Limits,
        visitor_key: VisitorKey,
        regions: Arc<Regions>,
    ) -> Self {
        assert!(!batchers.is_empty(), "a service has at least one shard");
        let memory = MemoryBudget::new(limits.inflight_bytes_max, metrics.inflight_bytes.clone());
        let limiter = RateTable::new(limits.shopper_events_per_s);
        Self {
            batchers,
            threads: AtomicUsize::new(0),
            served,
            keys,
            everything: Grant::everything(),
            metrics,
            memory,
            limiter,
            senders: Senders::default(),
            visitor_key,
            client_limits: limits.client_limits,
            link_hosts: limits.link_hosts,
            shedding: limits.shedding,
            regions,
        }
    }

    /// Refuses every method of [`PATH`] but `POST`, which goes by no route.
    pub fn routes() -> Router {
        let refused =
            async |method: Method, uri: Uri| ([(header::ALLOW, "POST")], method_not_allowed(method, uri).await);
        Router::new().route(PATH, any(refused))
    }

    /// Takes the events of a `POST` to [`PATH`].
    pub(crate) async fn answer(&self, request: Request<Incoming>, client: Client) -> Response<Bytes> {
        let began = Instant::now();
        let mut response = self.ingest(request, began).await;
        let limits = self.client_limits.as_ref().filter(|_| response.status() == StatusCode::UNAUTHORIZED);
        if limits.is_some_and(|limits| limits.has_too_many_requests(client.address, began)) {
            response = too_many_requests().response();
        }
        self.metrics.answered(response.status());
        response
    }

    async fn ingest(&self, request: Request<Incoming>, began: Instant) -> Response<Bytes> {
        let (head, mut body) = request.into_parts();
        let mut quota = None;
        let answer = match self.admit(&head, began) {
            Ok(admitted) => {
                quota.clone_from(&admitted.grant.quota);
                self.ingest_body(&mut body, admitted, began).await
            }
            Err(problem) => Err(problem),
        };
        // A client that waits for `100 Continue` has not sent the body.
        if answer.is_err() && !head.headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        let mut response = answer.unwrap_or_else(Problem::response);
        if let Some(bucket) = quota {
            add_quota_headers(response.headers_mut(), bucket.level(Instant::now()));
        }
        response
    }

    /// Decides by the head alone whether the body is read.
    fn admit<'h>(&self, head: &'h Parts, began: Instant) -> Result<Admitted<'h>, Problem> {
        let headers = &head.headers;
        let grant = match &self.keys {
            Some(keys) => match beacons_key(head).filter(|_| media(headers).eq_ignore_ascii_case("text/plain")) {
                Some(key) => keys.grant_to(&key, Scope::Ingest)?,
                None => keys.grant(headers, Scope::Ingest)?,
            },
            None => self.everything.clone(),
        };
        if grant.has_no_merchant(&self.served) {
            let what = format!("key {} is of no merchant that is served here", grant.key);
            return Err(Problem::new(StatusCode::FORBIDDEN, what));
        }
        let (shape, encoding) = (shape(head)?, encoding(headers)?);
        let length = length(headers)?;
        match self.memory_permit(length.unwrap_or(0), grant.in_flight.clone()) {
            Some(permit) => Ok(Admitted { grant, shape, encoding, permit }),
            None => Err(self.busy(began)),
        }
    }

    /// A memory permit for a request that states its length, if there is enough memory. The stated length must fit now; memory is
    /// taken as bytes come, so that a stated length alone keeps no request out. None, too, where workers have none.
    pub(crate) fn memory_permit(&self, length: usize, share: Share) -> Option<MemoryPermit> {
        let mut permit = MemoryPermit::new(&self.memory, share);
        (!self.shedding.refuses() && permit.has_share(units(length)) && permit.hold(0)).then_some(permit)
    }

    /// The grant of a sender without a key.
    pub(crate) fn keyless_grant(&self) -> Grant {
        self.keys.as_ref().map_or_else(|| self.everything.clone(), |keys| keys.keyless())
    }

    /// The context in which a body of a sender is read.
    pub(crate) fn context<'d>(&'d self, grant: &'d Grant, batcher: &'d Batcher, now: Instant) -> Context<'d> {
        let together_max = if self.senders.are_several(&grant.key, now) { TOGETHER_MAX } else { u64::MAX };
        let Self { served, metrics, limiter, .. } = self;
        Context { served, metrics, limiter, grant, batcher, together_max }
    }

    /// The shard of the thread that calls.
    pub(crate) fn batcher(&self) -> &Arc<Batcher> {
        let number = match NUMBER.get() {
            Some(number) => number,
            None => {
                let number = self.threads.fetch_add(1, Ordering::Relaxed);
                NUMBER.set(Some(number));
                number
            }
        };
        &self.batchers[number % self.batchers.len()]
    }

    /// Refuses a request that was not read, or not to its end; it counts as one event.
    pub(crate) fn busy(&self, began: Instant) -> Problem {
        self.metrics.received.inc();
        self.metrics.shed(Shed::Busy, 1);
        Problem::busy(BUSY, retry_after_s(began))
    }

    async fn ingest_body(
        &self,
        body: &mut Incoming,
        admitted: Admitted<'_>,
        began: Instant,
    ) -> Result<Response<Bytes>, Problem> {
        let Admitted { grant, shape, encoding, mut permit } = admitted;
        if let Err(wait) = grant.check_quota(began) {
            self.metrics.received.inc();
            self.metrics.shed(Shed::Quota, 1);
            return Err(quota_exceeded(&format!("key {}", grant.key), wait, began));
        }
        let Some(body) = read_body(body, &mut permit).await? else { return Err(self.busy(began)) };
        let batcher = self.batcher();
        let context = self.context(&grant, batcher, began);
        let is_large = body.len() >= LARGE_BYTES || encoding != Encoding::Identity;
        let turn = grant.turn.as_ref().filter(|_| is_large && context.together_max < u64::MAX);
        let own_turn = wait_for_turn(turn.map(|turn| &**turn)).await;
        let read = match unpack(encoding, &body, &mut permit).await {
            Ok(body) => read(&body, shape, context).await.map_err(|e| too_large(e.to_string()))?,
            Err(broken @ UnpackError::Broken { .. }) => unreadable(broken.to_string(), context),
            Err(UnpackError::NoRoom) => return Err(self.busy(began)),
            Err(packed @ (UnpackError::TooLarge | UnpackError::TooDense)) => return Err(too_large(packed.to_string())),
        };
        drop(own_turn);
        // The body is not kept while the log is waited for.
        drop(body);
        // An answer may be larger than its request, and its client may not read it.
        let mut answer_permit = permit.another();
        if !answer_permit.hold_answer(read.answer.memory()) {
            self.metrics.shed(Shed::Busy, read.events());
            read.into_batches().for_each(|batch| batcher.discard(batch));
            return Err(Problem::busy(BUSY, retry_after_s(began)));
        }
        if read.batch.events() == 0 {
            if read.answer.turned_away > 0 {
                return Err(over_limit(&read, began));
            }
            return Ok(json(StatusCode::BAD_REQUEST, &read.answer, answer_permit).await);
        }
        let answer = self.make_durable(read, permit, &grant, batcher, began).await?;
        Ok(json(StatusCode::ACCEPTED, &answer, answer_permit).await)
    }

    /// Makes what was read durable; the answer may be sent after that. The memory of the request is held as long, even if its
    /// sender goes away.
    pub(crate) async fn make_durable(
        &self,
        read: Read,
        permit: MemoryPermit,
        grant: &Grant,
        batcher: &Arc<Batcher>,
        began: Instant,
    ) -> Result<Answer, Problem> {
        let events = read.events();
        if let Err((merchant, wait)) = grant.take_quotas(began, events, &read.of_merchants) {
            self.metrics.shed(Shed::Quota, events);
            read.into_batches().for_each(|batch| batcher.discard(batch));
            return Err(quota_exceeded(&format!("merchant {merchant}"), wait, began));
        }
        let Read { earlier, mut batch, answer, .. } = read;
        batch.hold(permit);
        let durable = if earlier.is_empty() {
            batcher.submit(batch).await
        } else {
            batcher.submit_in_turn(earlier.into_iter().chain([batch]).collect(), grant.turn.clone()).await
        };
        match durable {
            Ok(durable) => {
                self.metrics.ack_seconds.observe(began.elapsed().as_secs_f64());
                Ok(Answer { durable: durable.as_str(), ..answer })
            }
            Err(SubmitError::Refused(AppendError::Full)) => Err(Problem::busy("the log has no room; send it again", 5)),
            Err(SubmitError::Refused(AppendError::TooLarge)) => {
                Err(too_large("an event is larger than the log takes".to_owned()))
            }
            Err(SubmitError::Refused(refused @ (AppendError::Failed | AppendError::Closed))) => {
                Err(Problem::busy(format!("{refused}; send it again"), 2))
            }
            // The round counts its events when it ends.
            Err(SubmitError::Late) => {
                Err(Problem::busy("the log did not answer in time; send it again, nothing counts twice", 5))
            }
        }
    }
}

/// A request whose body is read.
struct Admitted<'h> {
    grant: Grant,
    shape: Shape<'h>,
    encoding: Encoding,
    permit: MemoryPermit,
}

/// The key of a beacon, which cannot send it in a header.
fn beacons_key(head: &Parts) -> Option<Cow<'_, str>> {
    if head.headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    let key = head.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("key="))?;
    percent_decode_str(key).decode_utf8().ok()
}

/// Whether a page sent it without asking first, as `navigator.sendBeacon` does with a text: its key is in the query, or the
/// browser says so (Fetch Metadata), which older browsers do not, nor any browser that uses an http address.
fn is_beacon(head: &Parts) -> bool {
    beacons_key(head).is_some() || head.headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "no-cors")
}

/// How a body is compressed.
fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let Some(given) = headers.get(header::CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
    let given = given.to_str().unwrap_or("that");
    Encoding::parse(given).ok_or_else(|| {
        let what = format!("Content-Encoding is {given}; send gzip, zstd or the body as it is");
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what)
    })
}

/// The media type of a body, without parameters; empty if there is none.
fn media(headers: &HeaderMap) -> &str {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    given.split(';').next().unwrap_or("").trim()
}

fn shape(head: &Parts) -> Result<Shape<'_>, Problem> {
    let headers = &head.headers;
    let media = media(headers);
    let is = |name: &str| media.eq_ignore_ascii_case(name);
    let value = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    if let Some(specversion) = value("ce-specversion").filter(|_| media.is_empty() || is_json(media)) {
        return Ok(Shape::CloudData(Headers {
            specversion: Some(specversion),
            id: value("ce-id"),
            source: value("ce-source"),
            kind: value("ce-type"),
            time: value("ce-time"),
        }));
    }
    match () {
        () if is("application/json") => Ok(Shape::Json),
        () if is("text/plain") && is_beacon(head) => Ok(Shape::Text),
        () if is("application/x-ndjson") => Ok(Shape::Ndjson),
        () if is("application/cloudevents+json") => Ok(Shape::Cloud),
        () if is("application/cloudevents-batch+json") => Ok(Shape::CloudBatch),
        () => {
            let what = if media.is_empty() { "is missing".to_owned() } else { format!("is {media}") };
            let mend = "send application/json, application/x-ndjson or a CloudEvent in JSON";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("Content-Type {what}; {mend}")))
        }
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

/// Reads a body as far as there is memory for it; `None` if there is not enough.
async fn read_body(body: &mut Incoming, permit: &mut MemoryPermit) -> Result<Option<Bytes>, Problem> {
    let (mut first, mut bytes) = (Bytes::new(), Vec::new());
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body ended early: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            let had = first.len() + bytes.len();
            if had + data.len() > BODY_BYTES_MAX {
                return Err(body_too_large());
            }
            if !permit.hold(had + data.len()) {
                return Ok(false);
            }
            if had == 0 {
                first = data;
            } else {
                bytes.extend_from_slice(&std::mem::take(&mut first));
                bytes.extend_from_slice(&data);
            }
        }
        Ok(true)
    };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(whole)) => Ok(whole.then(|| if bytes.is_empty() { first } else { Bytes::from(bytes) })),
        Ok(Err(problem)) => Err(problem),
        Err(_) => {
            let what = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, what))
        }
    }
}

/// Unpacks a body, in turns with other requests.
async fn unpack<'b>(
    encoding: Encoding,
    body: &'b [u8],
    permit: &mut MemoryPermit,
) -> Result<Cow<'b, [u8]>, UnpackError> {
    let Some(mut unpacking) = Unpacking::begin(encoding, body)? else { return Ok(Cow::Borrowed(body)) };
    while unpacking.piece(&mut |bytes| permit.hold(bytes))? {
        tokio::task::yield_now().await;
    }
    Ok(Cow::Owned(unpacking.into_bytes()))
}

/// Adds headers that say how much is left of the sender's quota (draft-ietf-httpapi-ratelimit-headers).
fn add_quota_headers(headers: &mut HeaderMap, Level { burst, left, full_in, window }: Level) {
    let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    for (name, value) in [
        (RATELIMIT_POLICY, format!("\"key\";q={burst};w={}", seconds(window))),
        (RATELIMIT, format!("\"key\";r={left};t={}", seconds(full_in))),
    ] {
        headers.insert(name, HeaderValue::try_from(value).expect("ASCII"));
    }
}

/// Refuses a sender whose quota is used up.
fn quota_exceeded(whose: &str, wait: Duration, began: Instant) -> Problem {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX - 4);
    Problem::enough(format!("the quota of {whose} is used up; send it again later"), seconds + retry_after_s(began))
}

/// Refuses a request of which no event was taken because of the shopper limit.
pub(crate) fn over_limit(read: &Read, began: Instant) -> Problem {
    Problem::enough(read.answer.first_error(), retry_after_s(began))
}

fn body_too_large() -> Problem {
    too_large(format!("the body has more than {BODY_BYTES_MAX} bytes; send several requests"))
}

fn too_large(what: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, what)
}

/// The answer where memory is short.
const BUSY: &str = "too many bytes are in flight; send it again";

/// 1 to 3 seconds, so that refused clients do not all return at once.
fn retry_after_s(began: Instant) -> u32 {
    1 + began.elapsed().subsec_nanos() % 3
}

/// The answer; its memory permit is given back once it is written.
async fn json(status: StatusCode, answer: &Answer, permit: MemoryPermit) -> Response<Bytes> {
    let body = answer.json().await;
    let mut response = Response::new(Bytes::from_owner(Held { body, _permit: permit }));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer with its memory permit, until it is written.
struct Held {
    body: Vec<u8>,
    _permit: MemoryPermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}
