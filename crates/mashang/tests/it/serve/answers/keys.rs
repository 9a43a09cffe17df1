//! API keys and quotas.

use std::time::Duration;

use expect_test::expect;

use crate::serve::server::{Server, get, post};
use crate::serve::setup::{JSON, NDJSON, check, key, raw_answer, shop, write_keys};
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
    // A file that is wrong or empty changes nothing; one that is right does.
    for wrong in ["[[key]]\nid = 7", "", "[quotas]\nsteady = { events-per-second = 1 }\n"] {
        write_keys(dir.path(), wrong);
        server.hears("the keys stay as they were");
        assert_eq!(with(Some("till.s3cret"), visit).status, 202);
    }
    write_keys(dir.path(), &key("till", "fresh", "merchants = [\"steady\"]\nscopes = [\"ingest\"]"));
    let mut tries = 0;
    while with(Some("till.fresh"), visit).status != 202 {
        tries += 1;
        assert!(tries < 200, "the keys are not read again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(with(Some("till.s3cret"), visit).status, 401);
}

#[test]
fn text_with_key_in_query_is_a_beacon() {
    let dir = shop();
    write_keys(dir.path(), &key("page", "till-secret", "merchants = [\"steady\"]\nscopes = [\"ingest\"]"));
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let event = |id: &str| format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\"}}");
    let beacon = |query: &str, head: &str, body: &str| {
        let length = body.len();
        let (status, answer) = raw_answer(
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
fn only_a_valid_key_lifts_the_limit_of_an_address() {
    let dir = shop();
    write_keys(dir.path(), &key("till", "s", "merchants = [\"steady\"]\nscopes = [\"read\"]"));
    let server = Server::start(dir.path(), &["--keys", "keys.toml", "--client-requests", "1"]);
    // More than one a second, on any machine.
    let refused = |method: &str, key: &str| -> Vec<String> {
        let head = format!("{method} /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{key}\r\n");
        let answers = (0..50).map(|_| raw_answer(&server, &head));
        answers.filter(|(first, _)| first.starts_with("HTTP/1.1 429")).map(|(_, answer)| answer).collect()
    };
    assert!(refused("GET", "Authorization: Bearer till.s\r\n").is_empty());
    let preflight = "Origin: https://shop.example\r\nAccess-Control-Request-Method: POST\r\n";
    assert!(refused("OPTIONS", preflight).is_empty());
    for no_key in ["", "Authorization: Bearer till.guess\r\n", "Authorization: Basic dGlsbDpz\r\n"] {
        let refused = refused("GET", no_key);
        assert!(!refused.is_empty(), "{no_key}");
        assert!(refused.iter().all(|answer| answer.contains("access-control-allow-origin: *")), "{refused:?}");
    }
}
