//! Rules in a log: what was published, what is new, and the rulebooks of the desks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use anyhow::{Context, Result};
use domain::model::address::{Topic, TopicPartition};
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::secrets::{Secret, Secrets};
use domain::model::rules::{Rules, RulesSeq, version_text};
use domain::protocol::publish::{Act, Publisher, Registry, Version};
use domain::protocol::stage::BEHAVIOUR;
use eventlog::api::{Append, Appender, Consumer, OnFull, now_ms, read_all};
use eventlog::local::meta::Meta;
use tracing::{info, warn};
use web::merchants::Rulebooks;
use wire::rules::{Checked, object, secret, version};

use crate::config::options::Because;
use crate::process::output::report;
use crate::rules::diff;
use crate::rules::files::read_secret;
use crate::rules::store::RulesStore;
use crate::usage;

/// The fix in the message for records of rules that are missing: rules are kept permanently.
const MEND: &str = "rules are kept without end: put the topic back";

/// Reads the new records of the topic `rules`.
///
/// # Errors
/// The topic cannot be read, or a record of it is not one of rules.
pub(crate) fn read_on(consumer: &mut dyn Consumer, registry: &mut Registry) -> Result<()> {
    let mut wrong = None;
    let next = registry.next_offset();
    read_all(consumer, TopicPartition::new(Topic::Rules, 0), next, MEND, &mut |record| {
        if wrong.is_none() {
            wrong = registry.take(record.offset, record.bytes).err();
        }
    })?;
    wrong.map_or(Ok(()), |stop| Err(stop.into()))
}

/// Publishes rules into every partition of a log.
pub(crate) struct RulesPublisher<'a> {
    pub(crate) meta: &'a Meta,
    pub(crate) consumer: &'a mut dyn Consumer,
    pub(crate) appender: &'a dyn Appender,
    pub(crate) store: &'a RulesStore,
    pub(crate) registry: &'a mut Registry,
    /// Why rules that break promises are published all the same.
    pub(crate) because: Option<&'a Because>,
}

