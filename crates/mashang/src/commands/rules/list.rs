//! `mashang rules list`: the versions that were published, from the log and the store.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write, stdout};
use std::sync::Arc;

use anyhow::{Context, Result};
use domain::model::address::Topic;
use domain::model::rules::{RulesSeq, version_text};
use domain::model::time::{Millis, time_text};
use domain::protocol::publish::{Registry, RulesEvent, Version};
use eventlog::error::LogError;
use eventlog::files::Files;
use eventlog::files::disk::Disk;
use eventlog::kafka::topic_reader::open;
use eventlog::local::topic_reader::TopicReader;
use serde_json::json;

use crate::cli::rules_args::{ListFormat, RulesListArgs};
use crate::rules::store::RulesStore;
use crate::store::{RULES, Store};
use crate::usage;

const CLIENT_ID: &str = "mashang-rules";

/// Writes every version to standard output, in the order of their numbers.
pub(crate) fn list(args: &RulesListArgs, files: Arc<dyn Files>) -> Result<()> {
    let (log, store) = match &args.data {
        Some(data) => {
            (TopicReader::open(&Disk, &data.join("log"), Topic::Rules), RulesStore::new(files, &data.join("rules")))
        }
        None => {
            let store = Store::of_option("store", args.store.as_deref().unwrap_or_default())?;
            let store = RulesStore::of_store(store.open(files)?, RULES);
            (open(&args.kafka.settings()?, CLIENT_ID, Topic::Rules), store)
        }
    };
    let log = log.map_err(|e| match e {
        LogError::Missing { .. } => usage(e),
        other => other.into(),
    })?;
    let (registry, times) = read(log)?;
    let mut out = BufWriter::new(stdout().lock());
    for version in registry.published() {
        let listed = Listed::of(version, &registry, &times, &store)?;
        match args.format {
            ListFormat::Text => writeln!(out, "{}", listed.text(version))?,
            ListFormat::Json => writeln!(out, "{}", listed.json(version))?,
        }
    }
    Ok(out.flush()?)
}

/// What was published, and when each version was appended.
fn read(log: TopicReader) -> Result<(Registry, BTreeMap<RulesSeq, Millis>)> {
    let mut registry = Registry::default();
    let mut times = BTreeMap::new();
    for mut records in log.partitions {
        while let Some(record) = records.next_record()? {
            if let RulesEvent::Accepted(seq) = registry.take(record.offset, record.bytes)? {
                times.insert(seq, record.append);
            }
        }
    }
    Ok((registry, times))
}

/// What is listed of a version, beside what its marker has.
struct Listed {
    published: Millis,
    in_force: bool,
    /// Whether its markers are in every partition, as far as it is in force.
    placed: bool,
    because: Option<String>,
}

impl Listed {
    fn of(
        version: &Version,
        registry: &Registry,
        times: &BTreeMap<RulesSeq, Millis>,
        store: &RulesStore,
    ) -> Result<Self> {
        let in_force = registry.last(&version.merchant).is_some_and(|last| last.seq == version.seq);
        if in_force {
            let text = version_text(&version.sha256);
            let what =
                || format!("the store has not the rules {text} of {}: name the store of this log", version.merchant);
            store.load(&version.sha256).with_context(what)?;
        }
        Ok(Self {
            published: times.get(&version.seq).copied().unwrap_or_default(),
            in_force,
            placed: registry.is_placed(version.seq),
            because: store.because(&version.sha256, version.seq)?,
        })
    }

    fn text(&self, version: &Version) -> String {
        let state = match (self.in_force, self.placed) {
            (true, true) => "in force",
            (true, false) => "in force, not in every partition yet: publish it again",
            (false, _) => "replaced",
        };
        let Version { seq, merchant, sha256, behaviour } = version;
        let (version, published) = (version_text(sha256), time_text(self.published));
        let because = self.because.as_ref().map_or_else(String::new, |because| format!(", because: {because}"));
        format!("{seq} {merchant} {version} behaviour {behaviour} published {published} {state}{because}")
    }

    fn json(&self, version: &Version) -> serde_json::Value {
        json!({
            "seq": version.seq,
            "merchant": version.merchant,
            "version": version_text(&version.sha256),
            "behaviour": version.behaviour,
            "published": time_text(self.published),
            "in_force": self.in_force,
            "placed": self.placed,
            "because": self.because,
        })
    }
}
