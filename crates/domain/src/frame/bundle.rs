//! Bundles: several frames in one record.
//!
//! A record costs the log and its readers far more than the events in it. So a writer that has several frames for one partition
//! puts them into one record. What was bundled has no meaning: a reader admits or drops each frame by itself, so a writer that
//! replays may bundle otherwise.
//!
//! A bundle has the header of a frame, of version 3: kind, number of frames, bytes of the body, checksum, and of its first frame
//! `received` and the topic and log id of the source; all other fields are 0. In the body each frame has a [`Head`],
//! bincode-encoded, and its items.

use serde::{Deserialize, Serialize};

use super::{
    DecodeError, Frame, FrameError, HEADER_BYTES, Kind, MAGIC, NO_TOPIC, SOURCE_AT, checked_header, kind_and_topic,
    peek_kind, put, take,
};
use super::{seal_header, u32_at, u64_at, u128_at};
use crate::model::address::{AnswerPos, PartitionId, Provenance, Topic};
use crate::model::time::Millis;

/// Version of bundles.
pub(super) const BUNDLE_VERSION: u8 = 3;
/// Maximum size of the frames in one bundle, bytes; a larger frame is a record of its own.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024;

/// Whether frames of a kind may share records: desks' answers.
fn may_share(kind: Kind) -> bool {
    matches!(kind, Kind::CodeScans | Kind::Wins | Kind::Facts)
}

/// Whether a sealed frame may share a record with others for its partition. Others are records of their own.
#[must_use]
pub fn may_share_record(record: &[u8]) -> bool {
    peek_kind(record).is_some_and(may_share) && record.get(SOURCE_AT).is_some_and(|&topic| topic != NO_TOPIC)
}

/// What differs between the frames of a bundle.
#[derive(Serialize, Deserialize)]
struct Head {
    /// Topic and log id of the source, unless they are those of the frame before.
    source: Option<(u8, u128)>,
    partition: u16,
    offset: u64,
    part: u16,
    /// How far the previous answer is below this one, and its part.
    prev: Option<(u64, u16)>,
    hash: u64,
    /// Later than the bundle's, ms.
    received: i64,
    count: u32,
    bytes: u32,
}

/// Writes frames for one partition as one record, each of which [`may_share_record`].
///
/// # Panics
/// If there is no frame, or one may not share a record or is of another kind than the first.
#[must_use]
pub fn bundle<'a>(frames: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let count = u32::try_from(frames.len()).expect("few frames");
    let mut record = vec![0; HEADER_BYTES];
    let mut common: Option<Common> = None;
    for sealed in frames {
        let (head, body) = sealed.split_first_chunk::<HEADER_BYTES>().expect("a sealed frame");
        let frame = Frame::of(head, body).expect("a sealed frame");
        let tag = frame.tag.expect("a frame that answers");
        let (topic, log) = (tag.source.topic, tag.source.log);
        let common = common.get_or_insert_with(|| {
            record[5..7].copy_from_slice(&[frame.kind as u8, topic as u8]);
            record[8..16].copy_from_slice(&frame.received.to_le_bytes());
            record[16..32].copy_from_slice(&log.to_le_bytes());
            Common { kind: frame.kind, topic, log, received: frame.received }
        });
        assert!(frame.kind == common.kind && may_share(frame.kind), "answers of one kind");
        let is_same = (topic, log) == (common.topic, common.log);
        (common.topic, common.log) = (topic, log);
        let head = Head {
            source: (!is_same).then_some((topic as u8, log)),
            partition: tag.source.partition,
            offset: tag.at.offset,
            part: tag.at.part,
            prev: tag.prev.map(|prev| (tag.at.offset.wrapping_sub(prev.offset), prev.part)),
            hash: tag.hash,
            received: frame.received.wrapping_sub(common.received),
            count: frame.count,
            bytes: u32::try_from(body.len()).expect("a body below 4 GiB"),
        };
        put(&mut record, &head);
        record.extend_from_slice(body);
    }
    assert!(common.is_some(), "a frame");
    record[..4].copy_from_slice(&MAGIC);
    record[4] = BUNDLE_VERSION;
    seal_header(&mut record, count);
    record
}

/// What a bundle says once for its frames: the kind, `received` of the first one, and the source of the frame before.
#[derive(Clone, Copy, Debug)]
struct Common {
    kind: Kind,
    topic: Topic,
    log: u128,
    received: Millis,
}

/// The frames of one record, in order: those of a bundle, or the only one.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    one: Option<Frame<'a>>,
    left: &'a [u8],
    /// Of a bundle.
    common: Option<Common>,
}

impl<'a> Frames<'a> {
    /// Checks a record, and where each of its frames ends. Nothing of a damaged record is used.
    ///
    /// # Errors
    /// The first check that fails, with the number of the frame in the bundle.
    pub fn open(record: &'a [u8]) -> Result<Self, FrameError> {
        if record.get(4) != Some(&BUNDLE_VERSION) {
            return Frame::open(record).map(Self::from);
        }
        let (head, body) = checked_header(record)?;
        let (kind, Some(topic)) = kind_and_topic(head)? else {
            return Err(FrameError::Header("the topic of the source"));
        };
        if !may_share(kind) {
            return Err(FrameError::Header("the kind of a bundle"));
        }
        let common = Common { kind, topic, log: u128_at(head, 16), received: u64_at(head, 8).cast_signed() };
        let count = u32_at(head, 64);
        let (mut checked, mut left) = (common, body);
        for frame in 0..count {
            let (_, rest) = next(&mut checked, left).map_err(|why| FrameError::Bundle { frame, why })?;
            left = rest;
        }
        if count == 0 || !left.is_empty() {
            return Err(FrameError::Header("the number of frames"));
        }
        Ok(Self { one: None, left: body, common: Some(common) })
    }
}

impl Frames<'_> {
    /// Whether the record is a bundle.
    #[must_use]
    pub fn is_bundle(&self) -> bool {
        self.common.is_some()
    }
}

impl<'a> From<Frame<'a>> for Frames<'a> {
    fn from(frame: Frame<'a>) -> Self {
        Self { one: Some(frame), left: &[], common: None }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if let Some(frame) = self.one.take() {
            return Some(frame);
        }
        let (frame, left) = next(self.common.as_mut()?, self.left).ok()?;
        self.left = left;
        Some(frame)
    }
}

/// The first frame in the body of a bundle, and what follows it.
fn next<'a>(common: &mut Common, left: &'a [u8]) -> Result<(Frame<'a>, &'a [u8]), DecodeError> {
    let (head, left): (Head, &[u8]) = take(left)?;
    if let Some((topic, log)) = head.source {
        let known = Topic::ALL.get(usize::from(topic));
        common.topic = *known.ok_or_else(|| DecodeError::Malformed("its source has no such topic".to_owned()))?;
        common.log = log;
    }
    let Common { kind, topic, log, received } = *common;
    let is_cut = || DecodeError::Malformed("its items are cut short".to_owned());
    let (body, left) = left.split_at_checked(head.bytes as usize).ok_or_else(is_cut)?;
    let tag = Provenance {
        source: PartitionId { log, topic, partition: head.partition },
        at: AnswerPos { offset: head.offset, part: head.part },
        prev: head.prev.map(|(below, part)| AnswerPos { offset: head.offset.wrapping_sub(below), part }),
        hash: head.hash,
    };
    let received = received.wrapping_add(head.received);
    Ok((Frame { kind, received, tag: Some(tag), count: head.count, body }, left))
}
