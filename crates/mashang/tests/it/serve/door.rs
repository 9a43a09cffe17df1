//! The answers of the ingest service.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::server::{Answer, Server, get, post};
use super::steady;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

pub(crate) fn shop() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    dir
}

pub(super) fn check(answer: &Answer, expect: &Expect) {
    let again = answer.retry_after.as_ref().map_or("", |_| " Retry-After");
    expect.assert_eq(&format!("{}{again} {}\n{}\n", answer.status, answer.content_type, answer.body));
}

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
fn a_scan_gets_its_result() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--clock", "event"]);
    let at = 1_794_326_400_000_u64;
    let scan = |id: &str, shopper: &str, code: &str, at: u64| {
        let event =
            json!({"id": id, "action": "scan", "shopper": shopper, "code": code, "time": at, "region": "330102"});
        assert_eq!(server.post(JSON, event.to_string().as_bytes()).expect("an answer").status, 202);
        let answer = server.get(&format!("/v1/results/{id}?shopper={shopper}&wait=20000"));
        assert_eq!(answer.status, 200);
        answer.json()
    };
    let pending = json!({"id": "never", "state": "pending"});
    assert_eq!(server.get("/v1/results/never?shopper=u1&wait=50").json(), pending);
    assert_eq!(scan("a", "u1", "G-1", at), json!({"id": "a", "state": "counted"}));
    assert_eq!(scan("b", "u1", "G-1", at + 1_000), json!({"id": "b", "state": "repeat"}));
    assert_eq!(scan("c", "u1", "unheard of", at + 1_000), json!({"id": "c", "state": "counted"}));
    // What each code draws is worked out from the secret: ITEM-2 wins, ITEM-0 does not.
    let win = json!({"campaign": "wheel", "result": "prize", "prize": "red-1"});
    let (winner, loser) = winner_and_loser();
    assert_eq!(scan("d", "u1", &winner, at + 60_000), json!({"id": "d", "state": "entered", "draw": win}));
    assert_eq!(
        scan("e", "u1", &loser, at + 60_000),
        json!({"id": "e", "state": "entered", "draw": {"campaign": "wheel", "result": "thanks"}})
    );
    let again = json!({"campaign": "wheel", "result": "prize", "prize": "red-1", "again": true});
    assert_eq!(scan("f", "u1", &winner, at + 120_000), json!({"id": "f", "state": "counted", "draw": again}));
    let claimed = json!({"time": "2026-11-10T16:01:00.000Z", "region": "330102"});
    assert_eq!(
        scan("g", "u2", &winner, at + 130_000),
        json!({"id": "g", "state": "entered", "draw": {"campaign": "wheel", "result": "already-claimed", "claimed": claimed}})
    );
    for n in 0..3 {
        scan(&format!("p{n}"), "u1", "POSTER", at + 200_000 + n * 20_000);
    }
    assert_eq!(
        scan("h", "u1", "POSTER", at + 300_000),
        json!({"id": "h", "state": "counted", "draw": {"campaign": "wheel", "result": "limit"}})
    );
    // All of it is still known once the ledger alone has it, and after a restart.
    server.settle();
    let (status, told) = server.stop();
    assert!(status.success(), "{told}");
    let server = Server::start(dir.path(), &["--clock", "event"]);
    let f = server.get("/v1/results/f?shopper=u1").json();
    assert_eq!(f, json!({"id": "f", "state": "counted", "draw": again}));
    assert_eq!(server.get("/v1/results/b?shopper=u1").json()["state"], "repeat");
    assert_eq!(server.get("/v1/results/d?shopper=u2&wait=20").json()["state"], "pending");
}

