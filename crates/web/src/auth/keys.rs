//! The API keys in force, from a file of hashes that is read again when it changes; `wire::keys` shows its form.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{error, info};
use wire::keys::{Quota, Scope, parse};

use crate::auth::grant::{Buckets, Grant};
use crate::private_file;
use crate::problem::Problem;
use crate::quota::Bucket;

/// Time between two looks at the file. One that changed is taken at the second look that finds it the same: a look between the
/// pieces of a write finds a part of it.
const RELOAD_EVERY: Duration = Duration::from_millis(500);
/// Number of bytes of an HMAC that are sent, and of their text.
const SIGNATURE_BYTES: usize = 16;
const SIGNATURE_CHARS: usize = 22;

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--keys {path}: {what}")]
pub struct KeysError {
    path: PathBuf,
    what: String,
}

/// A message that names its signer (contract section 10).
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The key's id, as the message has it.
    pub key: &'a str,
    /// The time of signing, as the message has it.
    pub time: &'a str,
    /// The first 16 bytes of the HMAC, as unpadded base64url.
    pub signature: &'a [u8],
    /// What is signed beside these.
    pub payload: &'a [u8],
}

/// Why a signed message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// Its key is not known, or the signature is not of that key.
    Wrong,
    /// The signature is right, but the key lacks the scope.
    Scope,
}

/// A key, and the rights of its bearer.
#[derive(Debug)]
struct KnownKey {
    sha256: [u8; 32],
    scopes: Vec<Scope>,
    grant: Grant,
}

/// The content of the file.
#[derive(Debug, Default)]
struct Table {
    keys: BTreeMap<String, KnownKey>,
    /// Of merchants, for senders with keys.
    quotas: Arc<Buckets>,
    /// Of merchants, for keyless scans.
    keyless: Arc<Buckets>,
}

/// The version of a file: the SHA-256 of its content. Its times would miss a change within the resolution of its file system.
type Version = [u8; 32];

impl Table {
    /// The key of a bearer, `ID.SECRET`, if its secret is right.
    fn find(&self, bearer: &str) -> Option<&KnownKey> {
        let (id, secret) = bearer.split_once('.')?;
        let sha256: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        // An unknown id takes as long as a wrong secret.
        let (known, right) = self.keys.get(id).map_or((None, [0; 32]), |key| (Some(key), key.sha256));
        let is_right = bool::from(sha256.ct_eq(&right));
        known.filter(|_| is_right)
    }
}

/// The bearer of a request, `ID.SECRET`; `None` if there is none or it has no dot.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(rest.trim()).filter(|text| scheme.eq_ignore_ascii_case("bearer") && text.contains('.'))
}

/// The file as it was read last.
#[derive(Debug)]
struct Loaded {
    /// The last version that was read, even if it had an error; `None` if it could not be read.
    version: Option<Version>,
    table: Arc<Table>,
}

/// The keys in force.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    loaded: ArcSwap<Loaded>,
}

impl Keys {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, other users may read it, or it has an error.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let (version, text) = read(path)?;
        let table = table(path, &text, &Table::default())?;
        let loaded = Loaded { version: Some(version), table: Arc::new(table) };
        Ok(Self { path: path.to_owned(), loaded: ArcSwap::from_pointee(loaded) })
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.loaded.load().table)
    }

    /// The grant of a request's bearer within a scope.
    ///
    /// # Errors
    /// 401 without a valid key, 403 without the scope.
    pub fn grant(&self, headers: &HeaderMap, scope: Scope) -> Result<Grant, Problem> {
        let unauthorized = |what: &str| Problem::new(StatusCode::UNAUTHORIZED, what);
        if !headers.contains_key(header::AUTHORIZATION) {
            return Err(unauthorized("there is no key; send Authorization: Bearer ID.SECRET"));
        }
        let key =
            bearer(headers).ok_or_else(|| unauthorized("the Authorization header is no key; send Bearer ID.SECRET"))?;
        self.grant_to(key, scope)
    }

    /// Whether a request has a valid key, of any scope.
    #[must_use]
    pub fn knows(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|key| self.table().find(key).is_some())
    }

    /// The grant of the bearer of a key, `ID.SECRET`, within a scope.
    ///
    /// # Errors
    /// As [`Keys::grant`].
    pub fn grant_to(&self, key: &str, scope: Scope) -> Result<Grant, Problem> {
        let unauthorized = |what: &str| Problem::new(StatusCode::UNAUTHORIZED, what);
        let (id, _) = key.split_once('.').ok_or_else(|| unauthorized("the key has no dot; send ID.SECRET"))?;
        let table = self.table();
        let key = table.find(key).ok_or_else(|| unauthorized("the key is not known, or its secret is wrong"))?;
        if !key.scopes.contains(&scope) {
            let what = format!("key {id} is not for this; it has no scope {scope}");
            return Err(Problem::new(StatusCode::FORBIDDEN, what));
        }
        Ok(key.grant.clone())
    }

    /// The grant of a client without a key, where none is needed. Its quotas are apart from those of senders with keys.
    #[must_use]
    pub fn keyless(&self) -> Grant {
        Grant::keyless(Arc::clone(&self.table().keyless))
    }

    /// The grant of a message's signer within a scope; the time of signing is not checked.
    ///
    /// # Errors
    /// The signature is wrong, or the key lacks the scope.
    pub fn signed(&self, message: Signed<'_>, scope: Scope) -> Result<Grant, SignatureError> {
        const BETWEEN: &[u8] = &[0x1F];
        let table = self.table();
        // An unknown id takes as long as a wrong signature.
        let (known, secret) = table.keys.get(message.key).map_or((None, [0; 32]), |key| (Some(key), key.sha256));
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("keys of any length");
        for part in [message.key.as_bytes(), BETWEEN, message.time.as_bytes(), BETWEEN, message.payload] {
            mac.update(part);
        }
        let hmac = mac.finalize().into_bytes();
        let is_right = bool::from(signature_text(&hmac).ct_eq(message.signature));
        let key = known.filter(|_| is_right).ok_or(SignatureError::Wrong)?;
        key.scopes.contains(&scope).then(|| key.grant.clone()).ok_or(SignatureError::Scope)
    }

    /// Runs permanently and reads the file again when it changes. A file with an error changes nothing, and is reported.
    pub async fn reload(&self) {
        let mut last = None;
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            let path = self.path.clone();
            let Ok(found) = tokio::task::spawn_blocking(move || read(&path)).await else { return };
            let version = found.as_ref().ok().map(|(version, _)| *version);
            let before = self.loaded.load_full();
            let is_settled = last.replace(version) == Some(version);
            if version == before.version || !is_settled {
                continue;
            }
            let read = found.and_then(|(_, text)| table(&self.path, &text, &before.table)).map(Arc::new);
            let table = read.as_ref().unwrap_or(&before.table);
            self.loaded.store(Arc::new(Loaded { version, table: Arc::clone(table) }));
            // After the change: who reads the line in the log finds the keys as the line says.
            match read {
                Ok(table) => info!(path = %self.path.display(), keys = table.keys.len(), "keys reloaded"),
                Err(error) => error!(%error, "the keys stay as they were"),
            }
        }
    }
}

