//! What a fleet does with what it should never have been given.

use std::path::Path;
use std::time::{Duration, Instant};

use domain::frame::{Frame, Kind};
use domain::model::address::{Topic, TopicPartition};
use eventlog::api::{Append, Appender, Consumer, OnFull, read_all};
use eventlog::kafka::appender::{KafkaAppender, Metrics, Options};
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::settings::Settings;
use eventlog::kafka::topics::origin::meta;
use prometheus::Registry;
use testkit::kafka::Kafka;
use testkit::postgres::Postgres;

use super::roles::{Fleet, Made, PATIENCE, send};
use crate::program::{done, mashang};
use crate::serve::steady;

/// A small fleet on the shared broker, with nothing at work yet.
fn small(dir: &Path, kafka: &Kafka, postgres: &Postgres, prefix: &str) -> Fleet {
    steady::write_rules(dir);
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix,
        ledger: &postgres.create_database(prefix),
        rules: "rules.toml",
        clock: "event",
        partitions: [2, 2, 1, 2],
        copies: [1, 1],
    };
    Fleet::make(dir, &made)
}

fn settings(fleet: &Fleet) -> Settings {
    let mut settings = Settings::new(&fleet.kafka);
    settings.prefix.clone_from(&fleet.prefix);
    settings
}

/// Appends records as another program might.
fn append(fleet: &Fleet, topic: Topic, partition: u16, records: &[&[u8]]) {
    let metrics = Metrics::new(&Registry::new());
    let appender = KafkaAppender::start(&settings(fleet), "stranger", Options::edge(), &metrics).expect("an appender");
    for record in records {
        let record = Append { topic, partition, record: record.to_vec() };
        appender.append_and_wait(vec![record], OnFull::Wait).expect("it is taken");
    }
    appender.close();
}

/// Runs one of Kafka's own programs against a topic.
fn tool(kafka: &Kafka, class: &str, args: &[&str]) {
    let output =
        kafka.tool(class).args(["--bootstrap-server", kafka.bootstrap()]).args(args).output().expect("Java runs");
    assert!(output.status.success(), "{class} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn batches(events: &[String]) -> Vec<String> {
    events.chunks(20).map(|batch| batch.join("\n")).collect()
}

/// Waits until a role's `/readyz` says so.
fn wait_for_readiness(fleet: &Fleet, name: &str, wanted: &[&str]) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = fleet.admin(name, "/readyz").map_or_else(|e| e.to_string(), |answer| answer.body);
        if wanted.iter().all(|text| said.contains(text)) {
            return said;
        }
        assert!(Instant::now() < until, "{name} is {said}, not {wanted:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn invalid_scan_records_are_set_aside_lane_continues() {
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let mut fleet = small(dir.path(), kafka, postgres, "strange");
    for name in ["worker-1", "ledger-1", "edge-1"] {
        fleet.start(name, &[]);
    }
    let events = steady::events(600);
    let batches = batches(&events);
    send(&fleet.doors, &batches[..15], |_| true);
    // A text of another program, and a frame of ours with one flipped bit.
    let mut damaged = domain::frame::seal(Kind::Events, 1, None, 0, b"");
    damaged[20] ^= 1;
    append(&fleet, Topic::Scans, 1, &[b"{\"not\":\"a frame\"}", &damaged, b""]);
    send(&fleet.doors, &batches[15..], |_| true);
    fleet.settle(PATIENCE);
    let counted = fleet.metric("worker", "mashang_rejected_records_total ");
    assert_eq!(counted, ["mashang_rejected_records_total 3"]);
    assert!(fleet.output("worker-1").contains("it is set aside in rejects"));
    // A worker that begins again sets nothing aside twice from its snapshot on.
    fleet.stop("worker-1");
    fleet.start("worker-2", &[]);
    fleet.settle(PATIENCE);
    fleet.equals_a_run_over_its_dump();

    let settings = settings(&fleet);
    let meta = meta(&settings).expect("a log");
    let mut feed = KafkaConsumer::new(&settings, &meta, "reader").expect("a feed");
    let mut found = Vec::new();
    let rejects = TopicPartition::new(Topic::Rejects, 0);
    let from = feed.bounds(rejects).expect("bounds").start;
    read_all(&mut feed, rejects, from, "", &mut |record| {
        let frame = Frame::open(record.bytes).expect("a frame");
        if let Some(reject) = domain::protocol::reject::read(&frame).expect("what was set aside") {
            let at = frame.tag.expect("a place");
            assert_eq!((at.source.topic, at.source.partition), (Topic::Scans, 1));
            found.push((reject.why.to_owned(), reject.record.to_vec()));
        }
    })
    .expect("rejects are read");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].0.contains("does not begin with MSHF") || found[0].0.contains("fewer than"), "{found:?}");
    assert!(found[1].0.contains("checksum") && found[1].1 == damaged, "{found:?}");
    assert!(found[2].1.is_empty(), "{found:?}");
}

