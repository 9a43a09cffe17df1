//! Partitions move between writers while facts arrive.

use ledger::error::LedgerError;
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use testkit::postgres::Postgres;

use crate::traffic::{Facts, PARTITIONS, Rng, facts};

const WRITERS: usize = 3;

/// One step of one writer, as its member of a consumer group does it.
fn step(writer: &mut Writer, facts: &Facts, rng: &mut Rng) {
    let facts_of = |rng: &mut Rng| u16::try_from(rng.below(usize::from(PARTITIONS.facts))).expect("small");
    match rng.below(10) {
        0 => writer.adopt(facts_of(rng)).expect("the database is there"),
        1 => writer.release(facts_of(rng)),
        2..7 => {
            let own: Vec<u16> = writer.partitions().collect();
            for partition in own {
                facts.add(writer, partition, rng.below(3));
            }
        }
        _ => commit(writer),
    }
}

/// Commits; releases partitions that another writer has continued.
fn commit(writer: &mut Writer) {
    loop {
        match writer.commit() {
            Ok(()) => return,
            Err(LedgerError::Moved { facts }) => writer.release(facts),
            Err(error) if error.is_passing() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn finish(url: &LedgerUrl, facts: &Facts) {
    let mut last = Writer::open(url, 0..PARTITIONS.facts).expect("a ledger");
    facts.add_all(&mut last, 5);
    assert_eq!(facts.everything(url), facts.undisturbed());
}

#[test]
fn partitions_move_in_turns_on_both_databases() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut urls = vec![LedgerUrl::file(&dir.path().join("ledger.sqlite"))];
    urls.extend(Postgres::shared().map(|p| p.create_database("moving").parse().expect("a URL")));
    let facts = facts(5, 400);
    for url in urls {
        let mut rng = Rng::new(5);
        let mut writers: Vec<Writer> = (0..WRITERS).map(|_| Writer::open(&url, []).expect("a ledger")).collect();
        for _ in 0..400 {
            let at = rng.below(WRITERS);
            step(&mut writers[at], &facts, &mut rng);
        }
        let written: u64 =
            Ledger::open(&url).expect("a ledger").progress().expect("the progress").iter().map(|p| p.1).sum();
        assert!(written > 50, "the writers committed only {written} records");
        drop(writers);
        finish(&url, &facts);
    }
}

#[test]
fn partitions_move_between_concurrent_writers() {
    let Some(postgres) = Postgres::shared() else { return };
    let facts = facts(6, 600);
    let url: LedgerUrl = postgres.create_database("moving_at_once").parse().expect("a URL");
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (url, facts) = (&url, &facts);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                let mut writer = Writer::open(url, []).expect("a ledger");
                for _ in 0..300 {
                    step(&mut writer, facts, &mut rng);
                }
            });
        }
    });
    finish(&url, &facts);
    // The writers share rows of answers, and lock them in one order.
    let rings = postgres.sql("postgres", "SELECT deadlocks FROM pg_stat_database WHERE datname = 'moving_at_once'");
    assert_eq!(rings, "0", "no deadlock");
}

/// A log that lost its last record and went on has another record at that offset.
#[test]
fn last_record_is_compared_when_a_partition_is_taken_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut urls = vec![LedgerUrl::file(&dir.path().join("ledger.sqlite"))];
    urls.extend(Postgres::shared().map(|p| p.create_database("compared").parse().expect("a URL")));
    let facts = facts(6, 100);
    for url in urls {
        let mut writer = Writer::open(&url, [0]).expect("a ledger");
        assert_eq!((facts.add(&mut writer, 0, 3), writer.first_wanted(0)), (3, 3));
        writer.commit().expect("the database is there");
        // A second commit changes nothing of what is compared.
        writer.commit().expect("the database is there");
        drop(writer);

        let mut writer = Writer::open(&url, [0]).expect("a ledger");
        assert_eq!((writer.next_offset(0), writer.first_wanted(0)), (3, 2));
        writer.apply(0, 2, facts.record(0, 2)).expect("the same record");
        assert_eq!((writer.first_wanted(0), writer.is_dirty()), (3, false));
        drop(writer);

        let mut writer = Writer::open(&url, [0]).expect("a ledger");
        let error = writer.apply(0, 2, facts.record(0, 3)).expect_err("another record").to_string();
        assert!(
            error.contains("facts partition 0: offset 2 holds another record than the one that was taken"),
            "{error}"
        );
        drop(writer);

        // Where the log no longer has it, the next one is taken.
        let mut writer = Writer::open(&url, [0]).expect("a ledger");
        writer.apply(0, 3, facts.record(0, 3)).expect("the next record");
        assert_eq!(writer.first_wanted(0), 4);
        writer.commit().expect("the database is there");
        finish(&url, &facts);
    }
}
