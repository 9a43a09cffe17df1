//! A small log in memory.

use std::path::Path;
use std::sync::Arc;

use domain::model::address::{Partitions, Topic, TopicPartition};
use eventlog::api::Append;
use eventlog::error::LogError;
use eventlog::files::memory::{Loss, Memory};
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::reader::Reader;
use eventlog::local::store::{Sizes, Store};
use proptest::prelude::*;

pub(crate) const DIR: &str = "data";
pub(crate) const SMALL: Sizes = Sizes { segment_bytes: 400, journal_bytes: 1_500 };

pub(crate) fn meta() -> Meta {
    Meta::new(7, Clock::Wall, Partitions::all(2))
}

pub(crate) fn open(disk: &Memory) -> Result<Store, LogError> {
    Store::open(Arc::new(disk.clone()), Path::new(DIR), &meta(), SMALL)
}

pub(crate) fn append(topic: Topic, partition: u16, text: &str) -> Append {
    Append { topic, partition, record: text.as_bytes().to_vec() }
}

/// The texts of all records of a partition from an offset on.
pub(crate) fn read(store: &Store, topic: Topic, partition: u16, from: u64) -> Result<Vec<String>, LogError> {
    let mut reader = Reader::open(store.partition(TopicPartition::new(topic, partition)), from, "begin again")?;
    let mut found = Vec::new();
    while let Some(record) = reader.next_record()? {
        assert_eq!(record.offset, from + found.len() as u64);
        found.push(String::from_utf8(record.bytes.to_vec()).expect("UTF-8"));
    }
    Ok(found)
}

/// How many of the unsynced bytes a crash loses.
pub(crate) fn losses() -> impl Strategy<Value = Loss> {
    prop_oneof![Just(Loss::Nothing), Just(Loss::Everything), any::<u64>().prop_map(Loss::Torn)]
}
