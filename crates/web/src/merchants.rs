//! The merchants that are served; in a fleet other processes publish rules meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use domain::model::rules::rulebook::Rulebook;
use wire::event::Merchants;

/// Merchants and the currency of each.
pub type Currencies = BTreeMap<String, String>;
/// Merchants and the rules of each that are in force.
pub type Rulebooks = BTreeMap<String, Arc<Rulebook>>;

/// The merchants that are served now.
#[derive(Debug, Default)]
pub struct MerchantCatalog {
    now: RwLock<Now>,
    /// Only for what an edge answers itself, such as where a scan redirects; the desk decides what a code means.
    books: RwLock<Arc<Rulebooks>>,
}

#[derive(Clone, Debug, Default)]
struct Now {
    currencies: Arc<Currencies>,
    /// The same merchants, in the form in which events are read.
    merchants: Arc<Merchants>,
}

impl MerchantCatalog {
    #[must_use]
    pub fn new(books: Rulebooks) -> Self {
        let served = Self::default();
        served.set_books(books);
        served
    }

    #[must_use]
    pub fn now(&self) -> Arc<Currencies> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).currencies)
    }

    /// All of them, in the form in which events are read.
    pub fn merchants(&self) -> Arc<Merchants> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).merchants)
    }

    #[must_use]
    pub fn books(&self) -> Arc<Rulebooks> {
        Arc::clone(&self.books.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the merchants that are served; requests in flight go on with those that they began with.
    pub fn set(&self, currencies: Currencies) {
        let merchants = Arc::new(Merchants::new(&currencies));
        let now = Now { currencies: Arc::new(currencies), merchants };
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// The same, if their rules are at hand.
    pub fn set_books(&self, books: Rulebooks) {
        let currency = |(merchant, book): (&String, &Arc<Rulebook>)| (merchant.clone(), book.rules.currency.clone());
        self.set(books.iter().map(currency).collect());
        *self.books.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(books);
    }
}
