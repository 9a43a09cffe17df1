//! Rules: the rules store with all that were ever written, what `rules` says of them, and the publishers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::model::address::Topic;
use domain::model::rulebook::{Library, Rulebook};
use domain::model::rules::Rules;
use domain::protocol::publish::{Act, Publisher, Registry};
use wire::rules::Reference;
use worker::rules_cache::RulesCache;

use super::log::{Place, SharedLog};
use crate::alarm::Alarm;

const RULES: Place = (Topic::Rules, 0);

/// Rules as a merchant wrote them.
#[derive(Debug)]
pub struct Text {
    pub file: String,
    pub rules: Rules,
    pub sha256: [u8; 32],
    secrets: BTreeMap<String, [u8; 32]>,
}

impl Text {
    /// Its rules, published under a number.
    ///
    /// # Panics
    /// If desks cannot work under them.
    #[must_use]
    pub fn book(&self, order: u32) -> Rulebook {
        Rulebook::new(self.rules.clone(), order, self.sha256, &self.secrets).expect("rules that work")
    }
}

/// The store of rules, and what `rules` says.
#[derive(Debug)]
pub struct RulesStore {
    pub texts: Vec<Text>,
    pub registry: Registry,
    library: Library,
}

/// A rules store that several processes read.
pub type Shared = Arc<Mutex<RulesStore>>;

pub fn lock(shelf: &Shared) -> MutexGuard<'_, RulesStore> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The books of one process, which begin with all that is published by now.
#[must_use]
pub fn books(shelf: &Shared) -> RulesCache {
    let known = lock(shelf).library.clone();
    let shelf = Arc::clone(shelf);
    RulesCache::growing(known, Box::new(move |_| Ok(lock(&shelf).library.clone())))
}

/// Reads what is new in `rules`.
///
/// # Errors
/// What has no place there.
pub fn read_on(registry: &mut Registry, log: &SharedLog) -> Result<(), Alarm> {
    while let Some(stored) = log.read(RULES, registry.next_offset())? {
        registry.take(registry.next_offset(), &stored.bytes).map_err(|stop| Alarm::Broken(stop.to_string()))?;
    }
    Ok(())
}

impl RulesStore {
    /// Everything that is ever published, in the order in which it is to be.
    ///
    /// # Panics
    /// If the rules of a case are not valid.
    #[must_use]
    pub fn new(files: &[(String, String)], rules_files: &[String]) -> Self {
        let files: BTreeMap<&str, &str> = files.iter().map(|(name, content)| (&**name, &**content)).collect();
        let mut open = |reference: Reference<'_>| {
            let name = match reference {
                Reference::Register(name) => name,
                Reference::Secret(place) => place.strip_prefix("file:").expect("a file"),
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

    /// Reads on in `rules`.
    ///
    /// # Errors
    /// What has no place there.
    ///
    /// # Panics
    /// If what is published was never written.
    pub fn follow(&mut self, log: &SharedLog) -> Result<(), Alarm> {
        read_on(&mut self.registry, log)?;
        for version in &self.registry.published()[self.library.len()..] {
            let text = self.texts.iter().find(|t| t.sha256 == version.sha256).expect("a text of the shelf");
            self.library.insert(version.order, Arc::new(text.book(version.order)));
        }
        Ok(())
    }

    /// The log is another one.
    pub fn forget(&mut self) {
        (self.registry, self.library) = (Registry::default(), Library::new());
    }

    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The position in the rules store of what is published under a number.
    #[must_use]
    pub fn text_of(&self, order: u32) -> Option<usize> {
        let version = self.registry.version(order)?;
        self.texts.iter().position(|t| t.sha256 == version.sha256)
    }
}

/// A publisher while it lives.
#[derive(Debug)]
pub struct SimPublisher {
    pub producer: u64,
    /// What it publishes, by its position in the rules store.
    pub text: usize,
    behaviour: u32,
    registry: Registry,
    publisher: Publisher,
    /// Number of records in flight that are not acknowledged.
    pub waits: usize,
}

/// What became of a publisher's step.
#[derive(Debug)]
pub enum Step {
    /// It appends this, and goes on once all is acknowledged.
    Send(Vec<(Place, Vec<u8>)>),
    /// Its rules are published, or cannot follow those that are.
    Over(&'static str),
}

impl SimPublisher {
    #[must_use]
    pub fn new(producer: u64, text: usize, behaviour: u32, shelf: &RulesStore) -> Self {
        let mut press = Self {
            producer,
            text,
            behaviour,
            registry: Registry::default(),
            publisher: Publisher::new("", [0; 32], behaviour),
            waits: 0,
        };
        press.begin_again(producer, shelf);
        press
    }

    /// It does not know what became of something that it sent: it begins anew.
    pub fn begin_again(&mut self, producer: u64, shelf: &RulesStore) {
        let Text { rules, sha256, .. } = &shelf.texts[self.text];
        self.publisher = Publisher::new(&rules.merchant, *sha256, self.behaviour);
        (self.producer, self.waits) = (producer, 0);
    }

    /// # Errors
    /// What `rules` says cannot be.
    pub fn step(&mut self, log: &SharedLog, shelf: &RulesStore) -> Result<Step, Alarm> {
        read_on(&mut self.registry, log)?;
        // Others have published what only a newer build knows.
        let Ok(act) = self.publisher.next(&self.registry) else { return Ok(Step::Over("outdated")) };
        let sent = match act {
            Act::Done { .. } => return Ok(Step::Over("published")),
            Act::Propose { follows, record } => {
                // Each version of a merchant in the rules store may follow those before it: it only adds.
                let place = follows.and_then(|f| shelf.texts.iter().position(|t| t.sha256 == f.sha256));
                if place.is_some_and(|place| place > self.text) {
                    return Ok(Step::Over("refused"));
                }
                vec![(RULES, record)]
            }
            Act::TellPlaced { record } => vec![(RULES, record)],
            Act::Place { topic, record } => {
                (0..log.meta.partitions.of(topic)).map(|p| ((topic, p), record.clone())).collect()
            }
        };
        self.waits = sent.len();
        Ok(Step::Send(sent))
    }
}
