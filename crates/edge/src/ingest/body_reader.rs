//! Turns a body into a batch of events, and a row for each error, whichever transport brought it.

use std::collections::BTreeMap;
use std::time::Instant;

use bumpalo::Bump;
use domain::model::ids::digest128;
use domain::model::time::Millis;
use eventlog::api::now_ms;
use serde::Serialize;
use web::auth::Grant;
use web::merchants::MerchantCatalog;
use web::quota::rate_table::RateTable;
use wire::batch::{self, Broken, ELEMENTS_MAX, Lines};
use wire::event::cloud::{self, Headers};
use wire::event::{self, Accepted, FieldError, KeylessScan, Merchants, Reason, Refused};

use crate::ingest::batcher::{Batcher, EventBatch};
use crate::ingest::clock::NoStamp;
use crate::metrics::{Metrics, Shed, Transport};

/// Number of events that are read in one turn, and of bytes at which it ends; other requests have theirs before the next.
const TURN_MAX: usize = 128;
const TURN_BYTES: usize = 16 * 1024;
/// Number of rows of an answer that are written in one turn.
const TURN_ROWS: usize = 128;
/// Number of rows of an answer from which on only the first error of each event has one.
const ROWS_MAX: usize = 50_000;

/// The answer to a body.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) accepted: u64,
    pub(crate) durable: &'static str,
    pub(crate) rejected: Vec<Row>,
    /// How many of the rows are events without an error.
    pub(crate) turned_away: u64,
}

impl Answer {
    /// The bytes that its rows take, and then their text.
    pub(crate) fn memory(&self) -> usize {
        let row =
            |row: &Row| size_of::<Row>() + row.id.as_ref().map_or(0, String::len) + row.field.len() + row.error.len();
        2 * self.rejected.iter().map(row).sum::<usize>()
    }

    /// Its JSON, written in turns with other requests.
    pub(crate) async fn json(&self) -> Vec<u8> {
        let Self { accepted, durable, rejected, .. } = self;
        let mut text = format!("{{\"accepted\":{accepted},\"durable\":\"{durable}\",\"rejected\":[").into_bytes();
        for (turn, rows) in rejected.chunks(TURN_ROWS).enumerate() {
            if turn > 0 {
                tokio::task::yield_now().await;
                text.push(b',');
            }
            let rows = serde_json::to_vec(rows).expect("numbers and texts");
            text.extend_from_slice(&rows[1..rows.len() - 1]);
        }
        text.extend_from_slice(b"]}");
        text
    }

    /// The first error, in a few words.
    pub(crate) fn first_error(&self) -> &str {
        self.rejected.first().map_or("", |row| &row.error)
    }
}

/// One error of one event.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    error: String,
}

/// How a body is cut into events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape<'h> {
    Json,
    Ndjson,
    /// A text that is JSON or NDJSON, and does not say which.
    Text,
    /// One CloudEvent, structured.
    Cloud,
    /// An array of them.
    CloudBatch,
    /// The data of one whose attributes are headers.
    CloudData(Headers<'h>),
}

/// The context in which a body is read.
#[derive(Clone, Copy)]
pub(crate) struct Context<'d> {
    pub(crate) served: &'d MerchantCatalog,
    pub(crate) metrics: &'d Metrics,
    pub(crate) limiter: &'d RateTable,
    pub(crate) grant: &'d Grant,
    pub(crate) batcher: &'d Batcher,
    /// Maximum number of events of a body that become durable together.
    pub(crate) together_max: u64,
}

/// A body with more events than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has more than {ELEMENTS_MAX} events; send several requests")]
pub(crate) struct TooMany;

/// The result of a body that was read alone.
pub(crate) struct Read {
    /// The events, in batches that become durable one after the other: all but the last one, and that.
    pub(crate) earlier: Vec<EventBatch>,
    pub(crate) batch: EventBatch,
    pub(crate) answer: Answer,
    /// How many of its events belong to each merchant that has a quota.
    pub(crate) of_merchants: BTreeMap<String, u64>,
}

impl Read {
    /// Number of events that it accepts.
    pub(crate) fn events(&self) -> u64 {
        self.earlier.iter().map(EventBatch::events).sum::<u64>() + self.batch.events()
    }

    /// All batches, the first one first.
    pub(crate) fn into_batches(self) -> impl Iterator<Item = EventBatch> {
        self.earlier.into_iter().chain([self.batch])
    }
}