impl RulesPublisher<'_> {
    /// Publishes the rules of a file, unless they are in force already. Returns their number, and whether it is new. A publication that
    /// another process left unfinished is completed first.
    ///
    /// # Errors
    /// They cannot follow the rules in force (usage), or the log refuses the records.
    pub(crate) fn publish(&mut self, file: &Path, checked: &Checked) -> Result<(RulesSeq, bool)> {
        let rules = &checked.rules;
        let object = object(rules);
        let sha256 = version(&object);
        read_on(self.consumer, self.registry)?;
        if self.registry.published().iter().any(|version| version.sha256 == sha256) {
            // It mends a store that lost it.
            self.store.put(&object)?;
        } else {
            self.check_store()?;
        }
        let mut publisher = Publisher::new(&rules.merchant, sha256, BEHAVIOUR.max(self.registry.behaviour()));
        let mut is_new = false;
        loop {
            match publisher.next(self.registry).map_err(usage)? {
                Act::Propose { follows, record } => {
                    if let Some(last) = follows {
                        check_against(&self.store.load(&last.sha256)?, file, checked, self.because)?;
                    }
                    is_new = true;
                    self.store.put(&object)?;
                    // The number that is proposed: if another publisher takes it, no version has this number and these rules.
                    if let Some(because) = self.because {
                        self.store.put_because(&sha256, self.registry.next_seq(), because, now_ms())?;
                    }
                    self.append(Topic::Rules, &record)?;
                    read_on(self.consumer, self.registry)?;
                }
                Act::Place { topic, record } => self.append(topic, &record)?,
                Act::ReportPlaced { record } => {
                    self.append(Topic::Rules, &record)?;
                    read_on(self.consumer, self.registry)?;
                }
                Act::Done { seq } => {
                    if is_new {
                        info!(
                            merchant = rules.merchant,
                            seq = seq.0,
                            version = version_text(&sha256),
                            "rules published"
                        );
                    }
                    return Ok((seq, is_new));
                }
            }
        }
    }

    /// Checks that the store has all rules in force: a store that lacks some may be that of another log, and no desk would find there
    /// what is published now.
    fn check_store(&self) -> Result<()> {
        for version in self.registry.published() {
            if self.registry.last(&version.merchant).is_some_and(|last| last.seq == version.seq) {
                let Version { merchant, sha256, .. } = version;
                self.store.load(sha256).with_context(|| {
                    format!(
                        "the store has not the rules {} of {merchant}, which are in force: name the store of this log, or publish these \
                         rules again",
                        version_text(sha256)
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Appends a record to every partition of a topic, and waits until all are durable.
    fn append(&self, topic: Topic, record: &[u8]) -> Result<()> {
        let partitions = 0..self.meta.partitions.of(topic);
        let records = partitions.map(|partition| Append { topic, partition, record: record.to_vec() });
        let (result_tx, result_rx) = sync_channel(1);
        let done = move |result| {
            let _ = result_tx.send(result);
        };
        self.appender.append(records.collect(), OnFull::Refuse, Box::new(done));
        let appended = result_rx.recv().context("the log was closed")?;
        appended.context("the rules were not published; publish them again: what was begun is completed")
    }
}

/// Where the secrets of campaigns and batches are, and which ones a process needs.
#[derive(Clone, Debug)]
pub(crate) struct SecretPlaces {
    pub(crate) dirs: Vec<PathBuf>,
    /// The merchants whose rules in force must have their secrets; other secrets may be missing.
    pub(crate) needed: Needed,
    /// Whether it draws or grants, and needs the secrets of campaigns.
    pub(crate) draws: bool,
    /// Whether it verifies codes, and needs the secrets of batches.
    pub(crate) verifies: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Needed {
    Some(BTreeSet<String>),
    All,
}

impl Needed {
    fn has(&self, merchant: &str) -> bool {
        match self {
            Self::Some(merchants) => merchants.contains(merchant),
            Self::All => true,
        }
    }
}

/// The rulebooks of all published rules; those in `known` are taken over.
///
/// # Errors
/// An object or a secret is missing, or not what it should be.
pub(crate) fn books(
    registry: &Registry,
    store: &RulesStore,
    known: &Library,
    secrets: &SecretPlaces,
) -> Result<Library> {
    let mut library = known.clone();
    for version in registry.published() {
        if library.contains_key(&version.seq) {
            continue;
        }
        let rules = store.load(&version.sha256)?;
        let is_last = registry.last(&version.merchant).is_some_and(|last| last.seq == version.seq);
        let secrets = find_secrets(&rules, secrets, is_last)?;
        library.insert(version.seq, book(rules, version.seq, version.sha256, &secrets)?);
    }
    Ok(library)
}

/// The rulebook of an edge, which verifies codes and does not draw.
pub(crate) fn edge_rulebook(
    rules: Rules,
    seq: RulesSeq,
    sha256: [u8; 32],
    secrets: &SecretPlaces,
) -> Result<Arc<Rulebook>> {
    let secrets = find_secrets(&rules, secrets, true)?;
    book(rules, seq, sha256, &secrets)
}

fn book(rules: Rules, seq: RulesSeq, sha256: [u8; 32], secrets: &Secrets) -> Result<Arc<Rulebook>> {
    let book = Rulebook::new(rules, seq, sha256, secrets);
    Ok(Arc::new(book.context("rules that passed the check cannot be worked with")?))
}

/// The secrets of rules, as far as they are needed and found.
fn find_secrets(rules: &Rules, places: &SecretPlaces, is_last: bool) -> Result<Secrets> {
    let mut found = Secrets::default();
    let is_needed = is_last && places.needed.has(&rules.merchant);
    for campaign in rules.campaigns.iter().filter(|_| places.draws) {
        let what = format!("campaign {}", campaign.id);
        if let Some(own) = find_secret(rules, &what, (&campaign.secret, &campaign.commit), places, is_needed)? {
            found.campaigns.insert(campaign.id.clone(), own);
        }
    }
    for batch in rules.batches.iter().filter(|_| places.verifies) {
        let what = format!("batch {}", batch.number);
        if let Some(own) = find_secret(rules, &what, (&batch.secret, &batch.commit), places, is_needed)? {
            found.batches.insert(batch.number, own);
        }
    }
    Ok(found)
}

/// The secret at a place that has the commit.
fn find_secret(
    rules: &Rules,
    what: &str,
    (place, commit): (&str, &str),
    places: &SecretPlaces,
    is_needed: bool,
) -> Result<Option<Secret>> {
    let read: Vec<_> = places.dirs.iter().map(|dir| read_secret(dir, place)).collect();
    let own = read.iter().find_map(|bytes| secret(bytes.as_ref().ok()?, commit));
    if own.is_some() {
        return Ok(own);
    }
    let why = match read.first() {
        _ if read.iter().any(Result::is_ok) => format!("is not the one that {commit} was committed to"),
        Some(Err(why)) => why.clone(),
        _ => "is not there".to_owned(),
    };
    let merchant = &rules.merchant;
    if is_needed {
        return Err(usage(format!("{merchant}: {what}: the secret {place} {why}: put it where --secrets says")));
    }
    warn!(
        merchant,
        what,
        secret = place,
        why,
        "the secret of an earlier version is not there; put it back if its draws must be worked out again"
    );
    Ok(None)
}

/// Compares rules with those in force.
fn check_against(old: &Rules, file: &Path, checked: &Checked, because: Option<&Because>) -> Result<()> {
    let new = &checked.rules;
    for warning in diff::warnings(old, new) {
        warn!(merchant = new.merchant, "{warning}");
    }
    if let mistakes @ [_, ..] = diff::mistakes(old, new).as_slice() {
        let mistakes = mistakes.join("; ");
        return Err(usage(format!("{}: {mistakes}; these rules cannot follow those in force", new.merchant)));
    }
    let breaches = diff::breaches(old, file, checked, now_ms());
    if because.is_some() {
        for breach in &breaches {
            warn!(merchant = new.merchant, "a promise is broken: {breach}");
        }
        return Ok(());
    }
    for breach in &breaches {
        report(breach);
    }
    match breaches.len() {
        0 => Ok(()),
        1 => Err(usage("1 promise of a draw that is on would be broken: nothing was published")),
        count => Err(usage(format!("{count} promises of draws that are on would be broken: nothing was published"))),
    }
}

/// The merchants whose events are accepted: those whose rules are in every partition, each with its last rules; and the first
/// failure. A merchant whose last rules lack an object or a secret is served under the rules in `known`, or not at all: that stops
/// no other.
pub(crate) fn served(
    registry: &Registry,
    store: &RulesStore,
    known: &Rulebooks,
    secrets: &SecretPlaces,
) -> (Rulebooks, Result<()>) {
    let mut last: BTreeMap<&str, &Version> = BTreeMap::new();
    for version in registry.published().iter().filter(|version| registry.is_placed(version.seq)) {
        let place = last.entry(&version.merchant).or_insert(version);
        if place.seq < version.seq {
            *place = version;
        }
    }
    let (mut served, mut outcome) = (Rulebooks::new(), Ok(()));
    for (merchant, version) in last {
        let before = known.get(merchant);
        let book = match before.filter(|book| book.seq == version.seq) {
            Some(book) => Ok(Arc::clone(book)),
            None => {
                store.load(&version.sha256).and_then(|rules| edge_rulebook(rules, version.seq, version.sha256, secrets))
            }
        };
        let book = book.map_err(|error| outcome = std::mem::replace(&mut outcome, Ok(())).and(Err(error))).ok();
        served.extend(book.or_else(|| before.cloned()).map(|book| (merchant.to_owned(), book)));
    }
    (served, outcome)
}

#[cfg(test)]
mod tests {
    use domain::protocol::publish::placed_record;
    use domain::protocol::stage::{Marker, marker_record};
    use eventlog::files::disk::Disk;

    use super::*;

    const BATCH: &str = r#"
[[batch]]
number = 7
kind = "repair"
count = 1
secret = "file:batch.key"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
"#;

    /// The secret of one merchant's batch is not at this edge: that merchant's last rules are not served, and every other's are.
    #[test]
    fn missing_secret_holds_up_no_other_merchants_rules() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = RulesStore::new(Arc::new(Disk), dir.path());
        let mut registry = Registry::default();
        let mut publish = |merchant: &str, more: &str| {
            let text = format!("merchant = \"{merchant}\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\n{more}");
            let secret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
            let checked = wire::rules::read("r.toml", &text, &mut |_| Ok(secret.into())).expect("rules");
            let object = object(&checked.rules);
            store.put(&object).expect("a file");
            let marker = Marker { merchant, seq: registry.next_seq(), sha256: version(&object), behaviour: BEHAVIOUR };
            for record in [marker_record(&marker), placed_record(marker.seq)] {
                registry.take(registry.next_offset(), &record).expect("a record of rules");
            }
            registry.clone()
        };
        let places =
            SecretPlaces { dirs: vec![dir.path().to_owned()], needed: Needed::All, draws: false, verifies: true };
        let seqs = |books: &Rulebooks| books.iter().map(|(name, book)| (name.clone(), book.seq.0)).collect::<Vec<_>>();
        let before = publish("bad", "");
        let (known, outcome) = served(&before, &store, &Rulebooks::new(), &places);
        outcome.expect("no secret is needed");
        publish("bad", BATCH);
        publish("new", BATCH);
        let now = publish("good", "");
        let (books, outcome) = served(&now, &store, &known, &places);
        assert_eq!(seqs(&books), [("bad".to_owned(), 1), ("good".to_owned(), 4)]);
        let error = outcome.expect_err("two secrets are missing").to_string();
        assert!(error.starts_with("bad: batch 7: the secret file:batch.key"), "{error}");
    }
}
