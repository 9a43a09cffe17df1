//! Bounds on what one shopper or one sender can make the shopper desk keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::desk::shopper::ShopperDesk;
use domain::frame::{Body, Frame, Kind, seal};
use domain::model::address::Partitions;
use domain::model::fact::{Fact, Metric, Scope, What};
use domain::model::ids::digest128;
use domain::model::rules::RulesSeq;
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::time::Millis;
use domain::protocol::stage::{Desk, Marker, Stage, StageOptions, marker_record};
use wire::event::{Merchants, read};

use super::world::stage;

const START: Millis = 1_794_326_400_000;
const DAY: Millis = 24 * 60 * 60_000;

struct World {
    library: Library,
    stage: Box<Stage<ShopperDesk>>,
    events: usize,
}

/// The counts of a frame's facts: (scope, key, metric) and the sum. Steps of funnels count under the funnel's name and channel.
type Counts = BTreeMap<(String, String, String), i64>;

impl World {
    /// A desk under rules; `behaviour` is that of its first marker.
    fn new(rules: &str, behaviour: u32) -> Self {
        let text = format!(
            "merchant = \"m\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\n{rules}\n[[commission]]\nrate = \"5%\"\n[[guide]]\nid = \"g\"\n"
        );
        let checked = wire::rules::read("m.toml", &text, &mut |_| Err("none".into()));
        let checked = checked.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let sha256 = wire::rules::version(&wire::rules::object(&checked.rules));
        let book = |seq| {
            Arc::new(Rulebook::new(checked.rules.clone(), seq, sha256, &checked.secrets).expect("rules that work"))
        };
        let library = (1..3).map(RulesSeq).map(|seq| (seq, book(seq))).collect();
        let mut world = Self { library, stage: stage::<ShopperDesk>(0, Partitions::all(1)), events: 0 };
        world.marker(1, behaviour);
        world
    }

    fn marker(&mut self, seq: u32, behaviour: u32) {
        let sha256 = self.library[&RulesSeq(seq)].sha256;
        self.step(&marker_record(&Marker { merchant: "m", seq: RulesSeq(seq), sha256, behaviour }));
    }

    fn step(&mut self, record: &[u8]) -> Counts {
        let mut answers = Vec::new();
        let next = self.stage.next_offset();
        self.stage.step(next, Millis::MAX, record, &self.library, &mut answers).expect("no alarm");
        let mut counts = Counts::new();
        for answer in &answers {
            for fact in Frame::open(&answer.record).expect("a frame").items::<Fact<'_>>() {
                let (key, delta) = match fact.expect("a fact").what {
                    What::Count { scope, key, metric, delta, .. } => {
                        ((scope.as_str().to_owned(), key.to_owned(), metric.as_str().to_owned()), delta)
                    }
                    What::Funnel { funnel, step, channel, .. } => {
                        ((funnel.to_owned(), channel.unwrap_or_default().to_owned(), step.to_string()), 1)
                    }
                    _ => continue,
                };
                *counts.entry(key).or_default() += delta;
            }
        }
        counts
    }

    /// Takes events in one frame: the time after the start, and the other fields.
    fn take(&mut self, events: &[(Millis, String)]) -> Counts {
        self.take_of("u", events)
    }

    fn take_of(&mut self, shopper: &str, events: &[(Millis, String)]) -> Counts {
        let mut body = Body::cut_at(usize::MAX);
        let merchants = Merchants::new([("m", "CNY")]);
        for (after, fields) in events {
            self.events += 1;
            let time = START + after;
            let line = format!("{{\"id\":\"{}\",\"shopper\":\"{shopper}\",\"time\":{time},{fields}}}", self.events);
            let arena = bumpalo::Bump::new();
            let mut event = read(line.as_bytes(), &merchants, &arena).expect("an event").event;
            event.stamp = time;
            body.push(&event);
        }
        let mut record = Vec::new();
        body.drain(|bytes, count| record = seal(Kind::Events, START, None, count, bytes));
        self.step(&record)
    }

    /// Goes on from a snapshot.
    fn restore(&mut self) {
        let saved = self.stage.save();
        let options = StageOptions::default();
        let log = digest128(&["test", ShopperDesk::TOPIC.as_str()]);
        let restored = Stage::restore(options, &saved, log, 0, Partitions::all(1), &self.library);
        *self.stage = restored.expect("a snapshot");
    }

    fn reached(&self, bound: &str) -> u64 {
        self.stage.desk().kept().bounds_reached.into_iter().find(|(name, _)| *name == bound).expect("a bound").1
    }

    fn bytes(&self, kind: &str) -> usize {
        self.stage.desk().sizes().into_iter().find(|(name, _)| *name == kind).expect("a kind").1
    }
}

