//! Minted codes over HTTP: many shoppers at once, and codes that come alive later.

use serde_json::{Value, json};

use crate::program::done;
use crate::serve::server::{Server, post};
use crate::serve::setup::NDJSON;

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Rules with a batch of 1,000 codes that always draw `bottle`, and their secret.
pub(crate) fn write_rules(dir: &std::path::Path, ranges: &str) {
    let rules = format!(
        r#"
merchant = "acme"
currency = "CNY"
time_zone = "Asia/Shanghai"
[[batch]]
number = 7
kind = "interactive"
campaign = "bottle"
count = 1000
activate = "ranges"
secret = "file:secret.key"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
{ranges}
[[campaign]]
id = "bottle"
mode = "odds"
from = 2026-11-01T00:00:00+08:00
to = 2027-01-01T00:00:00+08:00
secret = "file:secret.key"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
[[campaign.prize]]
id = "bottle"
kind = "points"
amount = 5
[[campaign.phase]]
odds = {{ bottle = "1/1" }}
"#
    );
    std::fs::write(dir.join("rules.toml"), rules).expect("a file");
    std::fs::write(dir.join("secret.key"), SECRET).expect("a file");
}

/// The token of a serial.
pub(crate) fn token(dir: &std::path::Path, serial: u32) -> String {
    let serial = serial.to_string();
    let table = done(dir, &["mint", "--rules", "rules.toml", "--batch", "7", "--from", &serial, "--count", "1"]);
    table.lines().nth(1).and_then(|row| row.split(',').nth(1)).expect("a token").to_owned()
}

fn result(server: &Server, id: &str, shopper: &str) -> Value {
    server.get(&format!("/v1/results/{id}?shopper={shopper}&wait=20000")).json()
}

/// One code and 1,000 shoppers at once: one claims it, and each of the others learns when.
#[test]
fn code_of_a_thousand_shoppers_is_claimed_once() {
    const SHOPPERS: usize = 1_000;
    const SENDERS: usize = 8;
    let dir = tempfile::tempdir().expect("a directory");
    write_rules(dir.path(), "[[range]]\nbatch = 7\nfrom = 0\nto = 1000\n");
    let token = token(dir.path(), 123);
    let server = Server::start(dir.path(), &["--clock", "event", "--partitions", "4"]);
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (http, token) = (&server.http, &token);
            scope.spawn(move || {
                for shopper in (sender..SHOPPERS).step_by(SENDERS) {
                    let at = 1_794_326_400_000_u64;
                    let event = json!({
                        "id": "e", "action": "scan", "shopper": format!("u{shopper}"), "time": at, "code": token,
                    });
                    let answer = post(http, NDJSON, event.to_string().as_bytes(), None).expect("an answer");
                    assert_eq!(answer.status, 202, "{}", answer.body);
                }
            });
        }
    });
    server.settle();
    let mut prizes = 0;
    for shopper in 0..SHOPPERS {
        let draw = result(&server, "e", &format!("u{shopper}"))["draw"].clone();
        match draw["result"].as_str() {
            Some("prize") => prizes += 1,
            other => assert_eq!((other, draw["claimed"].is_object()), (Some("already-claimed"), true), "{draw}"),
        }
    }
    assert_eq!(prizes, 1);
    let codes = done(dir.path(), &["export", "codes", "--ledger", "data/ledger.sqlite"]);
    assert!(codes.contains("acme,7:123,interactive,1000,"), "{codes}");
    let awards = done(dir.path(), &["export", "awards", "--ledger", "data/ledger.sqlite"]);
    assert_eq!(awards.lines().count(), 2, "{awards}");
}

/// A dark code answers as an unknown one and consumes nothing. Once its range is active, the first entry draws.
#[test]
fn dark_code_draws_once_it_is_activated() {
    let dir = tempfile::tempdir().expect("a directory");
    write_rules(dir.path(), "[[range]]\nbatch = 7\nfrom = 0\nto = 10\nstate = \"frozen\"\n");
    let (dark, frozen) = (token(dir.path(), 500), token(dir.path(), 5));
    let scan = |server: &Server, id: &str, code: &str, at: u64| {
        let event = json!({"id": id, "action": "scan", "shopper": "u1", "time": at, "code": code});
        assert_eq!(server.post(NDJSON, event.to_string().as_bytes()).expect("an answer").status, 202);
        result(server, id, "u1")
    };
    let at = 1_794_326_400_000_u64;
    let server = Server::start(dir.path(), &["--clock", "event"]);
    assert_eq!(scan(&server, "dark", &dark, at), json!({"id": "dark", "state": "counted"}));
    assert_eq!(scan(&server, "none", "nothing", at), json!({"id": "none", "state": "counted"}));
    let inactive = json!({"campaign": "bottle", "result": "inactive"});
    assert_eq!(scan(&server, "cold", &frozen, at), json!({"id": "cold", "state": "counted", "draw": inactive}));
    server.settle();
    let (status, output) = server.stop();
    assert!(status.success(), "{output}");

    write_rules(dir.path(), "[[range]]\nbatch = 7\nfrom = 0\nto = 1000\n");
    let server = Server::start(dir.path(), &["--clock", "event"]);
    let won = json!({"campaign": "bottle", "result": "prize", "prize": "bottle", "kind": "points", "amount": 5});
    assert_eq!(scan(&server, "a", &dark, at + 1_000), json!({"id": "a", "state": "entered", "draw": won}));
    assert_eq!(scan(&server, "b", &frozen, at + 1_000), json!({"id": "b", "state": "entered", "draw": won}));
    server.settle();
    let counters = done(dir.path(), &["export", "counters", "--ledger", "data/ledger.sqlite"]);
    assert!(counters.contains("acme,merchant,*,2026-11-11,inactive,2"), "{counters}");
}
