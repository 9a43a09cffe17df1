//! Who comes late changes nothing.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ledger::error::LedgerError;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use stand::postgres::{PASSWORD, Postgres};

use crate::traffic::{PARTITIONS, facts};

const EVENTS: usize = 300;

/// A place for a ledger in each database.
fn places(name: &str) -> (tempfile::TempDir, Vec<LedgerUrl>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut urls = vec![LedgerUrl::file(&dir.path().join("ledger.sqlite"))];
    urls.extend(Postgres::shared().map(|postgres| postgres.create_database(name).parse().expect("a URL")));
    (dir, urls)
}

#[test]
fn a_second_writer_is_held_and_the_comparison_is_what_holds_it() {
    let facts = facts(1, EVENTS);
    let (_dir, urls) = places("second");
    for url in urls {
        let mut first = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        let mut late = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        facts.feed(&mut first, 2, 5);
        facts.feed(&mut late, 1, 2);
        facts.feed(&mut late, 2, 9);
        first.commit().expect("the first one commits");
        let before = facts.everything(&url);
        let moved = late.commit().expect_err("held");
        assert!(matches!(moved, LedgerError::Moved { facts: 2 }), "{moved}");
        assert!(!moved.is_passing() && moved.to_string().starts_with("facts partition 2: "), "{moved}");
        assert_eq!(facts.everything(&url), before, "nothing is changed");
        // It lets go of that partition; the other one is still its own.
        late.release(2);
        late.commit().expect("partition 1 goes on");
        assert_eq!((late.committed(1), late.committed(2)), (2, 0));
        late.adopt(2).expect("taken up");
        assert_eq!(late.next_offset(2), 5);
        facts.feed_all(&mut late, 7);
        assert_eq!(facts.everything(&url), facts.undisturbed());
    }
}

#[test]
fn two_that_read_the_same_are_not_both_right() {
    let facts = facts(1, EVENTS);
    let (_dir, urls) = places("twins");
    for url in urls {
        let mut first = Writer::open(&url, [0]).expect("a ledger");
        let mut twin = Writer::open(&url, [0]).expect("a ledger");
        facts.feed(&mut first, 0, 5);
        facts.feed(&mut twin, 0, 5);
        first.commit().expect("the first one commits");
        assert!(matches!(twin.commit(), Err(LedgerError::Moved { facts: 0 })), "it has sent no COMMIT");
    }
}

#[test]
fn without_the_comparison_facts_count_twice() {
    let facts = facts(1, EVENTS);
    let (_dir, urls) = places("blind");
    for url in urls {
        let mut first = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        let mut late = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        late.compare = false;
        facts.feed_all(&mut first, usize::MAX);
        facts.feed_all(&mut late, usize::MAX);
        assert_ne!(facts.everything(&url), facts.undisturbed());
    }
}

/// A session that holds the rows of a commit, and stands still for as long as it is let.
fn paused(postgres: &Postgres, database: &str, idle: &str) -> std::process::Child {
    let url = postgres.url(database);
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-t", &url]).env("PGPASSWORD", PASSWORD);
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("psql");
    let begin = format!(
        "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{idle}';
         SELECT facts FROM progress ORDER BY facts FOR UPDATE; UPDATE counters SET value = value + 1000000;\n"
    );
    psql.stdin.as_mut().expect("a pipe").write_all(begin.as_bytes()).expect("written");
    let mut held = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(psql.stdout.take().expect("a pipe")), &mut held)
        .expect("it has the rows");
    psql
}

#[test]
fn a_process_that_is_paused_in_its_transaction_holds_nobody_for_ever() {
    let Some(postgres) = Postgres::shared() else { return };
    let facts = facts(2, EVENTS);
    let url: LedgerUrl = postgres.create_database("paused").parse().expect("a URL");
    let mut writer = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
    for p in 0..PARTITIONS.facts {
        facts.feed(&mut writer, p, 4);
    }
    writer.commit().expect("a beginning");
    for p in 0..PARTITIONS.facts {
        facts.feed(&mut writer, p, 4);
    }
    let mut session = paused(postgres, "paused", "2s");
    let began = Instant::now();
    writer.commit().expect("the server cuts the paused one off");
    assert!(began.elapsed() > Duration::from_secs(1), "it had to wait");
    facts.feed_all(&mut writer, 9);
    drop(session.stdin.take());
    let _ = session.wait();
    assert_eq!(facts.everything(&url), facts.undisturbed());
}
