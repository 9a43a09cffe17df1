//! Log records: whatever the bytes, opening and decoding a frame ends in items or an error, and what was sealed opens as it was.
#![no_main]

use domain::protocol::genesis::Genesis;
use domain::protocol::stage::Marker;
use domain::frame::{Frame, FrameError, Frames, Kind, seal};
use domain::model::event::Event;
use domain::model::fact::{CodeScan, Fact, Win};
use domain::protocol::publish::Registry;
use domain::protocol::reject;
use libfuzzer_sys::fuzz_target;

const KINDS: [Kind; 9] = [
    Kind::Events,
    Kind::CodeScans,
    Kind::Wins,
    Kind::Facts,
    Kind::Marker,
    Kind::Genesis,
    Kind::Placed,
    Kind::Reject,
    Kind::RejectHandled,
];

/// How many items there are, in a kind that has any number of them.
fn decode(frame: &Frame<'_>) -> Option<usize> {
    fn count<T>(items: impl Iterator<Item = Result<T, FrameError>>) -> Option<usize> {
        items.map(|item| item.ok().map(|_| 1)).sum()
    }
    match frame.kind {
        Kind::Events => count(frame.items::<Event<'_>>()),
        Kind::CodeScans => count(frame.items::<CodeScan<'_>>()),
        Kind::Wins => count(frame.items::<Win<'_>>()),
        Kind::Facts => count(frame.items::<Fact<'_>>()),
        Kind::Marker => count(frame.items::<Marker<'_>>()),
        Kind::Genesis => Genesis::of(frame).ok().and(None),
        Kind::Reject => reject::read(frame).ok().and(None),
        Kind::RejectHandled => reject::read_handled(frame).ok().and(None),
        Kind::Placed => None,
    }
}

fuzz_target!(|input: (u8, u8, Vec<u8>)| {
    let (kind, count, body) = input;
    // A record as it comes, and one whose checksum is right, so that the items are reached.
    if let Ok(frame) = Frame::open(&body) {
        let _ = decode(&frame);
    }
    for frame in Frames::open(&body).into_iter().flatten() {
        let _ = decode(&frame);
    }
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    let record = seal(kind, 7, None, u32::from(count), &body);
    let frame = Frame::open(&record).expect("what was sealed opens");
    assert_eq!((frame.kind, frame.received, frame.count, frame.body), (kind, 7, u32::from(count), &body[..]));
    if let Some(items) = decode(&frame) {
        assert_eq!(items, usize::from(count));
    }
    // As a record of `rules`, whatever it is.
    let _ = Registry::default().take(0, &record);
});
