//! The proof of a record: what `log prove` writes and `log verify` reads.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A proof. Only record, index, size and path lead to the root; the checksum is over every field.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    pub(super) record: String,
    pub(super) topic: String,
    pub(super) partition: u16,
    pub(super) offset: u64,
    pub(super) index: u64,
    pub(super) size: u64,
    pub(super) path: Vec<String>,
    pub(super) root: String,
    /// SHA-256 of the other fields as JSON without blanks, in this order. A proof of other programs may lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<String>,
}

impl Proof {
    /// The proof with its checksum.
    pub(super) fn sealed(self) -> serde_json::Result<Self> {
        let checksum = Some(self.checksum_of_fields()?);
        Ok(Self { checksum, ..self })
    }

    /// Whether its checksum, if it has one, is that of its fields.
    pub(super) fn is_whole(&mut self) -> serde_json::Result<bool> {
        let checksum = self.checksum.take();
        let own = self.checksum_of_fields()?;
        Ok(checksum.is_none_or(|checksum| checksum == own))
    }

    /// The SHA-256 of the fields, while there is no checksum among them.
    fn checksum_of_fields(&self) -> serde_json::Result<String> {
        Ok(HEXLOWER.encode(&Sha256::digest(serde_json::to_vec(self)?)))
    }
}
