//! What is asked of a ledger: `export` and `explain`; and ledgers that `run` does not replace.

use expect_test::expect;

use super::{RULES, RUN, check, rules_files, shop};
use crate::program::{done, export, run};

#[test]
fn ledger_of_another_merchant_or_schema_is_refused() {
    let dir = shop(RULES, "{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"u1\",\"time\":1794326400000}\n");
    run(dir.path(), &rules_files(), "out");
    let before = export(dir.path(), "out", "counters");
    // The same again takes its place.
    run(dir.path(), &rules_files(), "out");
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
            mashang: out/ledger.sqlite: the ledger is of schema 99, this build works with schema 9: use the build that wrote it, or make it anew with `run`
            exit status 2
        "#]],
    );
    check(
        dir.path(),
        &["export", "counters", "--ledger", "out/ledger.sqlite"],
        &expect![[r#"
            mashang: out/ledger.sqlite: the ledger is of schema 99, this build works with schema 9: use the build that wrote it, or make it anew with `run`
            exit status 2
        "#]],
    );
    check(
        dir.path(),
        &["explain", "code", "X-1", "--ledger", "out/ledger.sqlite"],
        &expect![[r#"
            mashang: out/ledger.sqlite: the ledger is of schema 99, this build works with schema 9: use the build that wrote it, or make it anew with `run`
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
    run(dir.path(), &rules_files(), "out");
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
            mashang: code X-2 has no history in this ledger: name a code that `export codes` or `export awards` shows
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
    run(dir.path(), &rules_files(), "out");
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
fn years_of_five_digits_sort_as_text() {
    let events = "{\"id\":\"a\",\"action\":\"visit\",\"shopper\":\"u\",\"time\":253402300799999}\n{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"u\",\"time\":253402214399999}\n";
    let dir = shop(RULES, events);
    run(dir.path(), &rules_files(), "out");
    let counters = export(dir.path(), "out", "counters");
    let rows: Vec<&str> = counters.lines().skip(1).collect();
    assert!(rows.is_sorted() && rows[0].contains("10000-01-01"), "{counters}");
}
