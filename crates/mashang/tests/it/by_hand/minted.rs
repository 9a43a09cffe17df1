//! Minted codes and what their draws are bounded by, worked out by hand from sections 3 and 6 of the contract.

use std::collections::BTreeMap;
use std::fmt::Write;

use expect_test::expect;

use super::check;
use crate::program::{done, export, run};

/// A campaign that always draws `red`.
const RED: &str = r#"
[[code]]
id = "MAG7"
kind = "media"
campaign = "wheel"
[[campaign]]
id = "wheel"
mode = "odds"
from = 2026-11-01T00:00:00Z
to = 2027-01-01T00:00:00Z
$secret
$bounds
[[campaign.prize]]
id = "red"
kind = "cash"
amount = 100
else = "pts"
$stock
[[campaign.prize]]
id = "pts"
kind = "points"
amount = 5
stock = 2
[[campaign.phase]]
odds = { "red" = "1/1" }
"#;

/// Five shoppers, in Shanghai: three in the last second of 2 November, two in the first of 3 November.
const FIVE: &str = r#"
{"id":"1","action":"scan","shopper":"u1","time":"2026-11-02T15:59:59Z","code":"MAG7"}
{"id":"1","action":"scan","shopper":"u2","time":"2026-11-02T15:59:59Z","code":"MAG7"}
{"id":"1","action":"scan","shopper":"u3","time":"2026-11-02T15:59:59.999Z","code":"MAG7"}
{"id":"1","action":"scan","shopper":"u4","time":"2026-11-02T16:00:00Z","code":"MAG7"}
{"id":"1","action":"scan","shopper":"u5","time":"2026-11-02T16:00:00Z","code":"MAG7"}
"#;

fn awarded(bounds: &str, stock: &str) -> Vec<String> {
    let rules = format!("time_zone = \"Asia/Shanghai\"\n{RED}").replace("$bounds", bounds).replace("$stock", stock);
    let dir = check(&rules, FIVE, &[]);
    let table = export(dir.path(), "out", "awards");
    let rows = table.lines().skip(1).map(|row| row.split(',').nth(8).expect("awarded").to_owned());
    rows.collect()
}

#[test]
fn stock_and_budget_are_exact_at_their_ends() {
    assert_eq!(awarded("budget = 1000", "stock = 1"), ["red", "pts", "pts", "thanks", "thanks"]);
    // 299 is one short of three prizes.
    assert_eq!(awarded("budget = 299", ""), ["red", "red", "pts", "pts", "thanks"]);
    assert_eq!(awarded("budget = 300", ""), ["red", "red", "red", "pts", "pts"]);
    // The day of the merchant ends at 16:00 UTC.
    assert_eq!(awarded("budget_day = 199", "stock = 9"), ["red", "pts", "pts", "red", "thanks"]);
    assert_eq!(awarded("budget = 1000", "stock_day = 2"), ["red", "red", "pts", "red", "red"]);
    assert_eq!(awarded("budget = 399\nbudget_day = 200", ""), ["red", "red", "pts", "red", "pts"]);
}

