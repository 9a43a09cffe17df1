//! What an edge last knew of its log, in a file beside its spool. With it the edge starts while Kafka is unavailable.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use domain::model::rules::RulesSeq;
use domain::model::rules::rulebook::Rulebook;
use eventlog::files;
use eventlog::files::disk::Disk;
use eventlog::local::meta::Meta;
use serde::{Deserialize, Serialize};
use web::merchants::Rulebooks;
use wire::rules::{from_object, object, version};

use crate::rules::publish::{SecretPlaces, edge_rulebook};

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
    #[serde(rename = "order")]
    seq: RulesSeq,
    /// As it was published, as a text: its SHA-256 is its version.
    object: String,
}

/// Writes the cache into a directory.
///
/// # Errors
/// It cannot be written.
pub(super) fn keep(dir: &Path, log: &Meta, books: &Rulebooks) -> Result<()> {
    let published = |book: &Arc<Rulebook>| {
        let object = String::from_utf8(object(&book.rules)).expect("JSON is UTF-8");
        Published { seq: book.seq, object }
    };
    let known = Known { log: log.clone(), rules: books.values().map(published).collect() };
    let bytes = serde_json::to_vec(&known).expect("numbers and texts");
    files::publish(&Disk, dir, NAME, &bytes).with_context(|| format!("{} cannot be written", dir.join(NAME).display()))
}

/// Reads the cache; `None` if there is none.
///
/// # Errors
/// It cannot be read, or is not what was written.
pub(super) fn read(dir: &Path, secrets: &SecretPlaces) -> Result<Option<(Meta, Rulebooks)>> {
    let path = dir.join(NAME);
    let mend = "what was known of the log cannot be used: remove it, and start when Kafka answers";
    let wrong = |why: &dyn std::fmt::Display| anyhow!("{}: {mend}: {why}", path.display());
    let bytes = match files::read(&Disk, &path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|e| wrong(&e))?,
    };
    let known: Known = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
    let book = |Published { seq, object }: Published| {
        let rules = from_object(object.as_bytes()).map_err(|e| wrong(&e))?;
        let book = edge_rulebook(rules, seq, version(object.as_bytes()), secrets)?;
        Ok((book.rules.merchant.clone(), book))
    };
    Ok(Some((known.log, known.rules.into_iter().map(book).collect::<Result<_>>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::publish::Needed;

    #[test]
    fn damaged_cache_is_reported_with_its_fix() {
        let dir = tempfile::tempdir().expect("a directory");
        let none = SecretPlaces { dirs: vec![], needed: Needed::All, draws: false, verifies: true };
        assert!(read(dir.path(), &none).expect("nothing is there").is_none());
        let log = r#"{"format":1,"id":"1","clock":"wall","partitions":{"scans":2,"draws":2,"awards":1,"facts":2}}"#;
        let whole = format!(r#"{{"log":{log},"rules":[]}}"#);
        std::fs::write(dir.path().join(NAME), &whole).expect("a file");
        assert!(read(dir.path(), &none).expect("it is whole").is_some());
        let strange = whole.replace("[]", r#"[{"order":1,"object":"{}"}]"#);
        for text in ["", "{\"log\":", &whole[1..], &strange] {
            std::fs::write(dir.path().join(NAME), text).expect("a file");
            let error = read(dir.path(), &none).expect_err("it is damaged").to_string();
            assert!(error.contains("known.json: what was known of the log cannot be used: remove it"), "{error}");
        }
    }
}
