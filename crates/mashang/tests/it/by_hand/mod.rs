//! Cases worked out by hand from the contract, each with its workings beside it. Nothing here was ever pasted from the
//! program: a difference is a question to the contract, and the naive model has no say in it.
//!
//! - `counting`: resolved events, duplicates, counters, funnels
//! - `touches`: touches, credit and who may be paid
//! - `shares`: shares of a commission and their payees
//! - `money`: terms, refunds, pre-sales and approval
//! - `draws`: draws and awards
//! - `minted`: minted codes, moments, sealed draws, and what bounds prizes

mod counting;
mod draws;
mod minted;
mod money;
mod shares;
mod touches;

use expect_test::Expect;
use tempfile::TempDir;

use crate::program::{export, run};

/// Before every case's rules. Days are UTC days unless the case has a zone of its own.
const PRELUDE: &str = "merchant = \"acme\"\ncurrency = \"CNY\"\n";

/// After every case's rules: two stores; g-1 (gold) and g-2 in the first, g-3 in the second; a code each, and a placement.
const HOUSE: &str = r#"
[[store]]
id = "s-1"
region = "330100"
[[store]]
id = "s-2"
region = "310000"
[[guide]]
id = "g-1"
store = "s-1"
level = "gold"
[[guide]]
id = "g-2"
store = "s-1"
[[guide]]
id = "g-3"
store = "s-2"
[[code]]
id = "G1"
kind = "guide"
guide = "g-1"
[[code]]
id = "G2"
kind = "guide"
guide = "g-2"
[[code]]
id = "G3"
kind = "guide"
guide = "g-3"
[[code]]
id = "SHOP1"
kind = "store"
store = "s-1"
[[code]]
id = "MAG"
kind = "media"
channel = "magazine"
"#;

/// The secret of every draw is the bytes 0 … 31; `$secret` in a case's rules stands for these two keys.
const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SECRET_KEYS: &str = r#"secret = "file:secret.key"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd""#;

/// The headers, as section 8 words them; the expected rows below leave them out.
const HEADERS: [(&str, &str); 7] = [
    ("postings", "merchant,order,shopper,payee_kind,payee,amount,currency,approve_at,cause"),
    ("orders", "merchant,order,shopper,time,base,refunded,currency,kind,guide,store"),
    ("members", "merchant,shopper,time,guide,store"),
    ("awards", "merchant,campaign,rules,code,shopper,entry,time,drawn,awarded,prize_kind,amount,state"),
    ("counters", "merchant,scope,key,day,metric,value"),
    ("funnels", "merchant,funnel,step,action,channel,day,shoppers"),
    ("codes", "merchant,code,kind,scans,first_time,first_region"),
];

/// Runs events through the rules and holds tables against the rows worked out. What is asked for is a table's name, then
/// texts of which a row must hold one (none: all rows). The version of the rules, a hash, reads `RULES`.
fn check(rules: &str, events: &str, tables: &[(&str, Expect)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let zone = if rules.contains("time_zone") { "" } else { "time_zone = \"UTC\"\n" };
    let rules = format!("{PRELUDE}{zone}{}{HOUSE}", rules.replace("$secret", SECRET_KEYS));
    for (name, content) in [("acme.toml", rules.as_str()), ("secret.key", SECRET), ("events.ndjson", events.trim())] {
        std::fs::write(dir.path().join(name), content).expect("a file");
    }
    let summary = run(dir.path(), &["acme.toml".to_owned()], "out");
    assert_eq!(summary["accepted"], events.trim().lines().count(), "every event of a case is a good one: {summary}");
    let version = summary["rules"]["acme"].as_str().expect("a version");
    for (asked, expected) in tables {
        let mut texts = asked.split_whitespace();
        let table = texts.next().expect("a table");
        let texts: Vec<&str> = texts.collect();
        let text = export(dir.path(), "out", table);
        let (header, rows) = text.split_once('\n').expect("a header");
        assert!(HEADERS.contains(&(table, header)), "{table}: {header}");
        let rows = rows.lines().filter(|row| texts.is_empty() || texts.iter().any(|text| row.contains(text)));
        let rows: String = rows.map(|row| format!("{}\n", row.replace(version, "RULES"))).collect();
        expected.assert_eq(&rows);
    }
    dir
}
