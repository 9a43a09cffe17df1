//! `draw verify` of sealed campaigns and moments.

use std::path::Path;

use data_encoding::HEXLOWER;
use domain::model::token::BatchKeys;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::draws::{COMMIT, SECRET, read, write};
use crate::cli::{rules_files, shop};
use crate::program::{done, export, mashang, run};

/// The published object of rules with a sealed campaign over 1,000 codes, and one of moments.
pub(super) fn sealed(dir: &Path, codes: u64) {
    let campaign = |id: &str, mode: &str, prizes: &Value| {
        json!({
            "id": id, "from": 1_794_326_400_000_i64, "to": 1_794_412_800_000_i64, "areas": [], "limit_total": null,
            "limit_day": null, "limit_wins": null, "budget": null, "landing": null, "secret": "file:shown.key",
            "commit": COMMIT, "prizes": prizes, "phases": [], "mode": mode,
        })
    };
    let prize = |id: &str, kind: &str, count: u64, amounts: [Option<i64>; 2]| {
        json!({
            "id": id, "kind": kind, "amount": amounts[0], "ticket": null, "stock": null, "unlock": null, "otherwise": null,
            "count": count, "amount_max": amounts[1],
        })
    };
    let rules = json!({
        "merchant": "acme", "currency": "CNY", "time_zone": "Asia/Shanghai", "late_ms": 0,
        "dedup": {"horizon_minutes": 1, "debounce_ms": 0},
        "attribution": {"window_ms": 0, "model": "last", "protect_ms": 0, "members": "all", "refund_within_ms": 0, "touches_max": 1},
        "commissions": [], "stores": [], "guides": [], "funnels": [],
        "codes": [{"id": "LIVE", "kind": "media", "guide": null, "store": null, "campaign": "hour", "channel": null}],
        "campaigns": [
            campaign("bottle", "sealed", &json!([
                prize("bottle", "goods", 5, [None, None]), prize("points", "points", 10, [Some(5), Some(9)]),
            ])),
            campaign("hour", "moments", &json!([prize("cash", "cash", 3, [Some(100), Some(200)])])),
        ],
        "batches": [{
            "number": 7, "kind": "interactive", "count": codes, "campaign": "bottle", "gtin": null, "url": null,
            "secret": "file:shown.key", "commit": COMMIT, "alarm_shoppers": null, "activate": "all", "guide": null,
            "store": null, "channel": null,
        }],
    });
    let rules = serde_json::from_value::<domain::model::rules::Rules>(rules).expect("rules");
    std::fs::write(dir.join("rules.json"), wire::rules::object(&rules)).expect("a file");
    write(dir, "shown.key", SECRET);
    write(dir, "awards.csv", "merchant,campaign,rules,code,shopper,entry,time,drawn,awarded,prize_kind,amount,state\n");
}

pub(super) const SEALED: [&str; 10] = [
    "draw",
    "verify",
    "--rules",
    "rules.json",
    "--campaign",
    "bottle",
    "--secret",
    "shown.key",
    "--awards",
    "awards.csv",
];

/// Gives every winning code a row, with the amounts that `amount` says.
pub(super) fn claim_all(dir: &Path) -> String {
    let version = HEXLOWER.encode(&Sha256::digest(read(dir, "rules.json")))[..12].to_owned();
    let mut rows = read(dir, "awards.csv");
    for (n, line) in done(dir, &SEALED).lines().enumerate() {
        let (code, prize) = line.strip_prefix("no row: ").and_then(|line| line.split_once(": ")).expect("a code");
        let (kind, amount) = if prize == "bottle" { ("goods", "") } else { ("points", "4") };
        rows.push_str(&format!(
            "acme,bottle,{version},{code},u{n},1,2026-11-11T00:00:00.000Z,{prize},{prize},{kind},{amount},granted\n"
        ));
    }
    write(dir, "awards.csv", &rows);
    // 4 is below the least amount: what it should be is in each message.
    let output = mashang(dir, &SEALED);
    assert_eq!(output.status.code(), Some(1));
    for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
        let (head, amount) = line.split_once("amount 4, should be ").expect("an amount");
        let code = head.split(' ').nth(2).expect("a code");
        assert!((5..=9).contains(&amount.parse::<i64>().expect("a number")), "{line}");
        let row = rows.lines().find(|row| row.contains(&format!(",{code},"))).expect("a row").to_owned();
        rows = rows.replace(&row, &row.replace(",4,granted", &format!(",{amount},granted")));
    }
    write(dir, "awards.csv", &rows);
    rows
}

