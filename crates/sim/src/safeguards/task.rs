//! A task without some safeguards.

use std::ops::Range;

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::model::address::{PartitionId, Topic, TopicPartition};
use domain::model::rules::rulebook::Library;
use domain::protocol::behaviour::Build;
use domain::protocol::kept::Kept;
use domain::protocol::positions::{Admission, Positions};
use domain::protocol::stage::{Output, RecordMark};
use eventlog::api::Record;
use eventlog::error::LogError;
use eventlog::local::meta::Meta;
use worker::snapshot::segment::NewSegment;
use worker::snapshot::{Snapshot, Snapshots};
use worker::task::{DeskTask, Task, TaskError};

use super::records::{are_rewritten, rewritten};
use super::sweeping_desk::SweepingDesk;
use super::{Safeguard, Without};

/// Opens the task of a partition from its latest snapshot, with the behaviours of a build.
///
/// # Errors
/// The snapshot is torn.
///
/// # Panics
/// If no desk reads the topic.
pub fn open_task(
    without: Without,
    build: Build,
    meta: &Meta,
    TopicPartition { topic, partition }: TopicPartition,
    snapshots: &Snapshots,
    library: &Library,
) -> Result<Box<dyn Task>, TaskError> {
    let inner: Box<dyn Task> = match topic {
        Topic::Scans if without.contains(&Safeguard::ExpiryAtProbe) => {
            Box::new(DeskTask::<SweepingDesk>::open(build, meta, partition, snapshots, library)?)
        }
        Topic::Scans => Box::new(DeskTask::<ShopperDesk>::open(build, meta, partition, snapshots, library)?),
        Topic::Draws => Box::new(DeskTask::<CodeDesk>::open(build, meta, partition, snapshots, library)?),
        Topic::Awards => Box::new(DeskTask::<CampaignDesk>::open(build, meta, partition, snapshots, library)?),
        Topic::Facts | Topic::Rules | Topic::Rejects => unreachable!("no desk reads {topic}"),
    };
    Ok(if without.is_empty() { inner } else { Box::new(TaskWithout { inner, without }) })
}

#[derive(Debug)]
struct TaskWithout {
    inner: Box<dyn Task>,
    without: Without,
}

impl TaskWithout {
    /// Whether answers count as durable when they are handed out.
    fn counts_as_durable(&self) -> bool {
        self.without.contains(&Safeguard::ManifestAfterAcks)
    }
}

impl Task for TaskWithout {
    fn source(&self) -> PartitionId {
        self.inner.source()
    }

    /// The record before the position is not handed in if it may have been rewritten: the task would find another one.
    fn start_offset(&self, bounds: &Range<u64>) -> Result<u64, LogError> {
        let first = self.inner.start_offset(bounds)?;
        Ok(if are_rewritten(self.without) { self.inner.next_offset() } else { first })
    }

    fn last_taken(&self) -> Option<RecordMark> {
        self.inner.last_taken().filter(|_| !are_rewritten(self.without))
    }

    fn expect(&mut self, taken: RecordMark) {
        self.inner.expect(taken);
    }

    fn next_offset(&self) -> u64 {
        self.inner.next_offset()
    }

    fn take(
        &mut self,
        record: Record<'_>,
        library: &Library,
        answers: &mut Vec<Output>,
    ) -> Result<Admission, TaskError> {
        let bytes = rewritten(self.without, self.inner.positions(), record.bytes);
        let before = self.inner.handed_out();
        let admission = self.inner.take(Record { bytes: &bytes, ..record }, library, answers)?;
        let handed_out = before..self.inner.handed_out();
        if self.counts_as_durable() && !handed_out.is_empty() {
            self.inner.made_durable(handed_out);
        }
        Ok(admission)
    }

    fn set_aside(&mut self, record: Record<'_>, why: &str, answers: &mut Vec<Output>) -> Result<Admission, TaskError> {
        self.inner.set_aside(record, why, answers)
    }

    fn made_durable(&mut self, answers: Range<u64>) {
        if !self.counts_as_durable() {
            self.inner.made_durable(answers);
        }
    }

    fn handed_out(&self) -> u64 {
        self.inner.handed_out()
    }

    fn settled(&self) -> u64 {
        self.inner.settled()
    }

    fn outstanding(&self) -> u64 {
        self.inner.outstanding()
    }

    fn since_snapshot(&self) -> u64 {
        self.inner.since_snapshot()
    }

    fn positions(&self) -> &Positions {
        self.inner.positions()
    }

    fn has_bundles(&self) -> bool {
        self.inner.has_bundles()
    }

    fn take_snapshot(&mut self) -> bool {
        self.inner.take_snapshot()
    }

    fn is_saving(&self, is_last: bool) -> bool {
        self.inner.is_saving(is_last)
    }

    fn advance_snapshot(&mut self, bytes: usize) {
        self.inner.advance_snapshot(bytes);
    }

    fn segments_ready(&self) -> usize {
        self.inner.segments_ready()
    }

    fn segment(&mut self) -> Option<NewSegment> {
        self.inner.segment()
    }

    fn has_changed_much(&mut self) -> bool {
        self.inner.has_changed_much()
    }

    fn snapshot(&mut self) -> Option<Snapshot> {
        self.inner.snapshot()
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        self.inner.sizes()
    }

    fn kept(&self) -> Kept {
        self.inner.kept()
    }
}