fn count(counts: &Counts, scope: &str, key: &str, metric: &str) -> i64 {
    counts.get(&(scope.to_owned(), key.to_owned(), metric.to_owned())).copied().unwrap_or_default()
}

fn late(counts: &Counts) -> i64 {
    count(counts, Scope::Merchant.as_str(), "*", Metric::Late.as_str())
}

fn pay(action: &str, order: &str, amount: u32) -> String {
    format!("\"action\":\"{action}\",\"order\":\"{order}\",\"amount\":{amount}")
}

fn visit(channel: &str) -> String {
    format!("\"action\":\"visit\",\"channel\":\"{channel}\"")
}

#[test]
fn order_beyond_the_bound_is_counted_and_then_no_longer_kept() {
    let mut world = World::new("[attribution]\norders_max = 100", 2);
    let orders: Vec<_> = (0..100).map(|n| (n, pay("order", &format!("o{n}"), 1_000))).collect();
    world.take(&orders);
    assert_eq!(late(&world.take(&[(200, pay("refund", "o0", 10))])), 0);
    assert_eq!(world.reached("orders_max"), 0);
    // The smallest goes; refunds that wait for an order are no orders.
    world.take(&[(201, pay("refund", "not-yet", 10)), (202, pay("order", "o100", 1_000))]);
    assert_eq!(world.reached("orders_max"), 1);
    world.restore();
    let counts =
        world.take(&[(203, pay("refund", "o0", 10)), (204, pay("order", "o0", 10)), (205, pay("refund", "o1", 10))]);
    assert_eq!(late(&counts), 2);
    assert_eq!(count(&counts, "merchant", "*", "refunds"), 1);
    assert_eq!(count(&counts, "merchant", "*", "gmv"), 0);
    // Also if it is the new one.
    let counts = world.take(&[(-5, pay("order", "early", 70))]);
    assert_eq!(count(&counts, "merchant", "*", "gmv"), 70);
    assert_eq!(world.reached("orders_max"), 2);
}

#[test]
fn refund_beyond_the_bound_is_late_and_nothing_else() {
    for waits in [false, true] {
        let mut world = World::new("", 2);
        let order = (0, pay("order", "o", 1_000_000));
        if !waits {
            world.take(std::slice::from_ref(&order));
        }
        let refunds: Vec<_> = (0..10_000).map(|n| (1 + n, pay("refund", "o", 1))).collect();
        world.take(&refunds);
        let counts = world.take(&[(20_000, pay("refund", "o", 500)), (20_001, pay("refund", "other", 1))]);
        assert_eq!((late(&counts), world.reached("refunds")), (1, 1), "waits: {waits}");
        assert_eq!(count(&counts, "merchant", "*", "refunded"), 0);
        assert_eq!(world.stage.desk().kept().waiting_refunds, if waits { 10_001 } else { 1 });
        world.restore();
        if waits {
            let counts = world.take(&[(20_002, order.1)]);
            assert_eq!(count(&counts, "merchant", "*", "refunds"), 10_000);
            assert_eq!(count(&counts, "merchant", "*", "refunded"), 10_000);
            assert_eq!(world.stage.desk().kept().waiting_refunds, 1);
            world.take(&[(200 * DAY, visit("later")), (200 * DAY, pay("refund", "late", 1))]);
            assert_eq!(world.stage.desk().kept().waiting_refunds, 1, "the other one has expired");
        }
    }
}

const FUNNEL: &str = "[[funnel]]\nname = \"f\"\nwithin = \"7d\"\nsteps = [\"visit\", \"follow\"]\n";

