//! What a client may do: API keys from a file of hashes (contract section 9).
//!
//! ```toml
//! [[key]]
//! id = "till"
//! sha256 = "…"                # of the secret, 64 hex digits
//! merchants = ["acme"]
//! scopes = ["ingest"]         # ingest, read, admin
//! actions = ["scan", "order"] # optional: what it may send; all if left out
//! quota = { events-per-second = 100, burst = 1000 } # optional
//!
//! [quotas]                    # optional: of merchants, for all senders together
//! acme = { events-per-second = 5000 }
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, header};
use domain::model::event::Action;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{error, info};
use wire::base64;
use wire::event::Merchants;
use wire::hex::hex32;

use crate::merchants::{Currencies, MerchantCatalog};
use crate::problem::Problem;
use crate::quota::{Bucket, Quota};

/// Time between two checks of the file.
const RELOAD_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of bytes of a key's id, as of an event's id; a longer one is refused.
const ID_BYTES_MAX: usize = 64;

/// The purpose of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Ingest,
    Read,
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Admin => "admin",
        })
    }
}

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
    /// The key's id and the time of signing, as the message has them.
    pub key: &'a str,
    pub time: &'a str,
    /// The first 16 bytes of the HMAC, as unpadded base64url.
    pub signature: &'a [u8],
    pub payload: &'a [u8],
}

/// Why a signed message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// Its key is not known, or the signature is not of that key.
    Wrong,
    /// The signature is right, but the key lacks the scope.
    Scope,
}

/// The rights of a client.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The key's id; empty where no key is needed.
    pub key: Arc<str>,
    /// `None` is all merchants.
    merchants: Option<Arc<Own>>,
    actions: Option<Arc<[Action]>>,
    /// The quota of the key, and those of its merchants.
    pub quota: Option<Arc<Bucket>>,
    pub merchant_quotas: Arc<Buckets>,
}

/// The merchants of a key.
#[derive(Debug)]
struct Own {
    names: Vec<String>,
    /// The merchants of the key that were served at the last look, and all that were served then.
    served: Mutex<(Arc<Currencies>, Arc<Merchants>)>,
}

/// Buckets by merchant.
pub type Buckets = BTreeMap<String, Arc<Bucket>>;

impl Grant {
    /// All rights: for this machine, if there is no file of keys.
    #[must_use]
    pub fn everything() -> Self {
        Self { key: "".into(), merchants: None, actions: None, quota: None, merchant_quotas: Arc::default() }
    }

    /// Whether the key's quota has at least one event left.
    ///
    /// # Errors
    /// It has none left, for the returned time.
    pub fn check_quota(&self, now: Instant) -> Result<(), Duration> {
        self.quota.as_ref().map_or(Ok(()), |bucket| bucket.check(now))
    }

    /// Takes these events from the quotas of the key and of their merchants.
    ///
    /// # Errors
    /// A merchant has none left, for the returned time: nothing is taken.
    pub fn take_quotas(
        &self,
        now: Instant,
        events: u64,
        of_merchants: &BTreeMap<String, u64>,
    ) -> Result<(), (&str, Duration)> {
        let sent = |merchant: &String| of_merchants.get(merchant).copied().unwrap_or(0);
        let quotas = || self.merchant_quotas.iter().filter(|(merchant, _)| sent(merchant) > 0);
        for (merchant, bucket) in quotas() {
            bucket.check(now).map_err(|wait| (merchant.as_str(), wait))?;
        }
        quotas().for_each(|(merchant, bucket)| bucket.take(now, sent(merchant)));
        self.quota.iter().for_each(|bucket| bucket.take(now, events));
        Ok(())
    }

    #[must_use]
    pub fn may_for(&self, merchant: &str) -> bool {
        self.merchants.as_ref().is_none_or(|own| own.names.iter().any(|m| m == merchant))
    }

    /// Whether it is the grant of a key, and none of the key's merchants is served.
    #[must_use]
    pub fn is_for_nobody(&self, served: &MerchantCatalog) -> bool {
        self.merchants.is_some() && !served.now().keys().any(|merchant| self.may_for(merchant))
    }

