//! Micro-benchmarks of the hot path for each event: reading, framing, the table of duplicates, the shopper desk,
//! tokens and sealed draws.
//!
//! Absolute times depend on the machine; compare only the lines of one run.

use std::hint::black_box;
use std::sync::Arc;

use bumpalo::Bump;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use domain::desk::shopper::ShopperDesk;
use domain::frame::{Body, Frame, Kind, seal};
use domain::model::address::Partitions;
use domain::model::event::Event;
use domain::model::rules::RulesSeq;
use domain::model::rules::ff1::Ff1;
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::secrets::Secrets;
use domain::model::time::Millis;
use domain::model::token::{BatchKeys, Token};
use domain::protocol::stage::{BEHAVIOUR, Marker, Stage, StageOptions, marker_record};
use domain::table::recent::RecentKeys;
use wire::event::{Merchants, read};

const EVENTS: usize = 10_000;

const RULES: &str = r#"
merchant = "acme"
currency = "CNY"
time_zone = "Asia/Shanghai"
[dedup]
debounce = "10s"
[[commission]]
rate = "5%"
[[store]]
id = "s-1"
region = "330100"
[[guide]]
id = "g-1"
store = "s-1"
[[code]]
id = "GUIDE-1"
kind = "guide"
guide = "g-1"
[[code]]
id = "PARCEL"
kind = "service"
"#;

/// Scans of two codes, and an order in every ten events, by 2,000 shoppers.
fn lines() -> Vec<String> {
    let line = |i: usize| {
        let (shopper, time) = (i * 7919 % 2000, 1_794_186_000_000 + i * 40);
        match i % 10 {
            0 => format!(
                r#"{{"id":"e{i}","action":"order","shopper":"u{shopper}","time":{time},"order":"o{i}","amount":25900,"store":"s-1"}}"#
            ),
            1..=5 => format!(
                r#"{{"id":"e{i}","action":"scan","shopper":"u{shopper}","time":{time},"code":"PARCEL","region":"330100"}}"#
            ),
            _ => format!(r#"{{"id":"e{i}","action":"scan","shopper":"u{shopper}","time":{time},"code":"GUIDE-1"}}"#),
        }
    };
    (0..EVENTS).map(line).collect()
}

fn frames(lines: &[String], merchants: &Merchants, size: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for chunk in lines.chunks(size) {
        let mut body = Body::default();
        let mut received = 0;
        for line in chunk {
            let arena = Bump::new();
            let mut event = read(line.as_bytes(), merchants, &arena).expect("an event").event;
            event.stamp = event.time.expect("a time");
            received = event.stamp;
            body.push(&event);
        }
        body.drain(|bytes, count| frames.push(seal(Kind::Events, received, None, count, bytes)));
    }
    frames
}

fn hot_path(c: &mut Criterion) {
    let merchants = Merchants::new([("acme", "CNY")]);
    let lines = lines();
    let mut group = c.benchmark_group("per event");
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(20);

    group.bench_function("read JSON", |b| {
        let mut arena = Bump::new();
        b.iter(|| {
            for line in &lines {
                arena.reset();
                black_box(read(line.as_bytes(), &merchants, &arena).expect("an event").event.key);
            }
        });
    });
    let per_100 = frames(&lines, &merchants, 100);
    group.bench_function("open a frame of 100 and decode", |b| {
        b.iter(|| {
            for record in &per_100 {
                let frame = Frame::open(record).expect("a frame");
                black_box(
                    frame
                        .items::<Event<'_>>()
                        .map(|event| event.expect("an event").key as u64)
                        .fold(0, u64::wrapping_add),
                );
            }
        });
    });
    group.bench_function("duplicates' table", |b| {
        let keys: Vec<u128> = lines.iter().map(|line| domain::model::ids::digest128(&[line])).collect();
        b.iter_batched_ref(
            RecentKeys::default,
            |table| keys.iter().filter(|&&key| table.insert(key, 7, 4320)).count(),
            BatchSize::LargeInput,
        );
    });
    let checked = wire::rules::read("bench.toml", RULES, &mut |_| Err("none".to_owned())).expect("rules");
    let sha256 = wire::rules::version(&wire::rules::object(&checked.rules));
    let book = Rulebook::new(checked.rules, RulesSeq::FIRST, sha256, &Secrets::default()).expect("rules");
    let library: Library = [(RulesSeq::FIRST, Arc::new(book))].into();
    let marker = marker_record(&Marker { merchant: "acme", seq: RulesSeq::FIRST, sha256, behaviour: BEHAVIOUR });
    for size in [100, 10, 1] {
        let records = frames(&lines, &merchants, size);
        group.bench_function(format!("shopper desk, frames of {size}"), |b| {
            let fresh = || {
                let mut stage = Stage::new(StageOptions::default(), ShopperDesk::default(), 1, 0, Partitions::all(1));
                stage.step(0, Millis::MAX, &marker, &library, &mut Vec::new()).expect("a marker");
                stage
            };
            b.iter_batched_ref(
                fresh,
                |stage| {
                    let mut answers = Vec::new();
                    for record in &records {
                        answers.clear();
                        stage.step(stage.next_offset(), Millis::MAX, record, &library, &mut answers).expect("a frame");
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// Minting, verifying, and the permutation of a sealed draw.
fn codes(c: &mut Criterion) {
    let mut group = c.benchmark_group("per code");
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(20);
    let keys = BatchKeys::new(7, 1 << 32, &[7; 32]);
    let serials = || (0..EVENTS as u64).map(|i| i * 104_729 % (1 << 32));
    group.bench_function("mint a token and write its text", |b| {
        b.iter(|| {
            for serial in serials() {
                black_box(keys.mint(serial).expect("a serial").text());
            }
        });
    });
    let tokens: Vec<String> = serials()
        .map(|serial| String::from_utf8(keys.mint(serial).expect("a serial").text().to_vec()).expect("ASCII"))
        .collect();
    group.bench_function("read a token and verify it", |b| {
        b.iter(|| {
            let read = tokens.iter().map(|text| keys.serial(&Token::parse(text).expect("a token")).expect("minted"));
            black_box(read.fold(0, u64::wrapping_add))
        });
    });
    for (digits, tweak) in [(20, "one-more-bottle"), (32, "a-campaign-whose-id-has-more-than-13-bytes")] {
        let ff1 = Ff1::new(&[7; 32], tweak.as_bytes(), digits);
        group.bench_function(format!("FF1 of {digits} digits"), |b| {
            b.iter(|| black_box(serials().map(|n| ff1.encrypt(n % (1 << digits))).fold(0, u64::wrapping_add)));
        });
    }
    group.finish();
}

criterion_group!(benches, hot_path, codes);
criterion_main!(benches);
