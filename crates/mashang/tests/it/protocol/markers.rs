//! Rules that change under a desk: what was, keeps its rules; what is forgotten, stays so.

use std::sync::Arc;

use domain::desk::shopper::ShopperDesk;
use domain::frame::{Body, Frame, Kind, seal};
use domain::model::address::Partitions;
use domain::model::fact::{Fact, Metric, Scope, What};
use domain::model::rulebook::{Library, Rulebook};
use domain::model::time::Millis;
use domain::protocol::stage::{BEHAVIOUR, Marker, marker_record};
use wire::event::{Merchants, read};

use super::world::stage;

const START: Millis = 1_794_326_400_000;
const MINUTE: Millis = 60_000;
const DAY: Millis = 24 * 60 * MINUTE;

/// The input of the desk.
enum In<'a> {
    /// The marker of the rules of that place, from 1.
    Rules(u32),
    /// An event: its id, its time in ms after the start, and its other fields.
    Event(&'a str, Millis, &'a str),
}
use In::{Event, Rules};

fn library(versions: &[&str]) -> Library {
    let book = |(order, more): (u32, &&str)| {
        let text = format!(
            "merchant = \"m\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\n{more}\n\
             [[store]]\nid = \"s\"\n[[guide]]\nid = \"g\"\nstore = \"s\"\n"
        );
        let mut secret = |_: wire::rules::Reference<'_>| Ok("00".repeat(32).into_bytes());
        let checked = wire::rules::read("m.toml", &text, &mut secret).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let sha256 = wire::rules::version(&wire::rules::object(&checked.rules));
        (order, Arc::new(Rulebook::new(checked.rules, order, sha256, &checked.secrets).expect("rules that work")))
    };
    (1..).zip(versions).map(book).collect()
}

fn frame(id: &str, time: Millis, rest: &str) -> Vec<u8> {
    let line = format!("{{\"id\":\"{id}\",\"shopper\":\"u\",\"time\":{time},{rest}}}");
    let arena = bumpalo::Bump::new();
    let mut event = read(line.as_bytes(), &Merchants::new([("m", "CNY")]), &arena).expect("an event").event;
    event.stamp = time;
    let mut body = Body::default();
    body.push(&event);
    let mut record = Vec::new();
    body.drain(|bytes, count| record = seal(Kind::Events, event.stamp, None, count, bytes));
    record
}

/// Gives all input to a shopper desk and returns the facts that matter here. Stamps never go back.
fn told(versions: &[&str], inputs: &[In<'_>]) -> Vec<String> {
    let library = library(versions);
    let mut stage = stage::<ShopperDesk>(0, Partitions::all(1));
    let mut told = Vec::new();
    for input in inputs {
        let record = match input {
            Rules(order) => {
                let sha256 = library[order].sha256;
                marker_record(&Marker { merchant: "m", order: *order, sha256, behaviour: BEHAVIOUR })
            }
            Event(id, after, rest) => frame(id, START + after, rest),
        };
        let mut answers = Vec::new();
        stage.step(stage.next_offset(), Millis::MAX, &record, &library, &mut answers).expect("no alarm");
        for answer in &answers {
            for fact in Frame::open(&answer.record).expect("a frame").items::<Fact<'_>>() {
                told.extend(tell(&fact.expect("a fact").what));
            }
        }
    }
    told
}

fn tell(what: &What<'_>) -> Option<String> {
    Some(match what {
        What::Posting(posting) => format!("order {} pays {}", posting.order, posting.amount),
        What::Funnel { step, .. } => format!("step {step}"),
        What::Unlocking { action, .. } => format!("unlocking by {action}"),
        What::Count { scope: Scope::Merchant, metric, delta, .. }
            if [Metric::Duplicates, Metric::Repeats, Metric::Late, Metric::Shoppers].contains(metric) =>
        {
            format!("{metric} {delta}")
        }
        _ => return None,
    })
}

const TOUCH: &str = "\"action\":\"visit\",\"guide\":\"g\"";
const VISIT: &str = "\"action\":\"visit\"";
const SCAN: &str = "\"action\":\"scan\",\"code\":\"x\"";

fn pay(action: &str, order: u32, amount: u32) -> String {
    format!("\"action\":\"{action}\",\"order\":\"{order}\",\"amount\":{amount}")
}