#[test]
fn newer_builds_frame_stops_partition_and_says_upgrade() {
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let mut fleet = small(dir.path(), kafka, postgres, "newer");
    for name in ["worker-1", "ledger-1", "edge-1"] {
        fleet.start(name, &[]);
    }
    let events = steady::events(200);
    send(&fleet.doors, &batches(&events), |_| true);
    fleet.settle(PATIENCE);
    let mut newer = domain::frame::seal(Kind::CodeScans, 1, None, 0, b"");
    newer[4] += 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&newer[..72]), &newer[76..]);
    newer[72..76].copy_from_slice(&crc.to_le_bytes());
    append(&fleet, Topic::Draws, 0, &[&newer]);
    append(&fleet, Topic::Draws, 1, &[b"no frame"]);
    wait_for_readiness(&fleet, "worker-1", &["draws partition 0 stopped", "upgrade it"]);
    let stopped = |partition: u32| format!("mashang_partition_stopped{{partition=\"{partition}\",stage=\"code\"}} 1");
    let until = Instant::now() + PATIENCE;
    loop {
        let lines = fleet.metric("worker", "mashang_partition_stopped{");
        if lines.contains(&stopped(0)) && lines.contains(&stopped(1)) {
            assert!(lines.iter().filter(|line| line.ends_with(" 1")).count() == 2, "{lines:?}");
            break;
        }
        assert!(Instant::now() < until, "{lines:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(
        fleet.output("worker-1").contains("does not begin with MSHF")
            || fleet.output("worker-1").contains("fewer than")
    );
    // The others go on: what is accepted now is worked on by the shopper desk.
    send(&fleet.doors, &batches(&steady::events(260)[200..]), |_| true);
    assert_eq!(fleet.admin("worker-1", "/livez").expect("an answer").status, 200);
}

#[test]
fn log_truncated_past_snapshot_names_partition_and_offsets() {
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let mut fleet = small(dir.path(), kafka, postgres, "overtaken");
    for name in ["worker-1", "ledger-1", "edge-1"] {
        fleet.start(name, &[]);
    }
    let events = steady::events(400);
    send(&fleet.doors, &batches(&events)[..10], |_| true);
    fleet.settle(PATIENCE);
    fleet.stop("worker-1");
    let (status, listed) = fleet.command(&[&["snapshots", "verify"], &fleet.store()[..]].concat());
    assert!(status == Some(0) && listed.contains("scans partition 0 offset") && listed.contains(": good"), "{listed}");
    send(&fleet.doors, &batches(&events)[10..], |_| true);
    // Retention takes everything, while no worker was there.
    let delete = dir.path().join("delete.json");
    let topic = format!("{}.scans", fleet.prefix);
    let json = format!(
        "{{\"version\":1,\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":0,\"offset\":-1}},{{\"topic\":\"{topic}\",\"partition\":1,\"offset\":-1}}]}}"
    );
    std::fs::write(&delete, json).expect("a file");
    let file = delete.to_string_lossy().into_owned();
    tool(kafka, "org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", &file]);
    fleet.start("worker-1", &[]);
    let said = wait_for_readiness(&fleet, "worker-1", &["scans partition", "was asked for, the log begins at"]);
    assert!(said.contains("restore the snapshots that belong to this log"), "{said}");
}

