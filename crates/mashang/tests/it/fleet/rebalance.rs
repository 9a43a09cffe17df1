//! How long partitions stand still when workers come and go: those that do not move, and those that do. The figures are
//! printed; the test does not check how large they are.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::frame::Frames;
use domain::model::address::{Topic, TopicPartition};
use eventlog::api::Consumer;
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::settings::Settings;
use eventlog::kafka::topics::origin::meta;
use testkit::kafka::Kafka;
use testkit::postgres::Postgres;

use super::roles::{Fleet, Made, PATIENCE, send};
use crate::serve::steady;

const SCANS: u16 = 6;

/// When facts of each partition of scans came.
type Heard = BTreeMap<u16, Vec<Instant>>;

/// Notes when facts come, until `over` is set.
fn listen(fleet: &Fleet, over: Arc<AtomicBool>) -> std::thread::JoinHandle<Heard> {
    let mut settings = Settings::new(&fleet.kafka);
    settings.prefix.clone_from(&fleet.prefix);
    let meta = meta(&settings).expect("a log");
    let mut feed = KafkaConsumer::new(&settings, &meta, "listener").expect("a feed");
    for facts in 0..meta.partitions.facts {
        let partition = TopicPartition::new(Topic::Facts, facts);
        let end = feed.bounds(partition).expect("bounds").end;
        feed.assign(partition, end, "").expect("assigned");
    }
    std::thread::spawn(move || {
        let mut heard = Heard::new();
        while !over.load(Ordering::Acquire) {
            feed.poll(Duration::from_millis(20), &mut |_, record| {
                for frame in Frames::open(record.bytes).expect("frames") {
                    let source = frame.tag.expect("an answer").source;
                    if source.topic == Topic::Scans {
                        heard.entry(source.partition).or_default().push(Instant::now());
                    }
                }
                ControlFlow::Continue(())
            })
            .expect("facts are read");
        }
        heard
    })
}

/// The longest silence of a partition between two moments.
fn silence(times: &[Instant], from: Instant, until: Instant) -> Duration {
    let all = times.iter().copied().filter(|&at| from <= at && at <= until);
    let all: Vec<Instant> = std::iter::once(from).chain(all).collect();
    all.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// Which partitions of scans a worker has.
fn owned(fleet: &Fleet, name: &str) -> Vec<u16> {
    let text = fleet.admin(name, "/metrics").expect("metrics").body;
    let of = |line: &str| {
        let rest = line.strip_prefix("mashang_lag_frames{partition=\"")?;
        let (partition, rest) = rest.split_once('"')?;
        rest.contains("stage=\"shopper\"").then(|| partition.parse().expect("a number"))
    };
    text.lines().filter_map(of).collect()
}

#[test]
fn partitions_that_stay_go_on_while_others_move() {
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "rebalance",
        ledger: &postgres.create_database("rebalance"),
        rules: "rules.toml",
        clock: "event",
        partitions: [SCANS, 2, 1, 2],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    for name in ["worker-1", "ledger-1", "edge-1"] {
        fleet.start(name, &[]);
    }
    let events = steady::events(200_000);
    let batches: Vec<String> = events.chunks(24).map(|batch| batch.join("\n")).collect();
    let over = Arc::new(AtomicBool::new(false));
    let (doors, ended) = (Arc::clone(&fleet.doors), Arc::clone(&over));
    let client = std::thread::spawn(move || send(&doors, &batches, |_| !ended.load(Ordering::Acquire)));
    let heard = listen(&fleet, Arc::clone(&over));
    let calm = Duration::from_secs(3);
    std::thread::sleep(calm);
    let mut moments = vec![("nothing", Instant::now() - calm, Instant::now(), owned(&fleet, "worker-1"), Vec::new())];
    let mut note = |what, began: Instant, stayed: Vec<u16>| {
        let moved = (0..SCANS).filter(|p| !stayed.contains(p)).collect();
        moments.push((what, began, Instant::now(), stayed, moved));
    };
    let wait = |fleet: &Fleet, name: &str, count: usize| {
        let until = Instant::now() + PATIENCE;
        while owned(fleet, name).len() != count {
            assert!(Instant::now() < until, "{name} has {:?}", owned(fleet, name));
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(calm);
    };

    let began = Instant::now();
    fleet.start("worker-2", &[]);
    wait(&fleet, "worker-2", usize::from(SCANS) / 2);
    note("a second worker comes", began, owned(&fleet, "worker-1"));

    let (began, stayed) = (Instant::now(), owned(&fleet, "worker-1"));
    fleet.kill("worker-2");
    fleet.restart("worker-2");
    wait(&fleet, "worker-2", usize::from(SCANS) / 2);
    assert_eq!(owned(&fleet, "worker-1"), stayed, "a restart within the session timeout moves nothing");
    note("the second is killed and back at once", began, stayed);

    let (began, stayed) = (Instant::now(), owned(&fleet, "worker-1"));
    fleet.stop("worker-2");
    wait(&fleet, "worker-1", usize::from(SCANS));
    note("the second stops and stays away (session timeout 6 s)", began, stayed);

    over.store(true, Ordering::Release);
    client.join().expect("every batch is taken");
    let heard = heard.join().expect("facts are heard");
    for (what, began, until, stayed, moved) in moments {
        let longest = |places: &[u16]| {
            places
                .iter()
                .filter_map(|p| heard.get(p))
                .map(|times| silence(times, began, until))
                .max()
                .unwrap_or_default()
        };
        println!(
            "{what}: longest silence of those that stay {:?}, of those that move {:?}",
            longest(&stayed),
            longest(&moved)
        );
    }
    fleet.settle(PATIENCE);
    fleet.equals_a_run_over_its_dump();
}
