//! The store that a fleet shares: snapshots, and rules under their SHA-256.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn rules(&self) -> PathBuf {
        self.dir.join("rules")
    }
}
