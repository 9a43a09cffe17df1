//! Results are those of scans: an id that other actions bear too leads to the scan.

use serde_json::json;

use super::door::shop;
use super::server::Server;

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
