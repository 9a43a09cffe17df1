//! Results of scans; an id that other actions have too leads to the scan.

use serde_json::{Value, json};
use sha2::Sha256;

use crate::serve::server::Server;
use crate::serve::setup::{JSON, shop};

#[test]
fn results_of_a_shared_id_are_the_scans() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--clock", "event"]);
    let at = 1_794_326_400_000_u64;
    let order = json!({"id": "1", "action": "order", "shopper": "u1", "time": at, "order": "o-1", "amount": 5});
    let scan = json!({"id": "1", "action": "scan", "shopper": "u1", "time": at + 1, "code": "unheard of"});
    for event in [order, scan] {
        let answer = server.post("application/json", event.to_string().as_bytes()).expect("an answer");
        assert_eq!((answer.status, answer.json()["accepted"].clone()), (202, json!(1)));
    }
    let result = server.get("/v1/results/1?shopper=u1&wait=20000").json();
    assert_eq!(result, json!({"id": "1", "state": "counted"}));
    server.settle();
    assert_eq!(server.sum("mashang_duplicates_total"), 0);
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
    let win = json!({"campaign": "wheel", "result": "prize", "prize": "red-1", "kind": "cash", "amount": 100});
    let (winner, loser) = winner_and_loser();
    assert_eq!(scan("d", "u1", &winner, at + 60_000), json!({"id": "d", "state": "entered", "draw": win}));
    assert_eq!(
        scan("e", "u1", &loser, at + 60_000),
        json!({"id": "e", "state": "entered", "draw": {"campaign": "wheel", "result": "thanks"}})
    );
    let again =
        json!({"campaign": "wheel", "result": "prize", "prize": "red-1", "kind": "cash", "amount": 100, "again": true});
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

/// The event of an entry comes again after the horizon, and is no entry then; the answer of a claimed code is asked for after a day.
#[test]
fn later_scans_get_the_entrys_answer() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let dir = shop();
    let server = Server::start(dir.path(), &["--clock", "event"]);
    let at = 1_794_326_400_000_u64;
    let result = |server: &Server, id: &str, shopper: &str| {
        server.get(&format!("/v1/results/{id}?shopper={shopper}&wait=20000")).json()
    };
    let scan = |server: &Server, id: &str, shopper: &str, code: &str, at: u64| {
        let event =
            json!({"id": id, "action": "scan", "shopper": shopper, "code": code, "time": at, "region": "330102"});
        assert_eq!(server.post(JSON, event.to_string().as_bytes()).expect("an answer").status, 202);
        // An event that comes again has an answer already.
        server.settle();
        result(server, id, shopper)
    };
    let (winner, _) = winner_and_loser();
    let draw = scan(&server, "a", "u1", &winner, at)["draw"].clone();
    assert_eq!(draw["result"], "prize");
    let claimed = scan(&server, "b", "u2", &winner, at + 1)["draw"].clone();
    assert_eq!(claimed["result"], "already-claimed");
    let again = |draw: &Value| {
        let mut draw = draw.clone();
        draw["again"] = json!(true);
        draw
    };
    // While the answers are in memory, too, then from the ledger alone.
    assert_eq!(scan(&server, "a", "u1", &winner, at + 4 * DAY)["draw"], again(&draw));
    assert_eq!(scan(&server, "c", "u2", &winner, at + 4 * DAY)["draw"], again(&claimed));
    assert!(server.stop().0.success());
    let server = Server::start(dir.path(), &["--clock", "event"]);
    assert_eq!(result(&server, "a", "u1"), json!({"id": "a", "state": "counted", "draw": again(&draw)}));
    assert_eq!(result(&server, "c", "u2"), json!({"id": "c", "state": "counted", "draw": again(&claimed)}));
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