#[test]
fn unsuitable_topics_are_refused_by_every_role() {
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let fleet = small(dir.path(), kafka, postgres, "unfit");
    let topic = format!("{}.draws", fleet.prefix);
    let alter = ["--alter", "--entity-type", "topics", "--entity-name", &topic, "--add-config"];
    let config = "cleanup.policy=compact,unclean.leader.election.enable=true,message.timestamp.type=CreateTime";
    tool(kafka, "kafka.admin.ConfigCommand", &[&alter[..], &[config]].concat());
    let ledger = fleet.ledger.clone();
    let roles: [&[&str]; 4] = [
        &["edge", "--store", "file:store", "--http", "127.0.0.1:0"],
        &["worker", "--store", "file:store"],
        &["ledger", "--ledger", &ledger],
        &["topics", "check"],
    ];
    for role in roles {
        let admin: &[&str] = if role[0] == "topics" { &[] } else { &["--admin", "127.0.0.1:0"] };
        let (status, told) = fleet.command(&[role, &fleet.log()[..], admin].concat());
        assert_eq!(status, Some(if role[0] == "topics" { 1 } else { 2 }), "{role:?}: {told}");
        for setting in ["cleanup.policy", "unclean.leader.election.enable", "message.timestamp.type"] {
            assert!(told.contains(setting) && told.contains(&topic), "{role:?}: {told}");
        }
    }
}

