//! Reads which log the topics belong to.

use std::ops::ControlFlow;

use domain::frame::Frame;
use domain::model::address::{Topic, TopicPartition};
use domain::protocol::genesis::Genesis;

use crate::error::LogError;
use crate::kafka::metadata::MetadataClient;
use crate::kafka::settings::Settings;
use crate::kafka::topics::{CLIENT_ID, LOST};
use crate::local::meta::Meta;

/// The partition whose first record holds the log's identity.
pub(super) const RULES: TopicPartition = TopicPartition::new(Topic::Rules, 0);

/// The contents of the first records of `rules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The log that the topics belong to.
    pub meta: Meta,
    /// Whether the creation of all topics was finished.
    pub is_complete: bool,
}

/// The identity of the log.
///
/// # Errors
/// There is no log, or Kafka does not answer.
pub fn meta(settings: &Settings) -> Result<Meta, LogError> {
    let client = MetadataClient::open(settings, CLIENT_ID)?;
    read(&client)?.map(|origin| origin.meta).ok_or_else(|| missing(settings))
}

/// The error if there is no log.
pub fn missing(settings: &Settings) -> LogError {
    let topic = settings.topic(Topic::Rules);
    let what = "it is not there, or empty: there is no log".to_owned();
    LogError::Topic { topic, what, mend: "make it with `topics create`, or give the --prefix that it was made with" }
}

/// Reads the identity of the log; `None` if it is not written yet.
pub fn read(client: &MetadataClient) -> Result<Option<Origin>, LogError> {
    if !client.topics()?.contains_key(&Topic::Rules) {
        return Ok(None);
    }
    let bounds = client.bounds(RULES)?;
    let wrong = |what: String| LogError::Topic { topic: client.settings.topic(Topic::Rules), what, mend: LOST };
    if bounds.start > 0 {
        return Err(wrong(format!(
            "it begins at offset {}: the record of the log's identity was deleted",
            bounds.start
        )));
    }
    if bounds.end == 0 {
        return Ok(None);
    }
    let (mut first, mut is_complete) = (None, false);
    client.read(&[RULES], |_, offset, bytes| {
        let genesis = Frame::open(bytes)
            .map_err(|e| e.to_string())
            .and_then(|frame| Genesis::of(&frame).map_err(|e| e.to_string()));
        match &first {
            None => {
                let is_wrong = offset != 0 || genesis.is_err();
                first = Some(genesis);
                if is_wrong {
                    return ControlFlow::Break(());
                }
            }
            // A record of rules, or the first record again. A first record of another log lost a race.
            Some(Ok(first)) => is_complete = genesis.map_or(true, |genesis| genesis.id == first.id),
            Some(Err(_)) => {}
        }
        if is_complete || offset + 1 >= bounds.end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let genesis = first.unwrap_or_else(|| Err("it has no first record".to_owned())).map_err(wrong)?;
    let meta = Meta::of(&genesis);
    if genesis.source != meta.source(RULES) {
        return Err(wrong("its first record belongs to another partition".to_owned()));
    }
    Ok(Some(Origin { meta, is_complete }))
}

/// What is wrong with the first record of a partition; `None` if it belongs to this log.
pub(crate) fn wrong_first(meta: &Meta, partition: TopicPartition, record: &[u8]) -> Option<String> {
    let frame = Frame::open(record).map_err(|e| format!("partition {} offset 0: {e}", partition.partition));
    let checked = |frame: Frame<'_>| Genesis::check(&frame, meta.source(partition)).map_err(|e| e.to_string());
    frame.and_then(checked).err()
}
