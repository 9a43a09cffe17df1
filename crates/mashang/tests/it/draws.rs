//! Draws in numbers: exact counts of a sealed batch, and the distributions of odds and random amounts under fixed secrets.
//!
//! `MASHANG_DRAWS` says how many draws of odds and amounts there are; the default keeps a run short.

use std::sync::Arc;

use bumpalo::Bump;
use domain::desk::shopper::ShopperDesk;
use domain::frame::{Body, Kind, seal};
use domain::model::address::Partitions;
use domain::model::rules::RulesSeq;
use domain::model::rules::draw::{Input, granted_amount, winner};
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::secrets::Secrets;
use domain::model::time::Millis;
use domain::protocol::stage::{BEHAVIOUR, Marker, Stage, StageOptions, marker_record};
use wire::event::Merchants;

const DRAWS_DEFAULT: i128 = 200_000;
const BATCH: u64 = 1_000_000;

const RULES: &str = r#"
merchant = "acme"
currency = "CNY"
time_zone = "UTC"
[[batch]]
number = 7
kind = "interactive"
campaign = "bottle"
count = 1000000
secret = "file:a"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
[[campaign]]
id = "bottle"
mode = "sealed"
from = 2026-11-01T00:00:00Z
to = 2027-01-01T00:00:00Z
secret = "file:a"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
[[campaign.prize]]
id = "car"
kind = "goods"
count = 1
[[campaign.prize]]
id = "bottle"
kind = "goods"
count = 50000
[[campaign.prize]]
id = "points"
kind = "points"
amount = 5
count = 200000
[[campaign]]
id = "wheel"
mode = "odds"
from = 2026-11-01T00:00:00Z
to = 2027-01-01T00:00:00Z
secret = "file:a"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
[[campaign.prize]]
id = "a"
kind = "points"
amount = 100
amount_max = 188
[[campaign.prize]]
id = "b"
kind = "points"
amount = 1
[[campaign.prize]]
id = "c"
kind = "points"
amount = 1
[[campaign.phase]]
odds = { a = "1/10", b = "2/10", c = "3/10" }
"#;

fn book() -> Rulebook {
    let secret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let checked = wire::rules::read("rules.toml", RULES, &mut |_| Ok(secret.into())).expect("rules");
    Rulebook::new(checked.rules, RulesSeq::FIRST, [0; 32], &checked.secrets).expect("rules that work")
}

#[test]
fn sealed_batch_of_a_million_has_exact_counts() {
    let book = book();
    let sealed = book.campaigns[0].sealed.as_ref().expect("a sealed draw");
    let mut drawn = [0; 4];
    for serial in 0..BATCH {
        drawn[sealed.prize(serial).unwrap_or(3)] += 1;
    }
    assert_eq!(drawn, [1, 50_000, 200_000, 749_999]);
}

/// Pearson's statistic of `found` against `weights`, compared with `limit` in thousandths: sum of (found - expected)² / expected.
fn fits(found: &[i128], weights: &[i128], limit: i128) -> bool {
    let (n, whole): (i128, i128) = (found.iter().sum(), weights.iter().sum());
    // Each term is (whole × found - n × weight)² / (whole × n × weight), here in thousandths.
    let terms = found.iter().zip(weights).map(|(o, w)| (whole * o - n * w).pow(2) * 1_000 / (whole * n * w));
    terms.sum::<i128>() < limit
}

/// The limits are those that a fair draw passes with a probability of 1 in 1,000.
#[test]
fn odds_and_amounts_are_distributed_as_stated() {
    let draws = std::env::var("MASHANG_DRAWS").map_or(DRAWS_DEFAULT, |n| n.parse().expect("a number of draws"));
    let book = book();
    let (campaign, terms) = (&book.rules.campaigns[1], &book.campaigns[1]);
    let key = terms.key.as_ref().expect("a key");
    let mut prizes = [0_i128; 4];
    let mut amounts = [0_i128; 89];
    let mut sum = 0;
    for draw in 0..draws {
        let shopper = format!("u{draw}");
        let input = Input { campaign: "wheel", code: "MAG-7", entry: Some((&shopper, 1)) };
        prizes[winner(key.odds(input), &terms.thresholds[0]).unwrap_or(3)] += 1;
        let amount = granted_amount(&campaign.prizes[0], || key.amount("a", input)).expect("an amount");
        amounts[usize::try_from(amount - 100).expect("at least 100")] += 1;
        sum += i128::from(amount);
    }
    assert!(fits(&prizes, &[1, 2, 3, 4], 16_266), "{prizes:?}");
    assert!(fits(&amounts, &[1; 89], 132_277), "{amounts:?}");
    // The mean is 144. The variance of one amount is (89² - 1) / 12 = 660: the mean is off by at most 3.3 of its own deviations.
    assert!((sum - 144 * draws).pow(2) < 660 * draws * 11, "{sum}");
}

/// A process that lacks the secret of a batch cannot say which codes are forged: its partition stops, and no record is set aside,
/// because another process applies it.
#[test]
fn partition_without_the_secret_of_a_batch_stops() {
    let checked = book();
    let sha256 = [7; 32];
    let without = Rulebook::new(checked.rules, RulesSeq::FIRST, sha256, &Secrets::default());
    let library: Library = [(RulesSeq::FIRST, Arc::new(without.expect("rules that work")))].into();
    let mut stage = Stage::new(StageOptions::default(), ShopperDesk::default(), 1, 0, Partitions::all(1));
    let marker = marker_record(&Marker { merchant: "acme", seq: RulesSeq::FIRST, sha256, behaviour: BEHAVIOUR });
    stage.step(0, Millis::MAX, &marker, &library, &mut Vec::new()).expect("a marker");
    let arena = Bump::new();
    let merchants = Merchants::new([("acme", "CNY")]);
    let text = br#"{"id":"1","action":"visit","shopper":"u1","time":1794326400000}"#;
    let mut body = Body::default();
    body.push(&wire::event::read(text, &merchants, &arena).expect("an event").event);
    let mut record = Vec::new();
    body.drain(|bytes, count| record = seal(Kind::Events, 0, None, count, bytes));
    let mut answers = Vec::new();
    let stopped = stage.step(1, Millis::MAX, &record, &library, &mut answers).expect_err("it stops");
    let wanted = "batch 7 of acme: the secret of rules 070707070707 is not found; restore what file:a names";
    assert!(stopped.to_string().contains(wanted), "{stopped}");
    assert!(answers.is_empty());
}