/// Reads the events of a body that came over HTTP, in turns with other requests.
///
/// # Errors
/// It has more events than a body may have; none of them is taken.
pub(crate) async fn read(text: &[u8], shape: Shape<'_>, context: Context<'_>) -> Result<Read, TooMany> {
    let merchants = context.grant.merchants(context.served);
    let mut reading = Reading::new(context.metrics, context.limiter, context.batcher, Transport::Http);
    reading.together_max = context.together_max;
    let mut body = Body::of(Sender { grant: context.grant, merchants: &merchants });
    let mut events = reading.begin(text, shape, &mut body)?;
    while reading.turn(&mut events, &mut body) {
        tokio::task::yield_now().await;
    }
    reading.end(&mut body);
    Ok(reading.into_read(body))
}

/// Reads a scan that a browser made, as if it were a body with one event.
pub(crate) fn read_scan(scan: KeylessScan<'_>, context: Context<'_>) -> Read {
    let merchants = context.grant.merchants(context.served);
    let mut reading = Reading::new(context.metrics, context.limiter, context.batcher, Transport::Http);
    let mut body = Body::of(Sender { grant: context.grant, merchants: &merchants });
    reading.event(
        &[],
        |_, merchants, arena| {
            let [merchant, shopper, id, code] =
                [scan.merchant, scan.shopper, scan.id, scan.code].map(|text| &*arena.alloc_str(text));
            let region = scan.region.map(|region| &*arena.alloc_str(region));
            event::keyless_scan(KeylessScan { merchant, shopper, id, code, region }, merchants, arena)
        },
        &mut body,
    );
    reading.count(&body);
    reading.into_read(body)
}

/// Reports a body that could not even be decompressed as one event.
pub(crate) fn unreadable(error: String, context: Context<'_>) -> Read {
    let merchants = Merchants::default();
    let reading = Reading::new(context.metrics, context.limiter, context.batcher, Transport::Http);
    let mut body = Body::of(Sender { grant: context.grant, merchants: &merchants });
    reading.refuse(&whole(error, Reason::Encoding), &mut body);
    reading.count(&body);
    reading.into_read(body)
}

/// The sender of a body.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'s> {
    pub(crate) grant: &'s Grant,
    /// The merchants of the grant.
    pub(crate) merchants: &'s Merchants,
}

/// One body, as far as it is read.
pub(crate) struct Body<'s> {
    sender: Sender<'s>,
    /// Tells the shoppers of this key from those of others: what one key sends takes nothing from another's.
    key_hash: u128,
    index: usize,
    unknown_fields: u64,
    /// Valid once the batch is durable.
    pub(crate) answer: Answer,
    /// How many of its events belong to each merchant that has a quota.
    pub(crate) of_merchants: BTreeMap<String, u64>,
}

impl<'s> Body<'s> {
    fn of(sender: Sender<'s>) -> Self {
        let of_merchants = sender.grant.merchant_quotas.keys().map(|merchant| (merchant.clone(), 0)).collect();
        let key = &*sender.grant.key;
        Self {
            key_hash: if key.is_empty() { 0 } else { digest128(&[key]) },
            sender,
            index: 0,
            unknown_fields: 0,
            answer: Answer { durable: "log", ..Answer::default() },
            of_merchants,
        }
    }
}

/// Reads bodies, also of several senders, into one batch.
pub(crate) struct Reading<'d> {
    metrics: &'d Metrics,
    limiter: &'d RateTable,
    tick: u64,
    /// The time of the machine's clock, read once a turn.
    now: Millis,
    batcher: &'d Batcher,
    transport: Transport,
    arena: Bump,
    together_max: u64,
    earlier: Vec<EventBatch>,
    batch: EventBatch,
}

