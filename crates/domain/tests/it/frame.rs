//! The codec: decoded frames equal encoded ones, and any damage is detected.

use domain::frame::{
    Body, Frame, FrameError, Frames, HEADER_BYTES, Kind, PART_BYTES_MAX, bundle, may_share_record, peek_kind, seal,
};
use domain::model::address::{AnswerPos, PartitionId, Provenance, Topic};
use domain::model::code::Link;
use domain::model::event::{Action, Code, Event, Part, Payment};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    "[a-z0-9éﬀ码]{0,12}"
}

/// The texts of an event, to borrow from.
type Texts = (String, String, Option<String>, Option<String>, u64);

fn event(texts: &Texts, action: Action, time: Option<i64>) -> Event<'_> {
    let (a, b, c, d, n) = texts;
    Event {
        key: u128::from(*n) << 64,
        shopper_key: u128::from(*n),
        merchant: a,
        id: b,
        shopper: a,
        action,
        stamp: n.cast_signed() >> 20,
        time,
        code: c.as_deref().map(|text| Code {
            text,
            link: d.as_deref().map(|d| if n % 2 == 0 { Link::Text(d) } else { Link::Gtin(*n, Some(d)) }),
        }),
        store: d.as_deref(),
        guide: c.as_deref(),
        region: None,
        channel: Some(b),
        device: None,
        ticket: d.as_deref(),
        order: time.map(|amount| Payment { number: b, amount, part: Part::Balance }),
        keyless: n % 3 == 0,
    }
}

fn tag() -> impl Strategy<Value = Provenance> {
    let place = || (any::<u64>(), any::<u16>()).prop_map(|(offset, part)| AnswerPos { offset: offset >> 1, part });
    let source = (any::<u128>(), 0..Topic::ALL.len(), any::<u16>());
    let source = source.prop_map(|(log, topic, partition)| PartitionId { log, topic: Topic::ALL[topic], partition });
    (source, place(), proptest::option::of(place()), any::<u64>()).prop_map(|(source, at, prev, hash)| Provenance {
        source,
        at,
        prev,
        hash,
    })
}

proptest! {
    #[test]
    fn decoded_frame_equals_encoded_frame(
        texts in proptest::collection::vec((text(), text(), proptest::option::of(text()), proptest::option::of(text()), any::<u64>()), 1..20),
        tag in proptest::option::of(tag()),
        received in any::<i64>(),
        time in proptest::option::of(any::<i64>()),
    ) {
        let events: Vec<Event<'_>> = texts.iter().zip(Action::ALL.iter().cycle()).map(|(t, &action)| event(t, action, time)).collect();
        let mut body = Body::default();
        events.iter().for_each(|event| body.push(event));
        let mut records = Vec::new();
        body.drain(|bytes, count| records.push(seal(Kind::Events, received, tag.as_ref(), count, bytes)));
        prop_assert_eq!(records.len(), 1);
        let frame = Frame::open(&records[0]).expect("a frame");
        prop_assert_eq!((frame.kind, frame.received, frame.tag), (Kind::Events, received, tag));
        let found = frame.items::<Event<'_>>().collect::<Result<Vec<_>, _>>();
        prop_assert_eq!(found, Ok(events));
        prop_assert!(body.is_empty());
    }

    #[test]
    fn flipped_bit_or_truncation_is_detected(texts in (text(), text(), proptest::option::of(text()), proptest::option::of(text()), any::<u64>()), bit in any::<usize>()) {
        let mut body = Body::default();
        body.push(&event(&texts, Action::Scan, None));
        let mut record = Vec::new();
        body.drain(|bytes, count| record = seal(Kind::Events, 7, None, count, bytes));
        let bit = bit % (record.len() * 8);
        record[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Frame::open(&record).is_err());
        // So is a truncated record.
        record[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Frame::open(&record).is_ok());
        prop_assert!(Frame::open(&record[..bit / 8]).is_err());
    }
}

/// Sealed frames of one source topic, each with a body of its own.
fn frames(tags: &[Provenance], kind: Kind) -> Vec<Vec<u8>> {
    let of_first = |tag: &Provenance| {
        let source = PartitionId { partition: tag.source.partition, ..tags[0].source };
        Provenance { source, ..*tag }
    };
    let sealed = |(number, tag): (u8, &Provenance)| {
        seal(kind, i64::from(number) - 3, Some(&of_first(tag)), u32::from(number), &vec![number; usize::from(number)])
    };
    (0..).zip(tags).map(sealed).collect()
}

fn with_checksum(mut record: Vec<u8>) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&record[..72]), &record[76..]);
    record[72..76].copy_from_slice(&sum.to_le_bytes());
    record
}

proptest! {
    #[test]
    fn bundle_holds_the_frames_that_were_put_together(tags in proptest::collection::vec(tag(), 1..20)) {
        for kind in [Kind::CodeScans, Kind::Wins, Kind::Facts] {
            let sealed = frames(&tags, kind);
            let record = bundle(sealed.iter().map(Vec::as_slice));
            let found: Vec<Frame<'_>> = Frames::open(&record).expect("a bundle").collect();
            prop_assert_eq!(found.len(), sealed.len());
            for (found, sealed) in found.iter().zip(&sealed) {
                let frame = Frame::open(sealed).expect("a frame");
                prop_assert_eq!((found.kind, found.received, found.tag), (frame.kind, frame.received, frame.tag));
                prop_assert_eq!((found.count, found.body), (frame.count, frame.body));
            }
            prop_assert!(sealed.iter().all(|sealed| may_share_record(sealed)));
        }
    }

    #[test]
    fn damaged_or_cut_bundle_gives_no_frame(tags in proptest::collection::vec(tag(), 1..9), at in any::<usize>()) {
        let record = bundle(frames(&tags, Kind::Facts).iter().map(Vec::as_slice));
        let bit = at % (record.len() * 8);
        let mut damaged = record.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Frames::open(&damaged).is_err());
        prop_assert!(Frames::open(&record[..bit / 8]).is_err());
        // A writer that cuts it, and computes length and checksum of what is left.
        let mut cut = record[..HEADER_BYTES + at % (record.len() - HEADER_BYTES)].to_vec();
        let bytes = u32::try_from(cut.len() - HEADER_BYTES).expect("few bytes");
        cut[68..72].copy_from_slice(&bytes.to_le_bytes());
        prop_assert!(Frames::open(&with_checksum(cut)).is_err());
    }
}

