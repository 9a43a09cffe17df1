//! The end of an intake: what was brought before it is durable, though the log is closed right behind.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use domain::model::event::{Action, Event};
use domain::model::place::Partitions;
use edge::clock::Stamps;
use edge::intake::Intake;
use edge::metrics::{Metrics, Transport};
use edge::road::Road;
use edge::spool::Durable;
use log::files::memory::Memory;
use log::local::Log;
use log::meta::{Clock, Meta};
use log::store::Sizes;
use prometheus::Registry;

const ENDS: u64 = 500;

fn visit(id: &str) -> Event<'_> {
    Event {
        key: 1,
        shopper_key: 2,
        merchant: "acme",
        id,
        shopper: "u1",
        action: Action::Visit,
        stamp: 3,
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
    }
}

#[test]
fn what_was_brought_before_the_end_is_durable() {
    let partitions = Partitions::all(1);
    for end in 0..ENDS {
        let meta = Meta::new(1, Clock::Wall, partitions);
        let registry = Registry::new();
        let log = Log::open(
            Arc::new(Memory::default()),
            Path::new("log"),
            &meta,
            Sizes { segment_bytes: 100_000, journal_bytes: 100_000 },
            &registry,
        );
        let log = Arc::new(log.expect("a log"));
        let metrics = Metrics::new(&registry).expect("once");
        let road = Road::Log(Arc::<Log>::clone(&log));
        let intake = Intake::start(road.clone(), 1, Stamps::Wall, 2, metrics);
        let (tell, told) = channel();
        for _ in 0..3 {
            let mut parcel = intake.parcel();
            parcel.push(&visit("1"), Transport::Udp);
            let tell = tell.clone();
            let told = move |result| {
                let _ = tell.send(result);
            };
            intake.give(parcel, Box::new(told));
        }
        intake.close();
        road.close();
        let told: Vec<_> = told.try_iter().collect();
        assert_eq!(told, vec![Ok(Durable::Log); 3], "end {end}");
    }
}
