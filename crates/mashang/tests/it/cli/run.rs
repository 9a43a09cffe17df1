//! `run`: what it reports, what it writes, and how time passes in it.

use std::path::Path;

use data_encoding::HEXLOWER;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{RULES, RUN, check, rules_files, shop};
use crate::program::{TABLES, done, export, mashang, run};

#[test]
fn refused_events_are_reported_by_line() {
    let events = concat!(
        "{\"id\":\"a\",\"action\":\"visit\",\"shopper\":\"u1\"}\n",
        "{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"u1\",\"time\":1794326400000}\n",
        "\n",
        "{\"id\":\"c\",\"action\":\"order\",\"shopper\":\"u1\",\"amount\":\"12\",\"currency\":\"USD\"}\r\n",
        "{\"id\":\"d\",\"action\":\n",
        "[1]\n",
        "{\"id\":\"e\",\"action\":\"scan\",\"shopper\":\"u1\",\"code\":\"X-1\",\"colour\":\"red\",\"time\":null}\n",
        "{\"id\":\"f\",\"action\":\"visit\",\"shopper\":\"u1\"}",
    );
    let dir = shop(RULES, events);
    check(
        dir.path(),
        &RUN,
        &expect![[r#"
            received 7 events: accepted 3, rejected 4
            among the accepted: 0 duplicates, 0 late
            rejected for json: 1
            rejected for missing: 1
            rejected for object: 1
            rejected for type: 1
            unknown fields, ignored: 1
            rules of acme: version ea57bc06c379
            ledger: out/ledger.sqlite
            events.ndjson:1: event 0, id a: time: is missing; the first event of a run must have one
            events.ndjson:4:43: event 2, id c: amount: is the text "12"; send an integer of minor units, without quotes
            events.ndjson:4: event 2, id c: order: is missing; the action order needs one
            events.ndjson:4:57: event 2, id c: currency: is "USD"; "acme" has CNY: send that or leave it out
            events.ndjson:5: event 3: the event is not JSON: the text ends inside a value at byte 19
            events.ndjson:6: event 4: the event is a list; send a JSON object
            exit status 0
        "#]],
    );
    let summary = run(dir.path(), &rules_files(), "out");
    assert_eq!(summary["received"], 7);
    assert_eq!(summary["accepted"], 3);
    assert_eq!(summary["rejected"], json!({"missing": 1, "type": 1, "json": 1, "object": 1}));
    assert_eq!(summary["unknown_fields"], 1);
    let counters = export(dir.path(), "out", "counters");
    assert!(counters.contains("acme,merchant,*,2026-11-11,visits,2\n"), "{counters}");
    let mut args = RUN.to_vec();
    args.extend(["--rejects", "rejects.ndjson"]);
    done(dir.path(), &args);
    let rejects = std::fs::read_to_string(dir.path().join("rejects.ndjson")).expect("a file");
    let lines: Vec<Value> = rejects.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of_c: Vec<&Value> = lines.iter().filter(|row| row["id"] == "c").map(|row| &row["field"]).collect();
    assert_eq!(of_c, ["amount", "order", "currency"]);
    assert_eq!(lines[0]["line"], 1);
    let of_amount = lines.iter().find(|row| row["field"] == "amount").expect("a row");
    assert_eq!((&of_amount["file"], &of_amount["column"]), (&json!("events.ndjson"), &json!(43)));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let tour = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tour");
    let dir = tempfile::tempdir().expect("a directory");
    let tour = |name: &str| tour.join(name).to_string_lossy().into_owned();
    for out in ["one", "two"] {
        done(dir.path(), &["run", "--rules", &tour("rules.toml"), "--events", &tour("events.ndjson"), "--out", out]);
    }
    for table in TABLES {
        let one = export(dir.path(), "one", table);
        assert!(one.lines().count() > 1, "{table} of the tour is empty");
        assert_eq!(one, export(dir.path(), "two", table), "{table}");
    }
    let ledger = |out: &str| std::fs::read(dir.path().join(out).join("ledger.sqlite")).expect("a ledger");
    assert!(ledger("one") == ledger("two"), "the ledgers themselves differ");
}

#[test]
fn a_log_dump_runs_as_it_was_received() {
    // The second line was received a day after it happened: it is late by its own stamp, not by the running maximum.
    let events = concat!(
        "{\"id\":\"a\",\"action\":\"visit\",\"shopper\":\"u1\",\"time\":1794326400000,\"received\":1794326400500,\"partition\":3,\"offset\":7}\n",
        "{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"u2\",\"time\":1794326400000,\"received\":\"2026-11-14T00:00:00+08:00\"}\n",
        "{\"id\":\"c\",\"action\":\"visit\",\"shopper\":\"u3\",\"received\":1794326400500}\n",
    );
    let dir = shop(RULES, events);
    let summary = run(dir.path(), &rules_files(), "out");
    assert_eq!((&summary["late"], &summary["unknown_fields"]), (&json!(1), &json!(0)));
    // A lower stamp counts as the highest seen.
    assert!(export(dir.path(), "out", "counters").contains("acme,merchant,*,2026-11-14,visits,1\n"));
}

#[test]
fn two_runs_do_not_write_into_one_directory() {
    let dir = shop(RULES, "");
    std::fs::create_dir(dir.path().join("out")).expect("a directory");
    let other = std::fs::File::open(dir.path().join("out")).expect("a directory");
    other.lock().expect("a lock");
    check(
        dir.path(),
        &RUN,
        &expect![[r#"
            mashang: --out out: another process of mashang writes there: wait for it, stop it, or choose another
            exit status 2
        "#]],
    );
    drop(other);
    done(dir.path(), &RUN);
}

#[test]
fn sums_beyond_64_bits_are_exact() {
    let order = |n: u32| {
        format!(
            "{{\"id\":\"o{n}\",\"action\":\"order\",\"shopper\":\"u{n}\",\"time\":1794326400000,\"order\":\"1\",\"amount\":1000000000000000}}\n"
        )
    };
    let dir = shop(RULES, &(0..9_300).map(order).collect::<String>());
    check(
        dir.path(),
        &RUN,
        &expect![[r#"
            received 9300 events: accepted 9300, rejected 0
            among the accepted: 0 duplicates, 0 late
            rules of acme: version ea57bc06c379
            ledger: out/ledger.sqlite
            exit status 0
        "#]],
    );
    let gmv = export(dir.path(), "out", "counters");
    assert!(gmv.contains("acme,merchant,*,2026-11-11,gmv,9300000000000000000\n"), "{gmv}");
}

#[test]
fn uncounted_last_event_still_expires_an_award() {
    const CAMPAIGN: &str = r#"
[[code]]
id = "MAG"
kind = "media"
campaign = "wheel"
[[campaign]]
id = "wheel"
mode = "odds"
from = 2026-11-01T00:00:00+08:00
to = 2026-12-01T00:00:00+08:00
budget = 100
secret = "file:secret.key"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
[[campaign.prize]]
id = "red"
kind = "cash"
amount = 100
unlock = "order"
unlock_within = "1h"
[[campaign.phase]]
odds = { "red" = "1" }
"#;
    const START: i64 = 1_794_326_400_000;
    let dir = shop(&format!("{RULES}{CAMPAIGN}"), "");
    let secret = HEXLOWER.encode(&(0..32).collect::<Vec<u8>>());
    std::fs::write(dir.path().join("secret.key"), secret).expect("a file");
    // The visits of one millisecond fill a frame. The refund waits in the next one, and nothing is counted for it.
    let scan = format!("{{\"id\":\"s\",\"action\":\"scan\",\"shopper\":\"u\",\"time\":{START},\"code\":\"MAG\"}}\n");
    let visit = |n| {
        format!(
            "{{\"id\":\"{n:064}\",\"action\":\"visit\",\"shopper\":\"u\",\"time\":{START},\"channel\":\"{}\"}}\n",
            "c".repeat(64)
        )
    };
    let events = |visits: u32, later: i64| {
        let refund = "{\"id\":\"r\",\"action\":\"refund\",\"shopper\":\"u\",\"order\":\"none\",\"amount\":1,\"time\":";
        format!("{scan}{}{refund}{}}}\n", (0..visits).map(visit).collect::<String>(), START + later)
    };
    let state = |visits: u32, later: i64| {
        std::fs::write(dir.path().join("events.ndjson"), events(visits, later)).expect("a file");
        run(dir.path(), &rules_files(), "out");
        export(dir.path(), "out", "awards").trim_end().rsplit(',').next().expect("a state").to_owned()
    };
    for visits in 325..345 {
        assert_eq!(state(visits, 3_600_000), "expired", "after {visits} visits");
    }
    assert_eq!(state(325, 3_599_999), "locked");
}

#[test]
fn jump_of_46_days_forgets_only_expired_state() {
    const DAY: i64 = 86_400_000;
    const START: i64 = 1_794_326_400_000;
    let rules =
        format!("{RULES}\n[dedup]\nhorizon = \"45d\"\n[attribution]\nwindow = \"90d\"\nrefund_within = \"60d\"\n");
    let visits: String = (0..500)
        .map(|n| format!("{{\"id\":\"v{n}\",\"action\":\"visit\",\"shopper\":\"u{n}\",\"time\":{START}}}\n"))
        .collect();
    let scan =
        format!("{{\"id\":\"s\",\"action\":\"scan\",\"shopper\":\"u0\",\"time\":{START},\"code\":\"GUIDE-1\"}}\n");
    let order = format!(
        "{{\"id\":\"o\",\"action\":\"order\",\"shopper\":\"u0\",\"time\":{START},\"order\":\"1\",\"amount\":1000}}\n"
    );
    for (jump, duplicates) in
        [(45 * DAY - 60_000, 500), (45 * DAY, 0), (46 * DAY, 0), (65_536 * 60_000, 0), (65_540 * 60_000, 0)]
    {
        let later = START + jump;
        let tick = format!("{{\"id\":\"tick\",\"action\":\"visit\",\"shopper\":\"w\",\"time\":{later}}}\n");
        let refund = "{\"id\":\"r\",\"action\":\"refund\",\"shopper\":\"u0\",\"order\":\"1\",\"amount\":400}\n";
        let order2 = "{\"id\":\"o2\",\"action\":\"order\",\"shopper\":\"u0\",\"order\":\"2\",\"amount\":2000}\n";
        let dir = shop(&rules, &[&*scan, &order, &visits, &tick, &visits, refund, order2].concat());
        let summary = run(dir.path(), &rules_files(), "out");
        assert_eq!(summary["duplicates"], duplicates, "after {jump} ms");
        assert_eq!(summary["late"], 500 - duplicates, "after {jump} ms");
        // The order is kept for 60 days, the touch for 90 and 2: both are still there.
        let postings = export(dir.path(), "out", "postings");
        assert!(postings.contains("acme,1,u0,guide,g-1,-20,CNY"), "{postings}");
        assert!(postings.contains("acme,2,u0,guide,g-1,100,CNY"), "{postings}");
    }
}

#[test]
fn a_day_that_comes_again_keeps_its_entries() {
    // In St. John's the clocks went back from 00:01 to 23:01 on 2009-11-01, at 02:31 UTC.
    let campaign = "[[campaign]]\nid = \"w\"\nmode = \"odds\"\nfrom = 2009-01-01T00:00:00Z\nto = 2010-01-01T00:00:00Z\nlimit_day = 2\nsecret = \"file:k\"\ncommit = \"630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd\"\n[[campaign.prize]]\nid = \"p\"\nkind = \"goods\"\n[[campaign.phase]]\nodds = { p = \"1\" }\n[[code]]\nid = \"MAG\"\nkind = \"media\"\ncampaign = \"w\"\n";
    let scan = |n: u32, time: &str| {
        format!("{{\"id\":\"s{n}\",\"action\":\"scan\",\"shopper\":\"u\",\"code\":\"MAG\",\"time\":\"{time}\"}}\n")
    };
    let times = ["02:28:00", "02:29:00", "02:30:30", "02:31:30", "02:32:00", "04:00:00", "04:01:00", "04:02:00"];
    let events: String = (0..).zip(times).map(|(n, time)| scan(n, &format!("2009-11-01T{time}Z"))).collect();
    let dir = shop(&format!("{}{campaign}", RULES.replace("Asia/Shanghai", "America/St_Johns")), &events);
    std::fs::write(dir.path().join("k"), HEXLOWER.encode(&(0..32).collect::<Vec<u8>>())).expect("a file");
    run(dir.path(), &rules_files(), "out");
    let counters = export(dir.path(), "out", "counters");
    // Two on the day before midnight, which comes again; one in the first minute of the next and one after the second midnight.
    assert!(counters.contains("acme,merchant,*,2009-10-31,entries,2\n"), "{counters}");
    assert!(counters.contains("acme,merchant,*,2009-11-01,entries,2\n"), "{counters}");
}

/// The message names only the places where this command takes the option from.
#[test]
fn missing_option_is_reported_with_its_places() {
    let dir = shop(RULES, "");
    let missing = |args: &[&str], wanted: &Expect| {
        let output = mashang(dir.path(), args);
        assert_eq!(output.status.code(), Some(2));
        wanted.assert_eq(&String::from_utf8_lossy(&output.stderr));
    };
    missing(
        &["run", "--events", "events.ndjson", "--out", "out"],
        &expect![[r#"
        mashang: --rules is missing: give --rules <FILE>...
    "#]],
    );
    missing(
        &["export", "counters"],
        &expect![[r#"
        mashang: --ledger is missing: give --ledger <URL>
    "#]],
    );
    missing(
        &["snapshots", "list"],
        &expect![[r#"
        mashang: --store is missing: give it, or set MASHANG_STORE
    "#]],
    );
    missing(
        &["worker", "--kafka", "127.0.0.1:1"],
        &expect![[r#"
        mashang: --store is missing: give it, set MASHANG_STORE, or write `store` into the file of --config
    "#]],
    );
}

#[test]
fn time_far_ahead_of_the_clock_is_refused() {
    let (first, day) = (1_700_000_000_000_i64, 86_400_000);
    let event =
        |id: &str, time: i64| format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\",\"time\":{time}}}\n");
    let events = [event("a", first), event("b", first + 366 * day + 1), event("c", first + 366 * day)].concat();
    let dir = shop(RULES, &events);
    let output = mashang(dir.path(), &["run", "--rules", "rules.toml", "--events", "events.ndjson", "--out", "out"]);
    assert!(output.status.success());
    expect![[r#"
        events.ndjson:2:43: event 1, id b: time: is more than 366 days after all events before it; correct it, or give the events between first
    "#]].assert_eq(&String::from_utf8_lossy(&output.stderr));
}
