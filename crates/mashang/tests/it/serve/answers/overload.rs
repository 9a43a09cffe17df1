//! Clients that send too much, while others are served.

use std::io::{Read, Write};
use std::time::Duration;

use expect_test::expect;
use serde_json::json;

use crate::serve::server::{Server, post};
use crate::serve::setup::{JSON, NDJSON, check, head, key, raw, shop, write_keys};
#[test]
fn overload_is_refused_unread_while_others_continue() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--inflight-bytes", "33554432"]);
    // A Content-Length alone holds no memory; 7 MiB of a body whose end never comes do.
    let mut slow = raw(&server, head(8 * 1024 * 1024).as_bytes());
    slow.write_all(&vec![b' '; 7 * 1024 * 1024]).expect("it takes them");
    let visit = |id: usize| format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\"}}");
    let mut tries = 0;
    while server.metric("mashang_edge_inflight_bytes") < 20 * 1024 * 1024 {
        tries += 1;
        assert!(tries < 500, "the slow request is not in flight");
        std::thread::sleep(Duration::from_millis(10));
    }
    let large = format!("{}{}", visit(1), " ".repeat(4 * 1024 * 1024));
    let refused = server.post(JSON, large.as_bytes()).expect("an answer");
    assert!(
        refused.retry_after.as_ref().is_some_and(|s| (1..=3).contains(&s.parse::<u32>().unwrap_or(0))),
        "{refused:?}"
    );
    assert_eq!(
        (refused.status, refused.json()["detail"].clone()),
        (503, json!("too many bytes are in flight; send it again"))
    );
    assert_eq!(server.post(JSON, visit(2).as_bytes()).expect("an answer").status, 202, "small ones still fit");
    assert_eq!(server.metric("mashang_events_shed_total{reason=\"busy\"}"), 1);
    // The slow client is disconnected, and its memory permit is free again.
    let mut answer = String::new();
    slow.read_to_string(&mut answer).expect("an end");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(server.post(JSON, large.as_bytes()).expect("an answer").status, 202);
}

#[test]
fn shopper_beyond_its_limit_blocks_no_other() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--shopper-limit", "1"]);
    let mut next = 0;
    let mut visits = |shopper: &str, count: u64| {
        let visit = |n| format!("{{\"id\":\"{n}\",\"action\":\"visit\",\"shopper\":\"{shopper}\"}}\n");
        let lines: String = (next..next + count).map(visit).collect();
        next += count;
        lines
    };
    let say = |body: &str| server.post(NDJSON, body.as_bytes()).expect("an answer");
    // A burst of ten seconds' worth is accepted.
    let answer = say(&(visits("robot", 150) + &visits("u1", 1) + &visits("robot", 50) + &visits("u2", 4)));
    let json = answer.json();
    let rows = json["rejected"].as_array().expect("rows");
    let turned_away = rows.len() as u64;
    assert_eq!((answer.status, json["accepted"].as_u64()), (202, Some(205 - turned_away)), "{json}");
    assert!((180..=190).contains(&turned_away), "{turned_away}");
    assert!(rows.iter().all(|row| row["field"] == "shopper"), "{json}");
    let alone = say(&visits("robot", 1));
    check(
        &alone,
        &expect![[r#"
            429 Retry-After application/problem+json
            {"detail":"shopper: sends more events a second than one shopper may; send it again later","status":429,"title":"Too Many Requests"}
        "#]],
    );
    assert_eq!(say(&visits("u3", 5)).json()["accepted"], 5);
    server.settle();
    let sum = |name: &str| server.sum(&format!("mashang_events_{name}_total"));
    assert_eq!(server.metric("mashang_events_shed_total{reason=\"shopper\"}"), turned_away + 1);
    assert_eq!(sum("received"), 211);
    assert_eq!(sum("received"), sum("accepted") + sum("rejected") + sum("shed"));
}

/// What one key sends of a shopper takes nothing from another key, that of the tills.
#[test]
fn shopper_beyond_its_limit_is_refused_by_key() {
    let dir = shop();
    let of = |id: &str| key(id, "s", "merchants = [\"steady\"]\nscopes = [\"ingest\"]");
    write_keys(dir.path(), &[of("page"), of("till")].concat());
    let server = Server::start(dir.path(), &["--shopper-limit", "1", "--keys", "keys.toml"]);
    let send = |id: &str, events: std::ops::Range<u32>| {
        let lines = events.map(|n| format!("{{\"id\":\"{n}\",\"action\":\"visit\",\"shopper\":\"all\"}}\n"));
        post(&server.http, NDJSON, lines.collect::<String>().as_bytes(), Some(&format!("{id}.s"))).expect("an answer")
    };
    let page = send("page", 0..100);
    assert!(page.body.contains("\"field\":\"shopper\""), "{page:?}");
    let till = send("till", 100..105);
    assert_eq!((till.status, till.json()["accepted"].as_u64()), (202, Some(5)), "{till:?}");
}

/// Every event that is refused has a row, and no more than its first error once there are many rows.
#[test]
fn answer_with_many_errors_is_bounded() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let wrong = "{\"id\":1,\"action\":2,\"shopper\":3,\"time\":true,\"code\":5,\"guide\":6,\"store\":7,\"region\":8}\n";
    let answer = server.post(NDJSON, wrong.repeat(10_000).as_bytes()).expect("an answer");
    assert_eq!(answer.status, 400);
    let json = answer.json();
    let rows = json["rejected"].as_array().expect("rows");
    assert!((50_000..60_000).contains(&rows.len()), "{} rows", rows.len());
    let of = |index: usize| rows.iter().filter(|row| row["index"] == index).count();
    assert!(of(0) > 5, "all errors of the first");
    assert_eq!(of(9_999), 1);
}

/// While several keys send, the events of a large body reach the desks in small records, between those of others; a sender who is
/// alone gets fewer and larger ones.
#[test]
fn large_body_lets_others_between() {
    let dir = shop();
    let of = |id: &str| key(id, "s", "merchants = [\"steady\"]\nscopes = [\"ingest\"]");
    write_keys(dir.path(), &[of("page"), of("till")].concat());
    let server = Server::start(dir.path(), &["--partitions", "1", "--keys", "keys.toml"]);
    let records = || server.metric("mashang_desk_frames_total{desk=\"shopper\"}");
    let send = |id: &str, events: std::ops::Range<u32>| {
        let count = u64::from(events.end - events.start);
        let lines = events.map(|n| format!("{{\"id\":\"{n}\",\"action\":\"visit\",\"shopper\":\"u{n}\"}}\n"));
        let body = lines.collect::<String>();
        let answer = post(&server.http, NDJSON, body.as_bytes(), Some(&format!("{id}.s"))).expect("an answer");
        assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(count)), "{answer:?}");
    };
    let settled = || {
        server.settle();
        records()
    };
    let none = settled();
    send("till", 0..1_000);
    let alone = settled();
    // Without a pause, so that both keys send at the same time.
    send("page", 1_000..1_001);
    send("till", 1_001..2_001);
    assert_eq!((alone - none, settled() - alone), (1, 1 + 8));
    assert_eq!(server.sum("mashang_events_accepted_total"), 2_001);
}
