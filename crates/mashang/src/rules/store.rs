//! Published rules, each under its SHA-256.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use data_encoding::HEXLOWER;
use domain::model::rules::{Rules, RulesSeq};
use domain::model::time::{Millis, time_text};
use eventlog::files::{self, Files};
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

/// A directory of rules objects, which never change.
#[derive(Clone, Debug)]
pub(crate) struct RulesStore {
    files: Arc<dyn Files>,
    dir: PathBuf,
}

impl RulesStore {
    pub(crate) fn new(files: Arc<dyn Files>, dir: &Path) -> Self {
        Self { files, dir: dir.to_owned() }
    }

    /// Stores an object.
    pub(crate) fn put(&self, object: &[u8]) -> Result<()> {
        let sha256 = version(object);
        self.files.create_dir(&self.dir).with_context(|| format!("{} cannot be made", self.dir.display()))?;
        files::publish(&*self.files, &self.dir, &name(&sha256), object)
            .with_context(|| format!("{} cannot be written", self.dir.join(name(&sha256)).display()))
    }

    /// Stores why a version is published. The name has its number, because the same rules may be published again for another reason.
    pub(crate) fn put_because(&self, sha256: &[u8; 32], seq: RulesSeq, because: &Because, now: Millis) -> Result<()> {
        let reason = Reason { because: because.as_str().to_owned(), published: time_text(now) };
        let name = because_name(sha256, seq);
        files::publish(&*self.files, &self.dir, &name, &serde_json::to_vec(&reason)?)
            .with_context(|| format!("{} cannot be written", self.dir.join(name).display()))
    }

    /// Why a version was published, if a reason was given.
    pub(crate) fn because(&self, sha256: &[u8; 32], seq: RulesSeq) -> Result<Option<String>> {
        let path = self.dir.join(because_name(sha256, seq));
        let what = || format!("{}: the text of --because cannot be read: put the file back", path.display());
        match files::read(&*self.files, &path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice::<Reason>(&bytes).with_context(what)?.because)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(what),
        }
    }

    /// Loads a published object, whose SHA-256 must be its name.
    pub(crate) fn load(&self, sha256: &[u8; 32]) -> Result<Rules> {
        let path = self.dir.join(name(sha256));
        let what = format!("{}: published rules", path.display());
        let bytes =
            files::read(&*self.files, &path).with_context(|| format!("{what} cannot be read: put the file back"))?;
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
