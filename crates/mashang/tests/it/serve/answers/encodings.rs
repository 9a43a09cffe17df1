//! Bodies in every form that the ingest service takes: CloudEvents in three modes, compressed ones, and bombs.

use std::io::Write as _;

use expect_test::expect;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::serve::server::{Answer, Server, send};
use crate::serve::setup::{check, shop};

const CLOUD: (&str, &str) = ("Content-Type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("Content-Type", "application/cloudevents-batch+json; charset=UTF-8");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");
const ZSTD: (&str, &str) = ("Content-Encoding", "zstd");

fn say(server: &Server, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    send(&server.http, headers, body.as_ref()).expect("an answer")
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(body).expect("memory");
    packer.finish().expect("memory")
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 19).expect("memory")
}

/// Everything that came is accounted for.
fn is_conserved(server: &Server) -> u64 {
    let sum = |name: &str| server.sum(&format!("mashang_events_{name}_total"));
    assert_eq!(sum("received"), sum("accepted") + sum("rejected") + sum("shed"));
    sum("accepted")
}

#[test]
fn bom_before_a_body_is_passed_over() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let visit = |id: &str| format!(r#"{{"id":"{id}","action":"visit","shopper":"u1"}}"#);
    let cloud = r#"{"specversion":"1.0","id":"4","source":"s","type":"t","data":{"action":"visit","shopper":"u1"}}"#;
    for (header, body, accepted) in [
        (JSON, visit("1"), 1),
        (JSON, format!("[{},{}]", visit("2"), visit("3")), 2),
        (CLOUD, cloud.to_owned(), 1),
        (BATCH, format!("[{}]", cloud.replace("\"4\"", "\"5\"")), 1),
        (NDJSON, format!("{}\r\n{}", visit("6"), visit("7")), 2),
    ] {
        let answer = say(&server, &[header], format!("\u{FEFF}{body}"));
        assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(accepted)), "{body}: {answer:?}");
    }
    let nothing = say(&server, &[JSON], "\u{FEFF}");
    assert_eq!(
        (nothing.status, nothing.json()["rejected"][0]["error"].as_str()),
        (400, Some("the body is empty; send events"))
    );
    assert_eq!(is_conserved(&server), 7);
}

#[test]
fn cloud_events_are_events() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let one = |id: &str, data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/till","type":"visit","time":"2026-11-10T12:00:00Z","data":{data}}}"#
        )
    };
    let visit = r#"{"action":"visit","shopper":"u1"}"#;
    check(
        &say(&server, &[CLOUD], one("c1", visit)),
        &expect![[r#"
            202 application/json
            {"accepted":1,"durable":"log","rejected":[]}
        "#]],
    );
    check(
        &say(&server, &[CLOUD], one("c1", visit).replace("1.0", "0.3").replace("/till", "")),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"id":"c1","field":"specversion","error":"specversion: is \"0.3\"; send \"1.0\""},{"index":0,"id":"c1","field":"source","error":"source: is empty; every CloudEvent needs one"}]}
    "#]],
    );
    check(
        &say(&server, &[BATCH], format!("[{},{},{}]", one("c2", visit), one("c3", "{}"), one("c1", visit))),
        &expect![[r#"
            202 application/json
            {"accepted":2,"durable":"log","rejected":[{"index":1,"id":"c3","field":"action","error":"action: is missing; every event needs one"},{"index":1,"id":"c3","field":"shopper","error":"shopper: is missing; every event needs one (a device may stand in on scan and visit only)"}]}
        "#]],
    );
    check(
        &say(&server, &[BATCH], one("c4", visit)),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"the body is no array; send an array of events"}]}
    "#]],
    );
    check(
        &say(&server, &[BATCH], "[]"),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"the body is empty; send events"}]}
    "#]],
    );
    let attributes = [("ce-specversion", "1.0"), ("ce-id", "c%204"), ("ce-source", "/till"), ("ce-type", "visit")];
    check(
        &say(&server, &[&attributes[..], &[JSON]].concat(), visit),
        &expect![[r#"
        202 application/json
        {"accepted":1,"durable":"log","rejected":[]}
    "#]],
    );
    check(
        &say(&server, &[&attributes[..2], &[JSON]].concat(), visit),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"id":"c 4","field":"source","error":"source: is missing; every CloudEvent needs one"},{"index":0,"id":"c 4","field":"type","error":"type: is missing; every CloudEvent needs one"}]}
    "#]],
    );
    // Lines are no data of one event.
    check(
        &say(&server, &[&attributes[..], &[NDJSON]].concat(), format!("{visit}\n{visit}")),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"field":"id","error":"id: is missing; every event needs one"},{"index":1,"field":"id","error":"id: is missing; every event needs one"}]}
    "#]],
    );
    server.settle();
    assert_eq!(is_conserved(&server), 4);
    assert_eq!(server.sum("mashang_duplicates_total"), 1, "c1 came a second time");
}