/// Moments, with v of the secret 00 01 … 1f, from + floor(v x 3,600,000 ms / 2^64):
///   python3 -c 'import hmac; [print(i, int.from_bytes(hmac.digest(bytes(range(32)),
///     b"moment\x1fhour\x1f%s\x1f%d" % (p, i), "sha256")[:8]) * 3600000 >> 64) for p in (b"cup", b"tea") for i in range(2)]'
#[test]
fn moments_go_to_the_next_entries() {
    let rules = r#"
[[code]]
id = "LIVE"
kind = "media"
campaign = "hour"
[[campaign]]
id = "hour"
mode = "moments"
from = 2026-11-11T12:00:00Z
to = 2026-11-11T13:00:00Z
limit_wins = 1
$secret
[[campaign.prize]]
id = "cup"
kind = "goods"
count = 2
[[campaign.prize]]
id = "tea"
kind = "coupon"
ticket = "tea"
count = 2
"#;
    // In ms after noon: cup 3,412,471 and 899,814; tea 2,102,814 and 1,853,098.
    let scans = [
        ("u1", 899_813),   // before the first moment
        ("u2", 899_814),   // cup 1
        ("u3", 2_200_000), // tea 1, the earlier of two that are open
        ("u2", 2_200_001), // tea 0, used up although u2 has won all that a shopper may
        ("u4", 2_200_002), // none is left
        ("u4", 3_599_999), // cup 0
    ];
    let mut events = String::new();
    for (id, (shopper, ms)) in scans.into_iter().enumerate() {
        let time = 1_794_398_400_000_i64 + ms;
        let _ =
            writeln!(events, r#"{{"id":"{id}","action":"scan","shopper":"{shopper}","time":{time},"code":"LIVE"}}"#);
    }
    check(
        rules,
        &events,
        &[(
            "awards",
            expect![[r#"
                acme,hour,RULES,LIVE,u2,1,2026-11-11T12:14:59.814Z,cup,cup,goods,,granted
                acme,hour,RULES,LIVE,u2,2,2026-11-11T12:36:40.001Z,tea,thanks,,,thanks
                acme,hour,RULES,LIVE,u3,1,2026-11-11T12:36:40.000Z,tea,tea,coupon,,granted
                acme,hour,RULES,LIVE,u4,2,2026-11-11T12:59:59.999Z,cup,cup,goods,,granted
            "#]],
        )],
    );
}

const BATCH: &str = r#"
[[batch]]
number = 7
kind = "interactive"
campaign = "bottle"
count = 1000
url = "https://m.example/c/"
secret = "file:secret.key"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
[[campaign]]
id = "bottle"
mode = "sealed"
from = 2026-11-01T00:00:00Z
to = 2027-01-01T00:00:00Z
$secret
[[campaign.prize]]
id = "case"
kind = "goods"
count = 1
[[campaign.prize]]
id = "bottle"
kind = "goods"
count = 50
[[campaign.prize]]
id = "points"
kind = "points"
amount = 5
amount_max = 9
count = 200
"#;

/// A batch is scanned whole, in an order without a pattern, each code by two shoppers: exactly the stated counts are drawn,
/// and the table of awards can be recomputed from the rules and the secret alone.
#[test]
fn sealed_batch_scanned_whole_draws_exact_counts() {
    let dir = check(BATCH, r#"{"id":"0","action":"visit","shopper":"u0","time":"2026-11-01T00:00:00Z"}"#, &[]);
    let minted = done(dir.path(), &["mint", "--rules", "acme.toml", "--batch", "7"]);
    let tokens: Vec<&str> = minted.lines().skip(1).map(|row| row.split(',').nth(1).expect("a token")).collect();
    assert_eq!(tokens.len(), 1_000);
    let mut events = String::new();
    for i in 0..2_000 {
        let (token, shopper) = (tokens[i * 617 % 1_000], i * 31 % 97);
        let time = 1_793_577_600_000_i64 + i64::try_from(i).expect("small") * 1_000;
        let _ = writeln!(
            events,
            r#"{{"id":"e{i}","action":"scan","shopper":"u{shopper}","time":{time},"code":"https://m.example/c/{token}"}}"#
        );
    }
    std::fs::write(dir.path().join("events.ndjson"), events).expect("a file");
    run(dir.path(), &["acme.toml".to_owned()], "out");
    let awards = export(dir.path(), "out", "awards");
    let mut drawn: BTreeMap<&str, u32> = BTreeMap::new();
    for row in awards.lines().skip(1) {
        *drawn.entry(row.split(',').nth(7).expect("drawn")).or_default() += 1;
    }
    assert_eq!(drawn, BTreeMap::from([("bottle", 50), ("case", 1), ("points", 200)]));
    let codes = export(dir.path(), "out", "codes");
    assert_eq!(codes.lines().filter(|row| row.contains(",interactive,2,")).count(), 1_000);
    std::fs::write(dir.path().join("awards.csv"), awards).expect("a file");
    done(
        dir.path(),
        &[
            "draw",
            "verify",
            "--rules",
            "acme.toml",
            "--campaign",
            "bottle",
            "--secret",
            "secret.key",
            "--awards",
            "awards.csv",
        ],
    );
}
