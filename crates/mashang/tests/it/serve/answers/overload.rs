//! Clients that send too much, while others are served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use expect_test::expect;
use serde_json::json;

use crate::serve::server::Server;
use crate::serve::setup::{JSON, NDJSON, check, head, raw, shop};
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
    const ROOM: usize = 32 * 1024 * 1024;
    let dir = shop();
    let room = ROOM.to_string();
    let server = Server::start(dir.path(), &["--inflight-bytes", &room, "--shopper-limit", "1"]);
    let mut next = 0;
    let mut visits = |shopper: &str, count: u64| {
        let visit = |n| format!("{{\"id\":\"{n}\",\"action\":\"visit\",\"shopper\":\"{shopper}\"}}\n");
        let lines: String = (next..next + count).map(visit).collect();
        next += count;
        lines
    };
    let say = |body: &str| server.post(NDJSON, body.as_bytes()).expect("an answer");
    // While memory is free, the shopper limit only counts.
    assert_eq!(say(&visits("robot", 300)).json()["accepted"], 300);
    assert!(server.metric("mashang_hot_shopper_events_total") >= 280);
    // A body that does not end takes more than half of the memory budget.
    let mut slow = TcpStream::connect(server.http.trim_start_matches("http://")).expect("a connection");
    let head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n";
    slow.write_all(head.as_bytes()).expect("room");
    slow.write_all(&vec![b' '; ROOM / 3 / 2 + 500_000]).expect("room");
    let held = || server.metric("mashang_edge_inflight_bytes") as usize > ROOM / 2;
    while !held() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let answer = say(&(visits("robot", 50) + &visits("u1", 1) + &visits("robot", 50) + &visits("u2", 4)));
    let json = answer.json();
    let rows = json["rejected"].as_array().expect("rows");
    let turned_away = rows.len() as u64;
    assert_eq!((answer.status, json["accepted"].as_u64()), (202, Some(105 - turned_away)), "{json}");
    assert!((90..=100).contains(&turned_away), "{turned_away}");
    assert!(rows.iter().all(|row| row["field"] == "shopper"), "{json}");
    let alone = say(&visits("robot", 1));
    check(
        &alone,
        &expect![[r#"
            429 Retry-After application/problem+json
            {"detail":"shopper: sends far more than its share, and there is little room now; send it again later","status":429,"title":"Too Many Requests"}
        "#]],
    );
    drop(slow);
    while held() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(say(&visits("robot", 50)).json()["accepted"], 50);
    server.settle();
    let sum = |name: &str| server.sum(&format!("mashang_events_{name}_total"));
    assert_eq!(server.metric("mashang_events_shed_total{reason=\"shopper\"}"), turned_away + 1);
    // The body that did not end was no event.
    assert_eq!(sum("received"), 456);
    assert_eq!(sum("received"), sum("accepted") + sum("rejected") + sum("shed"));
}