    /// The merchants that events may be sent for, of those that are served.
    pub fn merchants(&self, served: &MerchantCatalog) -> Arc<Merchants> {
        let Some(own) = &self.merchants else { return served.merchants() };
        let now = served.now();
        let mut known = own.served.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&known.0, &now) {
            let merchants = Merchants::new(now.iter().filter(|(merchant, _)| self.may_for(merchant)));
            *known = (now, Arc::new(merchants));
        }
        Arc::clone(&known.1)
    }

    #[must_use]
    pub fn may_send(&self, action: Action) -> bool {
        self.actions.as_ref().is_none_or(|all| all.contains(&action))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    key: Vec<RawKey>,
    #[serde(default)]
    quotas: BTreeMap<String, Quota>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    id: String,
    sha256: String,
    merchants: Vec<String>,
    scopes: Vec<Scope>,
    actions: Option<Vec<String>>,
    quota: Option<Quota>,
}

#[derive(Debug)]
struct Key {
    sha256: [u8; 32],
    scopes: Vec<Scope>,
    grant: Grant,
}

type Table = BTreeMap<String, Key>;
/// The version of a file, which changes with it: its inode, and when the inode changed (a new mode changes it too).
type Version = (u64, i64, i64);

fn version(meta: &std::fs::Metadata) -> Version {
    (meta.ino(), meta.ctime(), meta.ctime_nsec())
}

/// The keys in force.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    table: RwLock<(Option<Version>, Arc<Table>)>,
}

impl Keys {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, other users may read it, or it has an error.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let (changed, table) = read(path, &Table::new())?;
        Ok(Self { path: path.to_owned(), table: RwLock::new((changed, Arc::new(table))) })
    }

    /// The grant of a request's bearer within a scope.
    ///
    /// # Errors
    /// 401 without a valid key, 403 without the scope.
    pub fn grant(&self, headers: &HeaderMap, scope: Scope) -> Result<Grant, Problem> {
        let unauthorized = |what: &str| Problem::new(StatusCode::UNAUTHORIZED, what);
        let header = headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| unauthorized("there is no key; send Authorization: Bearer ID.SECRET"))?;
        let bearer = header.to_str().ok().and_then(|text| {
            let (scheme, rest) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
        });
        let bearer = bearer.filter(|text| text.contains('.'));
        let key = bearer.ok_or_else(|| unauthorized("the Authorization header is no key; send Bearer ID.SECRET"))?;
        self.grant_to(key, scope)
    }

    /// The grant of the bearer of a key, `ID.SECRET`, within a scope.
    ///
    /// # Errors
    /// As [`Keys::grant`].
    pub fn grant_to(&self, key: &str, scope: Scope) -> Result<Grant, Problem> {
        let unauthorized = |what: &str| Problem::new(StatusCode::UNAUTHORIZED, what);
        let (id, secret) = key.split_once('.').ok_or_else(|| unauthorized("the key has no dot; send ID.SECRET"))?;
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner).1);
        let sha256: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        // An unknown id takes as long as a wrong secret.
        let (known, right) = table.get(id).map_or((None, [0; 32]), |key| (Some(key), key.sha256));
        let is_right = bool::from(sha256.ct_eq(&right));
        let key =
            known.filter(|_| is_right).ok_or_else(|| unauthorized("the key is not known, or its secret is wrong"))?;
        if !key.scopes.contains(&scope) {
            let what = format!("key {id} is not for this; it has no scope {scope}");
            return Err(Problem::new(StatusCode::FORBIDDEN, what));
        }
        Ok(key.grant.clone())
    }

    /// The grant of a client without a key, where none is needed: quotas of merchants apply all the same.
    #[must_use]
    pub fn keyless(&self) -> Grant {
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner).1);
        let merchant_quotas = table.values().next().map(|key| Arc::clone(&key.grant.merchant_quotas));
        Grant { merchant_quotas: merchant_quotas.unwrap_or_default(), ..Grant::everything() }
    }

    /// The grant of a message's signer within a scope; the time of signing is not checked.
    ///
    /// # Errors
    /// The signature is wrong, or the key lacks the scope.
    pub fn signed(&self, message: Signed<'_>, scope: Scope) -> Result<Grant, Unsigned> {
        const BETWEEN: &[u8] = &[0x1F];
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner).1);
        // An unknown id takes as long as a wrong signature.
        let (known, secret) = table.get(message.key).map_or((None, [0; 32]), |key| (Some(key), key.sha256));
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("keys of any length");
        for part in [message.key.as_bytes(), BETWEEN, message.time.as_bytes(), BETWEEN, message.payload] {
            mac.update(part);
        }
        let hmac = mac.finalize().into_bytes();
        let right = base64::url16(hmac.first_chunk().expect("32 bytes"));
        let is_right = bool::from(right.ct_eq(message.signature));
        let key = known.filter(|_| is_right).ok_or(Unsigned::Wrong)?;
        key.scopes.contains(&scope).then(|| key.grant.clone()).ok_or(Unsigned::Scope)
    }

    /// Runs permanently and reads the file again when it changes. A file with an error changes nothing, and is reported.
    pub async fn reload(&self) {
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            let changed = std::fs::metadata(&self.path).map(|meta| version(&meta)).ok();
            if changed == self.table.read().unwrap_or_else(PoisonError::into_inner).0 {
                continue;
            }
            let before = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner).1);
            let table = match read(&self.path, &before) {
                Ok((_, table)) => {
                    info!(path = %self.path.display(), keys = table.len(), "keys reloaded");
                    Some(Arc::new(table))
                }
                Err(error) => {
                    error!(%error, "the keys stay as they were");
                    None
                }
            };
            let mut now = self.table.write().unwrap_or_else(PoisonError::into_inner);
            now.0 = changed;
            if let Some(table) = table {
                now.1 = table;
            }
        }
    }
}