#[test]
fn oldest_attempt_ends_when_there_are_too_many() {
    let follow = [(1_000, "\"action\":\"follow\"".to_owned())];
    let visits: Vec<_> = (0..258).map(|n| (n, visit(&format!("c{n}")))).collect();
    // Behaviour 1 has no bound.
    for (behaviour, reached) in [(1, 258), (2, 256)] {
        let mut world = World::new(FUNNEL, behaviour);
        world.take(&visits);
        world.restore();
        let counts = world.take(&follow);
        let steps: Vec<_> = counts.keys().filter(|(scope, _, step)| scope == "f" && step == "2").collect();
        assert_eq!(steps.len(), reached, "behaviour {behaviour}");
        assert_eq!(count(&counts, "f", "c257", "2"), 1);
        assert_eq!(count(&counts, "f", "c1", "2"), i64::from(behaviour == 1));
        assert_eq!(world.reached("funnel_attempts"), 258 - reached as u64);
    }
    // One that is done is not open.
    let mut world = World::new(FUNNEL, 2);
    world.take(&[(0, visit("done")), (1, follow[0].1.clone())]);
    world.take(&visits[..256]);
    assert_eq!(world.reached("funnel_attempts"), 0);
    // A cohort is counted once, even if its attempts have ended.
    let counts = world.take(&[(2_000, visit("done")), (2_001, visit("c0"))]);
    assert!(counts.keys().all(|(scope, ..)| scope != "f"), "{counts:?}");
}

#[test]
fn bounds_begin_at_the_marker_of_behaviour_2() {
    let rules = format!("names_max = 2\n[attribution]\norders_max = 1\n{FUNNEL}");
    let mut world = World::new(&rules, 1);
    let before: Vec<_> = (0..300).map(|n| (n, visit(&format!("c{n}")))).collect();
    let counts = world.take(&before);
    assert_eq!(count(&counts, "channel", "c299", "visits"), 1);
    world.take(&[(300, pay("order", "a", 10)), (301, pay("order", "b", 10))]);
    assert_eq!(late(&world.take(&[(302, pay("refund", "a", 1))])), 0);
    world.marker(2, 2);
    world.restore();
    let counts = world.take(&[
        (400, visit("c7")),
        (401, visit("x")),
        (402, visit("y")),
        (403, pay("order", "c", 10)),
        (404, pay("refund", "a", 1)),
        (405, pay("refund", "b", 1)),
        (406, pay("refund", "c", 1)),
        (407, "\"action\":\"follow\"".to_owned()),
    ]);
    assert_eq!(count(&counts, "channel", "c7", "visits"), 1);
    assert_eq!(count(&counts, "channel", "*other*", "visits"), 1);
    assert_eq!(late(&counts), 2);
    // Of the attempts of behaviour 1 the latest go on.
    assert_eq!(count(&counts, "f", "c299", "2"), 1);
    assert_eq!(count(&counts, "f", "c3", "2"), 0);
}

/// A sweep between the behaviours does not forget what behaviour 1 stored.
#[test]
fn attempt_of_behaviour_1_outlives_a_sweep() {
    let mut world = World::new(FUNNEL, 1);
    world.take(&[(0, visit("c")), (1, pay("refund", "waits", 1))]);
    world.marker(2, 2);
    world.restore();
    // Other shoppers' events sweep this one.
    let other = |n: i64| (n * DAY, "\"action\":\"visit\"".to_owned());
    for n in 1..5 {
        world.take_of("v", &[other(n), other(n), other(n)]);
    }
    let counts = world.take(&[(5 * DAY, "\"action\":\"follow\"".to_owned())]);
    assert_eq!(count(&counts, "f", "c", "2"), 1);
}

#[test]
fn further_candidate_of_a_full_order_changes_no_credit() {
    let guide = "[[guide]]\nid = \"h\"\n[attribution]\nmodel = \"linear\"\ntouches_max = 3\n";
    let mut world = World::new(guide, 2);
    world.take(&[(1_000_000, pay("order", "o", 1_000_000))]);
    let touch = |n: i64, guide: &str| (n, format!("\"action\":\"visit\",\"guide\":\"{guide}\""));
    let touches: Vec<_> = (0..512).map(|n| touch(n, "g")).collect();
    world.take(&touches);
    assert_eq!(world.reached("candidates"), 0);
    let counts = world.take(&[touch(600, "h")]);
    assert_eq!((count(&counts, "guide", "h", "commission"), world.reached("candidates")), (0, 1));
}

