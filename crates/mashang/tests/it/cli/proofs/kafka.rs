//! `log roots` and `log prove` over a fleet's log in Kafka.

use serde_json::Value;
use testkit::kafka::Kafka;

use super::draws::{read, write};
use super::log::{root_for, send};
use super::verifier::{python, said};
use crate::cli::{RULES, shop};
use crate::fleet::roles::{Fleet, Made};
use crate::program::{done, mashang};

#[test]
fn days_of_a_fleet_are_proved_while_it_takes_events() {
    let Some(kafka) = Kafka::shared() else { return };
    let dir = shop(RULES, "");
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "proofs",
        ledger: "sqlite:ledger.sqlite",
        rules: "rules.toml",
        clock: "event",
        partitions: [2, 1, 1, 1],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    fleet.start("edge-1", &[]);
    let at_log = |command: &str, more: &[&str]| done(dir.path(), &[&["log", command], &fleet.log()[..], more].concat());
    (0..2).for_each(|day| send(fleet.http("edge-1"), day));
    let early = at_log("roots", &[]);
    send(fleet.http("edge-1"), 2);
    let late = at_log("roots", &[]);
    assert!(early.lines().count() > 2 && late.lines().count() > early.lines().count(), "{early}{late}");
    assert!(early.lines().all(|row| late.contains(row)), "a day that is over never changes: {early}{late}");
    write(dir.path(), "roots.csv", &late);
    write(dir.path(), "records.ndjson", &at_log("dump", &["--raw"]));
    let roots = ["roots", "--records", "records.ndjson", "--roots", "roots.csv"];
    assert_eq!(said(&python(dir.path(), &roots)), (Some(0), String::new()));
    for (day, n) in [(0, 0), (0, 3), (0, 7), (1, 2), (1, 6)] {
        let (event, shopper) = (format!("e{day}-{n}"), format!("u{n}"));
        let named = ["--merchant", "acme", "--event", &event, "--shopper", &shopper];
        write(dir.path(), "proof.json", &at_log("prove", &named));
        let proof: Value = serde_json::from_str(&read(dir.path(), "proof.json")).expect("JSON");
        let root = root_for(dir.path(), &proof);
        done(dir.path(), &["log", "verify", "proof.json", "--root", &root]);
        assert_eq!(said(&python(dir.path(), &["proofs", "--root", &root, "proof.json"])), (Some(0), String::new()));
    }
    // The newest day is not over.
    let named = ["--merchant", "acme", "--event", "e2-7", "--shopper", "u7"];
    let output = mashang(dir.path(), &[&["log", "prove"], &fleet.log()[..], &named].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("is not over in partition"), "{told}");
}
