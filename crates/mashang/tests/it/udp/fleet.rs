//! The same door of an edge, with Kafka behind it.

use stand::kafka::Kafka;
use wire::coap::Kind;

use super::{Client, con, request, until, visit};
use crate::fleet::roles::{Fleet, Made};
use crate::program::done;
use crate::serve::steady;

#[test]
fn an_edge_answers_for_what_kafka_has() {
    let Some(kafka) = Kafka::shared() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "datagrams",
        ledger: "sqlite:ledger.sqlite",
        rules: "rules.toml",
        clock: "wall",
        partitions: [2, 2, 1, 2],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    fleet.start("edge-1", &["--udp", "127.0.0.1:0"]);
    let told = fleet.told("edge-1");
    let fields = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok().map(|line| line["fields"].clone());
    let ready = told.lines().filter_map(fields).find(|fields| fields["message"] == "ready").expect("it is ready");
    let address = ready["udp"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let client = Client::from("127.0.0.1", address);
    client.send(visit("json").as_bytes());
    client.send(&request(Kind::NonConfirmable, 1, &[], visit("non").as_bytes()));
    for id in 10..60 {
        let asked = con(id, &visit(&format!("con-{id}")));
        assert_eq!(client.ask(&asked).code, "2.04");
        assert_eq!(client.ask(&asked).code, "2.04");
    }
    let accepted = "mashang_events_accepted_total{transport=\"udp\"}";
    until(|| fleet.metric("edge", accepted) == [format!("{accepted} 52")], "each is accepted once");
    // What was answered is on the brokers, whatever becomes of the edge.
    fleet.kill("edge-1");
    let dump = done(dir.path(), &[&["log", "dump"], &fleet.log()[..]].concat());
    let ids = |prefix: &str| dump.lines().filter(|line| line.contains(&format!("\"id\":\"{prefix}"))).count();
    assert_eq!((dump.lines().count(), ids("con-"), ids("json"), ids("non")), (52, 50, 1, 1));
}