/// Item codes that win and do not, by the contract's own arithmetic.
fn winner_and_loser() -> (String, String) {
    use hmac::{Hmac, KeyInit, Mac};
    let secret: Vec<u8> = (0..32).collect();
    let wins = |code: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("a key");
        mac.update(format!("draw\u{1f}wheel\u{1f}{code}").as_bytes());
        let u = mac.finalize().into_bytes().iter().take(8).fold(0_u128, |u, b| u << 8 | u128::from(*b));
        u < (1 << 64) / 3
    };
    let codes: Vec<String> = (0..20).map(|i| format!("ITEM-{i}")).collect();
    let find = |won: bool| codes.iter().find(|code| wins(code) == won).expect("one of twenty").clone();
    (find(true), find(false))
}

pub(crate) fn write_keys(dir: &Path, text: &str) {
    let path = dir.join("keys.toml");
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

pub(crate) fn key(id: &str, secret: &str, rest: &str) -> String {
    let hash: String = Sha256::digest(secret).iter().map(|b| format!("{b:02x}")).collect();
    format!("[[key]]\nid = \"{id}\"\nsha256 = \"{hash}\"\n{rest}\n")
}

#[test]
fn keys_are_limited_to_scopes_and_reloaded() {
    let dir = shop();
    let ingest = key("till", "s3cret", "merchants = [\"steady\"]\nscopes = [\"ingest\"]\nactions = [\"visit\"]");
    let read = key("Board", "looks", "merchants = [\"steady\"]\nscopes = [\"read\"]");
    let other = key("other", "o", "merchants = [\"stranger\"]\nscopes = [\"ingest\", \"read\"]");
    write_keys(dir.path(), &[ingest.as_str(), &read, &other].concat());
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let visit = br#"{"id":"1","action":"visit","shopper":"u1","merchant":"steady"}"#;
    let with = |key: Option<&str>, body: &[u8]| post(&server.http, JSON, body, key).expect("an answer");
    check(
        &with(None, visit),
        &expect![[r#"
        401 application/problem+json
        {"detail":"there is no key; send Authorization: Bearer ID.SECRET","status":401,"title":"Unauthorized"}
    "#]],
    );
    check(
        &with(Some("till.wrong"), visit),
        &expect![[r#"
        401 application/problem+json
        {"detail":"the key is not known, or its secret is wrong","status":401,"title":"Unauthorized"}
    "#]],
    );
    check(
        &with(Some("stranger.s3cret"), visit),
        &expect![[r#"
        401 application/problem+json
        {"detail":"the key is not known, or its secret is wrong","status":401,"title":"Unauthorized"}
    "#]],
    );
    check(
        &with(Some("Board.looks"), visit),
        &expect![[r#"
        403 application/problem+json
        {"detail":"key Board is not for this; it has no scope ingest","status":403,"title":"Forbidden"}
    "#]],
    );
    check(
        &with(Some("other.o"), visit),
        &expect![[r#"
            403 application/problem+json
            {"detail":"key other is of no merchant that is served here","status":403,"title":"Forbidden"}
        "#]],
    );
    check(
        &with(Some("till.s3cret"), br#"{"id":"2","action":"join","shopper":"u1"}"#),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"id":"2","field":"action","error":"action: join is not among the actions of key till"}]}
    "#]],
    );
    assert_eq!(with(Some("till.s3cret"), visit).status, 202);
    let result = |key| get(&format!("{}/v1/results/1?shopper=u1", server.http), key).expect("an answer").status;
    assert_eq!([result(None), result(Some("till.s3cret")), result(Some("Board.looks"))], [401, 403, 200]);
    let page = |key| get(&server.http, key).expect("an answer").status;
    assert_eq!([page(None), page(Some("Board.looks"))], [401, 200]);
    // A file that is wrong changes nothing; one that is right does.
    write_keys(dir.path(), "[[key]]\nid = 7");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(with(Some("till.s3cret"), visit).status, 202);
    write_keys(dir.path(), &key("till", "fresh", "merchants = [\"steady\"]\nscopes = [\"ingest\"]"));
    let mut tries = 0;
    while with(Some("till.fresh"), visit).status != 202 {
        tries += 1;
        assert!(tries < 200, "the keys are not read again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(with(Some("till.s3cret"), visit).status, 401);
}

/// What a raw connection gets for these bytes.
pub(crate) fn raw(server: &Server, bytes: &[u8]) -> TcpStream {
    let address = server.http.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(50))).expect("a timeout");
    stream.write_all(bytes).expect("it takes them");
    stream
}

pub(crate) fn head(body_bytes: usize) -> String {
    format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n"
    )
}

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
    let counters = super::super::program::done(dir.path(), &["export", "counters", "--ledger", "data/ledger.sqlite"]);
    let visits: u64 = counters
        .lines()
        .filter(|l| l.starts_with("steady,merchant,*,") && l.contains(",visits,"))
        .map(|l| l.rsplit(',').next().and_then(|n| n.parse::<u64>().ok()).expect("a number"))
        .sum();
    assert_eq!(visits, events.iter().filter(|e| e.contains("\"visit\"")).count() as u64 + 1);
}

#[test]
fn openapi_is_served_and_other_origins_are_allowed() {
    let dir = shop();
    write_keys(dir.path(), &key("page", "s", "merchants = [\"steady\"]\nscopes = [\"ingest\"]"));
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let described = server.get("/openapi.json");
    assert_eq!((described.status, described.content_type.as_str()), (200, JSON));
    let described = described.json();
    assert_eq!(described["openapi"], "3.1.0");
    assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, method) in [("/v1/events", "post"), ("/v1/results/{id}", "get")] {
        assert!(described["paths"][path][method]["responses"].is_object(), "{path}");
    }
    // What a browser asks before it sends.
    let mut stream = TcpStream::connect(server.http.trim_start_matches("http://")).expect("a connection");
    let asked = "OPTIONS /v1/events HTTP/1.1\r\nHost: localhost\r\nOrigin: https://shop.example\r\nConnection: close\r\n\
        Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,content-type\r\n\r\n";
    stream.write_all(asked.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let answer = answer.to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    for header in [
        "access-control-allow-origin: *",
        "access-control-allow-methods: get,post",
        "access-control-allow-headers: authorization,content-type",
        "access-control-max-age: 86400",
    ] {
        assert!(answer.contains(header), "{header}: {answer}");
    }
    // And with what it sends then.
    let mut stream = TcpStream::connect(server.http.trim_start_matches("http://")).expect("a connection");
    let sent = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nOrigin: https://shop.example\r\nConnection: close\r\n\
        Authorization: Bearer page.s\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(sent.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 415") && answer.contains("access-control-allow-origin: *"), "{answer}");
    // Events go by no route; a page may read of their answers what it may of all others.
    let may = |answer: &str| {
        let lines = answer.lines().filter(|line| line.starts_with("access-control-") || line.starts_with("vary: "));
        let mut lines: Vec<String> = lines.map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    let mut routed = String::new();
    let asked = "GET /nothing HTTP/1.1\r\nHost: localhost\r\nOrigin: https://shop.example\r\nConnection: close\r\n\r\n";
    raw(&server, asked.as_bytes()).read_to_string(&mut routed).expect("an answer");
    assert_eq!(may(&answer), may(&routed));
    assert!(may(&answer).len() == 3 && routed.starts_with("HTTP/1.1 404"), "{routed}");
}

/// The answer to raw bytes on their own connection: its first line, and all of it.
fn told(server: &Server, request: &str) -> (String, String) {
    let mut answer = String::new();
    raw(server, request.as_bytes()).read_to_string(&mut answer).expect("an answer");
    (answer.lines().next().unwrap_or_default().to_owned(), answer)
}

#[test]
fn a_request_without_one_host_is_refused() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let event = r#"{"id":"h1","action":"visit","shopper":"u1"}"#;
    let post = |version: &str, hosts: &str| {
        let length = event.len();
        told(
            &server,
            &format!(
                "POST /v1/events HTTP/{version}\r\n{hosts}Content-Type: {JSON}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{event}"
            ),
        )
    };
    for hosts in
        ["Host: a.example\r\nHost: b.example\r\n", "Host: localhost\r\nHost: localhost\r\n", "", "Host: a b\r\n"]
    {
        let (status, answer) = post("1.1", hosts);
        assert_eq!(status, "HTTP/1.1 400 Bad Request", "{hosts}");
        assert!(
            answer.to_lowercase().contains("connection: close") && answer.contains("application/problem+json"),
            "{answer}"
        );
    }
    assert_eq!(server.sum("mashang_events_received_total"), 0);
    // The console and the admin port, too; HTTP/1.0 knows no Host.
    assert_eq!(told(&server, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").0, "HTTP/1.1 400 Bad Request");
    let mut admin = TcpStream::connect(server.admin.trim_start_matches("http://")).expect("it listens");
    admin.write_all(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(post("1.0", "").0, "HTTP/1.0 202 Accepted");
    assert_eq!(post("1.1", "Host: localhost\r\n").0, "HTTP/1.1 202 Accepted");
}

#[test]
fn without_keys_pages_of_other_machines_are_refused() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let event = r#"{"id":"ev1","action":"order","shopper":"mallory","order":"X","amount":1000000}"#;
    let post = |head: &str| {
        let length = event.len();
        told(
            &server,
            &format!(
                "POST /v1/events HTTP/1.1\r\n{head}Sec-Fetch-Mode: no-cors\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{event}"
            ),
        )
    };
    let port = server.http.rsplit(':').next().expect("a port").to_owned();
    for head in [
        "Host: evil.example\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n".to_owned(),
        // A name of an attacker that leads here: its page is of the same origin, and may not say where it is from.
        format!("Host: evil.example:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: https://evil.example\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: null\r\n"),
    ] {
        let (status, answer) = post(&head);
        assert_eq!(status, "HTTP/1.1 403 Forbidden", "{head}");
        assert!(answer.contains("there are no keys") && !answer.contains("access-control-allow"), "{answer}");
    }
    for path in ["/", "/v1/results/1?shopper=u1", "/c/x", "/r/0123456789abcdef0123456789abcdef", "/openapi.json"] {
        let asked = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
        assert_eq!(told(&server, &asked).0, "HTTP/1.1 403 Forbidden", "{path}");
    }
    assert_eq!(server.sum("mashang_events_received_total"), 0);
    assert_eq!(
        post(&format!("Host: localhost:{port}\r\nOrigin: http://localhost:3000\r\n")).0,
        "HTTP/1.1 202 Accepted"
    );
    assert_eq!(post("Host: [::1]\r\n").0, "HTTP/1.1 202 Accepted");

    // With keys, the keys decide.
    let dir = shop();
    write_keys(dir.path(), &key("page", "s", "merchants = [\"steady\"]\nscopes = [\"ingest\"]"));
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let asked =
        "GET /nothing HTTP/1.1\r\nHost: door.example\r\nOrigin: https://shop.example\r\nConnection: close\r\n\r\n";
    assert_eq!(told(&server, asked).0, "HTTP/1.1 404 Not Found");
}

#[test]
fn text_with_key_in_query_is_a_beacon() {
    let dir = shop();
    write_keys(dir.path(), &key("page", "till-secret", "merchants = [\"steady\"]\nscopes = [\"ingest\"]"));
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let event = |id: &str| format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\"}}");
    let beacon = |query: &str, head: &str, body: &str| {
        let length = body.len();
        let (status, answer) = told(
            &server,
            &format!(
                "POST /v1/events{query} HTTP/1.1\r\nHost: door.example\r\nOrigin: https://shop.example\r\n{head}Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ),
        );
        let accepted = answer.split_once("\"accepted\":").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
        (status.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0_u16), accepted.unwrap_or(0_u64))
    };
    let (with_key, none) = ("?key=page.till-secret", "");
    assert_eq!(beacon(with_key, none, &event("1")), (202, 1));
    assert_eq!(beacon(with_key, "Sec-Fetch-Mode: no-cors\r\n", &event("2")), (202, 1));
    assert_eq!(beacon(with_key, none, &format!("[{},{}]", event("3"), event("4"))), (202, 2));
    assert_eq!(beacon(with_key, none, &format!("{}\r\n{}\n", event("5"), event("6"))), (202, 2));
    assert_eq!(beacon(with_key, none, &event("7").replace(',', ",\n ")), (202, 1));
    assert_eq!(beacon(with_key, none, "{"), (400, 0));
    assert_eq!(beacon("?key=page.wrong", none, &event("8")), (401, 0));
    assert_eq!(beacon(none, none, &event("8")), (401, 0));
    assert_eq!(beacon(none, "Authorization: Bearer page.till-secret\r\n", &event("8")), (415, 0));
    assert_eq!(server.sum("mashang_events_accepted_total"), 7);
}

#[test]
fn quotas_hold_for_keys_and_for_merchants() {
    let dir = shop();
    // So little that it takes hours to make up for what is sent here.
    let of = |id: &str, quota: &str| key(id, "s", &format!("merchants = [\"steady\"]\nscopes = [\"ingest\"]\n{quota}"));
    let small = of("small", "quota = { events-per-second = 1, burst = 100 }");
    let merchants = "[quotas]\nsteady = { events-per-second = 1, burst = 30000 }\n";
    write_keys(
        dir.path(),
        &[merchants, &small, &of("free", ""), &of("other", "quota = { events-per-second = 1 }")].concat(),
    );
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let send = |id: &str, events: std::ops::Range<u32>| {
        let lines = events.map(|n| format!("{{\"id\":\"{n}\",\"action\":\"visit\",\"shopper\":\"u1\"}}\n"));
        post(&server.http, NDJSON, lines.collect::<String>().as_bytes(), Some(&format!("{id}.s"))).expect("an answer")
    };
    // A request is never cut in half; the next one waits until it is made up for.
    let first = send("small", 0..10_000);
    assert_eq!((first.status, first.ratelimit.as_deref()), (202, Some("\"key\";r=0;t=10000")));
    let second = send("small", 0..1);
    assert!(second.status == 429 && second.body.contains("the quota of key small is used up"), "{}", second.body);
    let wait: u32 = second.retry_after.expect("a time").parse().expect("seconds");
    assert!((9_000..10_000).contains(&wait), "{wait}");
    // Others are as before, until their merchant has had its share.
    assert_eq!(send("free", 10_000..20_000).status, 202);
    assert_eq!(send("free", 20_000..29_999).status, 202);
    assert_eq!(send("free", 30_000..40_000).status, 202, "one is left, and a request is not cut in half");
    let over = send("free", 40_000..40_002);
    assert!(over.status == 429 && over.body.contains("the quota of merchant steady is used up"), "{}", over.body);
    assert_eq!(over.ratelimit, None, "the key has no quota");
    let shed = server.metric("mashang_events_shed_total{reason=\"quota\"}");
    assert_eq!(shed, 3, "one that was not read, and two that were");
    let sum = |name: &str| server.sum(&format!("mashang_events_{name}_total"));
    assert_eq!(sum("received"), sum("accepted") + sum("rejected") + sum("shed"));
    // What changes begins anew, what stays goes on.
    let more = of("small", "quota = { events-per-second = 2, burst = 100 }");
    write_keys(dir.path(), &[&more, &*of("free", "")].concat());
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while send("small", 0..10_000).status != 202 {
        assert!(std::time::Instant::now() < until, "the new quota does not count");
        std::thread::sleep(Duration::from_millis(50));
    }
    write_keys(dir.path(), &[&more, &*of("free", ""), &of("third", "")].concat());
    while send("third", 0..1).status != 202 {
        assert!(std::time::Instant::now() < until, "the keys are not read again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(send("small", 0..1).status, 429);
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
