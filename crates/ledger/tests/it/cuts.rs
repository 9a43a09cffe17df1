//! The connection breaks, and the database stops and starts, at any moment.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ledger::error::LedgerError;
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use testkit::postgres::{Postgres, Wanted};

use crate::relay::{COMMIT, Plan, Relay};
use crate::traffic::{Facts, PARTITIONS, Rng, facts};

/// Timeout of retries; after it, the test fails.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Retries a commit until it succeeds; every error must be one that may pass. Returns the number of failures.
fn commit(writer: &mut Writer) -> u32 {
    let until = Instant::now() + RETRY_TIMEOUT;
    for failed in 0.. {
        match writer.commit() {
            Ok(()) => return failed,
            Err(error) => {
                assert!(error.is_passing() && Instant::now() < until, "{error}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    unreachable!("the loop ends with a return");
}

/// Writes all facts in small commits, with retries; returns the number of failures.
fn persevere(writer: &mut Writer, facts: &Facts, rng: &mut Rng) -> u32 {
    let mut failed = 0;
    loop {
        let taken: usize = (0..PARTITIONS.facts).map(|p| facts.add(writer, p, rng.below(4))).sum();
        failed += commit(writer);
        let is_done = (0..PARTITIONS.facts).all(|p| writer.committed(p) == facts.0[usize::from(p)].len() as u64);
        if taken == 0 && is_done {
            return failed;
        }
    }
}

#[test]
fn sessions_ended_during_commits_change_nothing() {
    let Some(postgres) = Postgres::shared() else { return };
    let facts = facts(3, 600);
    let url: LedgerUrl = postgres.create_database("cut").parse().expect("a URL");
    let mut writer = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
    let (is_over, ended) = (AtomicBool::new(false), AtomicU32::new(0));
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::new(7);
            while !is_over.load(Ordering::Acquire) {
                // Many cuts in one session of psql, each after a random delay.
                let cuts: String = (0..20)
                    .map(|_| {
                        format!(
                            "SELECT pg_sleep({}::float8 / 1e6); SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
                             WHERE datname = 'cut' AND application_name = 'mashang';",
                            rng.below(30_000)
                        )
                    })
                    .collect();
                let said = postgres.sql("postgres", &cuts);
                let cut: u32 = said.lines().filter_map(|line| line.parse::<u32>().ok()).sum();
                ended.fetch_add(cut, Ordering::Relaxed);
            }
        });
        let mut rng = Rng::new(8);
        let failed = persevere(&mut writer, &facts, &mut rng);
        is_over.store(true, Ordering::Release);
        failed
    });
    let ended = ended.load(Ordering::Relaxed);
    println!("{ended} sessions ended, {failed} commits failed");
    assert!(ended > 5 && failed > 5, "{ended} sessions ended, {failed} commits failed");
    assert_eq!(facts.everything(&url), facts.undisturbed());
}

/// The answer to a COMMIT is lost, before or after the database has committed.
#[test]
fn commit_with_a_lost_answer_counts_once() {
    let Some(postgres) = Postgres::shared() else { return };
    let facts = facts(10, 900);
    let url = postgres.create_database("lost");
    let (relay, through) = Relay::to(&url);
    let mut writer = Writer::open(&through.parse().expect("a URL"), 0..PARTITIONS.facts).expect("a ledger");
    let mut rng = Rng::new(10);
    let mut cuts = [0; 3];
    while facts.0.iter().zip(0..).any(|(records, p)| writer.committed(p) < records.len() as u64) {
        (0..PARTITIONS.facts).map(|p| facts.add(&mut writer, p, rng.below(4))).for_each(drop);
        if !writer.is_dirty() {
            continue;
        }
        let at = rng.below(3);
        relay.plan([Plan::Pass, Plan::CutBefore(COMMIT), Plan::CutBehind(COMMIT)][at]);
        cuts[at] += 1;
        let first = writer.commit();
        assert_eq!(first.is_ok(), at == 0, "{first:?}");
        if let Err(error) = first {
            assert!(error.is_passing(), "{error}");
            // More records may arrive before the retry.
            (0..PARTITIONS.facts).map(|p| facts.add(&mut writer, p, rng.below(3))).for_each(drop);
            relay.plan(Plan::Pass);
            writer.commit().expect("the database is there");
        }
        assert!(!writer.is_dirty());
    }
    assert!(cuts.iter().all(|&n| n > 5), "{cuts:?}");
    assert_eq!(facts.everything(&url.parse().expect("a URL")), facts.undisturbed());
}