/// The signature that a message must have, of the HMAC of its parts.
fn signature_text(hmac: &[u8]) -> [u8; SIGNATURE_CHARS] {
    let mut text = [0; SIGNATURE_CHARS];
    URL_SAFE_NO_PAD.encode_slice(&hmac[..SIGNATURE_BYTES], &mut text).expect("16 bytes are 22 characters");
    text
}

/// Reads the file, which only its owner may read.
fn read(path: &Path) -> Result<(Version, String), KeysError> {
    let wrong = |what: String| KeysError { path: path.to_owned(), what };
    let unread = |e: std::io::Error| wrong(format!("the keys cannot be read: {e}"));
    // A pipe has no end to wait for, and cannot be read again.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err(wrong("is no file: the keys are read again when they change, so write them to a file".to_owned()));
    }
    let mut file = File::open(path).map_err(unread)?;
    private_file::check(&file.metadata().map_err(unread)?).map_err(wrong)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unread)?;
    Ok((Sha256::digest(text.as_bytes()).into(), text))
}

/// The keys of the file's text. Unchanged quotas keep their buckets from the table before.
fn table(path: &Path, text: &str, before: &Table) -> Result<Table, KeysError> {
    let wrong = |what: String| KeysError { path: path.to_owned(), what };
    let file = parse(text).map_err(|mistake| wrong(mistake.to_string()))?;
    // A file that was cut off is valid TOML, too. Without keys, no sender would be known any more.
    if file.keys.is_empty() && !before.keys.is_empty() {
        return Err(wrong("holds no key, and held some before: write the keys again, or stop the process".to_owned()));
    }
    let buckets = |quotas: BTreeMap<String, Quota>, before: &Buckets| -> Arc<Buckets> {
        let with_bucket = |(merchant, quota)| {
            let bucket = bucket(quota, before.get(&merchant));
            (merchant, bucket)
        };
        Arc::new(quotas.into_iter().map(with_bucket).collect())
    };
    let quotas = buckets(file.quotas, &before.quotas);
    let keyless = buckets(file.keyless, &before.keyless);
    let keys = file.keys.into_iter().map(|(id, key)| {
        let known = before.keys.get(&id).and_then(|key| key.grant.quota.as_ref());
        let quota = key.quota.map(|quota| bucket(quota, known));
        let (sha256, scopes) = (key.sha256, key.scopes.clone());
        let grant = Grant::of(&id, key, quota, Arc::clone(&quotas));
        (id, KnownKey { sha256, scopes, grant })
    });
    Ok(Table { keys: keys.collect(), quotas: Arc::clone(&quotas), keyless })
}

/// The bucket of a quota: the known one if the quota is the same, else a new one.
fn bucket(quota: Quota, known: Option<&Arc<Bucket>>) -> Arc<Bucket> {
    known.filter(|bucket| bucket.quota == quota).map_or_else(|| Arc::new(Bucket::new(quota)), Arc::clone)
}

#[cfg(test)]
mod tests {
    use super::signature_text;

    #[test]
    fn signature_is_unpadded_base64url_of_16_bytes() {
        // Python: base64.urlsafe_b64encode(b[:16]).rstrip(b"=")
        let check = |hmac: &[u8], text: &[u8; 22]| assert_eq!(&signature_text(hmac), text);
        check(&[0; 32], b"AAAAAAAAAAAAAAAAAAAAAA");
        check(&[0xFF; 32], b"_____________________w");
        check(&(0..32).collect::<Vec<u8>>(), b"AAECAwQFBgcICQoLDA0ODw");
        check(b"\xfb\xef\xbe mashang udp\x01 and the rest", b"----IG1hc2hhbmcgdWRwAQ");
    }
}
