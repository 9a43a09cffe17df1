//! The file of API keys: TOML becomes keys and quotas, or the first mistake in it (contract section 9).
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
//! [quotas]                    # optional: of merchants, for all senders with keys together
//! acme = { events-per-second = 5000 }
//!
//! [keyless]                   # optional: of merchants, for keyless scans, apart from the quotas above
//! acme = { events-per-second = 2000, burst = 10000 }
//! ```

use std::collections::BTreeMap;
use std::fmt;

use domain::model::event::Action;
use serde::Deserialize;
use toml::Spanned;

use crate::hex::hex32;

/// Maximum number of bytes of a key's id, as of an event's id; a longer one is refused.
const ID_BYTES_MAX: usize = 64;

/// Maximum of a quota, events a second: one each nanosecond, the unit in which a bucket counts; a larger one is refused.
const EVENTS_PER_SECOND_MAX: u32 = 1_000_000_000;

/// The purpose of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To send events.
    Ingest,
    /// To read results and totals.
    Read,
    /// To administer.
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

/// A quota of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quota {
    /// At least 1.
    pub events_per_second: u32,
    /// Number of events that may come at once after a pause; one second's worth if left out.
    burst: Option<u32>,
}

impl Quota {
    /// A quota, if its numbers fit each other.
    ///
    /// # Errors
    /// It allows no events or too many, or the burst is less than one second's worth.
    pub fn new(events_per_second: u32, burst: Option<u32>) -> Result<Self, String> {
        if events_per_second == 0 {
            return Err("events-per-second must be at least 1; remove the key instead".to_owned());
        }
        if events_per_second > EVENTS_PER_SECOND_MAX {
            return Err(format!(
                "events-per-second must be at most {EVENTS_PER_SECOND_MAX}; leave the quota out instead"
            ));
        }
        if burst.is_some_and(|burst| burst < events_per_second) {
            return Err(format!("burst must be at least events-per-second, {events_per_second}"));
        }
        Ok(Self { events_per_second, burst })
    }

    /// Number of events that may come at once after a pause; at least one second's worth.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst.unwrap_or(self.events_per_second)
    }

    fn check(self) -> Result<Self, String> {
        Self::new(self.events_per_second, self.burst)
    }
}

/// What the file says of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// SHA-256 of the secret.
    pub sha256: [u8; 32],
    /// The merchants that it is for; at least one.
    pub merchants: Vec<String>,
    /// What it is for; at least one.
    pub scopes: Vec<Scope>,
    /// The actions that it may send; `None` is all.
    pub actions: Option<Vec<Action>>,
    /// Its own quota, if it has one.
    pub quota: Option<Quota>,
}

/// A file without a mistake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysFile {
    /// The keys, by id: 1 to 64 bytes without a dot or a space.
    pub keys: BTreeMap<String, Key>,
    /// Quotas of merchants, for all senders with keys together, by merchant.
    pub quotas: BTreeMap<String, Quota>,
    /// Quotas of merchants, for keyless scans, by merchant.
    pub keyless: BTreeMap<String, Quota>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line where it is, or where its key or the quotas begin; from 1.
    pub line: usize,
    /// Whose mistake it is, such as `key till` or `quotas: acme`; empty where the text is not TOML of this form.
    pub key: String,
    /// What is wrong and the fix, as a phrase that follows the key.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.message),
            key => write!(f, "{key}: {}", self.message),
        }
    }
}

impl std::error::Error for Mistake {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    key: Vec<Spanned<RawKey>>,
    #[serde(default)]
    quotas: BTreeMap<String, Spanned<Quota>>,
    #[serde(default)]
    keyless: BTreeMap<String, Spanned<Quota>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    id: String,
    sha256: String,
    merchants: Vec<String>,
    scopes: Vec<Scope>,
    actions: Option<Vec<String>>,
    quota: Option<Quota>,
}

/// Reads the text of a file of keys.
///
/// ```
/// let text = r#"
/// [[key]]
/// id = "till"
/// sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/// merchants = ["acme"]
/// scopes = ["ingest"]
/// "#;
/// let file = wire::keys::parse(text).expect("keys");
/// assert_eq!(file.keys["till"].merchants, ["acme"]);
///
/// let mistake = wire::keys::parse(&text.replace("e3b0", "")).expect_err("no hash");
/// assert_eq!((mistake.line, mistake.key.as_str()), (2, "key till"));
/// assert_eq!(mistake.to_string(), "key till: sha256 must be the SHA-256 of the secret, 64 hex digits");
/// ```
///
/// # Errors
/// The first mistake: where the text is not TOML of this form, else in the quotas, else in the keys.
pub fn parse(text: &str) -> Result<KeysFile, Mistake> {
    let line = |byte: usize| 1 + text[..byte].matches('\n').count();
    let raw: RawFile = toml::from_str(text).map_err(|error| Mistake {
        line: error.span().map_or(1, |span| line(span.start)),
        key: String::new(),
        message: error.message().trim_end().replace('\n', " "),
    })?;
    let mut file = KeysFile::default();
    for (table, raw, quotas) in [("quotas", raw.quotas, &mut file.quotas), ("keyless", raw.keyless, &mut file.keyless)]
    {
        for (merchant, quota) in raw {
            let line = line(quota.span().start);
            let quota = quota.into_inner().check();
            let quota = quota.map_err(|message| Mistake { line, key: format!("{table}: {merchant}"), message })?;
            quotas.insert(merchant, quota);
        }
    }
    for raw in raw.key {
        let line = line(raw.span().start);
        let raw = raw.into_inner();
        let id = raw.id.clone();
        let mistake = |message| Mistake { line, key: format!("key {id}"), message };
        let key = check(raw).map_err(mistake)?;
        if file.keys.contains_key(&id) {
            return Err(mistake("stands there twice; give each an id of its own".to_owned()));
        }
        file.keys.insert(id, key);
    }
    Ok(file)
}

fn check(raw: RawKey) -> Result<Key, String> {
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
    Ok(Key { sha256, merchants: raw.merchants, scopes: raw.scopes, actions, quota })
}
