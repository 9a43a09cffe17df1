//! The command line from outside: exit statuses, messages, summaries, exports.

use std::io::Write;
use std::path::Path;

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{TABLES, done, export, mashang, run};

const RULES: &str = r#"
merchant = "acme"
currency = "CNY"
time_zone = "Asia/Shanghai"

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

[[code]]
id = "X-1"
kind = "interactive"
"#;

/// A directory with `rules.toml` and `events.ndjson`.
fn shop(rules: &str, events: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("rules.toml"), rules).expect("a file");
    std::fs::write(dir.path().join("events.ndjson"), events).expect("a file");
    dir
}

fn rules() -> Vec<String> {
    vec!["rules.toml".to_owned()]
}

/// Runs and pins exit status, standard output and standard error.
fn check(dir: &Path, args: &[&str], expect: &Expect) {
    let output = mashang(dir, args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*dir.to_string_lossy(), "DIR");
    let status = output.status.code().expect("no signal");
    expect.assert_eq(&format!("{}{}exit status {status}\n", text(&output.stdout), text(&output.stderr)));
}

const RUN: [&str; 7] = ["run", "--rules", "rules.toml", "--events", "events.ndjson", "--out", "out"];

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
    let summary = run(dir.path(), &rules(), "out");
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
fn torn_register_is_refused_with_line_and_column() {
    let dir = shop(&format!("{RULES}[registers]\ncodes = \"codes.csv\"\n"), "");
    std::fs::write(dir.path().join("codes.csv"), "id,kind,store,channel\nQR1 ,store,s-1,\nQR4,media,,\"poster")
        .expect("a file");
    check(
        dir.path(),
        &["rules", "check", "rules.toml"],
        &expect![[r#"
            codes.csv:2: id: is "QR1 ", which ends with the blank U+0020; write it without
            codes.csv:3: channel: the quoted cell at column 12 does not end; send the whole file, or close the quote
            mashang: 2 mistakes in the rules: nothing was done
            exit status 2
        "#]],
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory")
}

fn utf16(text: &str) -> Vec<u8> {
    "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn packed_files_run_as_plain_ones_do() {
    let events =
        "\u{FEFF}{\"id\":\"b\",\"action\":\"scan\",\"shopper\":\"u1\",\"code\":\"Q\",\"time\":1794326400000}\n";
    let rules = format!("{RULES}[registers]\ncodes = \"codes.csv\"\n");
    let codes = "\u{FEFF}id,kind,channel\nQ,media,magazine\n";
    let dir = shop(&rules, events);
    let dir = dir.path();
    std::fs::write(dir.join("codes.csv"), codes).expect("a file");
    let plain = run(dir, &self::rules(), "out");
    assert_eq!((&plain["accepted"], &plain["received"]), (&json!(1), &json!(1)));
    let wanted = export(dir, "out", "counters");
    assert!(wanted.contains("acme,channel,magazine,2026-11-11,scans,1\n"), "{wanted}");
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).expect("memory");
    for (pack, name) in [(&gzip as &dyn Fn(&[u8]) -> Vec<u8>, "gzip"), (&zstd, "zstd")] {
        for (file, text) in [("rules.toml", &*rules), ("codes.csv", codes), ("events.ndjson", events)] {
            std::fs::write(dir.join(file), pack(text.as_bytes())).expect("a file");
        }
        assert_eq!(run(dir, &self::rules(), name), plain);
        assert_eq!(export(dir, name, "counters"), wanted);
    }
}

#[test]
fn files_that_are_no_text_replace_nothing() {
    let event = "{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"u1\",\"time\":1794326400000}\n";
    let dir = shop(RULES, event);
    let dir = dir.path();
    run(dir, &rules(), "out");
    let ledger = std::fs::read(dir.join("out/ledger.sqlite")).expect("a ledger");
    let packed = gzip(event.repeat(1_000).as_bytes());
    for (file, bytes, told) in [
        ("events.ndjson", utf16(event), "mashang: --events events.ndjson: is UTF-16; save it as UTF-8\n"),
        (
            "events.ndjson",
            b"\x89PNG\r\n\x1a\n\0\0".to_vec(),
            "mashang: --events events.ndjson: is no text: its byte 9 is NUL; name a text file in UTF-8\n",
        ),
        (
            "events.ndjson",
            packed[..packed.len() - 9].to_vec(),
            "mashang: --events events.ndjson: cannot be read: the gzip file is broken or cut off (",
        ),
        (
            "rules.toml",
            utf16(RULES),
            "rules.toml:1: is UTF-16; save it as UTF-8\nmashang: 1 mistake in the rules: nothing was done\n",
        ),
        (
            "rules.toml",
            b"merchant = \"\xE9\"\n".to_vec(),
            "rules.toml:1: the rules are not UTF-8; save the file as UTF-8\n",
        ),
    ] {
        let before = std::fs::read(dir.join(file)).expect("a file");
        std::fs::write(dir.join(file), bytes).expect("a file");
        let output = mashang(dir, &RUN);
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && says.starts_with(told), "{told}: {says}");
        assert_eq!(std::fs::read(dir.join("out/ledger.sqlite")).expect("a ledger"), ledger, "{told}");
        std::fs::write(dir.join(file), before).expect("a file");
    }
}

#[test]
fn what_cannot_be_read_is_exit_status_2() {
    let dir = shop(RULES, "");
    let dir = dir.path();
    check(
        dir,
        &["run", "--rules", "none.toml", "--events", "events.ndjson", "--out", "out"],
        &expect![[r#"
            none.toml:1: the rules cannot be read: No such file or directory (os error 2)
            mashang: 1 mistake in the rules: nothing was done
            exit status 2
        "#]],
    );
    check(
        dir,
        &["run", "--rules", "rules.toml", "--events", "none.ndjson", "--out", "out"],
        &expect![[r#"
        mashang: --events none.ndjson: cannot be read: No such file or directory (os error 2)
        exit status 2
    "#]],
    );
    check(
        dir,
        &["run", "--rules", "rules.toml", "--events", ".", "--out", "out"],
        &expect![[r#"
        mashang: --events .: is a directory; name a file of NDJSON, or - for standard input
        exit status 2
    "#]],
    );
    check(
        dir,
        &["run", "--rules", "rules.toml", "--events", "events.ndjson", "--out", "rules.toml"],
        &expect![[r#"
        mashang: --out rules.toml: cannot be written: Not a directory (os error 20)
        exit status 2
    "#]],
    );
    check(
        dir,
        &["export", "counters", "--ledger", "none.sqlite"],
        &expect![[r#"
        mashang: none.sqlite: there is no such ledger; name the file that `run` or `serve` wrote, DIR/ledger.sqlite
        exit status 2
    "#]],
    );
    check(
        dir,
        &["export", "counters", "--ledger", "mysql://u:pw@localhost/x"],
        &expect![[r#"
        mashang: mysql://…: a ledger is in sqlite:FILE, in a file named by its path, or in postgres://USER:PASSWORD@HOST/DATABASE
        exit status 2
    "#]],
    );
    check(
        dir,
        &["export", "counters", "--ledger", "rules.toml"],
        &expect![[r#"
            mashang: rules.toml: this is no ledger of mashang: name another file or directory
            exit status 2
        "#]],
    );
    assert_eq!(mashang(dir, &["export", "nothing", "--ledger", "x"]).status.code(), Some(2));
    assert_eq!(mashang(dir, &["fly"]).status.code(), Some(2));
    assert_eq!(mashang(dir, &[]).status.code(), Some(2));
}

#[test]
fn every_mistake_of_all_rules_is_reported() {
    let dir = shop(&RULES.replace("5%", "five").replace("Asia/Shanghai", "Asia/Shangai"), "");
    std::fs::write(dir.path().join("other.toml"), "merchant = \"b\"\ncurrency = \"XXX\"\ntime_zone = \"UTC\"\n")
        .expect("a file");
    check(
        dir.path(),
        &["rules", "check", "rules.toml", "other.toml"],
        &expect![[r#"
        rules.toml:4: time_zone: is "Asia/Shangai"; write a time zone of the IANA database, such as "Asia/Shanghai"
        rules.toml:7: commission[0].rate: is no exact ratio: write "1/20", "5%" or "0.05": "five"
        other.toml:2: currency: is "XXX", which has no minor unit in ISO 4217; write another currency
        mashang: 3 mistakes in the rules: nothing was done
        exit status 2
    "#]],
    );
    assert!(!dir.path().join("out").exists());
}

#[test]
fn rules_that_are_right_have_a_version() {
    let dir = shop(RULES, "");
    check(
        dir.path(),
        &["rules", "check", "rules.toml"],
        &expect![[r#"
        rules.toml: rules of acme, version ea57bc06c379: 1 stores, 1 guides, 2 codes, 0 campaigns, 0 funnels
        exit status 0
    "#]],
    );
    // A comment changes no version, a rate does.
    std::fs::write(dir.path().join("same.toml"), format!("# the same\n{RULES}")).expect("a file");
    std::fs::write(dir.path().join("other.toml"), RULES.replace("5%", "6%")).expect("a file");
    let version = |file| {
        let printed = done(dir.path(), &["rules", "check", file]);
        printed.split("version ").nth(1).expect("a version")[..12].to_owned()
    };
    assert_eq!(version("rules.toml"), version("same.toml"));
    assert_ne!(version("rules.toml"), version("other.toml"));
    // A merchant has one file.
    assert_eq!(mashang(dir.path(), &["rules", "check", "rules.toml", "other.toml"]).status.code(), Some(2));
}

#[test]
fn rules_are_held_against_those_that_they_follow() {
    let dir = shop(RULES, "");
    let next = RULES.replace("5%", "6%").replace("Asia/Shanghai", "UTC").replace("id = \"X-1\"", "id = \"X-2\"");
    std::fs::write(dir.path().join("next.toml"), &next).expect("a file");
    check(
        dir.path(),
        &["rules", "check", "next.toml", "--against", "rules.toml"],
        &expect![[r#"
        next.toml: rules of acme, version feac1d8e7574: 1 stores, 1 guides, 2 codes, 0 campaigns, 0 funnels
        - codes.X-1
        + codes.X-2
        ~ commissions.0.rate_ppm: 50000 -> 60000
        ~ time_zone: "Asia/Shanghai" -> "UTC"
        warning: acme: time_zone: is UTC, was Asia/Shanghai: days that were counted are not cut anew
        exit status 0
    "#]],
    );
    std::fs::write(dir.path().join("next.toml"), next.replace("CNY", "EUR")).expect("a file");
    check(
        dir.path(),
        &["rules", "check", "next.toml", "--against", "rules.toml"],
        &expect![[r#"
        next.toml: rules of acme, version 5f190b948ad4: 1 stores, 1 guides, 2 codes, 0 campaigns, 0 funnels
        - codes.X-1
        + codes.X-2
        ~ commissions.0.rate_ppm: 50000 -> 60000
        ~ currency: "CNY" -> "EUR"
        ~ time_zone: "Asia/Shanghai" -> "UTC"
        warning: acme: time_zone: is UTC, was Asia/Shanghai: days that were counted are not cut anew
        acme: currency: is EUR, was CNY: money that is posted stays as it is; begin another merchant for another currency
        mashang: these rules cannot follow rules.toml
        exit status 2
    "#]],
    );
    std::fs::write(dir.path().join("next.toml"), next.replace("acme", "bolt")).expect("a file");
    check(
        dir.path(),
        &["rules", "check", "next.toml", "--against", "rules.toml"],
        &expect![[r#"
        next.toml: rules of bolt, version 1980a41b5e62: 1 stores, 1 guides, 2 codes, 0 campaigns, 0 funnels
        mashang: --against rules.toml: is of acme, of which no rules are given
        exit status 2
    "#]],
    );
}

#[test]
fn ledger_of_another_merchant_or_schema_is_refused() {
    let dir = shop(RULES, "{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"u1\",\"time\":1794326400000}\n");
    run(dir.path(), &rules(), "out");
    let before = export(dir.path(), "out", "counters");
    // The same again takes its place.
    run(dir.path(), &rules(), "out");
    assert_eq!(export(dir.path(), "out", "counters"), before);

    std::fs::write(dir.path().join("rules.toml"), RULES.replace("acme", "bolt")).expect("a file");
    check(
        dir.path(),
        &RUN,
        &expect![[r#"
        mashang: out/ledger.sqlite: the ledger is of merchant acme, the rules are of bolt: choose another --out
        exit status 2
    "#]],
    );
    std::fs::write(dir.path().join("rules.toml"), RULES).expect("a file");

    let set = |key: &str, value: &str| {
        let db = rusqlite::Connection::open(dir.path().join("out/ledger.sqlite")).expect("the ledger");
        db.execute("UPDATE meta SET value = ?2 WHERE key = ?1", [key, value]).expect("a row");
    };
    set("origin", "serve");
    check(
        dir.path(),
        &RUN,
        &expect![[r#"
        mashang: out/ledger.sqlite: the ledger was written by `serve`; `run` does not replace it: choose another --out
        exit status 2
    "#]],
    );
    set("schema", "99");
    check(
        dir.path(),
        &RUN,
        &expect![[r#"
            mashang: out/ledger.sqlite: the ledger is of schema 99, this build works with schema 4: use the build that wrote it, or make it anew with `run`
            exit status 2
        "#]],
    );
    check(
        dir.path(),
        &["export", "counters", "--ledger", "out/ledger.sqlite"],
        &expect![[r#"
            mashang: out/ledger.sqlite: the ledger is of schema 99, this build works with schema 4: use the build that wrote it, or make it anew with `run`
            exit status 2
        "#]],
    );
    check(
        dir.path(),
        &["explain", "code", "X-1", "--ledger", "out/ledger.sqlite"],
        &expect![[r#"
            mashang: out/ledger.sqlite: the ledger is of schema 99, this build works with schema 4: use the build that wrote it, or make it anew with `run`
            exit status 2
        "#]],
    );
}

#[test]
fn a_code_has_a_history() {
    let scan = |n: u32, shopper: &str| {
        format!(
            "{{\"id\":\"e{n}\",\"action\":\"scan\",\"shopper\":\"{shopper}\",\"time\":{},\"code\":\"X-1\",\"region\":\"31\"}}\n",
            1_794_326_400_000_i64 + i64::from(n)
        )
    };
    let dir = shop(RULES, &format!("{}{}{}", scan(1, "u1"), scan(2, "u2"), scan(2, "u2")));
    run(dir.path(), &rules(), "out");
    check(
        dir.path(),
        &["explain", "code", "X-1", "--ledger", "out/ledger.sqlite"],
        &expect![[r#"
        acme: code X-1, interactive, scanned 2 times, first at 2026-11-10T16:00:00.001Z in 31
          2026-11-10T16:00:00.001Z  scan by u1 in 31: no-campaign
          2026-11-10T16:00:00.002Z  scan by u2 in 31: no-campaign
        exit status 0
    "#]],
    );
    check(
        dir.path(),
        &["explain", "code", "X-1", "--ledger", "out/ledger.sqlite", "--shopper", "u2"],
        &expect![[r#"
        acme: code X-1, interactive, scanned 2 times, first at 2026-11-10T16:00:00.001Z in 31
          2026-11-10T16:00:00.002Z  scan by u2 in 31: no-campaign
        exit status 0
    "#]],
    );
    check(
        dir.path(),
        &["explain", "code", "X-2", "--ledger", "out/ledger.sqlite"],
        &expect![[r#"
            mashang: code X-2 has no history in this ledger: one-item codes and codes that draw have one, by the names that `export codes` and `export awards` show
            exit status 1
        "#]],
    );
}

#[test]
fn exports_quote_fields_and_sort_numbers_as_text() {
    let order = |n: u32, number: &str, amount: u32| {
        let number = serde_json::to_string(number).expect("JSON");
        format!(
            "{{\"id\":\"e{n}\",\"action\":\"order\",\"shopper\":\"u\",\"time\":1794326400000,\"order\":{number},\"amount\":{amount}}}\n"
        )
    };
    let events = [order(1, "b", 9), order(2, "a,\"1\"", 10), order(3, "é", 3)].concat();
    let scans = "{\"id\":\"s\",\"action\":\"scan\",\"shopper\":\"u\",\"time\":1794326399999,\"code\":\"GUIDE-1\"}\n";
    let dir = shop(RULES, &format!("{scans}{events}"));
    run(dir.path(), &rules(), "out");
    expect![[r#"
        merchant,order,shopper,time,base,refunded,currency,kind,guide,store
        acme,"a,""1""",u,2026-11-10T16:00:00.000Z,10,0,CNY,guide,g-1,s-1
        acme,b,u,2026-11-10T16:00:00.000Z,9,0,CNY,guide,g-1,s-1
        acme,é,u,2026-11-10T16:00:00.000Z,3,0,CNY,guide,g-1,s-1
    "#]]
    .assert_eq(&export(dir.path(), "out", "orders"));
    expect![[r#"
        {"merchant":"acme","order":"a,\"1\"","shopper":"u","time":"2026-11-10T16:00:00.000Z","base":10,"refunded":0,"currency":"CNY","kind":"guide","guide":"g-1","store":"s-1"}
        {"merchant":"acme","order":"b","shopper":"u","time":"2026-11-10T16:00:00.000Z","base":9,"refunded":0,"currency":"CNY","kind":"guide","guide":"g-1","store":"s-1"}
        {"merchant":"acme","order":"é","shopper":"u","time":"2026-11-10T16:00:00.000Z","base":3,"refunded":0,"currency":"CNY","kind":"guide","guide":"g-1","store":"s-1"}
    "#]].assert_eq(&done(
        dir.path(),
        &["export", "orders", "--ledger", "sqlite:out/ledger.sqlite", "--format", "ndjson"],
    ));
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
    let summary = run(dir.path(), &rules(), "out");
    assert_eq!((&summary["late"], &summary["unknown_fields"]), (&json!(1), &json!(0)));
    // A lower stamp counts as the highest seen.
    assert!(export(dir.path(), "out", "counters").contains("acme,merchant,*,2026-11-14,visits,1\n"));
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
    let secret: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
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
        run(dir.path(), &rules(), "out");
        export(dir.path(), "out", "awards").trim_end().rsplit(',').next().expect("a state").to_owned()
    };
    for visits in 325..345 {
        assert_eq!(state(visits, 3_600_000), "expired", "after {visits} visits");
    }
    assert_eq!(state(325, 3_599_999), "locked");
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
fn overflowing_counter_stops_run_with_its_name() {
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
            mashang: out/ledger.sqlite.partial was not finished: acme: the counter gmv of merchant * on day 2026-11-11 is beyond 9223372036854775807: its amounts are wrong, or want a larger unit
            exit status 1
        "#]],
    );
    assert!(!dir.path().join("out/ledger.sqlite").exists());
}

#[test]
fn years_of_five_digits_sort_as_text() {
    let events = "{\"id\":\"a\",\"action\":\"visit\",\"shopper\":\"u\",\"time\":253402300799999}\n{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"u\",\"time\":253402214399999}\n";
    let dir = shop(RULES, events);
    run(dir.path(), &rules(), "out");
    let counters = export(dir.path(), "out", "counters");
    let rows: Vec<&str> = counters.lines().skip(1).collect();
    assert!(rows.is_sorted() && rows[0].contains("10000-01-01"), "{counters}");
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
    std::fs::write(dir.path().join("k"), (0..32).map(|byte| format!("{byte:02x}")).collect::<String>())
        .expect("a file");
    run(dir.path(), &rules(), "out");
    let counters = export(dir.path(), "out", "counters");
    // Two on the day before midnight, which comes again; one in the first minute of the next and one after the second midnight.
    assert!(counters.contains("acme,merchant,*,2009-10-31,entries,2\n"), "{counters}");
    assert!(counters.contains("acme,merchant,*,2009-11-01,entries,2\n"), "{counters}");
}

/// Adds more postings than a pipe holds.
fn grow(ledger: &Path) {
    let db = rusqlite::Connection::open(ledger).expect("the ledger");
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
      INSERT INTO postings SELECT 'acme', i, 'u', 'guide', 'g-1', i, 0, 'e' FROM n";
    db.execute_batch(rows).expect("rows");
}

#[test]
fn broken_pipe_is_ok_but_full_disk_fails() {
    let dir = shop(RULES, "{\"id\":\"b\"}\n");
    let shell = |line: &str| {
        let line = format!("set -o pipefail; {}", line.replace("mashang", env!("CARGO_BIN_EXE_mashang")));
        let output =
            std::process::Command::new("bash").args(["-c", &line]).current_dir(dir.path()).output().expect("bash runs");
        (output.status.code().expect("no signal"), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let run = "mashang run --rules rules.toml --events events.ndjson --out out";
    assert_eq!(shell(&format!("{run} | true")).0, 0);
    assert_eq!(shell(&format!("{run} 2>/dev/full")).0, 0);
    assert_eq!(shell(&format!("{run} 2>&1 >/dev/null | true")).0, 0);
    for format in ["csv", "ndjson"] {
        let export = format!("mashang export postings --ledger out/ledger.sqlite --format {format} | head -1");
        grow(&dir.path().join("out/ledger.sqlite"));
        assert_eq!(shell(&export), (0, String::new()), "{format}");
    }
    let (status, told) = shell(&format!("{run} > /dev/full"));
    assert!(status == 1 && told.contains("No space left"), "{status}: {told}");
    assert_eq!(shell("mashang rules check rules.toml > /dev/full").0, 1);
    let (status, told) = shell("mashang run --rules rules.toml --events /proc/self/mem --out out");
    assert!(status == 2 && told.contains("--events /proc/self/mem: cannot be read"), "{status}: {told}");
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
        let summary = run(dir.path(), &self::rules(), "out");
        assert_eq!(summary["duplicates"], duplicates, "after {jump} ms");
        assert_eq!(summary["late"], 500 - duplicates, "after {jump} ms");
        // The order is kept for 60 days, the touch for 90 and 2: both are still there.
        let postings = export(dir.path(), "out", "postings");
        assert!(postings.contains("acme,1,u0,guide,g-1,-20,CNY"), "{postings}");
        assert!(postings.contains("acme,2,u0,guide,g-1,100,CNY"), "{postings}");
    }
}

#[test]
fn help_and_version_say_what_they_should() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(done(dir.path(), &["--version"]).starts_with("mashang 0."));
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["export", "--help"],
        &["explain", "code", "--help"],
        &["rules", "check", "--help"],
    ] {
        assert!(done(dir.path(), args).contains("Examples:"), "{args:?}");
    }
}
