//! What an edge knew of its log when it last saw it. It lies beside its spool, so that it can start while Kafka is away.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use domain::model::rulebook::Rulebook;
use edge::served::Books;
use log::files;
use log::files::disk::Disk;
use log::meta::Meta;
use serde::{Deserialize, Serialize};
use wire::rules::{from_object, object, version};

use crate::publish::door_book;

const NAME: &str = "known.json";

/// A log, and the rules that were served.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    log: Meta,
    rules: Vec<Published>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    order: u32,
    /// As it was published, as a text: its SHA-256 is its version.
    object: String,
}

/// Keeps in a directory what is known.
///
/// # Errors
/// It cannot be written.
pub(super) fn keep(dir: &Path, log: &Meta, books: &Books) -> Result<()> {
    let published = |book: &Arc<Rulebook>| {
        let object = String::from_utf8(object(&book.rules)).expect("JSON is UTF-8");
        Published { order: book.order, object }
    };
    let known = Known { log: log.clone(), rules: books.values().map(published).collect() };
    let bytes = serde_json::to_vec(&known).expect("numbers and texts");
    files::publish(&Disk, dir, NAME, &bytes).with_context(|| format!("{} cannot be written", dir.join(NAME).display()))
}

/// What was known; `None` if nothing was.
///
/// # Errors
/// It cannot be read, or is not what was written.
pub(super) fn read(dir: &Path) -> Result<Option<(Meta, Books)>> {
    let path = dir.join(NAME);
    let what = || format!("{}: what was known of the log", path.display());
    let bytes = match files::read(&Disk, &path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.with_context(what)?,
    };
    let known: Known = serde_json::from_slice(&bytes).with_context(what)?;
    let book = |Published { order, object }: Published| {
        let rules = from_object(object.as_bytes()).map_err(|e| anyhow!("{}: rules: {e}", what()))?;
        let book = door_book(rules, order, version(object.as_bytes()))?;
        Ok((book.rules.merchant.clone(), book))
    };
    Ok(Some((known.log, known.rules.into_iter().map(book).collect::<Result<_>>()?)))
}