#[test]
fn order_keeps_the_rules_of_its_first_event() {
    let versions =
        ["[[commission]]\nrate = \"5%\"", "[[commission]]\nrate = \"8%\"\n[attribution]\nrefund_within = \"1d\""];
    let inputs = [
        Rules(1),
        Event("t", 0, TOUCH),
        Event("o1", 0, &pay("order", 1, 10_000)),
        Rules(2),
        Event("o2", 0, &pay("order", 2, 10_000)),
        Event("r1", 0, &pay("refund", 1, 4_000)),
        // A late copy of the first marker restores no earlier rules.
        Rules(1),
        Event("r2", 0, &pay("refund", 2, 4_000)),
        // The first order is kept for 90 days, the second for one.
        Event("r3", 2 * DAY, &pay("refund", 1, 1_000)),
        Event("r4", 2 * DAY, &pay("refund", 2, 1_000)),
    ];
    let wanted = [
        "shoppers 1",
        "order 1 pays 500",
        "order 2 pays 800",
        "order 1 pays -200",
        "order 2 pays -320",
        "order 1 pays -50",
        "shoppers 1",
        "late 1",
    ];
    assert_eq!(told(&versions, &inputs), wanted);
}

#[test]
fn a_funnel_that_is_defined_otherwise_begins_anew() {
    let funnel = |steps: &str| format!("[[funnel]]\nname = \"f\"\nwithin = \"7d\"\nsteps = [{steps}]");
    let (short, long) = (funnel("\"visit\", \"follow\""), funnel("\"visit\", \"join\", \"follow\", \"follow\""));
    let other = format!("{short}\n[[commission]]\nrate = \"5%\"");
    let follow = "\"action\":\"follow\"";
    let told = told(
        &[&short, &other, &long],
        &[
            Rules(1),
            Event("a", 0, VISIT),
            // The same funnel in other rules goes on.
            Rules(2),
            Event("b", 1, follow),
            Event("c", 2, VISIT),
            Rules(3),
            Event("d", 3, follow),
            Event("e", 4, VISIT),
            Event("f", 5, follow),
        ],
    );
    assert_eq!(told, ["step 1", "shoppers 1", "step 2", "step 1"]);
}

#[test]
fn earlier_rules_still_unlock_their_awards() {
    let commit = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
    let campaign = format!(
        "[[campaign]]\nid = \"w\"\nmode = \"odds\"\nfrom = 2026-11-01T00:00:00Z\nto = 2026-12-01T00:00:00Z\nbudget = 1\n\
         secret = \"file:k\"\ncommit = \"{commit}\"\n[[campaign.prize]]\nid = \"p\"\nkind = \"goods\"\nunlock = \"follow\"\n\
         [[campaign.phase]]\nodds = {{ p = \"1\" }}"
    );
    let told = told(&[&campaign, ""], &[Rules(1), Rules(2), Event("f", 0, "\"action\":\"follow\"")]);
    assert_eq!(told, ["unlocking by follow", "shoppers 1"]);
}

#[test]
fn forgotten_state_stays_forgotten_under_longer_rules() {
    let short = "late = \"1m\"\n[dedup]\nhorizon = \"10m\"\ndebounce = \"2m\"\n[attribution]\nwindow = \"10m\"\n[[commission]]\nrate = \"5%\"";
    let long = "late = \"9d\"\n[dedup]\nhorizon = \"9d\"\ndebounce = \"9d\"\n[attribution]\nwindow = \"9d\"\n[[commission]]\nrate = \"5%\"";
    let told = told(
        &[short, long],
        &[
            Rules(1),
            Event("t", 0, TOUCH),
            Event("s", 0, SCAN),
            Event("tick", 20 * MINUTE, VISIT),
            Rules(2),
            // Neither a duplicate nor a repeat, and no touch is left to earn.
            Event("t", 20 * MINUTE, VISIT),
            Event("s2", 20 * MINUTE, SCAN),
            Event("o", 20 * MINUTE, &pay("order", 1, 10_000)),
            // What comes from here on is remembered for longer.
            Event("tick", 40 * MINUTE, VISIT),
            Event("s3", 40 * MINUTE, SCAN),
        ],
    );
    assert_eq!(told, ["shoppers 1", "duplicates 1", "repeats 1"]);
}
