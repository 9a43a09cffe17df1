//! Stores: that of a fleet, with snapshots, and rules under their SHA-256, and that of an archive. A store is a directory, or a bucket of
//! an S3-compatible server.
//!
//! - `s3`: objects in a bucket
//! - `pressure`: how near workers are to the limit of their memory
//! - `visitor_key`: the key that all edges share

pub(crate) mod pressure;
mod s3;
pub(crate) mod visitor_key;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Result;
use edge::transport::browser::cookie::VisitorKey;
use eventlog::files::Files;
use eventlog::objects::{Directory, Objects};

use crate::usage;
use s3::S3;

/// The folders of a store.
pub(crate) const SNAPSHOTS: &str = "snapshots";
pub(crate) const RULES: &str = "rules";

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// A directory that all processes see.
    Directory(PathBuf),
    /// A part of a bucket: the names of its objects begin with the prefix.
    Bucket { bucket: String, prefix: String },
}

impl FromStr for Store {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        if let Some(place) = url.strip_prefix("s3://") {
            let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
            let prefix = prefix.trim_end_matches('/');
            if bucket.is_empty() {
                return Err("names no bucket: give s3://BUCKET/PREFIX".to_owned());
            }
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let is_path = prefix.is_empty()
                || prefix.split('/').all(|part| !part.trim_matches('.').is_empty() && part.chars().all(is_name));
            if !bucket.chars().all(is_name) || !is_path {
                return Err(
                    "bucket and prefix have other characters than letters, digits, `.`, `_`, `-`: choose other names"
                        .to_owned(),
                );
            }
            return Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        let dir = url.strip_prefix("file:").unwrap_or(url);
        if dir.contains("://") {
            return Err("no store has this form: give file:DIR or s3://BUCKET/PREFIX".to_owned());
        }
        if dir.is_empty() {
            return Err("names no directory: give file:DIR".to_owned());
        }
        Ok(Self::Directory(dir.into()))
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => write!(f, "file:{}", dir.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl Store {
    /// The store that an option names.
    ///
    /// # Errors
    /// It names none: usage.
    pub(crate) fn of_option(option: &str, url: &str) -> Result<Self> {
        url.parse().map_err(|e| usage(format!("--{option} {url}: {e}")))
    }

    /// The objects of the store. A bucket is not asked yet.
    ///
    /// # Errors
    /// The environment has not what a bucket needs: usage.
    pub(crate) fn open(&self, files: Arc<dyn Files>) -> Result<Arc<dyn Objects>> {
        Ok(match self {
            Self::Directory(dir) => Arc::new(Directory::new(files, dir)),
            Self::Bucket { bucket, prefix } => Arc::new(self.bucket(bucket, prefix)?),
        })
    }

    /// The key of visitors, which is made if there is none.
    ///
    /// # Errors
    /// It cannot be read or made, or is no key.
    pub(crate) fn visitor_key(&self) -> Result<VisitorKey> {
        match self {
            Self::Directory(dir) => visitor_key::open(dir).map_err(|e| usage(format!("{self}: {e}"))),
            Self::Bucket { bucket, prefix } => visitor_key::open_in(&self.bucket(bucket, prefix)?),
        }
    }

    fn bucket(&self, bucket: &str, prefix: &str) -> Result<S3> {
        S3::open(bucket, prefix).map_err(|e| usage(format!("{self}: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_read_as_they_are_written() {
        for url in ["file:/srv/mashang", "s3://mashang", "s3://mashang/fleets/one"] {
            assert_eq!(url.parse::<Store>().expect("a store").to_string(), url);
        }
        assert_eq!("s3://b/p/".parse::<Store>().expect("a store").to_string(), "s3://b/p");
    }

    #[test]
    fn url_of_no_store_says_what_to_give() {
        for (url, mend) in [
            ("file:", "give file:DIR"),
            ("s3://", "give s3://BUCKET/PREFIX"),
            ("s3:///p", "give s3://BUCKET/PREFIX"),
            ("s3://b/../p", "choose other names"),
            ("s3://b/p//q", "choose other names"),
            ("s3://b/p q", "choose other names"),
            ("gs://b/p", "give file:DIR or s3://BUCKET/PREFIX"),
        ] {
            let error = url.parse::<Store>().expect_err(url);
            assert!(error.contains(mend), "{error}");
        }
    }
}