#[test]
fn sealed_winning_codes_are_listed_until_they_have_rows() {
    let dir = tempfile::tempdir().expect("a directory");
    sealed(dir.path(), 1_000);
    let listed = done(dir.path(), &SEALED);
    let count = |prize: &str| listed.lines().filter(|line| line.ends_with(prize)).count();
    assert_eq!((count(": bottle"), count(": points"), listed.lines().count()), (5, 10, 15));
    let rows = claim_all(dir.path());
    assert_eq!(done(dir.path(), &SEALED), "");
    // A losing code, a code of another batch, and a prize that is not the code's.
    let (winner, prize) = listed.lines().next().and_then(|l| l["no row: ".len()..].split_once(": ")).expect("a code");
    let loser = (0..).map(|n| format!("7:{n}")).find(|code| !listed.contains(&format!("{code}:"))).expect("a loser");
    let other = if prize == "bottle" { "points" } else { "bottle" };
    for (from, to, wanted) in [
        (format!(",{winner},"), format!(",{loser},"), format!("line 2: {loser} u0: drawn {prize}, should be -\n")),
        (format!(",{winner},"), ",8:0,".to_owned(), format!("line 2: 8:0 u0: drawn {prize}, should be - (")),
        (format!("{prize},{prize},"), format!("{other},{other},"), format!("u0: drawn {other}, should be {prize}\n")),
    ] {
        write(dir.path(), "awards.csv", &rows.replacen(&from, &to, 1));
        let output = mashang(dir.path(), &SEALED);
        let found = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.code() == Some(1) && found.contains(&wanted), "{wanted}: {found}");
        let is_listed = found.contains(&format!("no row: {winner}: {prize}\n"));
        assert_eq!(is_listed, from.starts_with(",7:"), "{found}");
    }
    let code = [&SEALED[..8], &["--code", winner]].concat();
    assert_eq!(done(dir.path(), &code), format!("{prize}\n"));
    assert_eq!(done(dir.path(), &[&SEALED[..8], &["--code", &loser]].concat()), "-\n");
}

#[test]
fn moments_need_the_log_but_their_amounts_do_not() {
    let dir = tempfile::tempdir().expect("a directory");
    sealed(dir.path(), 1_000);
    let version = HEXLOWER.encode(&Sha256::digest(read(dir.path(), "rules.json")))[..12].to_owned();
    let header = read(dir.path(), "awards.csv");
    let row = |amount: &str| {
        format!("{header}acme,hour,{version},LIVE,u1,1,2026-11-11T00:00:00.000Z,cash,cash,cash,{amount},granted\n")
    };
    write(dir.path(), "awards.csv", &row("99"));
    let args = SEALED.map(|arg| if arg == "bottle" { "hour" } else { arg });
    let output = mashang(dir.path(), &args);
    let found = String::from_utf8(output.stdout).expect("UTF-8");
    let amount = found.strip_prefix("line 2: LIVE u1: amount 99, should be ").expect("an amount").trim_end();
    write(dir.path(), "awards.csv", &row(amount));
    let output = mashang(dir.path(), &args);
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("give --log FILE"));
    let code = [&args[..8], &["--code", "LIVE", "--shopper", "u1", "--entry", "1"]].concat();
    assert_eq!(mashang(dir.path(), &code).status.code(), Some(2));
}

/// A campaign in TOML, its tokens minted, scanned and drawn: all the way round.
#[test]
fn sealed_campaign_of_a_run_verifies() {
    let rules = format!(
        r#"
merchant = "acme"
currency = "CNY"
time_zone = "Asia/Shanghai"

[[batch]]
number = 7
kind = "interactive"
campaign = "bottle"
count = 1000
secret = "file:batch.key"
commit = "{}"

[[campaign]]
id = "bottle"
mode = "sealed"
from = 2026-11-11T00:00:00+08:00
to = 2026-11-12T00:00:00+08:00
secret = "file:shown.key"
commit = "{COMMIT}"

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
"#,
        HEXLOWER.encode(&Sha256::digest([7; 32]))
    );
    let keys = BatchKeys::new(7, 1000, &[7; 32]);
    let mut events = String::new();
    for serial in 0..1000 {
        let token = keys.mint(serial).expect("a serial of the batch").text();
        let token = std::str::from_utf8(&token).expect("ASCII");
        let event = json!({
            "id": format!("e{serial}"), "action": "scan", "shopper": format!("u{}", serial % 90), "code": token,
            "time": 1_794_326_400_000 + serial,
        });
        events.push_str(&format!("{event}\n"));
    }
    let dir = shop(&rules, &events);
    write(dir.path(), "shown.key", SECRET);
    write(dir.path(), "batch.key", &"07".repeat(32));
    run(dir.path(), &rules_files(), "out");
    write(dir.path(), "awards.csv", &export(dir.path(), "out", "awards"));
    assert_eq!(read(dir.path(), "awards.csv").lines().count(), 251);
    let args = SEALED.map(|arg| if arg == "rules.json" { "rules.toml" } else { arg });
    for more in [&[][..], &["--log", "events.ndjson"]] {
        let output = mashang(dir.path(), &[&args[..], more].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout.is_empty(), "{told}");
    }
}
