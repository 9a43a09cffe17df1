//! The region of an address: its country and the first subdivision of that, as ISO 3166 codes (`CN-ZJ`), by a database in the MaxMind DB
//! format, such as GeoLite2 City. The file is read into memory, and again when it changes.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions, path};

use super::is_region;

/// Maximum length of a file, bytes; a longer one is refused. The largest on sale have some hundred MiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Maximum number of networks that a sound database has for each node of its tree; more, and the tree is damaged.
const NETWORKS_A_NODE_MAX: usize = 3;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--geoip {path}: {what}")]
pub struct GeoipError {
    path: PathBuf,
    what: String,
}

/// The version of a file, which changes with it: its inode, when the inode changed, and its length.
type Version = (u64, i64, i64, u64);

/// The database in use.
#[derive(Debug)]
pub struct Geoip {
    path: PathBuf,
    loaded: ArcSwap<Database>,
}

/// The file as it was read last without an error.
#[derive(Debug)]
pub(super) struct Database {
    version: Version,
    reader: Reader<Vec<u8>>,
}

impl Geoip {
    /// Reads a database, all of it.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or has no country.
    pub fn open(path: &Path) -> Result<Self, GeoipError> {
        let loaded = read(path).map_err(|what| GeoipError { path: path.to_owned(), what })?;
        Ok(Self { path: path.to_owned(), loaded: ArcSwap::from_pointee(loaded) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// When the database in use was made, seconds since the epoch.
    pub(super) fn built_s(&self) -> i64 {
        i64::try_from(self.loaded.load().reader.metadata().build_epoch).unwrap_or(i64::MAX)
    }

    /// The region of an address, if the database knows its country.
    pub(super) fn region(&self, address: IpAddr) -> Option<String> {
        self.loaded.load().region(address)
    }

    /// Reads the file again if it has changed; returns whether it has. One that cannot be used is tried again each time.
    ///
    /// # Errors
    /// As [`Geoip::open`]; what was in use stays in use.
    pub(super) fn check(&self) -> Result<bool, GeoipError> {
        let wrong = |what| GeoipError { path: self.path.clone(), what };
        let meta = std::fs::metadata(&self.path).map_err(|error| wrong(unreadable(&error)))?;
        if version(&meta) == self.loaded.load().version {
            return Ok(false);
        }
        self.loaded.store(read(&self.path).map_err(wrong)?.into());
        Ok(true)
    }
}

impl Database {
    /// A database that is sound and has countries: every region in it can be read.
    pub(super) fn new(version: Version, bytes: Vec<u8>) -> Result<Self, String> {
        Ok(Self { version, reader: reader(bytes)? })
    }

    pub(super) fn region(&self, address: IpAddr) -> Option<String> {
        // Such a database has no place for the address.
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return None;
        }
        // The check of the whole file has found no error.
        let found = self.reader.lookup(address).ok()?;
        region(&found).ok().flatten().filter(|text| is_region(text))
    }
}

/// The region of a network; nothing if its country is not known.
fn region(network: &LookupResult<'_, Vec<u8>>) -> Result<Option<String>, MaxMindDbError> {
    let Some(country) = network.decode_path::<&str>(&path!["country", "iso_code"])? else { return Ok(None) };
    let subdivision = network.decode_path::<&str>(&path!["subdivisions", 0, "iso_code"])?;
    Ok(Some(subdivision.map_or_else(|| country.to_owned(), |subdivision| format!("{country}-{subdivision}"))))
}

fn version(meta: &Metadata) -> Version {
    (meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.len())
}

fn unreadable(error: &std::io::Error) -> String {
    format!("cannot be read: {error}: give a file that this process may read")
}

fn read(path: &Path) -> Result<Database, String> {
    let meta = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !meta.is_file() {
        return Err("is no file: give a database in the MaxMind DB format".to_owned());
    }
    let mut file = File::open(path).map_err(|error| unreadable(&error))?;
    let before = file.metadata().map_err(|error| unreadable(&error))?;
    if before.len() > FILE_BYTES_MAX {
        return Err(format!("has {} bytes, more than {FILE_BYTES_MAX}: give a smaller database", before.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
    Read::by_ref(&mut file).take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    let after = file.metadata().map_err(|error| unreadable(&error))?;
    if version(&before) != version(&after) {
        return Err("changed while it was read: write it beside, and rename it to this name".to_owned());
    }
    Database::new(version(&after), bytes)
}

/// A reader of a database of which every network was read once.
fn reader(bytes: Vec<u8>) -> Result<Reader<Vec<u8>>, String> {
    let damaged = |error: &dyn std::fmt::Display| {
        format!(
            "is damaged, or no database of countries: {error}: give a City or Country database in the MaxMind DB format"
        )
    };
    let reader = Reader::from_source(bytes).map_err(|error| damaged(&error))?;
    let networks_max = (reader.metadata().node_count as usize).saturating_mul(NETWORKS_A_NODE_MAX);
    let (mut known, mut has_country) = (HashSet::new(), false);
    // Networks without data too: otherwise a tree in a circle could be followed for ever.
    let networks = reader.networks(WithinOptions::default().include_networks_without_data());
    for (number, network) in networks.map_err(|error| damaged(&error))?.enumerate() {
        if number > networks_max {
            return Err(damaged(&"its tree has more networks than nodes for them"));
        }
        let network = network.map_err(|error| damaged(&error))?;
        if network.offset().is_some_and(|offset| known.insert(offset)) {
            has_country |= region(&network).map_err(|error| damaged(&error))?.is_some();
        }
    }
    if !has_country {
        return Err("knows the country of no network: give a City or Country database".to_owned());
    }
    drop(known);
    Ok(reader)
}
