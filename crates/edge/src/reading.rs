//! A body becomes a parcel of events, and a row for everything that is wrong; whatever transport brought it.

use bumpalo::Bump;
use serde::Serialize;
use wire::batch::{self, Broken, ELEMENTS_MAX};
use wire::event::{self, FieldError, Merchants, Reason, Refused as Wrong};

use crate::intake::{Intake, Parcel};
use crate::keys::Grant;
use crate::metrics::{Metrics, Transport};
use crate::served::{Currencies, Served};

/// The answer to a body.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer {
    pub(crate) accepted: u64,
    pub(crate) durable: &'static str,
    pub(crate) rejected: Vec<Row>,
}

impl Answer {
    /// What is wrong, in a few words: the first error.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Json,
    Ndjson,
}

/// What a body is read with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'d> {
    pub(crate) served: &'d Served,
    pub(crate) metrics: &'d Metrics,
    pub(crate) grant: &'d Grant,
    pub(crate) intake: &'d Intake,
}

/// A body with more events than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has more than {ELEMENTS_MAX} events; send several requests")]
pub(crate) struct TooMany;

/// A body that was read.
pub(crate) struct Read {
    pub(crate) parcel: Parcel,
    pub(crate) answer: Answer,
}

/// Reads the events of a body that came over HTTP.
///
/// # Errors
/// It has more events than a body may have; none of them is taken.
pub(crate) fn read(body: &[u8], shape: Shape, context: Context<'_>) -> Result<Read, TooMany> {
    let merchants = merchants(&context.served.now(), context.grant);
    let mut reading = Reading::new(context.metrics, context.intake, Transport::Http);
    let answer = reading.body(body, shape, Sender { grant: context.grant, merchants: &merchants })?;
    Ok(Read { parcel: reading.parcel, answer })
}

/// The merchants for which somebody may send, of those that are served.
pub(crate) fn merchants(served: &Currencies, grant: &Grant) -> Merchants {
    let own = served.iter().filter(|(merchant, _)| grant.may_for(merchant));
    Merchants::new(own.map(|(merchant, currency)| (merchant.clone(), currency.clone())))
}

/// Whose body it is.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'s> {
    pub(crate) grant: &'s Grant,
    /// What [`merchants`] gives for the grant.
    pub(crate) merchants: &'s Merchants,
}

/// Bodies, of several senders if need be, that become one parcel.
pub(crate) struct Reading<'d> {
    metrics: &'d Metrics,
    intake: &'d Intake,
    transport: Transport,
    arena: Bump,
    parcel: Parcel,
}

impl<'d> Reading<'d> {
    pub(crate) fn new(metrics: &'d Metrics, intake: &'d Intake, transport: Transport) -> Self {
        Self { metrics, intake, transport, arena: Bump::new(), parcel: intake.parcel() }
    }

    /// Reads one more body; the answer is right once the parcel is durable.
    ///
    /// # Errors
    /// It has more events than a body may have; none of them is taken.
    pub(crate) fn body(&mut self, body: &[u8], shape: Shape, sender: Sender<'_>) -> Result<Answer, TooMany> {
        let mut answer = Answer { durable: "log", ..Answer::default() };
        let mut events = 0;
        match shape {
            Shape::Json => match batch::json(body) {
                Ok(objects) => {
                    for object in objects {
                        self.object(object, events, sender, &mut answer);
                        events += 1;
                    }
                }
                Err(broken @ Broken::Json { .. }) => {
                    self.metrics.received.inc();
                    self.refuse(&whole(broken.to_string(), Reason::Json), events, &mut answer);
                    events += 1;
                }
                Err(Broken::TooMany) => return Err(TooMany),
            },
            Shape::Ndjson => {
                // Counted first: nothing of a body that is too large is taken.
                if batch::lines(body).nth(ELEMENTS_MAX).is_some() {
                    return Err(TooMany);
                }
                for line in batch::lines(body) {
                    match line.object {
                        Ok(object) => self.object(object, events, sender, &mut answer),
                        Err(wrong) => {
                            self.metrics.received.inc();
                            self.refuse(&wrong, events, &mut answer);
                        }
                    }
                    events += 1;
                }
            }
        }
        if events == 0 {
            let error = "the body is empty; send events".to_owned();
            answer.rejected.push(Row { index: 0, id: None, field: String::new(), error });
        }
        Ok(answer)
    }

    /// What was read, whole.
    pub(crate) fn into_parcel(self) -> Parcel {
        self.parcel
    }

    fn object(&mut self, object: &[u8], index: usize, sender: Sender<'_>, answer: &mut Answer) {
        self.metrics.received.inc();
        let mut arena = std::mem::take(&mut self.arena);
        arena.reset();
        match event::read(object, sender.merchants, &arena) {
            Err(wrong) => self.refuse(&wrong, index, answer),
            Ok(accepted) if !sender.grant.may_send(accepted.event.action) => {
                let error =
                    format!("action: {} is not among the actions of key {}", accepted.event.action, sender.grant.key);
                let errors = vec![FieldError { field: "action".to_owned(), error, reason: Reason::Value }];
                self.refuse(&Wrong { id: Some(accepted.event.id.to_owned()), errors }, index, answer);
            }
            Ok(accepted) => match self.intake.stamps.stamp(accepted.event.time, self.parcel.epoch()) {
                Some(stamp) => {
                    let mut event = accepted.event;
                    event.stamp = stamp;
                    self.parcel.push(&event, self.transport);
                    answer.accepted += 1;
                    self.metrics.unknown_fields.inc_by(u64::from(accepted.unknown_fields));
                }
                None => {
                    let error = "time: is missing; under --clock event the first event must have one".to_owned();
                    let errors = vec![FieldError { field: "time".to_owned(), error, reason: Reason::Missing }];
                    self.refuse(&Wrong { id: Some(accepted.event.id.to_owned()), errors }, index, answer);
                }
            },
        }
        self.arena = arena;
    }

    /// Reports an event with all its errors; counts it once.
    fn refuse(&self, wrong: &Wrong, index: usize, answer: &mut Answer) {
        self.metrics.reject(wrong);
        let row = |e: &FieldError| Row { index, id: wrong.id.clone(), field: e.field.clone(), error: e.error.clone() };
        answer.rejected.extend(wrong.errors.iter().map(row));
    }
}

fn whole(error: String, reason: Reason) -> Wrong {
    Wrong { id: None, errors: vec![FieldError { field: String::new(), error, reason }] }
}
