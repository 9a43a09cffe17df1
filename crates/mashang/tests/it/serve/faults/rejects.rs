//! Records that were set aside: listed, sent again, discarded.

use std::path::Path;
use std::sync::Arc;

use domain::frame::{Body, Kind, seal};
use domain::model::address::Topic;
use domain::model::event::{Action, Event};
use domain::model::ids::{event_key, shopper_key};
use eventlog::api::Append;
use eventlog::files::disk::Disk;
use eventlog::local::log::Log;
use eventlog::local::store::Sizes;
use eventlog::local::topic_reader::TopicReader;
use expect_test::expect;
use prometheus::Registry;
use serde_json::Value;

use crate::program::{done, export, mashang};
use crate::serve::server::Server;
use crate::serve::setup::shop;

const PARTITIONS: [&str; 2] = ["--partitions", "1"];

/// Appends a record to `scans` beside the service, as another program would.
fn append(data: &Path, record: Vec<u8>) {
    let dir = data.join("log");
    let meta = TopicReader::open(&Disk, &dir, Topic::Scans).expect("a log").meta;
    let log = Log::open(Arc::new(Disk), &dir, &meta, Sizes::default(), &Registry::new()).expect("a log");
    log.append_and_wait(vec![Append { topic: Topic::Scans, partition: 0, record }]).expect("durable");
    log.close();
}

fn visit(merchant: &str, id: &str) -> Vec<u8> {
    let shopper = shopper_key(merchant, "u9");
    let event = Event {
        key: event_key(merchant, "u9", "visit", id),
        shopper_key: shopper,
        merchant,
        id,
        shopper: "u9",
        action: Action::Visit,
        stamp: 1_794_326_400_000,
        time: None,
        code: None,
        store: None,
        guide: None,
        region: None,
        channel: None,
        device: None,
        ticket: None,
        order: None,
        keyless: false,
    };
    let mut body = Body::default();
    body.push(&event);
    let mut record = Vec::new();
    body.drain(|bytes, count| record = seal(Kind::Events, event.stamp, None, count, bytes));
    record
}

fn post(server: &Server, id: &str) {
    let event = format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\"}}");
    assert_eq!(server.post("application/json", event.as_bytes()).expect("an answer").status, 202);
}

/// State and reason of each record that was set aside, by place.
fn listed(dir: &Path) -> Vec<(String, String, String)> {
    let said = done(dir, &["rejects", "list", "--data", "data"]);
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let text = |line: &Value, key: &str| line[key].as_str().expect("a text").to_owned();
    lines.map(|line| (text(&line, "record"), text(&line, "state"), text(&line, "reason"))).collect()
}

#[test]
fn set_aside_record_is_listed_and_sent_again() {
    let dir = shop();
    let server = Server::start(dir.path(), &PARTITIONS);
    post(&server, "1");
    server.settle();
    assert!(server.stop().0.success());
    assert_eq!(listed(dir.path()), []);
    append(&dir.path().join("data"), b"something else".to_vec());
    append(&dir.path().join("data"), visit("later", "2"));

    // Nothing else is lost, at this start and the next.
    for id in ["3", "4"] {
        let server = Server::start(dir.path(), &PARTITIONS);
        post(&server, id);
        server.settle();
        assert_eq!(server.metric("mashang_rejected_records_total"), if id == "3" { 2 } else { 0 });
        let refused = mashang(dir.path(), &["rejects", "discard", "--all", "--data", "data"]);
        assert_eq!(refused.status.code(), Some(2), "the service runs");
        assert!(server.stop().0.success());
    }
    let found = listed(dir.path());
    let [(foreign, _, not_a_frame), (unknown, _, no_rules)] = &found[..] else { panic!("{found:?}") };
    assert!(not_a_frame.contains("fewer than a frame's header") && no_rules.contains("later"), "{found:?}");

    // The rules of that merchant come later.
    let later = "merchant = \"later\"\ncurrency = \"CNY\"\ntime_zone = \"Asia/Shanghai\"\n";
    std::fs::write(dir.path().join("later.toml"), later).expect("a file");
    let both = ["--rules", "rules.toml", "--rules", "later.toml", "--partitions", "1"];
    let server = Server::start(dir.path(), &both);
    assert!(server.stop().0.success());
    done(dir.path(), &["rejects", "discard", foreign, "--data", "data"]);
    done(dir.path(), &["rejects", "retry", "--all", "--data", "data"]);
    let states: Vec<String> = listed(dir.path()).into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(states, ["discarded", "sent-again"]);

    let server = Server::start(dir.path(), &both);
    server.settle();
    assert!(server.stop().0.success());
    let counters = export(dir.path(), "data", "counters");
    let later = counters.lines().filter(|line| line.starts_with("later,merchant,*,") && line.ends_with(",visits,1"));
    assert_eq!(later.count(), 1, "{counters}");
    let visits = counters.lines().filter(|line| line.contains(",merchant,*,") && line.contains(",visits,"));
    let visits: u64 = visits.map(|line| line.rsplit(',').next().and_then(|n| n.parse().ok()).unwrap_or(0)).sum();
    assert_eq!(visits, 4, "{counters}");
    assert_eq!(listed(dir.path()).len(), 2, "{unknown} was applied");

    let none = mashang(dir.path(), &["rejects", "retry", "0:99", "--data", "data"]);
    assert_eq!(none.status.code(), Some(2));
    expect![[r#"
        mashang: 0:99: no such record was set aside: see `mashang rejects list`
    "#]]
    .assert_eq(&String::from_utf8_lossy(&none.stderr));
}
