//! Published rules, each under its SHA-256.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use data_encoding::HEXLOWER;
use domain::model::rules::{Rules, RulesSeq};
use domain::model::time::{Millis, time_text};
use eventlog::files::Files;
use eventlog::objects::{Directory, Objects, is_away};
use serde::{Deserialize, Serialize};
use wire::rules::{from_object, version};

use crate::config::options::Because;

/// Why a version was published that breaks a promise: what is kept beside its object.
#[derive(Debug, Serialize, Deserialize)]
struct Reason {
    because: String,
    /// RFC 3339, UTC.
    published: String,
}

/// The objects of published rules, which never change.
#[derive(Clone, Debug)]
pub(crate) struct RulesStore {
    objects: Arc<dyn Objects>,
    folder: String,
}

impl RulesStore {
    /// Rules in a directory.
    pub(crate) fn new(files: Arc<dyn Files>, dir: &Path) -> Self {
        Self { objects: Arc::new(Directory::new(files, dir)), folder: String::new() }
    }

    /// Rules in a folder of a store.
    pub(crate) fn of_store(objects: Arc<dyn Objects>, folder: &str) -> Self {
        Self { objects, folder: format!("{folder}/") }
    }

    fn at(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// Stores an object.
    pub(crate) fn put(&self, object: &[u8]) -> Result<()> {
        self.objects
            .make_folder(&self.folder)
            .with_context(|| format!("{} cannot be made", self.objects.address(&self.folder)))?;
        self.publish(&self.at(&name(&version(object))), object)
    }

    /// Stores why a version is published. The name has its number, because the same rules may be published again for another reason.
    pub(crate) fn put_because(&self, sha256: &[u8; 32], seq: RulesSeq, because: &Because, now: Millis) -> Result<()> {
        let reason = Reason { because: because.as_str().to_owned(), published: time_text(now) };
        self.publish(&self.at(&because_name(sha256, seq)), &serde_json::to_vec(&reason)?)
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let published = self.objects.publish(name, bytes);
        published.with_context(|| format!("{} cannot be written", self.objects.address(name)))
    }

    /// Why a version was published, if a reason was given.
    pub(crate) fn because(&self, sha256: &[u8; 32], seq: RulesSeq) -> Result<Option<String>> {
        let name = self.at(&because_name(sha256, seq));
        let what =
            || format!("{}: the text of --because cannot be read: put the file back", self.objects.address(&name));
        match self.objects.read(&name) {
            Ok(bytes) => Ok(Some(serde_json::from_slice::<Reason>(&bytes).with_context(what)?.because)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(what),
        }
    }

    /// Loads a published object, whose SHA-256 must be its name.
    pub(crate) fn load(&self, sha256: &[u8; 32]) -> Result<Rules> {
        let name = self.at(&name(sha256));
        let what = format!("{}: published rules", self.objects.address(&name));
        let read = self.objects.read(&name);
        let mend = if read.as_ref().is_err_and(is_away) { "the store does not answer" } else { "put the file back" };
        let bytes = read.with_context(|| format!("{what} cannot be read: {mend}"))?;
        if version(&bytes) != *sha256 {
            return Err(anyhow!("{what}: the SHA-256 of the file is not its name: put the original file back"));
        }
        from_object(&bytes).map_err(|e| anyhow!("{what}: {e}"))
    }
}

fn name(sha256: &[u8; 32]) -> String {
    format!("{}.json", HEXLOWER.encode(sha256))
}

fn because_name(sha256: &[u8; 32], seq: RulesSeq) -> String {
    format!("{}.{seq}.because.json", HEXLOWER.encode(sha256))
}
