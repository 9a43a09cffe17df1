//! Rules in the log: what was published, what is new, and the books that desks work under.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use domain::flow::{BEHAVIOUR, Marker, marker_record};
use domain::frame::Frame;
use domain::model::place::Topic;
use domain::model::rulebook::{Library, Rulebook};
use domain::model::rules::{Rules, version_text};
use log::files::{self, Files};
use log::local::Log;
use log::reader::Reader;
use log::store::Append;
use tracing::{info, warn};
use wire::rules::{Checked, from_object, object, secret, version};

use crate::against;
use crate::rules::read_secret;
use crate::usage;

/// A version that stands in the log.
struct Published {
    order: u32,
    merchant: String,
    sha256: [u8; 32],
}

/// Publishes what is new among these rules and gives all books that desks may be asked to work under.
///
/// Object first, then one round of the log with its place in the order and a marker into every partition, downstream
/// first: a reader finds all of it or nothing.
///
/// # Errors
/// New rules that cannot follow the old ones, an object that is missing or torn, or a log that takes nothing.
pub(super) fn publish(
    log: &Log,
    files: &dyn Files,
    dir: &Path,
    given: Vec<Checked>,
    secrets: &[PathBuf],
) -> Result<Library> {
    files.create_dir(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let mut published = read(log)?;
    let mut library = Library::new();
    for checked in given {
        let object = object(&checked.rules);
        let sha256 = version(&object);
        let merchant = checked.rules.merchant.clone();
        let last = published.iter().rev().find(|p| p.merchant == merchant);
        let order = match last {
            Some(last) if last.sha256 == sha256 => last.order,
            last => {
                if let Some(last) = last {
                    check_against(&load(files, dir, last)?, &checked.rules)?;
                }
                let order = published.last().map_or(1, |p| p.order + 1);
                files::publish(files, dir, &name(&sha256), &object)
                    .with_context(|| format!("{} cannot be written", dir.join(name(&sha256)).display()))?;
                append(log, &Marker { merchant: &merchant, order, sha256, behaviour: BEHAVIOUR })?;
                info!(merchant, order, version = version_text(&sha256), "rules published");
                published.push(Published { order, merchant, sha256 });
                order
            }
        };
        library.insert(order, book(checked.rules, order, sha256, &checked.secrets)?);
    }
    for old in &published {
        if let Entry::Vacant(place) = library.entry(old.order) {
            let rules = load(files, dir, old)?;
            let secrets = old_secrets(&rules, secrets);
            place.insert(book(rules, old.order, old.sha256, &secrets)?);
        }
    }
    Ok(library)
}

fn book(rules: Rules, order: u32, sha256: [u8; 32], secrets: &BTreeMap<String, [u8; 32]>) -> Result<Arc<Rulebook>> {
    let book = Rulebook::new(rules, order, sha256, secrets);
    Ok(Arc::new(book.map_err(anyhow::Error::msg).context("rules that passed the check cannot be worked with")?))
}

/// The secrets of rules that were in force before, as far as they are still at hand.
fn old_secrets(rules: &Rules, dirs: &[PathBuf]) -> BTreeMap<String, [u8; 32]> {
    let at_hand = rules.campaigns.iter().filter_map(|campaign| {
        let found = dirs.iter().find_map(|dir| {
            let bytes = read_secret(dir, &campaign.secret).ok()?;
            secret(&bytes, &campaign.commit)
        });
        if found.is_none() {
            let (merchant, secret) = (&rules.merchant, &campaign.secret);
            warn!(
                merchant,
                campaign = campaign.id,
                secret,
                "the secret of an earlier version is not there; put it back if its draws must be worked out again"
            );
        }
        Some((campaign.id.clone(), found?))
    });
    at_hand.collect()
}

/// The versions in the log, in their order.
fn read(log: &Log) -> Result<Vec<Published>> {
    let mut reader =
        Reader::open(Arc::clone(log.partition(Topic::Rules, 0)), 0, "rules are kept for good; put them back")?;
    let mut published = Vec::new();
    while let Some(record) = reader.next_record()? {
        let broken = |e: String| anyhow!("rules offset {}: {e}", record.offset);
        let frame = Frame::open(record.bytes).map_err(|e| broken(e.to_string()))?;
        for marker in frame.items::<Marker<'_>>() {
            let Marker { merchant, order, sha256, .. } = marker.map_err(|e| broken(e.to_string()))?;
            published.push(Published { order, merchant: merchant.to_owned(), sha256 });
        }
    }
    Ok(published)
}

fn append(log: &Log, marker: &Marker<'_>) -> Result<()> {
    let record = marker_record(marker);
    let partitions = log.meta().partitions;
    let topics = [Topic::Rules, Topic::Awards, Topic::Draws, Topic::Scans];
    let places =
        topics.into_iter().flat_map(|topic| (0..partitions.of(topic)).map(move |partition| (topic, partition)));
    let records = places.map(|(topic, partition)| Append { topic, partition, record: record.clone() });
    log.append_and_wait(records.collect()).context("the rules were not published")
}

/// A published object, which must be what its name says.
fn load(files: &dyn Files, dir: &Path, published: &Published) -> Result<Rules> {
    let path = dir.join(name(&published.sha256));
    let what = format!("{}: the rules in force before", path.display());
    let bytes = files::read(files, &path).with_context(|| format!("{what} cannot be read: put the file back"))?;
    if version(&bytes) != published.sha256 {
        return Err(anyhow!("{what} are not what their name says: put the file back"));
    }
    from_object(&bytes).map_err(|e| anyhow!("{what}: {e}"))
}

fn check_against(old: &Rules, new: &Rules) -> Result<()> {
    for warning in against::warnings(old, new) {
        warn!(merchant = new.merchant, "{warning}");
    }
    match against::mistakes(old, new).as_slice() {
        [] => Ok(()),
        mistakes => {
            Err(usage(format!("{}: {}; these rules cannot follow those in force", new.merchant, mistakes.join("; "))))
        }
    }
}

fn name(sha256: &[u8; 32]) -> String {
    let hex: String = sha256.iter().map(|b| format!("{b:02x}")).collect();
    format!("{hex}.json")
}