#[test]
fn wrong_bundle_is_refused_with_reason() {
    let source = PartitionId { log: 9, topic: Topic::Draws, partition: 1 };
    let tag = |offset| Provenance { source, at: AnswerPos { offset, part: 0 }, prev: None, hash: 0 };
    let record = bundle(frames(&[tag(1), tag(2), tag(3)], Kind::Facts).iter().map(Vec::as_slice));
    let refusal = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut record = record.clone();
        change(&mut record);
        Frames::open(&with_checksum(record)).expect_err("refused").to_string()
    };
    assert_eq!(
        Frame::open(&record).expect_err("several frames").to_string(),
        "the record is a bundle of frames, which only draws, awards and facts hold"
    );
    assert_eq!(
        refusal(&|record| record[4] = 4),
        "the frame is of version 4, this build reads versions 2 and 3: upgrade it"
    );
    assert_eq!(refusal(&|record| record[64] = 2), "the frame's header is wrong at the number of frames");
    assert_eq!(refusal(&|record| record[5] = 1), "the frame's header is wrong at the kind of a bundle");
    assert_eq!(refusal(&|record| record[6] = 255), "the frame's header is wrong at the topic of the source");
    let reject = seal(Kind::Reject, 1, Some(&tag(1)), 0, &[]);
    let events = seal(Kind::Events, 1, None, 0, &[]);
    assert!(![&reject[..], &events, &events[..9], &[]].into_iter().any(may_share_record));
    // The last frame has fewer bytes than it names.
    let cut = |record: &mut Vec<u8>| {
        record.pop();
        let bytes = u32::try_from(record.len() - HEADER_BYTES).expect("few bytes");
        record[68..72].copy_from_slice(&bytes.to_le_bytes());
    };
    assert_eq!(refusal(&cut), "frame 2 of the bundle cannot be decoded: its items are cut short");
}

#[test]
fn invalid_record_is_refused_with_reason() {
    let record = seal(Kind::Facts, 7, None, 0, &[]);
    assert_eq!(record.len(), HEADER_BYTES);
    assert_eq!(
        Frame::open(b"short").expect_err("short").to_string(),
        "the record has 5 bytes, fewer than a frame's header of 80"
    );
    let mut other = record.clone();
    other[0] = b'X';
    assert_eq!(Frame::open(&other).expect_err("magic"), FrameError::Magic);
    other = record;
    other[4] = 4;
    assert!(
        matches!(Frame::open(&other), Err(FrameError::Checksum { .. })),
        "a damaged version byte is a checksum error"
    );
    let sum = crc32c::crc32c_append(crc32c::crc32c(&other[..72]), &other[76..]);
    other[72..76].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(
        Frame::open(&other).expect_err("version").to_string(),
        "the frame is of version 4, this build reads versions 2 and 3: upgrade it"
    );
    // The header counts more items than there are, or fewer.
    let more = seal(Kind::Events, 7, None, 1, &[]);
    assert!(matches!(
        Frame::open(&more).expect("a frame").items::<Event<'_>>().next(),
        Some(Err(FrameError::Item { index: 0, .. }))
    ));
    let fewer = seal(Kind::Events, 7, None, 0, &[1]);
    let mut items = Frame::open(&fewer).expect("a frame").items::<Event<'_>>();
    let error = items.next().expect("an error").expect_err("a byte more").to_string();
    assert_eq!(error, "item 0 of the frame cannot be decoded: bytes are left over");
    assert!(items.next().is_none());
}

#[test]
fn body_is_cut_before_it_grows_too_large() {
    let item = "x".repeat(PART_BYTES_MAX / 3);
    let mut body = Body::default();
    for _ in 0..7 {
        body.push(&item);
    }
    body.push(&"y".repeat(PART_BYTES_MAX * 2));
    body.push(&"z");
    let mut parts = Vec::new();
    body.drain(|bytes, count| parts.push((bytes.len(), count)));
    assert_eq!(parts.iter().map(|(_, count)| count).sum::<u32>(), 9);
    let largest = parts.iter().filter(|(_, count)| *count > 1).map(|(bytes, _)| *bytes).max();
    assert!(largest.is_some_and(|bytes| bytes <= PART_BYTES_MAX), "{parts:?}");
    assert!(parts.len() >= 4);
}

#[test]
fn a_record_shows_its_kind_before_it_is_opened() {
    for kind in [Kind::Events, Kind::CodeScans, Kind::Wins, Kind::Facts, Kind::Marker, Kind::Genesis] {
        assert_eq!(peek_kind(&seal(kind, 5, None, 0, &[])), Some(kind));
    }
    let mut damaged = seal(Kind::Marker, 5, None, 0, &[]);
    damaged[HEADER_BYTES - 1] = 1;
    assert!(Frame::open(&damaged).is_err());
    assert_eq!(peek_kind(&damaged), Some(Kind::Marker), "nothing else is checked");
    damaged[5] = 10;
    assert_eq!([peek_kind(&damaged), peek_kind(&damaged[..5]), peek_kind(&[])], [None; 3]);
}
