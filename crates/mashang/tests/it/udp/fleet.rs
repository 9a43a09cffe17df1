//! Datagrams at the edge of a fleet, which writes to Kafka.

use std::collections::BTreeMap;
use std::path::Path;

use testkit::kafka::{Kafka, Options};
use wire::coap::Kind;

use super::{Client, con, request, until, visit};
use crate::fleet::roles::{Fleet, Made};
use crate::program::done;
use crate::serve::steady;

/// An edge without a spool, and a client that sends it datagrams.
fn edge(dir: &Path, kafka: &Kafka, prefix: &'static str) -> (Fleet, Client) {
    steady::write_rules(dir);
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix,
        ledger: "sqlite:ledger.sqlite",
        rules: "rules.toml",
        clock: "wall",
        partitions: [2, 2, 1, 2],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir, &made);
    fleet.start("edge-1", &["--udp", "127.0.0.1:0"]);
    let told = fleet.output("edge-1");
    let fields = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok().map(|line| line["fields"].clone());
    let ready = told.lines().filter_map(fields).find(|fields| fields["message"] == "ready").expect("it is ready");
    let address = ready["udp"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    (fleet, Client::from("127.0.0.1", address))
}

#[test]
fn an_edge_answers_for_what_kafka_has() {
    let Some(kafka) = Kafka::shared() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let (mut fleet, client) = edge(dir.path(), kafka, "datagrams");
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

/// While Kafka is unavailable, requests wait, up to a maximum per sender; later each is answered with a time to retry.
#[test]
fn requests_in_an_outage_are_asked_to_retry() {
    const ASKED: u16 = 300;
    /// Maximum number of requests of one sender in flight; further requests get 4.29.
    const UNDER_WAY: usize = 256;
    let Some(kafka) = Kafka::start(&Options::default()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let (mut fleet, client) = edge(dir.path(), &kafka, "silent");
    assert_eq!(client.ask(&con(1, &visit("first"))).code, "2.04");
    kafka.kill(1);
    let asked = |id: u16| con(id, &visit(&format!("asked-{}", id % 1000)));
    let received = "mashang_udp_datagrams_total";
    for id in 1000..1000 + ASKED {
        client.send(&asked(id));
        // A socket holds some hundreds of datagrams that are not read yet.
        let all = format!("{received} {}", id - 1000 + 2);
        if id % 50 == 0 {
            until(|| fleet.metric("edge", received) == [all.as_str()], "they are taken");
        }
    }
    let mut codes = BTreeMap::new();
    for _ in 0..ASKED {
        let answer = client.answer();
        assert!(answer.max_age.is_some_and(|seconds| seconds > 0), "{answer:?}");
        *codes.entry(answer.code).or_insert(0_usize) += 1;
    }
    let too_many = usize::from(ASKED) - UNDER_WAY;
    assert_eq!(codes, BTreeMap::from([("4.29".to_owned(), too_many), ("5.03".to_owned(), UNDER_WAY)]));
    // A sender is refused at once while the log does not answer.
    assert_eq!(client.ask(&con(2, &visit("second"))).code, "5.03");
    kafka.start_all();
    let ready = || fleet.admin("edge-1", "/readyz").is_ok_and(|answer| answer.status == 200);
    until(ready, "the log answers again");
    for id in 2000..2000 + ASKED {
        assert_eq!(client.ask(&asked(id)).code, "2.04");
    }
    fleet.stop("edge-1");
    let dump = done(dir.path(), &[&["log", "dump"], &fleet.log()[..]].concat());
    for id in 0..ASKED {
        assert!(dump.contains(&format!("\"id\":\"asked-{id}\"")), "{id}");
    }
}