/// The events of a body that are not read yet.
enum Events<'t> {
    /// Elements of an array, or one object.
    Json(std::vec::IntoIter<&'t [u8]>),
    Cloud(std::vec::IntoIter<&'t [u8]>),
    Lines(Lines<'t>),
    /// The data of a CloudEvent whose attributes are headers.
    CloudData(Headers<'t>, Option<&'t [u8]>),
}

impl<'d> Reading<'d> {
    pub(crate) fn new(
        metrics: &'d Metrics,
        limiter: &'d RateTable,
        batcher: &'d Batcher,
        transport: Transport,
    ) -> Self {
        let tick = limiter.tick(Instant::now());
        let (arena, together_max, now) = (Bump::new(), u64::MAX, now_ms());
        let (earlier, batch) = (Vec::new(), batcher.new_batch());
        Self { metrics, limiter, tick, now, batcher, transport, arena, together_max, earlier, batch }
    }

    /// Reads one more body.
    ///
    /// # Errors
    /// It has more events than a body may have; none of them is taken.
    pub(crate) fn body<'s>(&mut self, text: &[u8], shape: Shape<'_>, sender: Sender<'s>) -> Result<Body<'s>, TooMany> {
        let mut body = Body::of(sender);
        let mut events = self.begin(text, shape, &mut body)?;
        while self.turn(&mut events, &mut body) {}
        self.end(&mut body);
        Ok(body)
    }

    /// Cuts a body into events; one that cannot be cut is reported as one event.
    fn begin<'t>(&mut self, text: &'t [u8], shape: Shape<'t>, body: &mut Body<'_>) -> Result<Events<'t>, TooMany> {
        let shape = if matches!(shape, Shape::Text) { text_shape(text) } else { shape };
        let list = match shape {
            _ if text.trim_ascii().is_empty() => Ok(Vec::new()),
            Shape::Json => batch::json(text),
            Shape::CloudBatch => batch::elements(text),
            Shape::Cloud => Ok(vec![text]),
            Shape::CloudData(headers) => return Ok(Events::CloudData(headers, Some(text))),
            Shape::Ndjson | Shape::Text => {
                // Counted first: no event of a body that is too large is taken.
                return if batch::has_too_many_lines(text) {
                    Err(TooMany)
                } else {
                    Ok(Events::Lines(batch::lines(text)))
                };
            }
        };
        let list = match list {
            Ok(list) => list,
            Err(Broken::TooMany) => return Err(TooMany),
            Err(broken) => {
                let reason = if matches!(broken, Broken::NoArray) { Reason::Type } else { Reason::Json };
                self.refuse(&whole(broken.to_string(), reason), body);
                Vec::new()
            }
        };
        let is_cloud = matches!(shape, Shape::Cloud | Shape::CloudBatch);
        Ok(if is_cloud { Events::Cloud(list.into_iter()) } else { Events::Json(list.into_iter()) })
    }

    /// Reads some events; returns whether there may be more.
    fn turn(&mut self, events: &mut Events<'_>, body: &mut Body<'_>) -> bool {
        self.now = now_ms();
        let mut bytes = 0;
        for _ in 0..TURN_MAX {
            if bytes >= TURN_BYTES {
                break;
            }
            match events {
                Events::Json(list) => match list.next() {
                    Some(text) => {
                        bytes += text.len();
                        self.event(text, event::read, body);
                    }
                    None => return false,
                },
                Events::Cloud(list) => match list.next() {
                    Some(text) => {
                        bytes += text.len();
                        self.event(text, cloud::read_structured, body);
                    }
                    None => return false,
                },
                Events::CloudData(headers, data) => match data.take() {
                    Some(data) => {
                        self.event(
                            data,
                            |data, merchants, arena| cloud::read_binary(headers, data, merchants, arena),
                            body,
                        );
                    }
                    None => return false,
                },
                Events::Lines(lines) => match lines.next().map(|line| line.object) {
                    Some(Ok(object)) => {
                        bytes += object.len();
                        self.event(object, event::read, body);
                    }
                    Some(Err(wrong)) => self.refuse(&wrong, body),
                    None => return false,
                },
            }
        }
        true
    }

    /// Ends a body whose events are read.
    fn end(&self, body: &mut Body<'_>) {
        if body.index == 0 {
            let error = "the body is empty; send events".to_owned();
            body.answer.rejected.push(Row { index: 0, id: None, field: String::new(), error });
        }
        self.count(body);
    }

    /// Counts the events of a body that was read; what could not be read as an event counts as one.
    fn count(&self, body: &Body<'_>) {
        self.metrics.received.inc_by(body.index as u64);
        self.metrics.unknown_fields.inc_by(body.unknown_fields);
    }

    /// The batch of everything that was read.
    pub(crate) fn into_batch(self) -> EventBatch {
        self.batch
    }

    fn into_read(self, body: Body<'_>) -> Read {
        Read { earlier: self.earlier, batch: self.batch, answer: body.answer, of_merchants: body.of_merchants }
    }

    fn event(
        &mut self,
        text: &[u8],
        read: impl for<'a> FnOnce(&'a [u8], &Merchants, &'a Bump) -> Result<Accepted<'a>, Refused>,
        body: &mut Body<'_>,
    ) {
        let grant = body.sender.grant;
        let mut arena = std::mem::take(&mut self.arena);
        arena.reset();
        match read(text, body.sender.merchants, &arena) {
            Err(wrong) => self.refuse(&wrong, body),
            Ok(accepted) if !grant.may_send(accepted.event.action) => {
                let error = format!("action: {} is not among the actions of key {}", accepted.event.action, grant.key);
                let errors = vec![FieldError { field: "action".to_owned(), error, reason: Reason::Value }];
                self.refuse(&Refused { id: Some(accepted.event.id.to_owned()), errors }, body);
            }
            Ok(accepted) if self.limiter.is_over(accepted.event.shopper_key ^ body.key_hash, self.tick) => {
                self.turn_away(accepted.event.id, body);
            }
            Ok(accepted) => match self.batcher.stamps.stamp(self.now, accepted.event.time, self.batch.epoch()) {
                Ok(stamp) => {
                    let mut event = accepted.event;
                    event.stamp = stamp;
                    if self.batch.events() >= self.together_max {
                        self.earlier.push(std::mem::replace(&mut self.batch, self.batcher.new_batch()));
                    }
                    self.batch.push(&event, self.transport);
                    if let Some(count) = body.of_merchants.get_mut(event.merchant) {
                        *count += 1;
                    }
                    body.answer.accepted += 1;
                    body.index += 1;
                    body.unknown_fields += u64::from(accepted.unknown_fields);
                }
                Err(why) => {
                    let reason = match why {
                        NoStamp::Missing => Reason::Missing,
                        NoStamp::Ahead => Reason::Range,
                    };
                    let errors = vec![FieldError { field: "time".to_owned(), error: format!("time: {why}"), reason }];
                    self.refuse(&Refused { id: Some(accepted.event.id.to_owned()), errors }, body);
                }
            },
        }
        self.arena = arena;
    }

    /// Reports an event without errors that is refused because of the shopper limit.
    fn turn_away(&self, id: &str, body: &mut Body<'_>) {
        self.metrics.shed(Shed::Shopper, 1);
        let error = "shopper: sends more events a second than one shopper may; send it again later".to_owned();
        let field = "shopper".to_owned();
        body.answer.rejected.push(Row { index: body.index, id: Some(id.to_owned()), field, error });
        body.answer.turned_away += 1;
        body.index += 1;
    }

    /// Reports an event with all its errors, and counts it once.
    fn refuse(&self, wrong: &Refused, body: &mut Body<'_>) {
        self.metrics.reject(wrong);
        let index = body.index;
        body.index += 1;
        let row = |e: &FieldError| Row { index, id: wrong.id.clone(), field: e.field.clone(), error: e.error.clone() };
        // One row at least: the sender learns of every event that was refused.
        let rows = ROWS_MAX.saturating_sub(body.answer.rejected.len()).max(1);
        body.answer.rejected.extend(wrong.errors.iter().take(rows).map(row));
    }
}

/// The shape of a text: several lines are NDJSON, unless all of them are one JSON text.
fn text_shape(text: &[u8]) -> Shape<'static> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).trim_ascii();
    let is_json = text.starts_with(b"[") || !text.contains(&b'\n') || batch::is_json(text);
    if is_json { Shape::Json } else { Shape::Ndjson }
}

fn whole(error: String, reason: Reason) -> Refused {
    Refused { id: None, errors: vec![FieldError { field: String::new(), error, reason }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answer_has_every_row_whatever_its_turns() {
        for rows in [0, 1, TURN_ROWS, TURN_ROWS + 1, 3 * TURN_ROWS] {
            let row = |index| Row { index, id: None, field: String::new(), error: format!("\"{index}\"") };
            let rejected = (0..rows).map(row).collect();
            let text = Answer { accepted: 7, durable: "log", rejected, turned_away: 1 }.json().await;
            let wanted: Vec<_> =
                (0..rows).map(|index| serde_json::json!({"index": index, "error": format!("\"{index}\"")})).collect();
            let found: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!(found, serde_json::json!({"accepted": 7, "durable": "log", "rejected": wanted}));
        }
    }
}
