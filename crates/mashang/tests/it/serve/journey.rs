//! A real retailer's year through the service, over HTTP, some batches twice.

use std::path::{Path, PathBuf};

use super::server::{Server, post};
use crate::program::{TABLES, done};

const BATCH: usize = 5_000;

fn export(dir: &Path, out: &str, table: &str) -> String {
    let text = done(dir, &["export", table, "--ledger", &format!("{out}/ledger.sqlite")]);
    text.lines().filter(|line| !line.contains(",duplicates,")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_retailers_year_is_the_same_over_http() {
    let Some(journey) = std::env::var_os("MASHANG_JOURNEY").map(PathBuf::from) else {
        assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "MASHANG_JOURNEY is not set");
        eprintln!("skipped: MASHANG_JOURNEY names no directory with the converted journey");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let rules = journey.join("rules.toml").to_string_lossy().into_owned();
    let events = journey.join("events.ndjson").to_string_lossy().into_owned();
    done(dir.path(), &["run", "--rules", &rules, "--events", &events, "--out", "run"]);
    let text = std::fs::read_to_string(&events).expect("events");
    let lines: Vec<&str> = text.lines().collect();
    for partitions in ["1", "8"] {
        let data = format!("data-{partitions}");
        let more = ["--rules", &rules, "--data", &data, "--clock", "event", "--partitions", partitions];
        let server = Server::start(dir.path(), &more);
        let mut twice = 0;
        for (number, batch) in lines.chunks(BATCH).enumerate() {
            // Every twentieth is sent again.
            for _ in 0..=usize::from(number % 20 == 7) {
                let answer = post(&server.http, "application/x-ndjson", batch.join("\n").as_bytes(), None);
                let answer = answer.expect("an answer");
                assert_eq!(answer.status, 202, "{answer:?}");
                assert_eq!(answer.json()["accepted"], batch.len());
            }
            twice += if number % 20 == 7 { batch.len() } else { 0 };
        }
        server.settle();
        assert_eq!(server.metric("mashang_duplicates_total"), twice as u64);
        let (status, told) = server.stop();
        assert!(status.success(), "{told}");
        for table in TABLES {
            assert!(
                export(dir.path(), &data, table) == export(dir.path(), "run", table),
                "{table} on {partitions} partitions differs from a run"
            );
        }
        println!("{partitions} partitions: {} events, {twice} of them twice", lines.len());
    }
}
