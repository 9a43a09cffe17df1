//! A writer that comes late changes nothing.

use std::sync::Barrier;

use domain::model::fact::{Answer, Fact, Metric, Posting, ScanResult, Scope, What};
use domain::model::rules::PayeeKind;
use domain::model::time::{HOUR_MS, Millis, TIME_MAX};
use ledger::error::LedgerError;
use ledger::export::{Format, Table};
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use testkit::postgres::Postgres;

use crate::traffic::{PARTITIONS, apply, facts};

const EVENTS: usize = 300;

/// The address of a new ledger in each kind of database.
fn new_urls(name: &str) -> (tempfile::TempDir, Vec<LedgerUrl>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut urls = vec![LedgerUrl::file(&dir.path().join("ledger.sqlite"))];
    urls.extend(Postgres::shared().map(|postgres| postgres.create_database(name).parse().expect("a URL")));
    (dir, urls)
}

#[test]
fn second_writer_is_refused_by_the_comparison() {
    let facts = facts(1, EVENTS);
    let (_dir, urls) = new_urls("second");
    for url in urls {
        let mut first = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        let mut late = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        facts.add(&mut first, 2, 5);
        facts.add(&mut late, 1, 2);
        facts.add(&mut late, 2, 9);
        first.commit().expect("the first one commits");
        let before = facts.everything(&url);
        let moved = late.commit().expect_err("refused");
        assert!(matches!(moved, LedgerError::Moved { facts: 2 }), "{moved}");
        assert!(!moved.is_passing() && moved.to_string().starts_with("facts partition 2: "), "{moved}");
        assert_eq!(facts.everything(&url), before, "nothing is changed");
        // It gives up that partition, and keeps the other one.
        late.release(2);
        late.commit().expect("partition 1 goes on");
        assert_eq!((late.committed(1), late.committed(2)), (2, 0));
        late.adopt(2).expect("adopted");
        assert_eq!(late.next_offset(2), 5);
        facts.add_all(&mut late, 7);
        assert_eq!(facts.everything(&url), facts.undisturbed());
    }
}

#[test]
fn twin_with_the_same_records_is_refused() {
    let facts = facts(1, EVENTS);
    let (_dir, urls) = new_urls("twins");
    for url in urls {
        let mut first = Writer::open(&url, [0]).expect("a ledger");
        let mut twin = Writer::open(&url, [0]).expect("a ledger");
        facts.add(&mut first, 0, 5);
        facts.add(&mut twin, 0, 5);
        first.commit().expect("the first one commits");
        assert!(matches!(twin.commit(), Err(LedgerError::Moved { facts: 0 })), "the twin has sent no COMMIT");
    }
}

/// The late writer finds the positions that it began from, as if nothing compared them.
#[test]
fn facts_count_twice_without_the_comparison() {
    let facts = facts(1, EVENTS);
    let (_dir, urls) = new_urls("blind");
    for url in urls {
        let mut first = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        let mut late = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        facts.add_all(&mut first, usize::MAX);
        for table in ["positions", "progress"] {
            sql(&url, "blind", &format!("DELETE FROM {table} RETURNING 0"));
        }
        facts.add_all(&mut late, usize::MAX);
        assert_ne!(facts.everything(&url), facts.undisturbed());
    }
}

/// Answers that are a day older than the latest of any writer are not found, and are removed by the writer that has them.
#[test]
fn answers_older_than_a_day_are_not_found_and_removed() {
    let (_dir, urls) = new_urls("swept");
    for url in urls {
        let mut early = Writer::open(&url, [0]).expect("a ledger");
        let mut late = Writer::open(&url, [1]).expect("a ledger");
        // One writer is more than a day behind the other, and commits last.
        apply_answer(&mut late, 1, 30 * HOUR_MS);
        late.commit().expect("written");
        apply_answer(&mut early, 0, 5 * HOUR_MS);
        early.commit().expect("written");
        let mut ledger = Ledger::open(&url).expect("a ledger");
        let mut kept = || [5, 6, 30, 54].map(|hour| ledger.answer(key(hour * HOUR_MS)).expect("answered").is_some());
        assert_eq!(kept(), [false, false, true, false], "too old to be kept");
        apply_answer(&mut late, 1, 54 * HOUR_MS);
        late.commit().expect("written");
        assert_eq!(kept(), [false, false, true, true], "a day old");
        for _ in 0..20 {
            apply_answer(&mut early, 0, 6 * HOUR_MS);
            early.commit().expect("written");
        }
        assert_eq!(kept(), [false, false, true, true]);
        let hours = "SELECT COUNT(*) FROM segment_blocks b JOIN segments s ON s.id = b.segment WHERE hour = 5";
        assert_eq!(sql(&url, "swept", hours), ["0"], "old answers are removed");
    }
}

