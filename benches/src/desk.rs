//! The shopper desk alone, over many keys and shoppers: events a second, memory, and what a snapshot and a restore take.

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
use domain::protocol::stage::{BEHAVIOUR, Desk, Marker, Stage, StageOptions, marker_record};

/// Events in a frame.
const FRAME: u64 = 400;
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
    let (mut all, mut last, mut longest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut answers = Vec::new();
    let frames = args.events.div_ceil(FRAME);
    for number in 0..frames {
        let record = frame(args, number * FRAME);
        answers.clear();
        let start = Instant::now();
        stage.step(stage.next_offset(), Millis::MAX, &record, &library, &mut answers)?;
        let took = start.elapsed();
        all += took;
        longest = longest.max(took);
        if number * 10 >= frames * 9 {
            last += took;
        }
    }
    let a_second = |events: u64, time: Duration| u128::from(events) * 1_000_000_000 / time.as_nanos().max(1);
    println!("{} events of {} shoppers, {:?}", args.events, args.shoppers, args.what);
    println!(
        "events a second: {} of all, {} of the last tenth",
        a_second(args.events, all),
        a_second(args.events / 10, last)
    );
    println!("the slowest frame of {FRAME} events: {} µs", longest.as_micros());
    let memory = crate::tables::resident()?.saturating_sub(empty);
    println!(
        "memory: {} MB, {} bytes an event, {} bytes a shopper",
        memory >> 20,
        memory / args.events,
        memory / args.shoppers
    );
    for (kind, bytes) in stage.desk().sizes() {
        println!(
            "  {kind}: {} MB, {} bytes an event, {} bytes a shopper",
            bytes >> 20,
            bytes as u64 / args.events,
            bytes as u64 / args.shoppers
        );
    }
    let start = Instant::now();
    let saved = stage.save();
    println!("a snapshot: {} MB, {} ms", saved.len() >> 20, start.elapsed().as_millis());
    drop(stage);
    let start = Instant::now();
    let restored: Stage<ShopperDesk> =
        Stage::restore(StageOptions::default(), &saved, 1, 0, Partitions::all(1), &library)?;
    println!("a restore: {} ms, at offset {}", start.elapsed().as_millis(), restored.next_offset());
    Ok(())
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
