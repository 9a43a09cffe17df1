//! Small runs of the naive model, worked out by hand from the contract. Tokens, moments and amounts are made by Python and openssl.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use sim::naive::{self, Outcome};

fn run(rules: &str, lines: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
    write("m.toml", &format!("merchant = \"m\"\ncurrency = \"CNY\"\ntime_zone = \"Asia/Shanghai\"\n{rules}"));
    write("ones.key", &"01".repeat(32));
    write("twos.key", &"02".repeat(32));
    let versions = BTreeMap::from([("m".to_owned(), "v".to_owned())]);
    let lines: Vec<String> = lines.iter().map(|line| format!("{{{line}}}")).collect();
    naive::run(dir.path(), &[PathBuf::from("m.toml")], &versions, &lines)
}

const ITEMS: &str = r#"
[[store]]
id = "s1"
region = "330100"
[[guide]]
id = "g1"
store = "s1"
shopper = "boss"
[[batch]]
number = 7
kind = "sales"
campaign = "wheel"
count = 10
gtin = "06901234567892"
activate = "ranges"
secret = "file:twos.key"
[[range]]
batch = 7
from = 0
to = 5
store = "s1"
region = "33"
[[range]]
batch = 7
from = 5
to = 6
state = "frozen"
[[range]]
batch = 7
from = 9
to = 10
guide = "g1"
[[campaign]]
id = "wheel"
mode = "odds"
from = 2026-11-01T00:00:00+08:00
to = 2027-01-01T00:00:00+08:00
secret = "file:ones.key"
[[campaign.prize]]
id = "red"
kind = "cash"
amount = 100
amount_max = 300
stock_day = 1
else = "pts"
[[campaign.prize]]
id = "pts"
kind = "points"
amount = 5
[[campaign.phase]]
odds = { "red" = "1" }
"#;

const EVENTS: [&str; 13] = [
    // Serial 0: red, of 289. One millisecond before midnight.
    r#""id":"1","action":"scan","shopper":"u1","time":"2026-11-10T23:59:59.999+08:00","code":"0007NTHH094GE8072R7J","region":"330106""#,
    // Serial 1, diverted: today's red is granted, so points.
    r#""id":"2","action":"scan","shopper":"u2","time":"2026-11-10T23:59:59.999+08:00","code":"000759kym9s3r3b05pr7","region":"310000""#,
    // Serial 2, with dashes and an O: a new day's red, of 268.
    r#""id":"3","action":"scan","shopper":"u2","time":"2026-11-11T00:00:00+08:00","code":"https://m.example/c/OOO76-07ESX-0ZAZ4-C4939""#,
    // Serial 5 is frozen, serial 6 dark.
    r#""id":"4","action":"scan","shopper":"u3","time":"2026-11-11T00:00:01+08:00","code":"0007CSPQ0NKWKY9J3YFJ""#,
    r#""id":"5","action":"scan","shopper":"u3","time":"2026-11-11T00:00:02+08:00","code":"0007XXRNHNVMSWH79ZP1""#,
    // Serial 10 of ten; serial 0 on another product.
    r#""id":"6","action":"scan","shopper":"u3","time":"2026-11-11T00:00:03+08:00","code":"0007R2T7Y0FH759CX5TJ""#,
    r#""id":"7","action":"scan","shopper":"u3","time":"2026-11-11T00:00:04+08:00","code":"https://m.example/01/06901234567885/21/0007NTHH094GE8072R7J""#,
    // Serial 0 on its own product is u1's: entry 1 of u3, and no draw.
    r#""id":"8","action":"scan","shopper":"u3","time":"2026-11-11T00:00:05+08:00","code":"https://m.example/01/06901234567892/21/0007NTHH094GE8072R7J""#,
    // Serial 9 went to the guide: excluded, and consumes nothing. Then entry 2 of u1: points.
    r#""id":"9","action":"scan","shopper":"boss","time":"2026-11-11T00:00:06+08:00","code":"0007TG0X22HP6TN9WCP1""#,
    r#""id":"10","action":"scan","shopper":"u1","time":"2026-11-11T00:00:07+08:00","code":"0007TG0X22HP6TN9WCP1""#,
    // The state is asked of scans only; a forged code is as an unknown one elsewhere.
    r#""id":"11","action":"follow","shopper":"u3","time":"2026-11-11T00:00:08+08:00","code":"0007CSPQ0NKWKY9J3YFJ""#,
    r#""id":"12","action":"claim","shopper":"u3","time":"2026-11-11T00:00:09+08:00","code":"0007R2T7Y0FH759CX5TJ","ticket":"t""#,
    // A token of batch 9, which this merchant does not have.
    r#""id":"13","action":"scan","shopper":"u1","time":"2026-11-11T00:00:10+08:00","code":"00093ASB92D1KNKM4DND""#,
];

