//! The identity of a log, fixed at its creation: its id, its clock, its partitions.

use std::fmt;
use std::path::Path;

use domain::model::address::{PartitionId, Partitions, Topic, TopicPartition};
use domain::model::ids::digest128;
use domain::protocol::genesis::Genesis;
use serde::{Deserialize, Serialize};

use crate::error::{LogError, at};
use crate::files::{self, Files};

/// Version of the format on the disk; another version is refused.
const FORMAT: u32 = 1;
/// The file of the identity.
pub(crate) const META: &str = "meta.json";
/// The directory of the journals.
pub(crate) const JOURNAL: &str = "journal";

/// The source of time. A log has one for its whole life: its records have no meaning under the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// `received` is the edge's clock, limited to the append time.
    Wall,
    /// `received` is the running maximum of the events' times; the append time has no effect.
    Event,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Event { "event" } else { "wall" })
    }
}

/// The identity of a log, fixed at its creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    format: u32,
    /// A random number that no other log has.
    #[serde(with = "hex")]
    id: u128,
    /// The source of time.
    pub clock: Clock,
    /// The number of partitions of each topic.
    pub partitions: Partitions,
}

impl Meta {
    /// The identity of a new log.
    #[must_use]
    pub fn new(id: u128, clock: Clock, partitions: Partitions) -> Self {
        Self { format: FORMAT, id, clock, partitions }
    }

    /// The identity in the bytes of its file.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let meta: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if meta.format == FORMAT {
            Ok(meta)
        } else {
            Err(format!("it has format {}, this build knows {FORMAT}", meta.format))
        }
    }

    /// The bytes of its file.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an identity is JSON")
    }

    /// The identity that a partition's first record holds.
    #[must_use]
    pub fn of(genesis: &Genesis) -> Self {
        let clock = if genesis.is_event_clock { Clock::Event } else { Clock::Wall };
        Self::new(genesis.id, clock, genesis.partitions)
    }

    /// The first record of a partition of this log.
    #[must_use]
    pub fn genesis(&self, partition: TopicPartition) -> Genesis {
        let is_event_clock = self.clock == Clock::Event;
        Genesis { source: self.source(partition), id: self.id, is_event_clock, partitions: self.partitions }
    }

    /// A partition of this log.
    #[must_use]
    pub fn source(&self, TopicPartition { topic, partition }: TopicPartition) -> PartitionId {
        PartitionId { log: self.topic_id(topic), topic, partition }
    }

    /// The random number that no other log has.
    #[must_use]
    pub fn id(&self) -> u128 {
        self.id
    }

    /// The id of a topic of this log.
    #[must_use]
    pub fn topic_id(&self, topic: Topic) -> u128 {
        digest128(&[&format!("{:032x}", self.id), topic.as_str()])
    }

    /// Every partition of every topic.
    pub fn all(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        let of =
            |&topic: &Topic| (0..self.partitions.of(topic)).map(move |partition| TopicPartition::new(topic, partition));
        Topic::ALL.iter().flat_map(of)
    }
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{id:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(from)?, 16).map_err(serde::de::Error::custom)
    }
}

/// Reads the identity of the log in a directory; `None` if there is no log.
///
/// # Errors
/// The directory holds something else than a log of this format.
pub(crate) fn read_meta(files: &dyn Files, dir: &Path) -> Result<Option<Meta>, LogError> {
    let names = files.list(dir).map_err(at(dir, "listed"))?;
    if !names.iter().any(|name| name == META) {
        // A log whose creation was interrupted has no topic yet.
        let topic = names.iter().find(|name| *name == JOURNAL || Topic::parse(name).is_some());
        return topic.map_or(Ok(None), |name| {
            let what = format!("{META} is missing beside {name}");
            Err(LogError::Damaged { path: dir.join(META), byte: 0, what })
        });
    }
    let path = dir.join(META);
    let bytes = files::read(files, &path).map_err(at(&path, "read"))?;
    let damaged = |what: String| LogError::Damaged { path: path.clone(), byte: 0, what };
    let meta: Meta = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if meta.format != FORMAT {
        return Err(LogError::Other {
            dir: dir.to_owned(),
            found: format!("format {}", meta.format),
            wanted: format!("format {FORMAT}"),
            mend: "use the build that wrote it",
        });
    }
    Ok(Some(meta))
}