/// With a horizon of 0 an event may come twice in one millisecond. Its first answer stays, in one commit, in two, and after merges.
#[test]
fn first_of_two_answers_of_one_millisecond_stays() {
    const RECEIVED: Millis = 5 * HOUR_MS;
    let (_dir, urls) = new_urls("twice");
    for url in urls {
        let mut writer = Writer::open(&url, [0]).expect("a ledger");
        let of = |key, result| {
            let Fact { merchant, what: What::Answer(answer) } = answer(key, RECEIVED, 1) else { unreachable!() };
            Fact { merchant, what: What::Answer(Answer { result, ..answer }) }
        };
        let (first, second) = (ScanResult::Counted, ScanResult::Repeat);
        apply(&mut writer, 0, RECEIVED, &[of(1, first), of(2, first), of(1, second), of(3, second)]);
        writer.commit().expect("written");
        for _ in 0..20 {
            apply(&mut writer, 0, RECEIVED, &[of(2, second), of(3, first)]);
            writer.commit().expect("written");
        }
        let mut ledger = Ledger::open(&url).expect("a ledger");
        let results = [1, 2, 3].map(|key| ledger.answer(key).expect("answered").map(|answer| answer.result));
        assert_eq!(results, [Some(first), Some(first), Some(second)], "{url}");
    }
}

fn key(received: Millis) -> u128 {
    received.unsigned_abs().into()
}

/// Adds a record with one answer to a writer.
fn apply_answer(writer: &mut Writer, facts: u16, received: Millis) {
    apply(writer, facts, received, &[answer(key(received), received, 1)]);
}

fn answer(key: u128, received: Millis, desk: u8) -> Fact<'static> {
    let what = What::Answer(Answer {
        key,
        received,
        desk,
        result: ScanResult::Counted,
        code: None,
        campaign: None,
        prize: None,
        claim: None,
        shopper: None,
    });
    Fact { merchant: "acme", what }
}

/// The answers of several desks to one scan are in different partitions, which different processes may write.
#[test]
fn writers_of_the_same_events_never_deadlock() {
    const EVENTS: u128 = 400;
    let Some(postgres) = Postgres::shared() else { return };
    let url: LedgerUrl = postgres.create_database("ring").parse().expect("a URL");
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        for (partitions, desk) in [([0, 1], 1), ([2, 3], 2)] {
            let (url, barrier) = (&url, &barrier);
            scope.spawn(move || {
                let mut writer = Writer::open(url, partitions).expect("a ledger");
                for round in 0..30 {
                    // One writer has the low keys in its first partition, the other in its second.
                    let halves = [0..EVENTS / 2, EVENTS / 2..EVENTS];
                    for (at, partition) in partitions.into_iter().enumerate() {
                        let keys = halves[(at + usize::from(desk)) % 2].clone();
                        let answers: Vec<_> = keys.map(|key| answer(key, 1, desk + 2 * round)).collect();
                        apply(&mut writer, partition, 1, &answers);
                    }
                    barrier.wait();
                    while let Err(error) = writer.commit() {
                        assert!(error.is_passing(), "{error}");
                    }
                }
            });
        }
    });
    let rings = postgres.sql("postgres", "SELECT deadlocks FROM pg_stat_database WHERE datname = 'ring'");
    assert_eq!(rings, "0");
}

