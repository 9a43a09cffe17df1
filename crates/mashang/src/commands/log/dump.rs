//! `mashang log dump`: accepted events as NDJSON, by (received, partition, offset); or whole records, by (partition, offset).

use std::collections::VecDeque;
use std::io::{self, BufWriter, Cursor, Read, Write, stdout};

use anyhow::Result;
use data_encoding::BASE64;
use domain::model::address::Topic;
use domain::model::event::{Action, Event};
use domain::model::time::{INTEGER_TIME_MIN, Millis, time_text};
use eventlog::local::meta::Clock;
use eventlog::local::topic_reader::{Records, TopicReader};
use eventlog::scans::{ReceivedClock, events_of};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::days::open_scans;
use crate::cli::log_args::LogDumpArgs;

/// Writes the events to standard output.
pub(crate) fn dump(args: &LogDumpArgs) -> Result<()> {
    // The only topic whose records are events.
    debug_assert_eq!(args.topic, Topic::Scans.as_str());
    let log = open_scans(&args.place, "mashang-log-dump", args.from)?;
    if args.raw {
        return dump_records(log);
    }
    let mut events = DumpedEvents::new(log, args.from);
    let mut out = BufWriter::new(stdout().lock());
    while let Some(line) = events.next_line()? {
        out.write_all(&line)?;
    }
    Ok(out.flush()?)
}

/// The events of a log as lines, by (received, partition, offset).
pub(crate) struct DumpedEvents {
    partitions: Vec<Lines>,
    from: Option<Millis>,
}

impl DumpedEvents {
    /// All that were received at or after `from`.
    pub(crate) fn new(log: TopicReader, from: Option<Millis>) -> Self {
        let clock = log.meta.clock;
        let partitions = (0..).zip(log.partitions).map(|(p, records)| Lines::new(p, records, clock)).collect();
        Self { partitions, from }
    }

    /// The next line, with its end; `None` at the end.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let mut first: Option<(Millis, usize)> = None;
            for (at, lines) in self.partitions.iter_mut().enumerate() {
                if let Some(received) = lines.peek()?
                    && first.is_none_or(|first| (received, at) < first)
                {
                    first = Some((received, at));
                }
            }
            let Some((received, at)) = first else { return Ok(None) };
            let line = self.partitions[at].ready.pop_front().map(|(_, line)| line).unwrap_or_default();
            if self.from.is_none_or(|from| received >= from) {
                return Ok(Some(line));
            }
        }
    }

    /// The lines as one text.
    pub(crate) fn text(self) -> impl Read + Send {
        DumpedText { events: self, line: Cursor::default() }
    }
}

/// See [`DumpedEvents::text`].
struct DumpedText {
    events: DumpedEvents,
    line: Cursor<Vec<u8>>,
}

impl Read for DumpedText {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.line.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        let next = self.events.next_line().map_err(|error| io::Error::other(format!("{error:#}")))?;
        let Some(line) = next else { return Ok(0) };
        self.line = Cursor::new(line);
        self.line.read(buffer)
    }
}

/// Writes every record as it is stored, by partition and offset.
fn dump_records(log: TopicReader) -> Result<()> {
    let clock = log.meta.clock;
    let mut out = BufWriter::new(stdout().lock());
    for (partition, mut records) in (0..).zip(log.partitions) {
        let mut received = ReceivedClock::new(clock, records.received_before);
        while let Some(record) = records.next_record()? {
            for event in &events_of(partition, &record)? {
                received.take(event, record.append);
            }
            let line = json!({
                "topic": Topic::Scans.as_str(),
                "partition": partition,
                "offset": record.offset,
                "received": received.latest.map(time_text),
                "record": BASE64.encode(record.bytes),
            });
            writeln!(out, "{line}")?;
        }
    }
    Ok(out.flush()?)
}

/// The lines of one partition, a frame at a time.
struct Lines {
    partition: u16,
    records: Records,
    received: ReceivedClock,
    ready: VecDeque<(Millis, Vec<u8>)>,
}

impl Lines {
    fn new(partition: u16, records: Records, clock: Clock) -> Self {
        let received = ReceivedClock::new(clock, records.received_before);
        Self { partition, records, received, ready: VecDeque::new() }
    }

    /// The `received` of the next line.
    fn peek(&mut self) -> Result<Option<Millis>> {
        while self.ready.is_empty() {
            let Some(record) = self.records.next_record()? else { return Ok(None) };
            for event in events_of(self.partition, &record)? {
                let received = self.received.take(&event, record.append);
                let mut line = serde_json::to_vec(&Line::new(&event, received, self.partition, record.offset))?;
                line.push(b'\n');
                self.ready.push_back((received, line));
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
    #[serde(serialize_with = "moment")]
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

/// A time as in exports.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn moment<S: Serializer>(time: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    time_text(*time).serialize(serializer)
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
