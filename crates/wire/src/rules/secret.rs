//! The secret of a campaign or a batch, and the commit to it.

use data_encoding::HEXLOWER;
use domain::model::rules::secrets::Secret;
use sha2::{Digest, Sha256};

use super::table::Table;
use super::values::{PATH_BYTES_MAX, hash, text};
use super::{NOT_AT_HAND, Open, Reference};
use crate::hex::hex32;

/// A secret and what the rules say of it.
pub(super) struct Committed {
    /// Where the secret is.
    pub(super) reference: String,
    /// `None` where the caller says that it is not at hand.
    pub(super) secret: Option<Secret>,
    /// The SHA-256 of the secret, hex.
    pub(super) commit: String,
}

/// Reads `secret` and `commit`, which must fit each other.
pub(super) fn committed(table: &mut Table<'_>, open: &mut Open<'_>) -> Option<Committed> {
    let reference = table.need("secret", |value| {
        let reference = text(PATH_BYTES_MAX)(value)?;
        let named = reference.strip_prefix("file:").or_else(|| reference.strip_prefix("env:"));
        if named.is_none_or(str::is_empty) {
            return Err("is no reference to a secret; write \"file:PATH\" or \"env:NAME\", never the secret".to_owned());
        }
        Ok(reference)
    });
    let commit = table.need("commit", hash);
    let reference = reference?;
    let bytes = match open(Reference::Secret(&reference)) {
        Ok(bytes) => bytes,
        Err(why) if why == NOT_AT_HAND => {
            return Some(Committed { reference, secret: None, commit: HEXLOWER.encode(&commit?) });
        }
        Err(why) => {
            table.mistake("secret", format!("names {reference:?}, which cannot be read: {why}"));
            return None;
        }
    };
    let Some(secret) = hex32(bytes.trim_ascii()).map(Secret::new) else {
        table.mistake("secret", format!("names {reference:?}, which does not hold 64 hex digits and nothing else"));
        return None;
    };
    let real: [u8; 32] = Sha256::digest(*secret).into();
    let commit = commit?;
    if commit != real {
        table.mistake("commit", format!("is not the SHA-256 of the secret, which is {}", HEXLOWER.encode(&real)));
    }
    Some(Committed { reference, secret: Some(secret), commit: HEXLOWER.encode(&commit) })
}
