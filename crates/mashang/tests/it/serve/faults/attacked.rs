//! What an independent attack found, each with the way in which it was found.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;

use super::chaos::SmallDisk;
use crate::program::{TABLES, done, export, mashang};
use crate::serve::server::{Server, get, post};
use crate::serve::setup::{head, key, raw, shop, write_keys};
use crate::serve::steady;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const EVENT: [&str; 4] = ["--clock", "event", "--partitions", "1"];

fn until(mut holds: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sums(server: &Server) -> (u64, u64) {
    let of = |family: &str, reasons: &[&str]| -> u64 {
        reasons.iter().map(|r| server.metric(&format!("mashang_events_{family}_total{{reason=\"{r}\"}}"))).sum()
    };
    let accepted = server.metric("mashang_events_accepted_total{transport=\"http\"}");
    let others = of("rejected", &["json", "missing", "range"]) + of("shed", &["busy", "full", "closed"]);
    (server.metric("mashang_events_received_total"), accepted + others)
}

#[test]
fn clients_that_disconnect_early_are_counted() {
    let dir = shop();
    let server = Server::start(dir.path(), &EVENT);
    let events = steady::events(3_000);
    for batch in events.chunks(10) {
        let body = batch.join("\n");
        let head = head(body.len()).replace("application/json", NDJSON);
        // The client closes before any answer.
        drop(raw(&server, format!("{head}{body}").as_bytes()));
    }
    // Some were gone before anyone looked at them; those that were read are accounted for.
    until(|| server.metric("mashang_edge_inflight_bytes") == 0, "what was held is given back");
    until(|| sums(&server).0 == sums(&server).1, "received is accepted and rejected and shed");
    let (received, _) = sums(&server);
    assert!(received > 100, "{received} events were read");
    server.settle();
    let dump = done(dir.path(), &["log", "dump", "--data", "data"]);
    assert_eq!(dump.lines().count() as u64, server.metric("mashang_events_accepted_total{transport=\"http\"}"));
}

#[test]
fn stop_waits_for_no_client_and_no_database() {
    let dir = shop();
    let server = Server::start(dir.path(), &EVENT);
    // A client that never ends its request, and a ledger that another program writes.
    let _slow = raw(&server, head(1_000).as_bytes());
    let writes = rusqlite::Connection::open(dir.path().join("data/ledger.sqlite")).expect("a file");
    writes.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    assert_eq!(server.post(NDJSON, steady::events(300).join("\n").as_bytes()).expect("an answer").status, 202);
    let began = Instant::now();
    let (_, told) = server.stop();
    // Five seconds are promised; without a limit it takes a minute and more.
    assert!(began.elapsed() < Duration::from_secs(25), "{told}");
    drop(writes);
    worked(dir.path());
    assert!(export(dir.path(), "data", "orders").lines().count() > 10);
}

#[test]
fn event_clock_begins_with_the_first_event_after_a_restart_too() {
    let dir = shop();
    let server = Server::start(dir.path(), &EVENT);
    server.settle();
    assert!(server.stop().0.success());
    worked(dir.path());
}

#[test]
fn devices_and_old_times_replay_from_the_dump() {
    let dir = shop();
    let server = Server::start(dir.path(), &EVENT);
    let device = "d".repeat(64);
    let scans = [
        json!({"id": "1", "action": "scan", "code": "POSTER", "device": device, "time": 1_794_326_400_000_u64}),
        json!({"id": "2", "action": "scan", "code": "G-1", "device": "d", "shopper": "device:d"}),
        json!({"id": "3", "action": "visit", "device": "d", "shopper": "u1"}),
        // As an integer this time would be taken for seconds.
        json!({"id": "4", "action": "visit", "shopper": "u1", "time": "1970-01-02T00:00:00Z"}),
    ];
    assert_eq!(server.post(JSON, json!(scans).to_string().as_bytes()).expect("an answer").json()["accepted"], 4);
    server.settle();
    assert!(server.stop().0.success());
    std::fs::write(dir.path().join("dump"), done(dir.path(), &["log", "dump", "--data", "data"])).expect("a file");
    done(dir.path(), &["run", "--rules", "rules.toml", "--events", "dump", "--out", "again"]);
    for table in TABLES {
        assert_eq!(export(dir.path(), "data", table), export(dir.path(), "again", table));
    }
}

#[test]
fn keys_whose_mode_is_mended_are_read() {
    let dir = shop();
    let rest = "merchants = [\"steady\"]\nscopes = [\"ingest\"]";
    write_keys(dir.path(), &key("a", "1", rest));
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let with = |key: &str| {
        let visit = br#"{"id":"1","action":"visit","shopper":"u1"}"#;
        post(&server.http, JSON, visit, Some(key)).expect("an answer").status
    };
    assert_eq!(with("a.1"), 202);
    let path = dir.path().join("keys.toml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    std::fs::write(&path, key("b", "2", rest)).expect("a file");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!((with("a.1"), with("b.2")), (202, 401), "what others may read is not taken");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    until(|| with("b.2") == 202, "the mended file is read");
    assert_eq!(with("a.1"), 401);
}

#[test]
fn key_without_a_served_merchant_is_refused() {
    let dir = shop();
    write_keys(dir.path(), &key("other", "o", "merchants = [\"stranger\"]\nscopes = [\"ingest\"]"));
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let answer = post(&server.http, JSON, b"{}", Some("other.o")).expect("an answer");
    assert_eq!(
        (answer.status, answer.json()["detail"].clone()),
        (403, json!("key other is of no merchant that is served here"))
    );
}

/// A service that has taken events and was ended.
fn worked(dir: &std::path::Path) {
    let server = Server::start(dir, &EVENT);
    assert_eq!(server.post(NDJSON, steady::events(300).join("\n").as_bytes()).expect("an answer").status, 202);
    server.settle();
    assert!(server.stop().0.success());
}

#[test]
fn closed_ledger_is_complete_in_its_file() {
    let dir = shop();
    worked(dir.path());
    std::fs::create_dir(dir.path().join("copy")).expect("a folder");
    std::fs::copy(dir.path().join("data/ledger.sqlite"), dir.path().join("copy/ledger.sqlite")).expect("a file");
    assert!(export(dir.path(), "copy", "orders").lines().count() > 10);
    assert_eq!(export(dir.path(), "copy", "orders"), export(dir.path(), "data", "orders"));
}

/// The exit of a start that must be refused.
fn refused(dir: &std::path::Path, status: i32, wanted: &str) {
    let fixed = ["serve", "--data", "data", "--rules", "rules.toml", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let output = mashang(dir, &[&fixed[..], &EVENT].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains(wanted), "{told}");
    assert_eq!(output.status.code(), Some(status), "{told}");
}

#[test]
fn parts_of_other_directories_are_refused_at_start() {
    let (one, two) = (shop(), shop());
    worked(one.path());
    worked(two.path());
    let ledger = |dir: &tempfile::TempDir| dir.path().join("data/ledger.sqlite");
    std::fs::copy(ledger(&two), ledger(&one)).expect("a file");
    refused(one.path(), 1, "data/ledger.sqlite: the ledger is of another log");
    // The log is gone, and what was published is not.
    std::fs::remove_dir_all(two.path().join("data/log")).expect("a folder");
    refused(two.path(), 2, "rules were published here, and the log is gone");
    // The directory of a run.
    let run = shop();
    std::fs::write(run.path().join("events.ndjson"), steady::events(10).join("\n")).expect("a file");
    done(run.path(), &["run", "--rules", "rules.toml", "--events", "events.ndjson", "--out", "data"]);
    refused(run.path(), 2, "the ledger was written by `run`");
    assert!(!run.path().join("data/log").exists(), "nothing was made there");
}

#[test]
fn a_stop_on_a_full_disk_ends() {
    let dir = shop();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let Some(_disk) = SmallDisk::mount(&data, "12m") else {
        assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "no disk can be mounted: root is needed");
        eprintln!("skipped: no disk can be mounted without being root");
        return;
    };
    let server = Server::start(dir.path(), &EVENT);
    let _ = std::fs::write(data.join("filler"), vec![1; 12 << 20]);
    let events = steady::events(2_000);
    let full =
        events.chunks(20).any(|b| server.post(NDJSON, b.join("\n").as_bytes()).expect("an answer").status == 503);
    assert!(full, "there is no room");
    let (_, told) = server.stop();
    assert!(told.contains("not everything is in the ledger yet") || told.contains("stopped"), "{told}");
    std::fs::remove_file(data.join("filler")).expect("a file");
    let server = Server::start(dir.path(), &EVENT);
    server.settle();
    assert!(server.stop().0.success());
    std::fs::write(dir.path().join("dump"), done(dir.path(), &["log", "dump", "--data", "data"])).expect("a file");
    done(dir.path(), &["run", "--rules", "rules.toml", "--events", "dump", "--out", "again"]);
    for table in TABLES {
        assert_eq!(export(dir.path(), "data", table), export(dir.path(), "again", table), "{table}");
    }
}

#[test]
fn merchant_may_go_while_its_draws_are_pending() {
    let dir = shop();
    let rules = std::fs::read_to_string(dir.path().join("rules.toml")).expect("a file");
    std::fs::write(dir.path().join("other.toml"), rules.replace("merchant = \"steady\"", "merchant = \"other\""))
        .expect("a file");
    let both = [&EVENT[..], &["--rules", "rules.toml", "other.toml"]].concat();
    let server = Server::start(dir.path(), &both);
    let scan = json!({"id": "1", "action": "scan", "shopper": "u", "code": "POSTER", "merchant": "other", "time": 1_794_326_400_000_u64});
    assert_eq!(server.post(JSON, scan.to_string().as_bytes()).expect("an answer").status, 202);
    server.kill();
    let server = Server::start(dir.path(), &EVENT);
    server.settle();
    assert!(server.stop().0.success());
    let entries = export(dir.path(), "data", "counters");
    assert!(entries.lines().any(|line| line.starts_with("other,") && line.contains(",entries,1")), "{entries}");
}

#[test]
fn unread_answers_count_as_memory_in_flight() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    // 2 MB of events with all but the id wrong: the answer is several times as long.
    let id = "i".repeat(60);
    let event = r#"{"id":"ID","action":[],"shopper":[],"time":[],"store":[],"guide":[],"region":[],"channel":[],"device":[],"order":[],"amount":[]}"#.replace("ID", &id);
    let wrong = format!("[{}]", vec![event; 9_000].join(","));
    let streams: Vec<_> = (0..4).map(|_| raw(&server, format!("{}{wrong}", head(wrong.len())).as_bytes())).collect();
    until(|| server.metric("mashang_edge_inflight_bytes") > 20_000_000, "answers are held");
    // A client that reads late gets all of it; a client that never reads is disconnected.
    for mut stream in streams.iter().take(2) {
        let mut answer = vec![0; 1 << 20];
        let mut total = 0;
        while total < 6 << 20 {
            total += stream.read(&mut answer).expect("an answer");
        }
    }
    until(|| server.metric("mashang_edge_inflight_bytes") == 0, "what was held is given back");
    until(|| server.metric("mashang_http_connections") <= 3, "who does not read is cut off");
}

#[test]
fn wait_for_a_result_is_answered_at_stop() {
    let dir = shop();
    let server = Server::start(dir.path(), &EVENT);
    let url = format!("{}/v1/results/never?shopper=u1&wait=30000", server.http);
    let waits = std::thread::spawn(move || get(&url, None));
    std::thread::sleep(Duration::from_millis(500));
    assert!(server.stop().0.success());
    let answer = waits.join().expect("no panic").expect("an answer, not a cut");
    assert_eq!(answer.json(), json!({"id": "never", "state": "pending"}));
}

#[test]
fn small_things_are_as_they_should_be() {
    let dir = shop();
    let server = Server::start(dir.path(), &EVENT);
    let wrong = server.post(JSON, b"   \n  {\"id\":\"a\", bad}").expect("an answer").json();
    assert!(wrong["rejected"][0]["error"].as_str().expect("a text").ends_with("at byte 18"), "{wrong}");
    for (answer, status) in
        [(server.get("/nothing"), 404), (server.get("/v1/events"), 405), (server.get("/v1/results/%FF?shopper=u"), 400)]
    {
        assert_eq!((answer.status, answer.content_type.as_str()), (status, "application/problem+json"), "{answer:?}");
    }
    // A client that asks before it sends gets the answer at once.
    let mut asks = raw(&server, b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
    let mut answer = [0; 12];
    asks.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 415");
    let _ = asks.flush();
    let reasons: BTreeSet<u64> = [sums(&server).0, sums(&server).1].into();
    assert_eq!(reasons.len(), 1, "nothing was lost");
}