/// The first column of the rows that a statement returns.
fn sql(url: &LedgerUrl, name: &str, sql: &str) -> Vec<String> {
    match url {
        LedgerUrl::Sqlite(file) => {
            let db = rusqlite::Connection::open(file).expect("a database");
            let mut statement = db.prepare(sql).expect("SQL");
            let rows = statement.query_map([], |row| row.get::<_, i64>(0)).expect("rows");
            rows.map(|row| row.expect("a number").to_string()).collect()
        }
        LedgerUrl::Postgres(_) => {
            let rows = Postgres::shared().expect("it runs").sql(name, sql);
            rows.lines().map(str::to_owned).collect()
        }
    }
}

/// The value of a store's counter in an export, by store.
fn exported(url: &LedgerUrl) -> String {
    let mut said = Vec::new();
    Ledger::open(url).expect("a ledger").export(Table::Counters, Format::Csv, &mut said).expect("exported");
    String::from_utf8(said).expect("UTF-8")
}

#[test]
fn sums_have_128_bits() {
    const ROUNDS: i128 = 5;
    let count = |key: &'static str, delta: i64| Fact {
        merchant: "m",
        what: What::Count { scope: Scope::Store, key, day: 20_000, metric: Metric::Gmv, delta },
    };
    let (_dir, urls) = new_urls("wide");
    for url in urls {
        let mut writer = Writer::open(&url, [0, 1]).expect("a ledger");
        for round in 0..ROUNDS {
            for partition in [0, 1] {
                let sign = if partition == 0 { 1 } else { -1 };
                let turn = if round % 2 == 0 { 1 } else { -1 };
                let facts = [
                    count("large", i64::MAX),
                    count("large", i64::MAX),
                    count("low", -i64::MAX),
                    count("none", sign * i64::MAX),
                    count("turns", turn * i64::MAX),
                    count("unit", sign * i64::MAX),
                    count("unit", 1),
                ];
                apply(&mut writer, partition, 1, &facts);
            }
            writer.commit().expect("written");
        }
        let max = i128::from(i64::MAX);
        let wanted = format!(
            "merchant,scope,key,day,metric,value\n\
             m,store,large,2024-10-04,gmv,{}\nm,store,low,2024-10-04,gmv,{}\n\
             m,store,turns,2024-10-04,gmv,{}\nm,store,unit,2024-10-04,gmv,{}\n",
            4 * ROUNDS * max,
            -2 * ROUNDS * max,
            2 * max,
            2 * ROUNDS
        );
        assert_eq!(exported(&url), wanted, "{url}");
        let top = Ledger::open(&url).expect("a ledger").totals("m").expect("added up").stores;
        let top: Vec<_> = top.iter().map(|(key, sum)| (key.as_str(), *sum)).collect();
        assert_eq!(top, [("large", 4 * ROUNDS * max), ("turns", 2 * max), ("unit", 2 * ROUNDS)], "{url}");
    }
}

#[test]
fn time_past_9999_is_exported_as_its_end() {
    let posting = |order: &'static str, approve_at: Millis, cause: &'static str| Fact {
        merchant: "m",
        what: What::Posting(Posting {
            order,
            shopper: "u",
            payee_kind: PayeeKind::Guide,
            payee: "g",
            amount: 1,
            approve_at,
            cause,
        }),
    };
    let (_dir, urls) = new_urls("far");
    for url in urls {
        let mut writer = Writer::open(&url, [0]).expect("a ledger");
        let facts = [posting("o", TIME_MAX + 2, "a"), posting("o", TIME_MAX + 1, "b"), posting("o", TIME_MAX - 1, "c")];
        apply(&mut writer, 0, 1, &facts);
        writer.close().expect("closed");
        let mut said = Vec::new();
        Ledger::open(&url).expect("a ledger").export(Table::Postings, Format::Csv, &mut said).expect("exported");
        let said = String::from_utf8(said).expect("UTF-8");
        let rows: Vec<_> = said.lines().skip(1).map(|row| row.rsplit(',').take(2).collect::<Vec<_>>()).collect();
        let (end, before) = ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.998Z");
        assert_eq!(rows, [["c", before], ["a", end], ["b", end]], "{url}");
    }
}
