//! Rules: the store with all rules files, the content of the topic `rules`, and the publishers.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::model::address::Topic;
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::secrets::Secrets;
use domain::model::rules::{Rules, RulesSeq};
use domain::protocol::publish::{Act, Publisher, Registry};
use parking_lot::Mutex;
use wire::rules::Reference;
use worker::rules_cache::RulesCache;

use domain::model::address::TopicPartition;

use super::log::SharedLog;
use crate::alarm::Alarm;

const RULES: TopicPartition = TopicPartition::new(Topic::Rules, 0);

/// A rules file, as an operator wrote it.
#[derive(Debug)]
pub struct Text {
    pub file: String,
    pub rules: Rules,
    pub sha256: [u8; 32],
    secrets: Secrets,
}

impl Text {
    /// Its rulebook with a version number.
    ///
    /// # Panics
    /// If the rules are not valid.
    #[must_use]
    pub fn book(&self, seq: RulesSeq) -> Rulebook {
        Rulebook::new(self.rules.clone(), seq, self.sha256, &self.secrets).expect("valid rules")
    }
}

/// The store of rules files, and the content of the topic `rules`.
#[derive(Debug)]
pub struct RulesStore {
    /// The rules files.
    pub texts: Vec<Text>,
    /// What the topic says.
    pub registry: Registry,
    library: Library,
}

/// A rules store that several processes read.
pub(crate) type Shared = Arc<Mutex<RulesStore>>;

/// The rules cache of one process; it starts with all published versions.
#[must_use]
pub(crate) fn rules_cache(rules_store: &Shared) -> RulesCache {
    let known = rules_store.lock().library.clone();
    let rules_store = Arc::clone(rules_store);
    RulesCache::growing(known, Box::new(move |_| Ok(rules_store.lock().library.clone())))
}

/// Reads the new records of `rules`.
///
/// # Errors
/// A record does not belong there.
pub(crate) fn read_on(registry: &mut Registry, log: &SharedLog) -> Result<(), Alarm> {
    while let Some(stored) = log.read(RULES, registry.next_offset())? {
        registry.take(registry.next_offset(), &stored.bytes).map_err(|error| Alarm::Broken(error.to_string()))?;
    }
    Ok(())
}

impl RulesStore {
    /// A store with all rules that the run publishes, in this order.
    ///
    /// # Panics
    /// If the rules of a case are not valid.
    #[must_use]
    pub fn new(files: &[(String, String)], rules_files: &[String]) -> Self {
        let files: BTreeMap<&str, &str> = files.iter().map(|(name, content)| (&**name, &**content)).collect();
        let mut open = |reference: Reference<'_>| {
            let name = match reference {
                Reference::Register(name) => name,
                Reference::Secret(path) => path.strip_prefix("file:").expect("a file"),
            };
            files.get(name).map(|content| content.as_bytes().to_vec()).ok_or_else(|| "is not there".to_owned())
        };
        let text = |file: &String| {
            let checked = wire::rules::read(file, files[&**file], &mut open).expect("the generator makes valid rules");
            let sha256 = wire::rules::version(&wire::rules::object(&checked.rules));
            Text { file: file.clone(), rules: checked.rules, sha256, secrets: checked.secrets }
        };
        let texts = rules_files.iter().map(text).collect();
        Self { texts, registry: Registry::default(), library: Library::new() }
    }

    /// Reads the new records of `rules`.
    ///
    /// # Errors
    /// A record does not belong there.
    ///
    /// # Panics
    /// If a published version is not in the store.
    pub fn follow(&mut self, log: &SharedLog) -> Result<(), Alarm> {
        read_on(&mut self.registry, log)?;
        for version in &self.registry.published()[self.library.len()..] {
            let text = self.texts.iter().find(|t| t.sha256 == version.sha256).expect("a text of the store");
            self.library.insert(version.seq, Arc::new(text.book(version.seq)));
        }
        Ok(())
    }

    /// Starts over with another log.
    pub fn forget(&mut self) {
        (self.registry, self.library) = (Registry::default(), Library::new());
    }

    /// The rulebooks of the published versions.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The index in the store of the version with a number.
    #[must_use]
    pub fn text_of(&self, seq: RulesSeq) -> Option<usize> {
        let version = self.registry.version(seq)?;
        self.texts.iter().position(|t| t.sha256 == version.sha256)
    }
}

/// A running publisher.
#[derive(Debug)]
pub(crate) struct SimPublisher {
    pub producer: u64,
    /// The index in the store of what it publishes.
    pub text: usize,
    behaviour: u32,
    registry: Registry,
    publisher: Publisher,
    /// Number of its records that are not acknowledged.
    pub waits: usize,
}

/// The result of a publisher's step.
#[derive(Debug)]
pub(crate) enum Step {
    /// It appends these records, and continues once all are acknowledged.
    Send(Vec<(TopicPartition, Vec<u8>)>),
    /// Its rules are published, or may not follow the published ones; the kind of the trace.
    Over(&'static str),
}

impl SimPublisher {
    #[must_use]
    pub(crate) fn new(producer: u64, text: usize, behaviour: u32, rules_store: &RulesStore) -> Self {
        let mut publisher = Self {
            producer,
            text,
            behaviour,
            registry: Registry::default(),
            publisher: Publisher::new("", [0; 32], behaviour),
            waits: 0,
        };
        publisher.begin_again(producer, rules_store);
        publisher
    }

    /// Starts over: the outcome of a record that it sent is unknown.
    pub(crate) fn begin_again(&mut self, producer: u64, rules_store: &RulesStore) {
        let Text { rules, sha256, .. } = &rules_store.texts[self.text];
        self.publisher = Publisher::new(&rules.merchant, *sha256, self.behaviour);
        (self.producer, self.waits) = (producer, 0);
    }

    /// Does its next step.
    ///
    /// # Errors
    /// A record does not belong into `rules`.
    pub(crate) fn step(&mut self, log: &SharedLog, rules_store: &RulesStore) -> Result<Step, Alarm> {
        read_on(&mut self.registry, log)?;
        // Another publisher has published a behaviour that only a newer build knows.
        let Ok(act) = self.publisher.next(&self.registry) else { return Ok(Step::Over("outdated")) };
        let sent = match act {
            Act::Done { .. } => return Ok(Step::Over("published")),
            Act::Propose { follows, record } => {
                // Each version of a merchant in the store may follow those before it: it only adds.
                let last = follows.and_then(|f| rules_store.texts.iter().position(|t| t.sha256 == f.sha256));
                if last.is_some_and(|last| last > self.text) {
                    return Ok(Step::Over("refused"));
                }
                vec![(RULES, record)]
            }
            Act::ReportPlaced { record } => vec![(RULES, record)],
            Act::Place { topic, record } => {
                (0..log.meta.partitions.of(topic)).map(|p| (TopicPartition::new(topic, p), record.clone())).collect()
            }
        };
        self.waits = sent.len();
        Ok(Step::Send(sent))
    }
}
