//! `mashang log dump`: accepted events as NDJSON, by (received, partition, offset).

use std::collections::VecDeque;
use std::io::{BufWriter, Write, stdout};

use anyhow::{Context, Result};
use domain::frame::{Frame, Kind};
use domain::model::address::Topic;
use domain::model::event::{Action, Event};
use domain::model::time::{INTEGER_TIME_MIN, Millis, time_text};
use eventlog::error::LogError;
use eventlog::files::disk::Disk;
use eventlog::kafka::archive::open;
use eventlog::local::archive::{Archive, Records};
use eventlog::local::meta::Clock;
use serde::{Serialize, Serializer};

use crate::cli::LogDumpArgs;
use crate::usage;

/// Writes the events to standard output.
pub(crate) fn dump(args: &LogDumpArgs) -> Result<()> {
    // The only topic whose records are events.
    debug_assert_eq!(args.topic, Topic::Scans.as_str());
    let archive = match &args.data {
        Some(data) => Archive::open(&Disk, &data.join("log"), Topic::Scans),
        None => open(&args.kafka.settings()?, "mashang-log-dump", Topic::Scans),
    };
    let archive = archive.map_err(|e| match e {
        LogError::Missing { .. } => usage(e),
        other => other.into(),
    })?;
    let clock = archive.meta.clock;
    let mut partitions: Vec<Lines> =
        (0..).zip(archive.partitions).map(|(p, records)| Lines::new(p, records, clock)).collect();
    let mut out = BufWriter::new(stdout().lock());
    loop {
        let mut first: Option<(Millis, usize)> = None;
        for (at, lines) in partitions.iter_mut().enumerate() {
            if let Some(received) = lines.peek()?
                && first.is_none_or(|first| (received, at) < first)
            {
                first = Some((received, at));
            }
        }
        let Some((received, at)) = first else { break };
        let line = partitions[at].ready.pop_front().map(|(_, line)| line).unwrap_or_default();
        if args.from.is_none_or(|from| received >= from) {
            out.write_all(&line)?;
        }
    }
    Ok(out.flush()?)
}

/// The lines of one partition, a frame at a time.
struct Lines {
    partition: u16,
    records: Records,
    clock: Clock,
    /// It never goes back.
    received: Millis,
    ready: VecDeque<(Millis, Vec<u8>)>,
}

impl Lines {
    fn new(partition: u16, records: Records, clock: Clock) -> Self {
        Self { partition, records, clock, received: 0, ready: VecDeque::new() }
    }

    /// The `received` of the next line.
    fn peek(&mut self) -> Result<Option<Millis>> {
        while self.ready.is_empty() {
            let Some(record) = self.records.next_record()? else { return Ok(None) };
            let place = || format!("scans partition {} offset {}", self.partition, record.offset);
            let frame = match Frame::open(record.bytes) {
                Ok(frame) => frame,
                // The shopper desk sets it aside in `rejects`: no event of it was ever accepted.
                Err(error) if error.is_broken() => continue,
                Err(error) => return Err(error).with_context(place),
            };
            if frame.kind != Kind::Events {
                continue;
            }
            // A frame with an item that is no event was set aside whole.
            let Ok(events) = frame.items::<Event<'_>>().collect::<Result<Vec<_>, _>>() else { continue };
            for event in events {
                let append = if self.clock == Clock::Wall { record.append } else { Millis::MAX };
                // As the shopper desk makes it.
                self.received = self.received.max(event.stamp.min(append));
                let mut line = serde_json::to_vec(&Line::new(&event, self.received, self.partition, record.offset))?;
                line.push(b'\n');
                self.ready.push_back((self.received, line));
            }
        }
        Ok(self.ready.front().map(|(received, _)| *received))
    }
}

/// An event in the form in which it can be sent again.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shopper: Option<&'a str>,
    merchant: &'a str,
    #[serde(flatten)]
    rest: Rest<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keyless: bool,
    received: Millis,
    partition: u16,
    offset: u64,
}

#[derive(Serialize)]
struct Rest<'a> {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time_again")]
    time: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guide: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'a str>,
}

/// A time in the form in which it can be sent again: in milliseconds, or as a text where an integer would mean seconds.
fn time_again<S: Serializer>(time: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
    match *time {
        Some(at) if at < INTEGER_TIME_MIN => time_text(at).serialize(serializer),
        time => time.serialize(serializer),
    }
}

impl<'a> Line<'a> {
    fn new(e: &Event<'a>, received: Millis, partition: u16, offset: u64) -> Self {
        let is_order = e.action == Action::Order;
        let rest = Rest {
            time: e.time,
            code: e.code.map(|code| code.text),
            store: e.store,
            guide: e.guide,
            region: e.region,
            channel: e.channel,
            device: e.device,
            ticket: e.ticket,
            order: e.order.map(|o| o.number),
            amount: e.order.map(|o| o.amount),
            part: e.order.filter(|_| is_order).map(|o| o.part.as_str()),
        };
        // Where a device stands in it is made from the device again, and may be longer than a text that is sent.
        let of_device = e.shopper.strip_prefix("device:").is_some_and(|device| Some(device) == e.device);
        let stands_in = of_device && matches!(e.action, Action::Scan | Action::Visit);
        Self {
            id: e.id,
            action: e.action.as_str(),
            shopper: (!stands_in).then_some(e.shopper),
            merchant: e.merchant,
            rest,
            keyless: e.keyless,
            received,
            partition,
            offset,
        }
    }
}
