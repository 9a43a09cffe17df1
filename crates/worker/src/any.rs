//! A station of whichever desk: what a topic's partition is worked on with.

use std::ops::Range;

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::flow::{Desk, Output, Taken, Terms, Verdict};
use domain::model::place::{Source, Topic};
use domain::model::rulebook::Library;
use log::error::LogError;
use log::meta::Meta;
use log::reader::Record;

use crate::snapshot::{Snapshot, Snapshots};
use crate::station::{Station, StationError};

/// A [`Station`] of the desk that reads its topic.
#[derive(Debug)]
pub enum AnyStation {
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

impl AnyStation {
    /// As [`Station::open`].
    ///
    /// # Errors
    /// As [`Station::open`].
    ///
    /// # Panics
    /// If no desk reads the topic.
    pub fn open(
        meta: &Meta,
        (topic, partition): (Topic, u16),
        snapshots: &Snapshots,
        library: &Library,
    ) -> Result<Self, StationError> {
        Self::open_under(Terms::default(), meta, (topic, partition), snapshots, library)
    }

    /// As [`Station::open_under`].
    ///
    /// # Errors
    /// As [`Station::open`].
    ///
    /// # Panics
    /// If no desk reads the topic.
    pub fn open_under(
        terms: Terms,
        meta: &Meta,
        (topic, partition): (Topic, u16),
        snapshots: &Snapshots,
        library: &Library,
    ) -> Result<Self, StationError> {
        fn station<D: Desk>(
            terms: Terms,
            meta: &Meta,
            partition: u16,
            snapshots: &Snapshots,
            library: &Library,
        ) -> Result<Box<Station<D>>, StationError> {
            Station::open_under(terms, meta, partition, snapshots, library).map(Box::new)
        }
        Ok(match topic {
            Topic::Scans => Self::Shopper(station(terms, meta, partition, snapshots, library)?),
            Topic::Draws => Self::Code(station(terms, meta, partition, snapshots, library)?),
            Topic::Awards => Self::Campaign(station(terms, meta, partition, snapshots, library)?),
            Topic::Facts | Topic::Rules | Topic::Rejects => unreachable!("no desk reads {topic}"),
        })
    }

    /// The desk's name in metrics.
    #[must_use]
    pub fn desk(&self) -> &'static str {
        match self {
            Self::Shopper(_) => "shopper",
            Self::Code(_) => "code",
            Self::Campaign(_) => "campaign",
        }
    }

    /// As [`Station::from`].
    ///
    /// # Errors
    /// As [`Station::from`].
    pub fn from(&self, bounds: &Range<u64>) -> Result<u64, LogError> {
        each!(self, s => s.from(bounds))
    }

    /// As [`Station::last_taken`].
    #[must_use]
    pub fn last_taken(&self) -> Option<Taken> {
        each!(self, s => s.last_taken())
    }

    /// As [`Station::expect`].
    pub fn expect(&mut self, taken: Taken) {
        each!(self, s => s.expect(taken));
    }

    /// As [`Station::next_offset`].
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        each!(self, s => s.next_offset())
    }

    /// As [`Station::source`].
    #[must_use]
    pub fn source(&self) -> Source {
        each!(self, s => s.source())
    }

    /// As [`Station::take`].
    ///
    /// # Errors
    /// As [`Station::take`].
    pub fn take(
        &mut self,
        record: Record<'_>,
        library: &Library,
        answers: &mut Vec<Output>,
    ) -> Result<Verdict, StationError> {
        each!(self, s => s.take(record, library, answers))
    }

    /// As [`Station::made_durable`].
    pub fn made_durable(&mut self, answers: Range<u64>) {
        each!(self, s => s.made_durable(answers));
    }

    /// As [`Station::handed_out`].
    #[must_use]
    pub fn handed_out(&self) -> u64 {
        each!(self, s => s.handed_out())
    }

    /// As [`Station::settled`].
    #[must_use]
    pub fn settled(&self) -> u64 {
        each!(self, s => s.settled())
    }

    /// As [`Station::outstanding`].
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        each!(self, s => s.outstanding())
    }

    /// As [`Station::since_snapshot`].
    #[must_use]
    pub fn since_snapshot(&self) -> u64 {
        each!(self, s => s.since_snapshot())
    }

    /// As [`Station::check_nothing_is_missing`].
    ///
    /// # Errors
    /// The first of them.
    pub fn check_nothing_is_missing(&self) -> Result<(), StationError> {
        each!(self, s => s.check_nothing_is_missing())
    }

    /// As [`Station::missing`].
    #[must_use]
    pub fn missing(&self) -> usize {
        each!(self, s => s.missing())
    }

    /// As [`Station::take_snapshot`].
    pub fn take_snapshot(&mut self) {
        each!(self, s => s.take_snapshot());
    }

    /// As [`Station::snapshot`].
    pub fn snapshot(&mut self, snapshots: &Snapshots) -> Option<Snapshot> {
        each!(self, s => s.snapshot(snapshots))
    }

    /// About how many bytes of memory the desk's state takes, by kind.
    #[must_use]
    pub fn sizes(&self) -> Vec<(&'static str, usize)> {
        each!(self, s => s.stage().desk().sizes())
    }
}
