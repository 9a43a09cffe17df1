//! Why a record cannot be read.

use super::bundle::BUNDLE_VERSION;
use super::{HEADER_BYTES, VERSION};

/// Why this build cannot read a record as a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The record has only this number of bytes.
    #[error("the record has {0} bytes, fewer than a frame's header of {HEADER_BYTES}")]
    Short(usize),
    /// The record does not begin with `MSHF`.
    #[error("the record does not begin with MSHF: it is not a frame of Mashang")]
    Magic,
    /// The frame is of this version, which the build does not read.
    #[error(
        "the frame is of version {0}, this build reads versions {VERSION} and {BUNDLE_VERSION}: {fix}",
        fix = version_fix(*.0)
    )]
    Version(u8),
    /// The record has several frames, where only one may be.
    #[error("the record is a bundle of frames, which only draws, awards and facts hold")]
    Bundled,
    /// A frame of a bundle is wrong, and the record was written so: its checksum is right.
    #[error("frame {frame} of the bundle cannot be decoded: {why}")]
    Bundle {
        /// Its number in the bundle, from 0.
        frame: u32,
        /// What is wrong with its bytes.
        why: DecodeError,
    },
    /// The record is damaged.
    #[error("the frame's checksum is {stored:08x}, its bytes give {found:08x}: the record is damaged")]
    Checksum {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of its bytes.
        found: u32,
    },
    /// A field of the header has no such value.
    #[error("the frame's header is wrong at {0}")]
    Header(&'static str),
    /// An item is not of the wanted type.
    #[error("item {index} of the frame cannot be decoded: {why}")]
    Item {
        /// Its number in the frame, from 0.
        index: u32,
        /// What is wrong with its bytes.
        why: DecodeError,
    },
    /// Bytes follow the last item.
    #[error("item {index} of the frame cannot be decoded: bytes are left over")]
    LeftOver {
        /// Number of items before them.
        index: u32,
    },
}

/// Why bytes are not a value of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are no such value: what the decoder says.
    #[error("{0}")]
    Malformed(String),
    /// This number of bytes follows the value.
    #[error("{0} bytes are left over")]
    LeftOver(usize),
}

const fn version_fix(found: u8) -> &'static str {
    if found > BUNDLE_VERSION { "upgrade it" } else { "use the build that wrote it" }
}

impl FrameError {
    /// The same error of an item, for the frame of this number in a bundle.
    #[must_use]
    pub fn in_bundle(self, frame: u32) -> Self {
        let malformed = |why: String| Self::Bundle { frame, why: DecodeError::Malformed(why) };
        match self {
            Self::Item { index, why } => malformed(format!("item {index}: {why}")),
            Self::LeftOver { index } => malformed(format!("bytes are left over after item {index}")),
            other => other,
        }
    }

    /// Whether no build can read the record: it is damaged, wrong, or not of Mashang. The messages of these errors are stored in
    /// `rejects`: another wording would change the bytes that a replay writes.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Short(_) | Self::Magic | Self::Checksum { .. } | Self::Header(_) | Self::Bundled)
    }
}
