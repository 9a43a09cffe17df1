//! A body becomes a parcel of events, and a row for everything that is wrong; whatever transport brought it.

use std::collections::BTreeMap;

use bumpalo::Bump;
use serde::Serialize;
use wire::batch::{self, Broken, ELEMENTS_MAX};
use wire::event::cloud::{self, Headers};
use wire::event::{self, Accepted, FieldError, Merchants, Reason, Refused as Wrong};

use crate::intake::{Intake, Parcel};
use crate::keys::Grant;
use crate::metrics::Metrics;
use crate::served::Served;

/// The answer to a body.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer {
    pub(crate) accepted: u64,
    pub(crate) durable: &'static str,
    pub(crate) rejected: Vec<Row>,
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
    /// One CloudEvent, structured.
    Cloud,
    /// An array of them.
    CloudBatch,
    /// The data of one whose attributes are headers.
    CloudData(Headers<'h>),
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
    /// How many of its events are of each merchant that has a quota.
    pub(crate) of_merchants: BTreeMap<String, u64>,
}

/// Reads the events of a body.
///
/// # Errors
/// It has more events than a body may have; none of them is taken.
pub(crate) fn read(body: &[u8], shape: Shape<'_>, context: Context<'_>) -> Result<Read, TooMany> {
    let mut reading = Reading::new(context);
    match shape {
        _ if body.trim_ascii().is_empty() => {}
        Shape::Json => reading.all(batch::json(body), event::read)?,
        Shape::CloudBatch => reading.all(batch::elements(body), cloud::read_structured)?,
        Shape::Cloud => reading.event(body, cloud::read_structured),
        Shape::CloudData(headers) => {
            reading.event(body, |data, merchants, arena| cloud::read_binary(&headers, data, merchants, arena));
        }
        Shape::Ndjson => {
            // Counted first: nothing of a body that is too large is taken.
            if batch::lines(body).nth(ELEMENTS_MAX).is_some() {
                return Err(TooMany);
            }
            for line in batch::lines(body) {
                match line.object {
                    Ok(object) => reading.event(object, event::read),
                    Err(wrong) => reading.refuse_unread(&wrong),
                }
            }
        }
    }
    if reading.index == 0 {
        let rows = &mut reading.answer.rejected;
        rows.push(Row { index: 0, id: None, field: String::new(), error: "the body is empty; send events".to_owned() });
    }
    Ok(reading.end())
}

/// A body that could not even be unpacked counts as one event.
pub(crate) fn unreadable(error: String, context: Context<'_>) -> Read {
    let mut reading = Reading::new(context);
    reading.refuse_unread(&whole(error, Reason::Encoding));
    reading.end()
}

/// A body that is being read.
struct Reading<'d> {
    context: Context<'d>,
    merchants: Merchants,
    arena: Bump,
    parcel: Parcel,
    index: usize,
    answer: Answer,
    of_merchants: BTreeMap<String, u64>,
}

impl<'d> Reading<'d> {
    fn new(context: Context<'d>) -> Self {
        let served = context.served.now();
        let own = served.iter().filter(|(merchant, _)| context.grant.may_for(merchant));
        Self {
            context,
            merchants: Merchants::new(own.map(|(merchant, currency)| (merchant.clone(), currency.clone()))),
            arena: Bump::new(),
            parcel: context.intake.parcel(),
            index: 0,
            answer: Answer { durable: "log", ..Answer::default() },
            of_merchants: context.grant.merchant_quotas.keys().map(|merchant| (merchant.clone(), 0)).collect(),
        }
    }

    fn end(self) -> Read {
        Read { parcel: self.parcel, answer: self.answer, of_merchants: self.of_merchants }
    }

    /// The events of a list, if it is one.
    fn all(
        &mut self,
        list: Result<Vec<&[u8]>, Broken>,
        read: impl for<'a> Fn(&'a [u8], &Merchants, &'a Bump) -> Result<Accepted<'a>, Wrong>,
    ) -> Result<(), TooMany> {
        match list {
            Ok(events) => events.into_iter().for_each(|event| self.event(event, &read)),
            Err(broken @ Broken::Json { .. }) => self.refuse_unread(&whole(broken.to_string(), Reason::Json)),
            Err(broken @ Broken::NoArray) => self.refuse_unread(&whole(broken.to_string(), Reason::Type)),
            Err(Broken::TooMany) => return Err(TooMany),
        }
        Ok(())
    }

    fn event(
        &mut self,
        text: &[u8],
        read: impl for<'a> FnOnce(&'a [u8], &Merchants, &'a Bump) -> Result<Accepted<'a>, Wrong>,
    ) {
        self.context.metrics.received.inc();
        let mut arena = std::mem::take(&mut self.arena);
        arena.reset();
        match read(text, &self.merchants, &arena) {
            Err(wrong) => self.refuse(&wrong),
            Ok(accepted) if !self.context.grant.may_send(accepted.event.action) => {
                let error = format!(
                    "action: {} is not among the actions of key {}",
                    accepted.event.action, self.context.grant.key
                );
                let errors = vec![FieldError { field: "action".to_owned(), error, reason: Reason::Value }];
                self.refuse(&Wrong { id: Some(accepted.event.id.to_owned()), errors });
            }
            Ok(accepted) => match self.context.intake.stamps.stamp(accepted.event.time, self.parcel.epoch()) {
                Some(stamp) => {
                    let mut event = accepted.event;
                    event.stamp = stamp;
                    self.parcel.push(&event);
                    if let Some(count) = self.of_merchants.get_mut(event.merchant) {
                        *count += 1;
                    }
                    self.index += 1;
                    self.context.metrics.unknown_fields.inc_by(u64::from(accepted.unknown_fields));
                }
                None => {
                    let error = "time: is missing; under --clock event the first event must have one".to_owned();
                    let errors = vec![FieldError { field: "time".to_owned(), error, reason: Reason::Missing }];
                    self.refuse(&Wrong { id: Some(accepted.event.id.to_owned()), errors });
                }
            },
        }
        self.arena = arena;
    }

    /// Reports what was not read as an event; it counts as one.
    fn refuse_unread(&mut self, wrong: &Wrong) {
        self.context.metrics.received.inc();
        self.refuse(wrong);
    }

    /// Reports an event with all its errors; counts it once.
    fn refuse(&mut self, wrong: &Wrong) {
        self.context.metrics.reject(wrong);
        let index = self.index;
        self.index += 1;
        let row = |e: &FieldError| Row { index, id: wrong.id.clone(), field: e.field.clone(), error: e.error.clone() };
        self.answer.rejected.extend(wrong.errors.iter().map(row));
    }
}

fn whole(error: String, reason: Reason) -> Wrong {
    Wrong { id: None, errors: vec![FieldError { field: String::new(), error, reason }] }
}