#[test]
fn recreated_topics_end_writers_too() {
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let mut fleet = small(dir.path(), kafka, postgres, "again");
    for name in ["edge-1", "worker-1", "ledger-1", "console-1"] {
        fleet.start(name, &["--check-topics-every", "500ms"]);
    }
    send(&fleet.doors, &batches(&steady::events(100)), |_| true);
    fleet.settle(PATIENCE);
    let topic = "org.apache.kafka.tools.TopicCommand";
    tool(kafka, topic, &["--delete", "--topic", "again.rejects"]);
    let settings = "message.timestamp.type=LogAppendTime";
    tool(kafka, topic, &["--create", "--topic", "again.rejects", "--partitions", "1", "--config", settings]);
    for name in ["edge-1", "worker-1", "ledger-1", "console-1"] {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            assert!(Instant::now() < until, "{name} goes on: {}", fleet.output(name));
            match fleet.ended(name) {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        assert_eq!(status.code(), Some(1));
        let told = fleet.output(name);
        assert!(told.contains("not those of this log any more: again.rejects: partition 0 is empty"), "{told}");
    }
}

#[test]
fn duplicate_name_ends_process_and_foreign_store_refused() {
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let mut fleet = small(dir.path(), kafka, postgres, "twin");
    fleet.start("worker-1", &["--snapshot-every", "200ms"]);
    fleet.start("ledger-1", &[]);
    fleet.start("edge-1", &[]);
    send(&fleet.doors, &batches(&steady::events(100)), |_| true);
    fleet.settle(PATIENCE);
    // Another process under the same name takes its place.
    fleet.start("worker-twin", &["--instance", "worker-1"]);
    let until = Instant::now() + PATIENCE;
    while fleet.ended("worker-1").is_none() {
        assert!(Instant::now() < until, "two processes have one name");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(fleet.output("worker-1").contains("worker-1"), "{}", fleet.output("worker-1"));
    fleet.stop("worker-twin");

    // A new deployment over the old store: nothing of it is taken up.
    let mut other = small(dir.path(), kafka, postgres, "twin2");
    other.start("worker-3", &[]);
    let said = wait_for_readiness(&other, "worker-3", &["stopped"]);
    assert!(said.contains("another"), "{said}");
}

/// Rules that make a draw worse while it is on need a reason, which stays with the version.
#[test]
fn broken_promises_are_published_with_a_reason_alone() {
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let fleet = small(dir, kafka, postgres, "promises");
    let rules = std::fs::read_to_string(dir.join("rules.toml")).expect("a file");
    let publish = |from: &str, odds: &str, more: &[&str]| {
        let changed = rules.replace("2026-11-01", from).replace("2027-01-01", "2090-01-01").replace("\"1/3\"", odds);
        std::fs::write(dir.join("rules.toml"), changed).expect("a file");
        let args = [&["rules", "publish", "rules.toml"], &fleet.log()[..], &fleet.store(), more].concat();
        let output = mashang(dir, &args);
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert_eq!(publish("2020-11-01", "\"1/3\"", &[]).0, Some(0));
    let (status, told) = publish("2020-11-01", "\"1/4\"", &[]);
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains(": campaign[0].phase[0].odds.red-1: was 1/3, is 1/4: keep it, or publish with"), "{told}");
    assert!(told.contains("1 promise of a draw that is on would be broken: nothing was published"), "{told}");
    let (status, told) = publish("2020-11-01", "\"1/4\"", &["--because", "too many winners"]);
    assert!(status == Some(0) && told.contains("published, number 3"), "{told}");
    let listed = done(dir, &[&["rules", "list"], &fleet.log()[..], &fleet.store()].concat());
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines.len() == 3 && lines[1].ends_with("Z replaced"), "{listed}");
    assert!(lines[2].ends_with("Z in force, because: too many winners"), "{listed}");
    // Another store has not these rules.
    let output = mashang(dir, &[&["rules", "list"], &fleet.log()[..], &["--store", "file:elsewhere"]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("name the store of this log"), "{told}");
}

/// Workers tell edges that their memory is short, and edges refuse requests until it is not.
#[test]
fn edges_refuse_requests_while_workers_have_no_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let mut fleet = small(dir.path(), kafka, postgres, "memory");
    fleet.start("worker-1", &["--memory", "4MB"]);
    fleet.start("edge-1", &[]);
    let post = |fleet: &Fleet, number: u64| {
        let event = |n: u64| {
            let (id, time) = (number * 1_000 + n, 1_782_864_000_000 + number * 1_000 + n);
            format!(r#"{{"id":"m{id}","action":"visit","shopper":"m{id}","time":{time}}}"#)
        };
        let body: Vec<String> = (0..1_000).map(event).collect();
        crate::serve::server::post(fleet.http("edge-1"), "application/x-ndjson", body.join("\n").as_bytes(), None)
            .expect("an answer")
    };
    let until = Instant::now() + PATIENCE;
    let mut number = 0;
    let refused = loop {
        let answer = post(&fleet, number);
        number += 1;
        if answer.status != 202 {
            break answer;
        }
        assert!(
            Instant::now() < until,
            "{number} bodies were taken; {:?}",
            fleet.metric("worker", "mashang_state_bytes")
        );
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((refused.status, refused.retry_after.is_some()), (503, true));
    let ratio = fleet.metric("edge", "mashang_shed_ratio ");
    assert!(!ratio.is_empty() && !ratio[0].ends_with(" 0"), "{ratio:?}");
    // Other desks, with more memory.
    fleet.remove("worker-1");
    fleet.start("worker-1", &["--memory", "4GB"]);
    while fleet.metric("edge", "mashang_shed_ratio ")[0] != "mashang_shed_ratio 0" {
        assert!(Instant::now() < until, "{:?}", fleet.metric("edge", "mashang_shed_ratio "));
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(post(&fleet, number).status, 202);
}
