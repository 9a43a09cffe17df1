//! The rules that markers may name. In a fleet, other processes publish new ones at any time.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use domain::frame::{self, Frame, Kind};
use domain::model::rules::rulebook::Library;
use domain::protocol::stage::Marker;
use parking_lot::Mutex;

/// Reads the rules that are published, given those that are known.
pub type ReadMore = Box<dyn Fn(&Library) -> Result<Library, String> + Send + Sync>;

/// The rules that this process knows.
pub struct RulesCache {
    known: ArcSwap<Library>,
    more: Option<ReadMore>,
    /// Held while more rules are read, so that one thread reads them for all.
    reading: Mutex<()>,
}

impl fmt::Debug for RulesCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesCache").field("known", &self.now().len()).finish_non_exhaustive()
    }
}

impl RulesCache {
    /// Rules that do not change.
    #[must_use]
    pub fn fixed(library: Library) -> Self {
        Self { known: ArcSwap::from_pointee(library), more: None, reading: Mutex::default() }
    }

    /// Rules that grow as `more` reads them.
    #[must_use]
    pub fn growing(library: Library, more: ReadMore) -> Self {
        Self { known: ArcSwap::from_pointee(library), more: Some(more), reading: Mutex::default() }
    }

    /// The rules that are known now.
    #[must_use]
    pub fn now(&self) -> Arc<Library> {
        self.known.load_full()
    }

    /// Reads the rules that are published, and returns all. A state may come from another process, which took more markers
    /// than this one.
    ///
    /// # Errors
    /// The rules cannot be read.
    pub fn refreshed(&self) -> Result<Arc<Library>, String> {
        if let Some(more) = &self.more {
            let _reading = self.reading.lock();
            self.known.store(Arc::new(more(&self.known.load())?));
        }
        Ok(self.now())
    }

    /// More rules, if a record needs them: a marker may name rules that this process does not know. Rules are in the log
    /// before their markers, so reading them once is enough.
    ///
    /// # Errors
    /// The rules cannot be read.
    pub fn for_record(&self, record: &[u8], known: &Arc<Library>) -> Result<Option<Arc<Library>>, String> {
        let Some(more) = &self.more else { return Ok(None) };
        // Nearly every record returns here, before the checksum is computed.
        if frame::peek_kind(record) != Some(Kind::Marker) {
            return Ok(None);
        }
        let Ok(frame) = Frame::open(record) else { return Ok(None) };
        let lacks = |known: &Library| {
            frame.items::<Marker<'_>>().any(|marker| marker.is_ok_and(|marker| !known.contains_key(&marker.seq)))
        };
        if !lacks(known) {
            return Ok(None);
        }
        let _reading = self.reading.lock();
        let now = self.known.load();
        if lacks(&now) {
            self.known.store(Arc::new(more(&now)?));
        }
        Ok(Some(self.now()))
    }
}
