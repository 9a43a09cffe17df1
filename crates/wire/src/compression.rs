//! Compressed bodies: unpacked within limits of size and ratio, so that a small body cannot take much memory.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// Maximum length of a body, in bytes, both compressed and unpacked; a longer body is refused.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Unpacked length, in bytes, up to which any ratio is allowed, and the maximum ratio beyond it; a denser body is refused.
const RATIO_FREE_BYTES: usize = 1024 * 1024;
const RATIO_MAX: usize = 200;
/// Length of the pieces in which a body is unpacked, in bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// Maximum window of a zstd decoder, as a power of two: the maximum length of a body; a frame with a larger one is refused.
const WINDOW_LOG_MAX: u32 = 23;

/// What `Content-Encoding` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
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
pub enum UnpackError {
    /// It is not of the encoding that is stated.
    #[error("Content-Encoding: the body is not {name}: {cause}")]
    Broken {
        /// The encoding.
        name: &'static str,
        /// The decoder's message.
        cause: String,
    },
    /// It is too large when it is unpacked.
    #[error("the body has more than {BODY_BYTES_MAX} bytes when it is unpacked; send several requests")]
    TooLarge,
    /// It grows too much when it is unpacked.
    #[error("the body grows more than {RATIO_MAX} times when it is unpacked; send it as it is")]
    TooDense,
    /// There is no memory for it now.
    #[error("too many bytes are in flight")]
    NoRoom,
}

/// A body that is unpacked in pieces, so that its thread can do other work between them.
pub struct Unpacking<'b> {
    name: &'static str,
    decoder: Box<dyn Read + Send + 'b>,
    packed_bytes: usize,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Unpacking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacking").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl<'b> Unpacking<'b> {
    /// Begins; `None` is a body that is not compressed.
    ///
    /// # Errors
    /// The body is not compressed in this way.
    pub fn begin(encoding: Encoding, body: &'b [u8]) -> Result<Option<Self>, UnpackError> {
        let (name, decoder): (_, Box<dyn Read + Send + 'b>) = match encoding {
            Encoding::Identity => return Ok(None),
            Encoding::Gzip => ("gzip", Box::new(MultiGzDecoder::new(body))),
            Encoding::Zstd => {
                let broken = |e: std::io::Error| UnpackError::Broken { name: "zstd", cause: e.to_string() };
                let mut decoder = zstd::Decoder::with_buffer(body).map_err(broken)?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
                ("zstd", Box::new(decoder))
            }
        };
        Ok(Some(Self { name, decoder, packed_bytes: body.len(), bytes: Vec::new() }))
    }

    /// Unpacks one more piece. Returns whether there may be more. `hold` is asked for the total number of bytes before the memory is
    /// taken.
    ///
    /// # Errors
    /// The body is not compressed in this way, is too large, or the memory budget is exhausted.
    pub fn piece(&mut self, hold: &mut dyn FnMut(usize) -> bool) -> Result<bool, UnpackError> {
        let Self { name, decoder, packed_bytes, bytes } = self;
        let had = bytes.len();
        if !hold(*packed_bytes + had + PIECE_BYTES) {
            return Err(UnpackError::NoRoom);
        }
        let read = decoder.by_ref().take(PIECE_BYTES as u64).read_to_end(bytes);
        read.map_err(|e| UnpackError::Broken { name, cause: e.to_string() })?;
        if bytes.len() > BODY_BYTES_MAX {
            return Err(UnpackError::TooLarge);
        }
        if bytes.len() > RATIO_FREE_BYTES.max(*packed_bytes * RATIO_MAX) {
            return Err(UnpackError::TooDense);
        }
        Ok(bytes.len() > had)
    }

    /// What is unpacked.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