/// Texts are freed, and their numbers given to others; every count keeps its own name.
#[test]
fn texts_end_with_their_day() {
    const TEXTS: i64 = 40_000;
    const DAYS: i64 = 12;
    let mut world = World::new("late = \"1h\"", 2);
    // An order keeps its texts.
    world.take(&[(0, format!("{},\"channel\":\"kept\",\"store\":\"k-store\"", pay("order", "o", 100)))]);
    let mut most = 0;
    for day in 0..DAYS {
        let names = |n: i64| format!("d{day}-{n}");
        let visits: Vec<_> = (0..TEXTS).map(|n| (day * DAY + n, visit(&names(n)))).collect();
        let counts = world.take(&visits);
        for n in [0, 1, TEXTS / 2, TEXTS - 1] {
            assert_eq!(count(&counts, "channel", &names(n), "visits"), 1, "{}", names(n));
        }
        let channels = counts.iter().filter(|((scope, _, metric), _)| scope == "channel" && metric == "visits");
        assert!(channels.clone().all(|(_, &n)| n == 1));
        assert_eq!(channels.map(|(_, n)| n).sum::<i64>(), TEXTS);
        most = most.max(world.bytes("texts"));
        if day == 2 {
            let after_three = world.bytes("texts");
            world.restore();
            assert!(world.bytes("texts") <= after_three);
        }
    }
    // Three days are remembered and some late texts, and at most twice as many until they are swept.
    assert!(most < 8 * TEXTS as usize * 80, "{most} bytes of texts");
    let counts = world.take(&[(DAYS * DAY + TEXTS, pay("refund", "o", 100))]);
    assert_eq!(count(&counts, "merchant", "*", "refunds"), 1);
    let counts = world.take(&[(DAYS * DAY + TEXTS + 1, format!("{},\"part\":\"deposit\"", pay("order", "o", 900)))]);
    assert_eq!(count(&counts, "channel", "kept", "gmv"), 0, "{:?}", counts.keys().take(3).collect::<Vec<_>>());
    assert_eq!(count(&counts, "store", "k-store", "orders"), 0);
    assert_eq!(world.reached("names_max"), 0);
}

#[test]
fn further_names_of_a_day_are_counted_as_other() {
    let mut world = World::new("names_max = 2\n[[code]]\nid = \"A\"\nkind = \"media\"\nchannel = \"listed\"\n", 2);
    let counts = world.take(&[
        (0, visit("listed")),
        (1, visit("a")),
        (2, visit("b")),
        (3, visit("c")),
        (4, visit("a")),
        (5, visit("listed")),
        (6, "\"action\":\"visit\",\"region\":\"r1\",\"store\":\"s1\",\"ticket\":\"t\"".to_owned()),
        (7, "\"action\":\"visit\",\"region\":\"r2\",\"store\":\"s2\"".to_owned()),
        (8, "\"action\":\"visit\",\"region\":\"r3\",\"store\":\"s3\"".to_owned()),
        (9, "\"action\":\"visit\",\"region\":\"r3\",\"store\":\"s4\"".to_owned()),
        // Another day has names of its own.
        (DAY, visit("c")),
        (DAY + 1, visit("*other*")),
    ]);
    let visits = |scope: &str, key: &str| count(&counts, scope, key, "visits");
    let channels = ["listed", "a", "b", "c", "*other*"].map(|key| visits("channel", key));
    assert_eq!(channels, [2, 2, 1, 1, 2]);
    assert_eq!(["r1", "r2", "r3", "*other*"].map(|key| visits("region", key)), [1, 1, 0, 2]);
    assert_eq!(["s1", "s2", "s3", "s4", "*other*"].map(|key| visits("store", key)), [1, 1, 0, 0, 2]);
    assert_eq!(count(&counts, "store", "*other*", "shoppers"), 1, "distinct shoppers of all further names");
    assert_eq!(world.reached("names_max"), 5);
}
