//! What records make a task look at, of what its desk keeps: the part of the work that grows with the state.

use domain::frame::Frames;
use domain::model::rules::rulebook::Library;
use domain::protocol::positions::Admission;
use domain::protocol::stage::Output;
use eventlog::api::Record;
use worker::task::{Task, TaskError};

use crate::alarm::{Alarm, hold};

/// Maximum number of kept things that a task may look at for each event that it takes and each item that it answers, times the
/// binary logarithm of these: twice what 1,000 seeds of each family need. The worlds are small; `floods` has more events.
const LOOKS_MAX: f64 = 1.0;
/// The same for a task that was opened only now: its first events may look at much of what earlier incarnations kept. The most that one
/// of 10,000 seeds needs is 83.
const LOOKS_FIRST: f64 = 128.0;

/// The sums of a task since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Events or other items that it took, and items that it answered.
    items: u64,
    looked_at: u64,
}

impl Cost {
    /// Lets a task take a record, and adds what that costs.
    ///
    /// # Errors
    /// Why the task stops.
    pub(crate) fn take(
        &mut self,
        task: &mut dyn Task,
        record: Record<'_>,
        library: &Library,
        answers: &mut Vec<Output>,
    ) -> Result<Admission, TaskError> {
        let (looked_at, had) = (task.kept().looked_at, answers.len());
        let admission = task.take(record, library, answers)?;
        let items = |record: &[u8]| {
            Frames::open(record).map_or(0, |frames| frames.map(|frame| u64::from(frame.count)).sum::<u64>())
        };
        self.items += items(record.bytes) + answers[had..].iter().map(|answer| items(&answer.record)).sum::<u64>();
        self.looked_at += task.kept().looked_at - looked_at;
        Ok(admission)
    }

    /// # Errors
    /// It has looked at more than it may.
    pub(crate) fn check(&self) -> Result<(), Alarm> {
        let Self { items, looked_at } = *self;
        #[expect(clippy::cast_precision_loss, clippy::float_arithmetic, reason = "small numbers")]
        let is_cheap = looked_at as f64 <= LOOKS_FIRST + LOOKS_MAX * items as f64 * (2.0 + items as f64).log2();
        hold(is_cheap, || format!("a desk looked at {looked_at} kept things for {items} items"))
    }
}