/// Reads the file. Unchanged quotas keep their buckets from the table before.
fn read(path: &Path, before: &Table) -> Result<(Option<Version>, Table), KeysError> {
    let wrong = |what: String| KeysError { path: path.to_owned(), what };
    let meta = std::fs::metadata(path).map_err(|e| wrong(format!("the keys cannot be read: {e}")))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(wrong(format!("others may read the keys (mode {mode:04o}): chmod 600 it")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("the keys cannot be read: {e}")))?;
    let raw: RawFile = toml::from_str(&text).map_err(|e| {
        let line = e.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        wrong(format!("line {line}: {}", e.message().trim_end().replace('\n', " ")))
    })?;
    let mut table = Table::new();
    let known = before.values().next().map(|key| Arc::clone(&key.grant.merchant_quotas)).unwrap_or_default();
    let mut quotas = Buckets::new();
    for (merchant, quota) in raw.quotas {
        let quota = quota.check().map_err(|what| wrong(format!("quotas: {merchant}: {what}")))?;
        let bucket = bucket(quota, known.get(&merchant));
        quotas.insert(merchant, bucket);
    }
    let quotas = Arc::new(quotas);
    for key in raw.key {
        let id = key.id.clone();
        let known = before.get(&id).and_then(|key| key.grant.quota.as_ref());
        let key = check(key, known, &quotas).map_err(|what| wrong(format!("key {id}: {what}")))?;
        if table.insert(id.clone(), key).is_some() {
            return Err(wrong(format!("key {id}: stands there twice; give each an id of its own")));
        }
    }
    Ok((Some(version(&meta)), table))
}

/// The bucket of a quota: the known one if the quota is the same, else a new one.
fn bucket(quota: Quota, known: Option<&Arc<Bucket>>) -> Arc<Bucket> {
    known.filter(|bucket| bucket.quota == quota).map_or_else(|| Arc::new(Bucket::new(quota)), Arc::clone)
}

fn check(raw: RawKey, known: Option<&Arc<Bucket>>, quotas: &Arc<Buckets>) -> Result<Key, String> {
    if raw.id.is_empty() || raw.id.len() > ID_BYTES_MAX || raw.id.contains(['.', ' ']) {
        return Err(format!("the id must have 1 to {ID_BYTES_MAX} bytes, without a dot or a space"));
    }
    let sha256 = hex32(raw.sha256.as_bytes()).ok_or("sha256 must be the SHA-256 of the secret, 64 hex digits")?;
    if raw.merchants.is_empty() || raw.scopes.is_empty() {
        return Err("merchants and scopes must not be empty; remove the key instead".to_owned());
    }
    let action = |word: &String| Action::parse(word).ok_or_else(|| format!("actions: {word} is no action"));
    let actions = raw.actions.map(|words| words.iter().map(action).collect::<Result<Vec<_>, _>>()).transpose()?;
    let quota = raw.quota.map(Quota::check).transpose().map_err(|what| format!("quota: {what}"))?;
    let grant = Grant {
        key: raw.id.into(),
        merchants: Some(Arc::new(Own { names: raw.merchants, served: Mutex::default() })),
        actions: actions.map(Into::into),
        quota: quota.map(|quota| bucket(quota, known)),
        merchant_quotas: Arc::clone(quotas),
    };
    Ok(Key { sha256, scopes: raw.scopes, grant })
}