fn rows(outcome: &Outcome, table: &str, with: &str) -> Vec<String> {
    outcome.tables[table].lines().skip(1).filter(|row| row.starts_with(with)).map(str::to_owned).collect()
}

#[test]
fn minted_codes_draw_as_worked_out() {
    let outcome = run(ITEMS, &EVENTS);
    let wanted = [
        "m,wheel,v,7:0,u1,1,2026-11-10T15:59:59.999Z,red,red,cash,289,granted",
        "m,wheel,v,7:1,u2,1,2026-11-10T15:59:59.999Z,red,pts,points,5,granted",
        "m,wheel,v,7:2,u2,2,2026-11-10T16:00:00.000Z,red,red,cash,268,granted",
        "m,wheel,v,7:9,u1,2,2026-11-10T16:00:07.000Z,red,pts,points,5,granted",
    ];
    assert_eq!(rows(&outcome, "awards", ""), wanted);
    let wanted = [
        "m,7:0,sales,2,2026-11-10T15:59:59.999Z,330106",
        "m,7:1,sales,1,2026-11-10T15:59:59.999Z,310000",
        "m,7:2,sales,1,2026-11-10T16:00:00.000Z,33",
        "m,7:5,sales,1,2026-11-10T16:00:01.000Z,",
        "m,7:6,sales,1,2026-11-10T16:00:02.000Z,",
        "m,7:9,sales,2,2026-11-10T16:00:06.000Z,330100",
    ];
    assert_eq!(rows(&outcome, "codes", ""), wanted);
}

#[test]
fn minted_codes_count_as_worked_out() {
    let outcome = run(ITEMS, &EVENTS);
    let of = |scope: &str, day: &str| -> Vec<String> {
        let start = format!("m,{scope},{day},");
        rows(&outcome, "counters", &start).iter().map(|row| row[start.len()..].to_owned()).collect()
    };
    let wanted = ["diverted,1", "entries,2", "interactions,2", "prize_cash,289", "scans,2", "shoppers,2", "wins,2"];
    assert_eq!(of("merchant,*", "2026-11-10"), wanted);
    let wanted = [
        "claims,1",
        "entries,3",
        "follows,1",
        "forged,2",
        "inactive,2",
        "interactions,6",
        "prize_cash,268",
        "scans,7",
        "shoppers,4",
        "unknown,1",
        "wins,2",
    ];
    assert_eq!(of("merchant,*", "2026-11-11"), wanted);
    assert_eq!(of("kind,forged", "2026-11-11"), ["forged,2"]);
    assert_eq!(of("kind,unknown", "2026-11-11"), ["claims,1", "scans,1", "unknown,1"]);
    assert_eq!(of("guide,g1", "2026-11-11"), ["entries,1", "interactions,2", "scans,2", "shoppers,2"]);
}

