//! The store that a fleet shares: snapshots, and rules under their SHA-256.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use domain::model::rules::Rules;
use log::files::{self, Files};
use wire::rules::{from_object, version};

/// A directory that all processes see.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl FromStr for Store {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let dir = url.strip_prefix("file:").unwrap_or(url);
        if dir.contains("://") {
            return Err(format!("--store {url}: this build keeps snapshots and rules in a directory: give file:DIR"));
        }
        if dir.is_empty() {
            return Err("--store file: names no directory: give file:DIR".to_owned());
        }
        Ok(Self { dir: dir.into() })
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file:{}", self.dir.display())
    }
}

impl Store {
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    pub(crate) fn shelf(&self, files: Arc<dyn Files>) -> Shelf {
        Shelf::new(files, &self.dir.join("rules"))
    }
}

/// Published rules, each under its SHA-256: what is there never changes.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    files: Arc<dyn Files>,
    dir: PathBuf,
}

impl Shelf {
    pub(crate) fn new(files: Arc<dyn Files>, dir: &Path) -> Self {
        Self { files, dir: dir.to_owned() }
    }

    /// Puts an object there; says under which version.
    pub(crate) fn put(&self, object: &[u8]) -> Result<[u8; 32]> {
        let sha256 = version(object);
        self.files.create_dir(&self.dir).with_context(|| format!("{} cannot be made", self.dir.display()))?;
        files::publish(&*self.files, &self.dir, &name(&sha256), object)
            .with_context(|| format!("{} cannot be written", self.dir.join(name(&sha256)).display()))?;
        Ok(sha256)
    }

    /// A published object, which must be what its name says.
    pub(crate) fn load(&self, sha256: &[u8; 32]) -> Result<Rules> {
        let path = self.dir.join(name(sha256));
        let what = format!("{}: published rules", path.display());
        let bytes = files::read(&*self.files, &path).with_context(|| format!("{what} cannot be read: put the file back"))?;
        if version(&bytes) != *sha256 {
            return Err(anyhow!("{what} are not what their name says: put the file back"));
        }
        from_object(&bytes).map_err(|e| anyhow!("{what}: {e}"))
    }
}

fn name(sha256: &[u8; 32]) -> String {
    let hex: String = sha256.iter().map(|b| format!("{b:02x}")).collect();
    format!("{hex}.json")
}
