//! Requests, their answers, and the end of those that are in flight at a stop.

use std::io::{Read, Write};
use std::time::Duration;

use expect_test::expect;
use serde_json::json;

use crate::program::done;
use crate::serve::server::{Server, get};
use crate::serve::setup::{JSON, NDJSON, check, head, raw, shop};
use crate::serve::steady;
#[test]
fn bodies_get_their_answers() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let say = |content_type: &str, body: &str| server.post(content_type, body.as_bytes()).expect("an answer");
    check(
        &say(JSON, r#"{"id":"1","action":"visit","shopper":"u1"}"#),
        &expect![[r#"
        202 application/json
        {"accepted":1,"durable":"log","rejected":[]}
    "#]],
    );
    check(
        &say(
            JSON,
            r#"[{"id":"2","action":"visit","shopper":"u1"},{"id":"3","action":"order","shopper":"u1","amount":-1}]"#,
        ),
        &expect![[r#"
            202 application/json
            {"accepted":1,"durable":"log","rejected":[{"index":1,"id":"3","field":"amount","error":"amount: is -1; send 0 to 1000000000000000"},{"index":1,"id":"3","field":"order","error":"order: is missing; the action order needs one"}]}
        "#]],
    );
    check(
        &say(NDJSON, "{\"id\":\"4\",\"action\":\"visit\",\"shopper\":\"u1\"}\r\n\n{\"id\":\n"),
        &expect![[r#"
        202 application/json
        {"accepted":1,"durable":"log","rejected":[{"index":1,"error":"the event is not JSON: the text ends inside a value at byte 6"}]}
    "#]],
    );
    check(
        &say(JSON, r#"[{"id":"1"}, {]"#),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"the body is not JSON: key must be a string at byte 15"}]}
    "#]],
    );
    check(
        &say(JSON, r#"{"id":"1","#),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"the event is not JSON: the text ends inside a value at byte 10"}]}
    "#]],
    );
    check(
        &say(JSON, ""),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"the body is empty; send events"}]}
    "#]],
    );
    check(
        &say(NDJSON, "\n \n"),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"the body is empty; send events"}]}
    "#]],
    );
    check(
        &say(JSON, "[]"),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"the body is empty; send events"}]}
    "#]],
    );
    check(
        &say("text/plain", "{}"),
        &expect![[r#"
            415 application/problem+json
            {"detail":"Content-Type is text/plain; send application/json, application/x-ndjson or a CloudEvent in JSON","status":415,"title":"Unsupported Media Type"}
        "#]],
    );
    check(
        &say("application/json; charset=utf-8", r#"{"id":"5","action":"visit","shopper":"u1"}"#),
        &expect![[r#"
        202 application/json
        {"accepted":1,"durable":"log","rejected":[]}
    "#]],
    );
    let many = "{\"id\":\"x\",\"action\":\"visit\",\"shopper\":\"u1\"}\n".repeat(10_001);
    check(
        &say(NDJSON, &many),
        &expect![[r#"
        413 application/problem+json
        {"detail":"the body has more than 10000 events; send several requests","status":413,"title":"Payload Too Large"}
    "#]],
    );
    let large = " ".repeat(8 * 1024 * 1024 + 1);
    check(
        &say(JSON, &large),
        &expect![[r#"
        413 application/problem+json
        {"detail":"the body has more than 8388608 bytes; send several requests","status":413,"title":"Payload Too Large"}
    "#]],
    );
    server.settle();
    let [received, accepted] = ["mashang_events_received_total", "mashang_events_accepted_total{transport=\"http\"}"]
        .map(|m| server.metric(m));
    let rejected: u64 = ["json", "range", "missing", "size"]
        .iter()
        .map(|reason| server.metric(&format!("mashang_events_rejected_total{{reason=\"{reason}\"}}")))
        .sum();
    assert_eq!((received, accepted), (accepted + rejected, 4));
}

#[test]
fn other_paths_and_methods_are_refused() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.get("/v1/events").status, 405);
    assert_eq!(server.get("/nothing").status, 404);
    let refused = server.get("/v1/results/1?wait=10");
    assert_eq!((refused.status, refused.json()["detail"].clone()), (400, json!("shopper= is missing")));
    assert_eq!(server.get("/v1/results/1?shopper=u&wait=long").status, 400);
    let long = server.get(&format!("/v1/results/1?shopper={}", "s".repeat(72)));
    assert_eq!(long.json()["detail"], json!("shopper= has 72 bytes; events have 1 to 71"));
    assert_eq!(server.get(&format!("/v1/results/{}?shopper=u", "i".repeat(65))).status, 400);
    let page = server.get("/");
    assert!(page.status == 200 && page.body.contains("<h2>steady</h2>") && page.content_type.starts_with("text/html"));
    for (path, wanted) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let answer = get(&format!("{}{path}", server.admin), None).expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (200, wanted));
    }
}

#[test]
fn stop_ends_requests_and_fills_the_ledger() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--clock", "event"]);
    let events = steady::events(2_000);
    for batch in events.chunks(100) {
        assert_eq!(server.post(NDJSON, batch.join("\n").as_bytes()).expect("an answer").status, 202);
    }
    // Half of a request is there when the end is asked for; the other half comes after.
    let body = r#"{"id":"last","action":"visit","shopper":"u1"}"#;
    let mut half = raw(&server, head(body.len()).as_bytes());
    half.write_all(&body.as_bytes()[..10]).expect("it takes them");
    std::thread::sleep(Duration::from_millis(200));
    let pid_gone = std::thread::spawn(move || server.stop());
    std::thread::sleep(Duration::from_millis(300));
    half.write_all(&body.as_bytes()[10..]).expect("it takes them");
    let mut answer = String::new();
    half.read_to_string(&mut answer).expect("an end");
    assert!(answer.starts_with("HTTP/1.1 202") && answer.contains("\"accepted\":1"), "{answer}");
    let (status, told) = pid_gone.join().expect("no panic");
    assert!(status.success() && told.contains("the ledger has committed everything"), "{told}");
    // Without a restart the ledger has every event.
    let counters = done(dir.path(), &["export", "counters", "--ledger", "data/ledger.sqlite"]);
    let visits: u64 = counters
        .lines()
        .filter(|l| l.starts_with("steady,merchant,*,") && l.contains(",visits,"))
        .map(|l| l.rsplit(',').next().and_then(|n| n.parse::<u64>().ok()).expect("a number"))
        .sum();
    assert_eq!(visits, events.iter().filter(|e| e.contains("\"visit\"")).count() as u64 + 1);
}
