//! The desks: which one reads which topic, its name in metrics, and how a task of it is opened.
//!
//! This table is the only place that maps desks to topics: a new desk has a line here.

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::model::address::{Topic, TopicPartition};
use domain::model::rules::rulebook::Library;
use domain::protocol::behaviour::Build;
use domain::protocol::stage::Desk;
use eventlog::local::meta::Meta;

use crate::snapshot::Snapshots;
use crate::task::{DeskTask, Task, TaskError};

/// All desks, in the order in which a scan passes them.
pub const DESKS: [DeskEntry; 3] =
    [entry::<ShopperDesk>("shopper"), entry::<CodeDesk>("code"), entry::<CampaignDesk>("campaign")];

/// A desk in the table.
#[derive(Clone, Copy, Debug)]
pub struct DeskEntry {
    /// Its name in metrics and flags.
    pub name: &'static str,
    /// The topic that it reads.
    pub topic: Topic,
    open: Open,
}

type Open = fn(&Meta, u16, &Snapshots, &Library) -> Result<Box<dyn Task>, TaskError>;

const fn entry<D: Desk + std::fmt::Debug + Send + 'static>(name: &'static str) -> DeskEntry {
    DeskEntry { name, topic: D::TOPIC, open: open::<D> }
}

fn open<D: Desk + std::fmt::Debug + Send + 'static>(
    meta: &Meta,
    partition: u16,
    snapshots: &Snapshots,
    library: &Library,
) -> Result<Box<dyn Task>, TaskError> {
    Ok(Box::new(DeskTask::<D>::open(Build::this(), meta, partition, snapshots, library)?))
}

/// The desk that reads a topic.
///
/// # Panics
/// If no desk reads the topic.
#[must_use]
pub fn desk_of(topic: Topic) -> DeskEntry {
    let desk = DESKS.into_iter().find(|desk| desk.topic == topic);
    desk.unwrap_or_else(|| unreachable!("no desk reads {topic}"))
}

/// Opens the task of a partition from its latest snapshot, as [`DeskTask::open`] does.
///
/// # Errors
/// As [`DeskTask::open`].
///
/// # Panics
/// If no desk reads the topic.
pub fn open_task(
    meta: &Meta,
    TopicPartition { topic, partition }: TopicPartition,
    snapshots: &Snapshots,
    library: &Library,
) -> Result<Box<dyn Task>, TaskError> {
    (desk_of(topic).open)(meta, partition, snapshots, library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_desks_have_exactly_one_entry() {
        let desks = DESKS.map(|desk| (desk.topic.as_str(), desk.name));
        assert_eq!(desks, [("scans", "shopper"), ("draws", "code"), ("awards", "campaign")]);
        for topic in [Topic::Scans, Topic::Draws, Topic::Awards] {
            assert_eq!(desk_of(topic).topic, topic);
        }
    }
}
