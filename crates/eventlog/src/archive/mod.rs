//! The archive: the records of `scans`, copied to an object store, which keeps them longer than the log does.
//!
//! `meta.json` says of which log it is. `scans/P/O.zst` is a segment: consecutive records of partition P, the first at offset O. A
//! segment is created once and never changed. Of several processes that copy the same records, the first to create a segment counts,
//! and the others go on behind it.
//!
//! - [`segment`]: the format of a segment
//! - [`copier`]: copies what a log holds
//! - [`source`]: reads the records back
//! - [`check`]: reads every segment and compares it with what it says of itself

pub mod check;
pub mod copier;
pub mod segment;
pub mod source;

use std::io;
use std::sync::Arc;

use domain::model::address::{Topic, TopicPartition};

use crate::archive::segment::{HEADER_BYTES_MAX, Header, Segment, split};
use crate::error::LogError;
use crate::local::meta::{META, Meta};
use crate::objects::Objects;

/// The suffix of segments.
const SUFFIX: &str = ".zst";
/// Number of digits of an offset in a name, so that names sort as offsets do.
const DIGITS: usize = 20;

/// The archive of a log, in an object store.
#[derive(Clone, Debug)]
pub struct Archive {
    objects: Arc<dyn Objects>,
}

/// The name of the segment that begins at an offset.
fn name(partition: u16, first: u64) -> String {
    format!("{}/{first:0DIGITS$}{SUFFIX}", folder(partition))
}

fn folder(partition: u16) -> String {
    format!("{}/{partition}", Topic::Scans)
}

impl Archive {
    /// The archive in a store; it is not asked yet.
    #[must_use]
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }

    /// Of which log it is; `None` if nothing was archived here.
    ///
    /// # Errors
    /// The store does not answer, or holds something else.
    pub fn meta(&self) -> Result<Option<Meta>, LogError> {
        let bytes = match self.objects.read(META) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|cause| self.failed(META, "read", cause))?,
        };
        let meta = Meta::parse(&bytes).map_err(|what| LogError::Archive {
            object: self.objects.address(META),
            what,
            mend: "put it back from a copy, or name the URL that `--archive` of the workers has",
        })?;
        Ok(Some(meta))
    }

    /// The same, where there must be one.
    ///
    /// # Errors
    /// As [`Archive::meta`], or nothing was archived here.
    pub fn existing(&self) -> Result<Meta, LogError> {
        self.meta()?.ok_or_else(|| LogError::NoArchive { object: self.objects.address("") })
    }

    /// Makes it the archive of a log, if it is none yet.
    ///
    /// # Errors
    /// The store does not answer, or this is the archive of another log.
    pub fn claim(&self, meta: &Meta) -> Result<(), LogError> {
        let found = match self.meta()? {
            Some(found) => found,
            None => {
                for partition in 0..meta.partitions.scans {
                    let folder = folder(partition);
                    self.objects.make_folder(&folder).map_err(|cause| self.failed(&folder, "made", cause))?;
                }
                let made = self.objects.create(META, &meta.to_json());
                made.map_err(|cause| self.failed(META, "made", cause))?;
                self.meta()?.unwrap_or_else(|| meta.clone())
            }
        };
        if found == *meta {
            return Ok(());
        }
        Err(LogError::OtherArchive { object: self.objects.address(""), found: found.id(), wanted: meta.id() })
    }

    /// The first offsets of a partition's segments, in their order.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn segments(&self, partition: u16) -> Result<Vec<u64>, LogError> {
        let folder = folder(partition);
        let names = self.objects.list(&folder).map_err(|cause| self.failed(&folder, "listed", cause))?;
        let offset = |name: &String| {
            let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == DIGITS)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
        };
        Ok(names.iter().filter_map(offset).collect())
    }

    /// What a segment says of itself.
    ///
    /// # Errors
    /// The store does not answer, or the segment is damaged or of another build.
    pub fn header(&self, meta: &Meta, partition: u16, first: u64) -> Result<Header, LogError> {
        let name = name(partition, first);
        let start = self.objects.read_start(&name, HEADER_BYTES_MAX);
        let start = start.map_err(|cause| self.failed(&name, "read", cause))?;
        let (header, _) = split(&start).map_err(|wrong| wrong.at(self.objects.address(&name)))?;
        header.check_place(meta, partition, first).map_err(|wrong| wrong.at(self.objects.address(&name)))?;
        Ok(header)
    }

    /// A whole segment.
    ///
    /// # Errors
    /// As [`Archive::header`].
    pub fn segment(&self, meta: &Meta, partition: u16, first: u64) -> Result<Segment, LogError> {
        let name = name(partition, first);
        let bytes = self.objects.read(&name).map_err(|cause| self.failed(&name, "read", cause))?;
        Segment::open(bytes, meta, partition, first).map_err(|wrong| wrong.at(self.objects.address(&name)))
    }

    /// Creates a segment. Returns whether this call did, and not another process before.
    ///
    /// # Errors
    /// The store does not answer; the segment may be there all the same.
    pub fn create(&self, partition: u16, first: u64, bytes: &[u8]) -> Result<bool, LogError> {
        let name = name(partition, first);
        self.objects.create(&name, bytes).map_err(|cause| self.failed(&name, "written", cause))
    }

    /// Removes a partition's segments up to one that stays.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn remove(&self, partition: u16, firsts: &[u64]) -> Result<(), LogError> {
        let folder = folder(partition);
        let names: Vec<String> = firsts.iter().map(|first| format!("{first:0DIGITS$}{SUFFIX}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.objects
            .remove(&folder, &names)
            .map_err(|(name, cause)| self.failed(&format!("{folder}/{name}"), "removed", cause))
    }

    /// Where a partition's segments are.
    #[must_use]
    pub fn place(&self, partition: u16) -> String {
        self.objects.address(&folder(partition))
    }

    /// Where a segment is.
    #[must_use]
    pub fn address(&self, partition: u16, first: u64) -> String {
        self.objects.address(&name(partition, first))
    }

    fn failed(&self, name: &str, done: &'static str, cause: io::Error) -> LogError {
        LogError::Object { object: self.objects.address(name), done, cause }
    }

    /// The error of records that are missing between two offsets, both included.
    fn hole(&self, partition: u16, from: u64, to: u64) -> LogError {
        LogError::ArchiveHole {
            place: self.place(partition),
            partition: TopicPartition::new(Topic::Scans, partition).to_string(),
            from,
            to,
        }
    }
}
