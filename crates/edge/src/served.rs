//! The merchants that the door serves; in a fleet others publish rules meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Merchants and the currency of each.
pub type Currencies = BTreeMap<String, String>;

/// The merchants that are served now.
#[derive(Debug, Default)]
pub struct Served(RwLock<Arc<Currencies>>);

impl Served {
    #[must_use]
    pub fn new(currencies: Currencies) -> Self {
        Self(RwLock::new(Arc::new(currencies)))
    }

    #[must_use]
    pub fn now(&self) -> Arc<Currencies> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these are served; requests under way go on with those that they began with.
    pub fn set(&self, currencies: Currencies) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(currencies);
    }
}
