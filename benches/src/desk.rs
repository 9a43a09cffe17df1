//! The shopper desk alone, over many keys and shoppers: events a second, memory, and what snapshots and a restore take.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use domain::desk::shopper::ShopperDesk;
use domain::frame::{Body, Kind, seal};
use domain::model::address::Partitions;
use domain::model::event::{Action, Code, Event, Part, Payment};
use domain::model::ids::{event_key, shopper_key};
use domain::model::rules::RulesSeq;
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::secrets::Secrets;
use domain::model::time::Millis;
use domain::protocol::stage::segments::Segments;
use domain::protocol::stage::{BEHAVIOUR, Desk, Marker, Output, Stage, StageOptions, marker_record};

/// Events in a frame.
const FRAME: u64 = 400;
/// Sizes of segments, and of the parts in which they are written, as a worker has them.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
const PART_BYTES: usize = 64 * 1024;
/// The time of the first event, 2026-11-11.
const START: Millis = 1_794_355_200_000;
const MERCHANT: &str = "acme";
const RULES: &str = r#"
merchant = "acme"
currency = "CNY"
time_zone = "Asia/Shanghai"
[dedup]
horizon = "15d"
[[commission]]
rate = "5%"
[[store]]
id = "s-1"
[[guide]]
id = "g-1"
store = "s-1"
[[code]]
id = "GUIDE-1"
kind = "guide"
guide = "g-1"
"#;

#[derive(Debug, Args)]
pub(crate) struct DeskArgs {
    /// Number of events, each with a key of its own
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Number of shoppers, who take turns
    #[arg(long, default_value_t = 2_000_000)]
    shoppers: u64,
    /// What the events are
    #[arg(long, value_enum, default_value_t = What::Scan)]
    what: What,
    /// Milliseconds between two events
    #[arg(long, default_value_t = 0)]
    pause: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Scans of a guide's code
    Scan,
    /// Orders
    Order,
    /// Visits, which leave no touch
    Visit,
}

pub(crate) fn run(args: &DeskArgs) -> Result<()> {
    ensure!(args.events > 0 && args.shoppers > 0, "--events and --shoppers are at least 1");
    let checked = wire::rules::read("bench.toml", RULES, &mut |_| Err("none".to_owned()))
        .map_err(|m| anyhow!("the rules: {m:?}"))?;
    let sha256 = wire::rules::version(&wire::rules::object(&checked.rules));
    let book = Rulebook::new(checked.rules, RulesSeq::FIRST, sha256, &Secrets::default()).context("the rules")?;
    let library: Library = [(RulesSeq::FIRST, Arc::new(book))].into();
    let mut stage = Stage::new(StageOptions::default(), ShopperDesk::default(), 1, 0, Partitions::all(1));
    let marker = marker_record(&Marker { merchant: MERCHANT, seq: RulesSeq::FIRST, sha256, behaviour: BEHAVIOUR });
    stage.step(0, Millis::MAX, &marker, &library, &mut Vec::new())?;
    let empty = crate::tables::resident()?;
    let frames = args.events.div_ceil(FRAME);
    let mut desk = Measured { stage, library, answers: Vec::new() };
    let most = desk.frames(args, 0..frames * 9 / 10, |_| ())?;
    let last = desk.frames(args, frames * 9 / 10..frames, |_| ())?;
    println!("{} events of {} shoppers, {:?}", args.events, args.shoppers, args.what);
    println!(
        "events a second: {} of all, {} of the last tenth",
        a_second(args.events, most.all + last.all),
        a_second(args.events / 10, last.all)
    );
    println!("the slowest frame of {FRAME} events: {} µs", most.longest.max(last.longest).as_micros());
    let memory = crate::tables::resident()?.saturating_sub(empty);
    println!(
        "memory: {} MB, {} bytes an event, {} bytes a shopper",
        memory >> 20,
        memory / args.events,
        memory / args.shoppers
    );
    for (kind, bytes) in desk.stage.desk().sizes() {
        println!(
            "  {kind}: {} MB, {} bytes an event, {} bytes a shopper",
            bytes >> 20,
            bytes as u64 / args.events,
            bytes as u64 / args.shoppers
        );
    }
    desk.snapshots(args, frames)
}

fn a_second(events: u64, time: Duration) -> u128 {
    u128::from(events) * 1_000_000_000 / time.as_nanos().max(1)
}

/// Times of some frames or steps.
#[derive(Clone, Copy, Default)]
struct Times {
    all: Duration,
    longest: Duration,
}

impl Times {
    fn add(&mut self, took: Duration) {
        self.all += took;
        self.longest = self.longest.max(took);
    }
}

struct Measured {
    stage: Stage<ShopperDesk>,
    library: Library,
    answers: Vec<Output>,
}

impl Measured {
    /// Applies frames; `between` is not measured.
    fn frames(
        &mut self,
        args: &DeskArgs,
        numbers: Range<u64>,
        mut between: impl FnMut(&mut Stage<ShopperDesk>),
    ) -> Result<Times> {
        let mut times = Times::default();
        for number in numbers {
            let record = frame(args, number * FRAME);
            self.answers.clear();
            between(&mut self.stage);
            let start = Instant::now();
            self.stage.step(self.stage.next_offset(), Millis::MAX, &record, &self.library, &mut self.answers)?;
            times.add(start.elapsed());
        }
        Ok(times)
    }

