//! A station of whichever desk: what a topic's partition is worked on with.

use std::ops::Range;

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::model::address::{PartitionId, Topic};
use domain::model::rulebook::Library;
use domain::protocol::positions::Admission;
use domain::protocol::stage::{Desk, Output, RecordMark, StageOptions};
use eventlog::api::Record;
use eventlog::error::LogError;
use eventlog::local::meta::Meta;

use crate::snapshot::{Snapshot, Snapshots};
use crate::task::{DeskTask, TaskError};

/// A [`DeskTask`] of the desk that reads its topic.
#[derive(Debug)]
pub enum AnyTask {
    Shopper(Box<DeskTask<ShopperDesk>>),
    Code(Box<DeskTask<CodeDesk>>),
    Campaign(Box<DeskTask<CampaignDesk>>),
}

/// Does the same with whichever station it is.
macro_rules! each {
    ($any:expr, $station:ident => $work:expr) => {
        match $any {
            AnyTask::Shopper($station) => $work,
            AnyTask::Code($station) => $work,
            AnyTask::Campaign($station) => $work,
        }
    };
}

impl AnyTask {
    /// As [`DeskTask::open`].
    ///
    /// # Errors
    /// As [`DeskTask::open`].
    ///
    /// # Panics
    /// If no desk reads the topic.
    pub fn open(
        meta: &Meta,
        (topic, partition): (Topic, u16),
        snapshots: &Snapshots,
        library: &Library,
    ) -> Result<Self, TaskError> {
        Self::open_under(StageOptions::default(), meta, (topic, partition), snapshots, library)
    }

    /// As [`DeskTask::open_under`].
    ///
    /// # Errors
    /// As [`DeskTask::open`].
    ///
    /// # Panics
    /// If no desk reads the topic.
    pub fn open_under(
        terms: StageOptions,
        meta: &Meta,
        (topic, partition): (Topic, u16),
        snapshots: &Snapshots,
        library: &Library,
    ) -> Result<Self, TaskError> {
        fn station<D: Desk>(
            terms: StageOptions,
            meta: &Meta,
            partition: u16,
            snapshots: &Snapshots,
            library: &Library,
        ) -> Result<Box<DeskTask<D>>, TaskError> {
            DeskTask::open_under(terms, meta, partition, snapshots, library).map(Box::new)
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

    /// As [`DeskTask::from`].
    ///
    /// # Errors
    /// As [`DeskTask::from`].
    pub fn from(&self, bounds: &Range<u64>) -> Result<u64, LogError> {
        each!(self, s => s.from(bounds))
    }

    /// As [`DeskTask::last_taken`].
    #[must_use]
    pub fn last_taken(&self) -> Option<RecordMark> {
        each!(self, s => s.last_taken())
    }

    /// As [`DeskTask::expect`].
    pub fn expect(&mut self, taken: RecordMark) {
        each!(self, s => s.expect(taken));
    }

    /// As [`DeskTask::next_offset`].
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        each!(self, s => s.next_offset())
    }

    /// As [`DeskTask::source`].
    #[must_use]
    pub fn source(&self) -> PartitionId {
        each!(self, s => s.source())
    }

    /// As [`DeskTask::take`].
    ///
    /// # Errors
    /// As [`DeskTask::take`].
    pub fn take(
        &mut self,
        record: Record<'_>,
        library: &Library,
        answers: &mut Vec<Output>,
    ) -> Result<Admission, TaskError> {
        each!(self, s => s.take(record, library, answers))
    }

    /// As [`DeskTask::made_durable`].
    pub fn made_durable(&mut self, answers: Range<u64>) {
        each!(self, s => s.made_durable(answers));
    }

    /// As [`DeskTask::handed_out`].
    #[must_use]
    pub fn handed_out(&self) -> u64 {
        each!(self, s => s.handed_out())
    }

    /// As [`DeskTask::settled`].
    #[must_use]
    pub fn settled(&self) -> u64 {
        each!(self, s => s.settled())
    }

    /// As [`DeskTask::outstanding`].
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        each!(self, s => s.outstanding())
    }

    /// As [`DeskTask::since_snapshot`].
    #[must_use]
    pub fn since_snapshot(&self) -> u64 {
        each!(self, s => s.since_snapshot())
    }

    /// As [`DeskTask::check_nothing_is_missing`].
    ///
    /// # Errors
    /// The first of them.
    pub fn check_nothing_is_missing(&self) -> Result<(), TaskError> {
        each!(self, s => s.check_nothing_is_missing())
    }

    /// As [`DeskTask::missing`].
    #[must_use]
    pub fn missing(&self) -> usize {
        each!(self, s => s.missing())
    }

    /// As [`DeskTask::take_snapshot`].
    pub fn take_snapshot(&mut self) {
        each!(self, s => s.take_snapshot());
    }

    /// As [`DeskTask::snapshot`].
    pub fn snapshot(&mut self, snapshots: &Snapshots) -> Option<Snapshot> {
        each!(self, s => s.snapshot(snapshots))
    }

    /// About how many bytes of memory the desk's state takes, by kind.
    #[must_use]
    pub fn sizes(&self) -> Vec<(&'static str, usize)> {
        each!(self, s => s.stage().desk().sizes())
    }
}
