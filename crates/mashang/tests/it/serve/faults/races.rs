//! Shoppers who race for codes and prizes, over several connections, while the service is killed: the ledger is the naive
//! model's over the log's own order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sim::generate::generate;

use super::chaos::Dice;
use crate::differential::{differences, write};
use crate::program::{done, run};
use crate::serve::server::{Server, post};

const CASES: u64 = 10;
const KILLS: usize = 2;
const EVENTS: usize = 300;
const BATCH: usize = 4;
const CONNECTIONS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends batches until none is left, each until it is answered 202; whichever connection is free takes the next.
fn send(http: &Mutex<String>, batches: &Mutex<VecDeque<String>>) {
    loop {
        let Some(batch) = batches.lock().expect("no panic").pop_front() else { return };
        let until = Instant::now() + PATIENCE;
        loop {
            let address = http.lock().expect("no panic").clone();
            match post(&address, "application/x-ndjson", batch.as_bytes(), None) {
                Ok(answer) if answer.status == 202 => {
                    assert_eq!(answer.json()["rejected"], serde_json::json!([]));
                    break;
                }
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                Err(_) => {}
            }
            assert!(Instant::now() < until, "no edge takes it");
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

#[test]
fn races_end_as_the_log_says() {
    let mut dice = Dice::new();
    for _ in 0..CASES {
        let seed = dice.next(100_000);
        let case = generate(seed, EVENTS);
        let dir = tempfile::tempdir().expect("a directory");
        write(&case, dir.path());
        let mut more = vec!["--clock", "event", "--partitions", "1", "--snapshot-every", "30ms", "--rules"];
        more.extend(case.rules_files.iter().map(String::as_str));
        let mut server = Server::start(dir.path(), &more);
        let mut batches: VecDeque<String> = case.lines.chunks(BATCH).map(|lines| lines.join("\n")).collect();
        // The first event says what time it is.
        let first = batches.pop_front().expect("events");
        assert_eq!(post(&server.http, "application/x-ndjson", first.as_bytes(), None).expect("an answer").status, 202);
        let total = batches.len();
        let (http, batches) = (Arc::new(Mutex::new(server.http.clone())), Arc::new(Mutex::new(batches)));
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (http, batches) = (Arc::clone(&http), Arc::clone(&batches));
                std::thread::spawn(move || send(&http, &batches))
            })
            .collect();
        for kill in 0..KILLS {
            while batches.lock().expect("no panic").len() > total - (kill + 1) * total / (KILLS + 1) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(dice.next(10_000)));
            server.kill();
            server = Server::start(dir.path(), &more);
            http.lock().expect("no panic").clone_from(&server.http);
        }
        senders.into_iter().for_each(|sender| sender.join().expect("every batch is taken in the end"));
        server.settle();
        assert!(server.stop().0.success());
        let dump = done(dir.path(), &["log", "dump", "--data", "data"]);
        std::fs::write(dir.path().join("events.ndjson"), &dump).expect("a file");
        let lines: Vec<String> = dump.lines().map(ToOwned::to_owned).collect();
        let summary = run(dir.path(), &case.rules_files, "again");
        let (wrong, _) = differences(dir.path(), &case, &lines, &summary, "data");
        assert!(wrong.is_empty(), "case {seed}: {wrong}files in {}", dir.keep().display());
    }
}
