//! The rules that desks may be asked to work under. In a fleet others publish while it works.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use domain::frame::{Frame, Kind};
use domain::model::rulebook::Library;
use domain::protocol::stage::Marker;

/// Gives all rules that are published by now, beyond those that are known.
pub type More = Box<dyn Fn(&Library) -> Result<Library, String> + Send + Sync>;

/// All rules that are known.
pub struct RulesCache {
    known: Mutex<Arc<Library>>,
    more: Option<More>,
}

impl fmt::Debug for RulesCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books").field("known", &self.now().len()).finish_non_exhaustive()
    }
}

impl RulesCache {
    /// Rules that stay as they are.
    #[must_use]
    pub fn fixed(library: Library) -> Self {
        Self { known: Mutex::new(Arc::new(library)), more: None }
    }

    /// Rules that grow.
    #[must_use]
    pub fn growing(library: Library, more: More) -> Self {
        Self { known: Mutex::new(Arc::new(library)), more: Some(more) }
    }

    /// What is known now.
    #[must_use]
    pub fn now(&self) -> Arc<Library> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known once everything that is published by now was read. A state may be another process's, which has seen
    /// more markers than this one.
    ///
    /// # Errors
    /// The rules cannot be read now.
    pub fn refreshed(&self) -> Result<Arc<Library>, String> {
        let mut now = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(more) = &self.more {
            *now = Arc::new(more(&now)?);
        }
        Ok(Arc::clone(&now))
    }

    /// What is needed to take a record: a marker may name rules that were published lately. They are in the log before any
    /// marker is, so asking once is enough.
    ///
    /// # Errors
    /// The rules cannot be read now.
    pub fn for_record(&self, record: &[u8], known: &Arc<Library>) -> Result<Option<Arc<Library>>, String> {
        let Some(more) = &self.more else { return Ok(None) };
        // Its kind, before all of it is looked at: nearly every record ends here.
        if record.get(5) != Some(&(Kind::Marker as u8)) {
            return Ok(None);
        }
        let Ok(frame) = Frame::open(record) else { return Ok(None) };
        let is_new = |m: Result<Marker<'_>, _>| m.is_ok_and(|m| !known.contains_key(&m.order));
        if !frame.items::<Marker<'_>>().any(is_new) {
            return Ok(None);
        }
        let mut now = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if now.len() == known.len() {
            *now = Arc::new(more(&now)?);
        }
        Ok(Some(Arc::clone(&now)))
    }
}
