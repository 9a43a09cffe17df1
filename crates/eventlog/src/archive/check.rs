//! Reads every segment of a partition and compares it with what it says of itself.

use domain::model::time::DAY_MS;
use domain::protocol::merkle::{Tree, leaf};

use crate::archive::Archive;
use crate::archive::segment::{Header, Segment, Wrong};
use crate::error::LogError;
use crate::local::meta::Meta;
use crate::scans::{ReceivedClock, events_of};

/// A partition of an archive that was read to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Number of segments.
    pub segments: u64,
    /// Number of records in those that can be read.
    pub records: u64,
    /// Number of events in them.
    pub events: u64,
}

impl Archive {
    /// What the segments of a partition say of themselves, passed to `each` in their order.
    ///
    /// # Errors
    /// The store does not answer, a segment is damaged, or as `each`.
    pub fn headers<E: From<LogError>>(
        &self,
        meta: &Meta,
        partition: u16,
        mut each: impl FnMut(&Header) -> Result<(), E>,
    ) -> Result<(), E> {
        for first in self.segments(partition)? {
            each(&self.header(meta, partition, first)?)?;
        }
        Ok(())
    }

    /// Reads every segment of a partition. What is wrong is passed to `wrong`, and the next segment is read.
    ///
    /// # Errors
    /// The store does not list the segments.
    pub fn check(&self, meta: &Meta, partition: u16, wrong: &mut dyn FnMut(LogError)) -> Result<Checked, LogError> {
        let mut checked = Checked::default();
        // The offset that must come next; not known at the beginning, and behind a segment that cannot be read.
        let mut next = None;
        for first in self.segments(partition)? {
            if let Some(next) = next.filter(|&next| next < first) {
                wrong(self.hole(partition, next, first - 1));
            }
            checked.segments += 1;
            let read = self.segment(meta, partition, first);
            let read =
                read.and_then(|segment| Ok((segment.header.last_offset + 1, self.whole(segment, meta, partition)?)));
            next = match read {
                Ok((end, events)) => {
                    checked.records += end - next.unwrap_or(first).clamp(first, end);
                    checked.events += events;
                    next.max(Some(end))
                }
                Err(error) => {
                    wrong(error);
                    None
                }
            };
        }
        Ok(checked)
    }

    /// Compares the records of a segment with its header. Returns the number of events.
    fn whole(&self, mut segment: Segment, meta: &Meta, partition: u16) -> Result<u64, LogError> {
        let header = segment.header.clone();
        let at = |wrong: Wrong| wrong.at(self.address(partition, header.first_offset));
        let mut received = ReceivedClock::new(meta.clock, header.received_before);
        let (mut tree, mut last, mut events) = (Tree::default(), None, 0);
        while let Some(record) = segment.next_record().map_err(at)? {
            for event in events_of(partition, &record)? {
                received.take(&event, record.append);
                events += 1;
            }
            if received.latest.is_some_and(|at| Some(at.div_euclid(DAY_MS)) != header.day()) {
                return Err(at(Wrong::damaged(format!("the record at offset {} is of another day", record.offset))));
            }
            last = Some(leaf(record.bytes));
            last.iter().for_each(|&leaf| tree.push(leaf));
        }
        segment.end().map_err(at)?;
        let is_right =
            tree.root() == header.root && last == Some(header.last_leaf) && received.latest == header.received_to;
        if is_right { Ok(events) } else { Err(at(Wrong::damaged("its header says something else than its records"))) }
    }
}
