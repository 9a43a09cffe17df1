//! A station of whichever desk, with the frames that it sends.

use std::sync::Arc;

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::flow::{Desk, Guards, Output, Partitions};
use domain::model::place::Topic;
use domain::model::rulebook::Library;
use log::meta::Clock;
use log::partition::Partition;
use worker::snapshot::{Snapshot, Snapshots};
use worker::station::{Station, StationError};

#[derive(Debug)]
enum AnyStation {
    Shopper(Box<Station<ShopperDesk>>),
    Code(Box<Station<CodeDesk>>),
    Campaign(Box<Station<CampaignDesk>>),
}

/// Does the same with whichever station it is.
macro_rules! each {
    ($any:expr, $station:ident => $work:expr) => {
        match $any {
            AnyStation::Shopper($station) => $work,
            AnyStation::Code($station) => $work,
            AnyStation::Campaign($station) => $work,
        }
    };
}

/// One incarnation of the station of a partition.
#[derive(Debug)]
pub struct Seat {
    pub topic: Topic,
    pub partition: u16,
    /// The number under which it sends.
    pub producer: u64,
    station: AnyStation,
    /// It hears of no frame that is durable any more: some of its own are lost.
    pub is_deaf: bool,
    /// A zombie goes on for so many records.
    pub left: usize,
}

/// What every station is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    pub partitions: Partitions,
    pub clock: Clock,
    pub snapshots: &'a Snapshots,
    pub library: &'a Library,
    pub guards: Guards,
}

impl Opening<'_> {
    /// Restores the station of a partition from its latest snapshot.
    ///
    /// # Errors
    /// The snapshot is torn, or the log does not reach back to it.
    pub fn seat(&self, partition: &Arc<Partition>, producer: u64) -> Result<Seat, StationError> {
        fn station<D: Desk>(opening: &Opening<'_>, of: &Arc<Partition>) -> Result<Box<Station<D>>, StationError> {
            let Opening { partitions, clock, snapshots, library, guards } = *opening;
            let mut station = Station::open(of, partitions, clock, snapshots, library)?;
            station.stage_mut().positions.guards = guards;
            Ok(Box::new(station))
        }
        let source = partition.source();
        let station = match source.topic {
            Topic::Scans => AnyStation::Shopper(station(self, partition)?),
            Topic::Draws => AnyStation::Code(station(self, partition)?),
            Topic::Awards => AnyStation::Campaign(station(self, partition)?),
            Topic::Facts | Topic::Rules => unreachable!("no desk reads {}", source.topic),
        };
        Ok(Seat { topic: source.topic, partition: source.partition, producer, station, is_deaf: false, left: 0 })
    }
}

impl Seat {
    /// Takes at most so many records; how many, and what it answers.
    ///
    /// # Errors
    /// Why it stops.
    pub fn step(&mut self, library: &Library, records: usize) -> Result<(usize, Vec<Output>), StationError> {
        let mut answers = Vec::new();
        let taken = each!(&mut self.station, s => s.step(library, records, usize::MAX, &mut answers))?;
        Ok((taken, answers))
    }

    /// The next one of its frames is durable.
    pub fn durable(&mut self) {
        if !self.is_deaf {
            each!(&mut self.station, s => s.made_durable(1));
        }
    }

    pub fn take_snapshot(&mut self) {
        each!(&mut self.station, s => s.take_snapshot());
    }

    /// A snapshot that may be written.
    pub fn snapshot(&mut self, snapshots: &Snapshots) -> Option<Snapshot> {
        each!(&mut self.station, s => s.snapshot(snapshots))
    }

    /// # Errors
    /// A frame is missing.
    pub fn check_nothing_is_missing(&self) -> Result<(), StationError> {
        each!(&self.station, s => s.check_nothing_is_missing())
    }
}
