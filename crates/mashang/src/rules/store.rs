//! Published rules, each under its SHA-256.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use data_encoding::HEXLOWER;
use domain::model::rules::Rules;
use eventlog::files::{self, Files};
use wire::rules::{from_object, version};

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