/// Moments by golden values: big at 1014016 and 1014191, small at 1023130, 1067204 and 1086246 ms.
#[test]
fn moments_go_to_the_next_entries() {
    let rules = r#"
[[code]]
id = "LIVE"
kind = "media"
campaign = "live"
[[campaign]]
id = "live"
mode = "moments"
from = 1970-01-01T00:16:40Z
to = 1970-01-01T00:18:20Z
secret = "file:ones.key"
[[campaign.prize]]
id = "big"
kind = "goods"
count = 2
stock = 1
[[campaign.prize]]
id = "small"
kind = "coupon"
ticket = "half"
count = 3
"#;
    let times = [1_014_015, 1_014_016, 1_014_190, 1_014_191, 1_014_191, 1_070_000, 1_070_000, 1_086_246, 1_099_999];
    let lines: Vec<String> = (0..)
        .zip(times)
        .map(|(id, time)| format!(r#""id":"{id}","action":"scan","shopper":"u","time":{time},"code":"LIVE""#))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let wanted = [
        "m,live,v,LIVE,u,2,1970-01-01T00:16:54.016Z,big,big,goods,,granted",
        // No stock, and yet the moment is used up: the fifth entry draws nothing.
        "m,live,v,LIVE,u,4,1970-01-01T00:16:54.191Z,big,thanks,,,thanks",
        "m,live,v,LIVE,u,6,1970-01-01T00:17:50.000Z,small,small,coupon,,granted",
        "m,live,v,LIVE,u,7,1970-01-01T00:17:50.000Z,small,small,coupon,,granted",
        "m,live,v,LIVE,u,8,1970-01-01T00:18:06.246Z,small,small,coupon,,granted",
    ];
    assert_eq!(rows(&run(rules, &lines), "awards", ""), wanted);
}

/// The results by id.
fn results(outcome: Outcome) -> BTreeMap<String, Value> {
    outcome.results.into_iter().map(|result| (result.id, result.told)).collect()
}

fn check(found: &BTreeMap<String, Value>, wanted: &[(&str, Value)]) {
    for (id, told) in wanted {
        assert_eq!(found.get(*id), Some(told), "the result of {id}");
    }
    assert_eq!(found.len(), wanted.len(), "every scan has one result: {found:?}");
}

fn refused(campaign: Option<&str>, why: &str) -> Value {
    json!({"state": "counted", "draw": {"campaign": campaign, "result": why}})
}

#[test]
fn minted_codes_are_told_as_worked_out() {
    let prize = |prize, kind, amount| {
        json!({"state": "entered", "draw": {
            "campaign": "wheel", "result": "prize", "prize": prize, "kind": kind, "amount": amount}})
    };
    let counted = || json!({"state": "counted"});
    let claimed = json!({"time": "2026-11-10T15:59:59.999Z", "region": "330106"});
    let wanted = [
        ("1", prize("red", "cash", 289)),
        // No stock of the day: the result is the else, not what was drawn.
        ("2", prize("pts", "points", 5)),
        ("3", prize("red", "cash", 268)),
        ("4", refused(Some("wheel"), "inactive")),
        // Dark, forged twice, and another merchant's: all alike.
        ("5", counted()),
        ("6", counted()),
        ("7", counted()),
        (
            "8",
            json!({"state": "entered", "draw": {"campaign": "wheel", "result": "already-claimed", "claimed": claimed}}),
        ),
        ("9", refused(Some("wheel"), "excluded")),
        ("10", prize("pts", "points", 5)),
        ("13", counted()),
    ];
    check(&results(run(ITEMS, &EVENTS)), &wanted);
}

/// Campaigns that refuse, one item of each; `DRAW` is a medium of a campaign that draws without end.
const REFUSALS: &str = r#"
[dedup]
debounce = "10s"
[[code]]
id = "FREE"
kind = "sales"
[[code]]
id = "PLAIN"
kind = "media"
[[code]]
id = "SOON"
kind = "sales"
campaign = "soon"
[[code]]
id = "OVER"
kind = "sales"
campaign = "over"
[[code]]
id = "HERE"
kind = "sales"
campaign = "here"
[[code]]
id = "DRAW"
kind = "media"
campaign = "here"
[[campaign]]
id = "soon"
mode = "odds"
from = 2026-11-12T00:00:00Z
to = 2026-11-13T00:00:00Z
secret = "file:ones.key"
[[campaign]]
id = "over"
mode = "odds"
from = 2026-11-10T00:00:00Z
to = 2026-11-11T00:00:00Z
secret = "file:ones.key"
[[campaign]]
id = "here"
mode = "odds"
from = 2026-11-11T00:00:00Z
to = 2026-11-12T00:00:00Z
areas = ["33"]
limit_total = 3
secret = "file:ones.key"
[[campaign.prize]]
id = "car"
kind = "goods"
stock = 1
else = "cup"
unlock = "order"
[[campaign.prize]]
id = "cup"
kind = "coupon"
ticket = "cup"
stock = 1
[[campaign.phase]]
entries = "1..2"
odds = { "car" = "1" }
"#;

#[test]
fn refusals_and_repeats_are_told_as_worked_out() {
    let scan = |id: &str, shopper: &str, second: u32, code: &str, more: &str| {
        let time = format!("2026-11-11T00:00:{second:02}Z");
        format!(r#""id":"{id}","action":"scan","shopper":"{shopper}","time":"{time}","code":"{code}"{more}"#)
    };
    let (here, away) = (r#","region":"330100""#, r#","region":"310000""#);
    let lines = [
        scan("free", "u1", 0, "FREE", ""),
        scan("plain", "u1", 0, "PLAIN", ""),
        scan("unknown", "u1", 0, "NONE", ""),
        scan("soon", "u1", 0, "SOON", ""),
        scan("over", "u1", 0, "OVER", ""),
        // Away or nowhere is no entry, so the code is still u1's to claim.
        scan("away", "u1", 0, "HERE", away),
        scan("nowhere", "u2", 0, "HERE", ""),
        scan("first", "u1", 10, "HERE", here),
        scan("near", "u1", 19, "HERE", here),
        scan("second", "u2", 20, "HERE", here),
        // The earlier entry's answer again; but out of the area comes first.
        scan("again", "u1", 20, "HERE", here),
        scan("again away", "u1", 30, "HERE", away),
        scan("second again", "u2", 30, "HERE", here),
        // Entries 2 to 4 of u1: the else of the prize that is gone, no phase, the limit. Keyless it draws nothing.
        scan("else", "u1", 31, "DRAW", here),
        scan("keyless", "u1", 41, "DRAW", r#","region":"330100","keyless":true"#),
        scan("thanks", "u1", 51, "DRAW", here),
        // Entry 2 of u2 draws what is gone, and its else is gone too.
        scan("gone", "u2", 51, "DRAW", here),
        // The same delivery again has no result of its own.
        scan("thanks", "u1", 51, "DRAW", here),
    ];
    let last =
        r#""id":"limit","action":"scan","shopper":"u1","time":"2026-11-11T00:02:00Z","code":"DRAW","region":"33""#;
    let limited = r#""id":"again for all","action":"scan","shopper":"u1","time":"2026-11-11T00:02:00Z","code":"HERE","region":"33""#;
    let lines: Vec<&str> = lines.iter().map(String::as_str).chain([last, limited]).collect();
    let told = |state: &str, mut draw: Value, again: bool| {
        draw["campaign"] = json!("here");
        if again {
            draw["again"] = json!(true);
        }
        json!({"state": state, "draw": draw})
    };
    // A locked prize reads as any other.
    let car = || json!({"result": "prize", "prize": "car", "kind": "goods"});
    let claimed =
        || json!({"result": "already-claimed", "claimed": {"time": "2026-11-11T00:00:10.000Z", "region": "330100"}});
    let counted = || json!({"state": "counted"});
    let wanted = [
        ("free", refused(None, "no-campaign")),
        ("plain", counted()),
        ("unknown", counted()),
        ("soon", refused(Some("soon"), "not-started")),
        ("over", refused(Some("over"), "ended")),
        ("away", refused(Some("here"), "out-of-area")),
        ("nowhere", refused(Some("here"), "out-of-area")),
        ("first", told("entered", car(), false)),
        ("near", json!({"state": "repeat"})),
        ("second", told("entered", claimed(), false)),
        ("again", told("counted", car(), true)),
        ("again away", refused(Some("here"), "out-of-area")),
        ("second again", told("counted", claimed(), true)),
        ("else", told("entered", json!({"result": "prize", "prize": "cup", "kind": "coupon"}), false)),
        ("keyless", counted()),
        ("thanks", told("entered", json!({"result": "thanks"}), false)),
        ("gone", told("entered", json!({"result": "thanks"}), false)),
        ("limit", refused(Some("here"), "limit")),
        // That a code was entered before comes before the limit.
        ("again for all", told("counted", car(), true)),
    ];
    let outcome = run(REFUSALS, &lines);
    assert!(rows(&outcome, "awards", "m,here,v,HERE,u1")[0].ends_with(",car,car,goods,,locked"));
    check(&results(outcome), &wanted);
}