#[test]
fn compressed_bodies_are_unpacked_within_bounds() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let lines = |from: u32, to: u32| {
        (from..to).map(|n| format!("{{\"id\":\"{n}\",\"action\":\"visit\",\"shopper\":\"u1\"}}\n")).collect::<String>()
    };
    for (from, encoding, packed) in [
        (0, GZIP, gzip(lines(0, 5_000).as_bytes())),
        (5_000, ("Content-Encoding", "x-GZIP"), gzip(lines(5_000, 10_000).as_bytes())),
        (10_000, ZSTD, zstd(lines(10_000, 15_000).as_bytes())),
        (15_000, ("Content-Encoding", "identity"), lines(15_000, 20_000).into_bytes()),
        // In two members, as files that were joined are.
        (20_000, GZIP, [gzip(lines(20_000, 22_000).as_bytes()), gzip(lines(22_000, 25_000).as_bytes())].concat()),
        (25_000, ZSTD, [zstd(lines(25_000, 26_000).as_bytes()), zstd(lines(26_000, 30_000).as_bytes())].concat()),
    ] {
        let answer = say(&server, &[NDJSON, encoding], packed);
        assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(5_000)), "{from}: {}", answer.body);
    }
    assert_eq!(is_conserved(&server), 30_000);

    let mut broken = gzip(lines(0, 100).as_bytes());
    broken.truncate(broken.len() - 5);
    check(
        &say(&server, &[NDJSON, GZIP], broken),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"Content-Encoding: the body is not gzip: unexpected end of file"}]}
    "#]],
    );
    check(
        &say(&server, &[NDJSON, ZSTD], "{}"),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"Content-Encoding: the body is not zstd: Unknown frame descriptor"}]}
    "#]],
    );
    check(
        &say(&server, &[NDJSON, ("Content-Encoding", "br")], "{}"),
        &expect![[r#"
        415 application/problem+json
        {"detail":"Content-Encoding is br; send gzip, zstd or the body as it is","status":415,"title":"Unsupported Media Type"}
    "#]],
    );
    check(
        &say(&server, &[NDJSON, GZIP], ""),
        &expect![[r#"
        400 application/json
        {"accepted":0,"durable":"log","rejected":[{"index":0,"error":"Content-Encoding: the body is not gzip: unexpected end of file"}]}
    "#]],
    );
    for (encoding, pack) in [(GZIP, gzip as fn(&[u8]) -> Vec<u8>), (ZSTD, zstd)] {
        let bomb = pack(&vec![b' '; 100 << 20]);
        assert!(bomb.len() < 200_000);
        let answer = say(&server, &[JSON, encoding], bomb);
        assert_eq!(answer.status, 413, "{}", answer.body);
        // Smaller than a body may be, and yet nothing that anybody would send.
        let answer = say(&server, &[JSON, encoding], pack(&vec![b' '; 4 << 20]));
        assert!(answer.status == 413 && answer.body.contains("200 times"), "{}", answer.body);
    }
    // Others are as before.
    assert_eq!(say(&server, &[NDJSON], lines(30_000, 30_001)).status, 202);
    assert_eq!(is_conserved(&server), 30_001);
    assert_eq!(server.sum("mashang_edge_inflight_bytes"), 0);
}
