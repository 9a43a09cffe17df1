//! Bodies that came compressed: unpacked within bounds of size and ratio, so that a small body is never a large one.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::MultiGzDecoder;

/// A body may have so many bytes, packed and unpacked.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Beyond so many bytes a body may have grown at most so many times.
const RATIO_FREE_BYTES: usize = 1024 * 1024;
const RATIO_MAX: usize = 200;
/// It is unpacked in pieces of so many bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// A decoder of zstd remembers so much at most (as a power of two): as much as a body may have.
const WINDOW_LOG_MAX: u32 = 23;

/// What `Content-Encoding` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// By its name in `Content-Encoding`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is = |word: &str| name.trim().eq_ignore_ascii_case(word);
        match () {
            () if is("identity") => Some(Self::Identity),
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }
}

/// Why a body cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Packed {
    #[error("Content-Encoding: the body is not {name}: {cause}")]
    Broken { name: &'static str, cause: String },
    #[error("the body has more than {BODY_BYTES_MAX} bytes when it is unpacked; send several requests")]
    TooLarge,
    #[error("the body grows more than {RATIO_MAX} times when it is unpacked; send it as it is")]
    TooDense,
    /// There is no memory for it now.
    #[error("too much is under way")]
    NoRoom,
}

/// The body that was packed. `hold` is asked for so many bytes in all before they are taken.
///
/// # Errors
/// It is no such body, is too large, or there is no room for it.
pub fn unpack<'b>(
    encoding: Encoding,
    body: &'b [u8],
    hold: &mut dyn FnMut(usize) -> bool,
) -> Result<Cow<'b, [u8]>, Packed> {
    let unpacked = match encoding {
        Encoding::Identity => return Ok(Cow::Borrowed(body)),
        Encoding::Gzip => read_all("gzip", MultiGzDecoder::new(body), body.len(), hold),
        Encoding::Zstd => {
            let broken = |e: std::io::Error| Packed::Broken { name: "zstd", cause: e.to_string() };
            let mut decoder = zstd::Decoder::with_buffer(body).map_err(broken)?;
            decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
            read_all("zstd", decoder, body.len(), hold)
        }
    };
    unpacked.map(Cow::Owned)
}

fn read_all(
    name: &'static str,
    mut decoder: impl Read,
    packed_bytes: usize,
    hold: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<u8>, Packed> {
    let mut bytes = Vec::new();
    loop {
        let had = bytes.len();
        if !hold(packed_bytes + had + PIECE_BYTES) {
            return Err(Packed::NoRoom);
        }
        let read = decoder.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut bytes);
        read.map_err(|e| Packed::Broken { name, cause: e.to_string() })?;
        if bytes.len() > BODY_BYTES_MAX {
            return Err(Packed::TooLarge);
        }
        if bytes.len() > RATIO_FREE_BYTES.max(packed_bytes * RATIO_MAX) {
            return Err(Packed::TooDense);
        }
        if bytes.len() == had {
            return Ok(bytes);
        }
    }
}
