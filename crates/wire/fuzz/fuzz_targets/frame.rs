//! Log records: whatever the bytes, opening and decoding a frame ends in items or an error, and what was sealed opens as it was.
#![no_main]

use domain::flow::Marker;
use domain::frame::{Frame, FrameError, Kind, seal};
use domain::model::event::Event;
use domain::model::fact::{CodeScan, Fact, Win};
use libfuzzer_sys::fuzz_target;

fn decode(frame: &Frame<'_>) -> Result<usize, FrameError> {
    fn count<T>(items: impl Iterator<Item = Result<T, FrameError>>) -> Result<usize, FrameError> {
        items.map(|item| item.map(|_| 1)).sum()
    }
    match frame.kind {
        Kind::Events => count(frame.items::<Event<'_>>()),
        Kind::CodeScans => count(frame.items::<CodeScan<'_>>()),
        Kind::Wins => count(frame.items::<Win<'_>>()),
        Kind::Facts => count(frame.items::<Fact<'_>>()),
        Kind::Marker => count(frame.items::<Marker<'_>>()),
    }
}

fuzz_target!(|input: (u8, u8, Vec<u8>)| {
    let (kind, count, body) = input;
    // A record as it comes, and one whose checksum is right, so that the items are reached.
    if let Ok(frame) = Frame::open(&body) {
        let _ = decode(&frame);
    }
    let kind = [Kind::Events, Kind::CodeScans, Kind::Wins, Kind::Facts, Kind::Marker][usize::from(kind) % 5];
    let record = seal(kind, 7, None, u32::from(count), &body);
    let frame = Frame::open(&record).expect("what was sealed opens");
    assert_eq!((frame.kind, frame.received, frame.count, frame.body), (kind, 7, u32::from(count), &body[..]));
    if let Ok(items) = decode(&frame) {
        assert_eq!(items, usize::from(count));
    }
});