/// A writer pauses in the middle of its transaction: the server releases its locks, another writer continues, and the first
/// one changes nothing when it wakes.
#[test]
fn writer_paused_in_its_transaction_changes_nothing() {
    let Some(postgres) = Postgres::shared() else { return };
    let facts = facts(11, 300);
    let url = postgres.create_database("woken");
    let (relay, through) = Relay::to(&url);
    let url: LedgerUrl = url.parse().expect("a URL");
    let mut paused = Writer::open(&through.parse().expect("a URL"), 0..PARTITIONS.facts).expect("a ledger");
    facts.add(&mut paused, 0, 5);
    relay.plan(Plan::Hold(COMMIT));
    std::thread::scope(|scope| {
        let woken = scope.spawn(|| {
            let error = paused.commit().expect_err("the server has ended the session");
            assert!(error.is_passing(), "{error}");
            let moved = paused.commit().expect_err("another writer has committed");
            assert!(matches!(moved, LedgerError::Moved { facts: 0 }), "{moved}");
        });
        relay.wait_held();
        // All is written but the COMMIT; the partition's next writer waits for its rows.
        let mut successor = Writer::open(&url, 0..PARTITIONS.facts).expect("it waits until it has them");
        facts.add_all(&mut successor, 4);
        relay.plan(Plan::Pass);
        woken.join().expect("no panic");
    });
    assert_eq!(facts.everything(&url), facts.undisturbed());
}

#[test]
fn writer_waits_for_a_database_that_restarts() {
    let Some(postgres) = Postgres::start(Wanted::default()) else { return };
    let facts = facts(4, 300);
    let url: LedgerUrl = postgres.create_database("restarted").parse().expect("a URL");
    let mut writer = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
    let mut reader = Ledger::open(&url).expect("a ledger");

    facts.add(&mut writer, 0, 3);
    postgres.restart("fast");
    let error = writer.commit().err();
    assert!(error.as_ref().is_none_or(LedgerError::is_passing), "{error:?}");
    commit(&mut writer);
    assert_eq!(reader.progress().expect("over a new connection")[0], (0, 3));

    facts.add(&mut writer, 1, 3);
    postgres.stop("immediate");
    let error = writer.commit().expect_err("the database is down");
    assert!(error.is_passing(), "{error}");
    assert!(reader.progress().expect_err("the database is down").is_passing());
    postgres.go_on();
    commit(&mut writer);
    assert_eq!(reader.progress().expect("over a new connection")[1], (1, 3));

    // Several restarts while it writes.
    std::thread::scope(|scope| {
        let postgres = &postgres;
        scope.spawn(move || {
            for mode in ["immediate", "fast", "immediate"] {
                std::thread::sleep(Duration::from_millis(150));
                postgres.restart(mode);
            }
        });
        persevere(&mut writer, &facts, &mut Rng::new(9));
    });
    assert_eq!(facts.everything(&url), facts.undisturbed());
}

#[test]
fn database_that_hangs_is_an_error() {
    let Some(postgres) = Postgres::start(Wanted::default()) else { return };
    let url = postgres.create_database("hung") + "?connect_timeout=1";
    Writer::open(&url.parse().expect("a URL"), [0]).expect("a ledger");
    postgres.pause();
    let error = Ledger::open(&url.parse().expect("a URL")).expect_err("no answer");
    postgres.wake();
    assert!(error.is_passing() && error.to_string().contains("no answer after"), "{error}");
    Ledger::open(&url.parse().expect("a URL")).expect("it answers again");
}
