//! What log some topics are of.

use std::ops::ControlFlow;

use domain::frame::Frame;
use domain::model::address::Topic;
use domain::protocol::genesis::Genesis;

use crate::error::LogError;
use crate::kafka::metadata::MetadataClient;
use crate::kafka::settings::Settings;
use crate::kafka::topics::{CLIENT_ID, LOST};
use crate::local::meta::Meta;

/// What the first records of `rules` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub meta: Meta,
    /// Whether all topics were made and begun.
    pub is_complete: bool,
}

/// What the log is.
///
/// # Errors
/// There is none, or Kafka does not answer.
pub fn meta(settings: &Settings) -> Result<Meta, LogError> {
    let probe = MetadataClient::open(settings, CLIENT_ID)?;
    read(&probe)?.map(|origin| origin.meta).ok_or_else(|| missing(settings))
}

/// There is no log.
pub fn missing(settings: &Settings) -> LogError {
    let topic = settings.topic(Topic::Rules);
    let what = "it is not there, or empty: there is no log".to_owned();
    LogError::Topic { topic, what, mend: "make it with `topics create`, or give the --prefix that it was made with" }
}

/// Reads what log it is; `None` if nothing says so yet.
pub fn read(probe: &MetadataClient) -> Result<Option<Origin>, LogError> {
    if !probe.topics()?.contains_key(&Topic::Rules) {
        return Ok(None);
    }
    let bounds = probe.bounds(Topic::Rules, 0)?;
    let wrong = |what: String| LogError::Topic { topic: probe.settings.topic(Topic::Rules), what, mend: LOST };
    if bounds.start > 0 {
        return Err(wrong(format!("it begins at offset {}: what the log is was let go", bounds.start)));
    }
    if bounds.end == 0 {
        return Ok(None);
    }
    let (mut first, mut is_complete) = (None, false);
    probe.read(&[(Topic::Rules, 0)], |_, _, offset, bytes| {
        let birth = Frame::open(bytes).map_err(|e| e.to_string()).and_then(|frame| Genesis::of(&frame));
        match &first {
            None => {
                let is_wrong = offset != 0 || birth.is_err();
                first = Some(birth);
                if is_wrong {
                    return ControlFlow::Break(());
                }
            }
            // Rules, or the first record again. Another birth lost a race.
            Some(Ok(first)) => is_complete = birth.map_or(true, |birth| birth.id == first.id),
            Some(Err(_)) => {}
        }
        if is_complete || offset + 1 >= bounds.end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let birth = first.unwrap_or_else(|| Err("it has no first record".to_owned())).map_err(wrong)?;
    let meta = Meta::of(&birth);
    if birth.source != meta.source(Topic::Rules, 0) {
        return Err(wrong("its first record is of another partition".to_owned()));
    }
    Ok(Some(Origin { meta, is_complete }))
}

/// What is wrong with the first record of a partition; nothing, if it is of this log.
pub fn wrong_first(meta: &Meta, topic: Topic, partition: u16, record: &[u8]) -> Option<String> {
    let frame = Frame::open(record).map_err(|e| format!("partition {partition} offset 0: {e}"));
    frame.and_then(|frame| Genesis::check(&frame, meta.source(topic, partition))).err()
}
