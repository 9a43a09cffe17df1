//! Compressed bodies: never larger than what may be, memory is asked for before it is taken, and what was packed comes out.
#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use wire::compression::{BODY_BYTES_MAX, Encoding, UnpackError, Unpacking};

/// Unpacks a body while `room` bytes are left of the memory budget.
fn within(encoding: Encoding, body: &[u8], room: usize) -> Result<Vec<u8>, UnpackError> {
    let mut asked = 0;
    let mut hold = |bytes| {
        asked = asked.max(bytes);
        bytes <= room
    };
    let unpacked = Unpacking::begin(encoding, body).and_then(|unpacking| {
        let mut unpacking = unpacking.expect("it is compressed");
        while unpacking.piece(&mut hold)? {}
        Ok(unpacking.into_bytes())
    });
    if let Ok(unpacked) = &unpacked {
        assert!(unpacked.len() <= asked.max(body.len()), "memory is asked for first");
        assert!(unpacked.len() <= BODY_BYTES_MAX);
        assert!(unpacked.len() <= (1 << 20).max(body.len() * 200));
    }
    assert!(asked <= room || unpacked == Err(UnpackError::NoRoom), "no room is an answer of its own");
    unpacked
}

fuzz_target!(|data: &[u8]| {
    let [choice, body @ ..] = data else { return };
    let encoding = if choice & 1 == 0 { Encoding::Gzip } else { Encoding::Zstd };
    let room = if choice & 2 == 0 { usize::MAX } else { 100_000 };
    let _ = within(encoding, body, room);
    let packed = match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(u32::from(choice >> 2) % 10));
            encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes it")
        }
        _ => zstd::encode_all(body, i32::from(choice >> 2) % 10).expect("memory takes it"),
    };
    assert_eq!(within(encoding, &packed, usize::MAX).as_deref(), Ok(body));
});