    /// A base; events of a hundredth of the shoppers, and a cut, which is written between further events; and a restore of all that.
    fn snapshots(mut self, args: &DeskArgs, from: u64) -> Result<()> {
        let more = (args.shoppers / 100 / FRAME).max(1);
        let args = DeskArgs { events: args.events + 6 * more * FRAME, ..*args };
        let before = self.frames(&args, from..from + more, |_| ())?;
        self.stage.segments().track();
        let noted = self.frames(&args, from + more..from + 2 * more, |_| ())?;
        self.stage.segments().track();
        let (mut segments, mut base) = (Vec::new(), Times::default());
        self.stage.segments().begin_base();
        while write(&mut segments, &mut base, |bytes, to| self.stage.segments().write_base(bytes, to)) {}
        let base_bytes: usize = segments.iter().map(Vec::len).sum();
        report("a base", base_bytes, base);
        let with = self.frames(&args, from + 2 * more..from + 3 * more, |_| ())?;
        let base_segments = segments.len();
        segments.push(Vec::new());
        let start = Instant::now();
        self.stage.segments().cut();
        let head = self.stage.save_head();
        let stopped = start.elapsed();
        let offset = self.stage.next_offset();
        let (mut cut, mut is_written) = (Times::default(), false);
        let during = self.frames(&args, from + 3 * more..from + 4 * more, |stage| {
            is_written =
                is_written || !write(&mut segments, &mut cut, |bytes, to| stage.segments().write_cut(bytes, to));
        })?;
        while !is_written {
            is_written = !write(&mut segments, &mut cut, |bytes, to| self.stage.segments().write_cut(bytes, to));
        }
        let cut_bytes: usize = segments[base_segments..].iter().map(Vec::len).sum::<usize>() + head.len();
        report("a cut after events of a hundredth of the shoppers", cut_bytes, cut);
        println!("  it stopped the desk for {} µs; its head has {} bytes", stopped.as_micros(), head.len());
        println!(
            "  it has {}.{:02} % of the base",
            cut_bytes * 100 / base_bytes.max(1),
            cut_bytes * 10_000 / base_bytes.max(1) % 100
        );
        let a_second = |times: Times| a_second(more * FRAME, times.all);
        println!(
            "events a second: {} unnoted, {} noted, {} after a base, {} while a cut is written",
            a_second(before),
            a_second(noted),
            a_second(with),
            a_second(during)
        );
        drop(self.stage);
        let start = Instant::now();
        let mut stage: Stage<ShopperDesk> =
            Stage::restore(StageOptions::default(), &head, 1, 0, Partitions::all(1), &self.library)?;
        for segment in &segments {
            stage.segments().load_segment(segment)?;
        }
        stage.segments().loaded();
        ensure!(stage.next_offset() == offset, "the head is of another offset");
        println!("a restore: {} ms", start.elapsed().as_millis());
        Ok(())
    }
}

/// Writes the next part of a snapshot, as a lane does; returns whether there are more.
fn write(segments: &mut Vec<Vec<u8>>, times: &mut Times, write: impl FnOnce(usize, &mut Vec<u8>) -> bool) -> bool {
    if segments.last().is_none_or(|last| last.len() >= SEGMENT_BYTES) {
        segments.push(Vec::with_capacity(SEGMENT_BYTES + SEGMENT_BYTES / 8));
    }
    let Some(last) = segments.last_mut() else { return false };
    let start = Instant::now();
    let is_last = write(last.len() + PART_BYTES, last);
    times.add(start.elapsed());
    !is_last
}

fn report(what: &str, bytes: usize, times: Times) {
    println!(
        "{what}: {} kB, {} ms in all, {} µs the longest part",
        bytes >> 10,
        times.all.as_millis(),
        times.longest.as_micros()
    );
}

/// The record of a frame, from the number of its first event.
fn frame(args: &DeskArgs, first: u64) -> Vec<u8> {
    let mut body = Body::default();
    let mut received = START;
    for n in first..(first + FRAME).min(args.events) {
        let (id, shopper) = (n.to_string(), format!("u{}", n % args.shoppers));
        received = START + i64::try_from(n).unwrap_or(0) * args.pause;
        let action = match args.what {
            What::Scan => Action::Scan,
            What::Order => Action::Order,
            What::Visit => Action::Visit,
        };
        body.push(&Event {
            key: event_key(MERCHANT, &shopper, action.as_str(), &id),
            shopper_key: shopper_key(MERCHANT, &shopper),
            merchant: MERCHANT,
            id: &id,
            shopper: &shopper,
            action,
            stamp: received,
            time: None,
            code: (args.what == What::Scan).then_some(Code { text: "GUIDE-1", link: None }),
            store: None,
            guide: None,
            region: None,
            channel: None,
            device: None,
            ticket: None,
            order: (args.what == What::Order).then_some(Payment { number: &id, amount: 25_900, part: Part::Sale }),
            keyless: false,
        });
    }
    let mut record = Vec::new();
    body.drain(|bytes, count| record = seal(Kind::Events, received, None, count, bytes));
    record
}
