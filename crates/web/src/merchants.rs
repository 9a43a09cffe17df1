//! The merchants that are served; in a fleet other processes publish rules meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use domain::model::rules::rulebook::Rulebook;
use wire::event::Merchants;

/// Merchants and the currency of each.
pub type Currencies = BTreeMap<String, String>;
/// Merchants and the rules of each that are in force.
pub type Rulebooks = BTreeMap<String, Arc<Rulebook>>;

/// The merchants that are served now.
#[derive(Debug, Default)]
pub struct MerchantCatalog {
    now: ArcSwap<Now>,
    /// Only for what an edge answers itself, such as where a scan redirects; the desk decides what a code means.
    rulebooks: ArcSwap<Rulebooks>,
}

#[derive(Debug, Default)]
struct Now {
    currencies: Arc<Currencies>,
    /// The same merchants, in the form in which events are read.
    merchants: Arc<Merchants>,
}

impl MerchantCatalog {
    /// A catalog of the merchants of these rulebooks.
    #[must_use]
    pub fn new(rulebooks: Rulebooks) -> Self {
        let catalog = Self::default();
        catalog.set_rulebooks(rulebooks);
        catalog
    }

    /// All of them, with their currencies.
    #[must_use]
    pub fn now(&self) -> Arc<Currencies> {
        Arc::clone(&self.now.load().currencies)
    }

    /// All of them, in the form in which events are read.
    #[must_use]
    pub fn merchants(&self) -> Arc<Merchants> {
        Arc::clone(&self.now.load().merchants)
    }

    /// The rules in force of those whose rules are at hand.
    #[must_use]
    pub fn rulebooks(&self) -> Arc<Rulebooks> {
        self.rulebooks.load_full()
    }

    /// Replaces the merchants that are served; requests in flight go on with those that they began with.
    pub fn set(&self, currencies: Currencies) {
        let merchants = Arc::new(Merchants::new(&currencies));
        self.now.store(Arc::new(Now { currencies: Arc::new(currencies), merchants }));
    }

    /// The same, if their rules are at hand.
    pub fn set_rulebooks(&self, rulebooks: Rulebooks) {
        let currency = |(merchant, book): (&String, &Arc<Rulebook>)| (merchant.clone(), book.rules.currency.clone());
        self.set(rulebooks.iter().map(currency).collect());
        self.rulebooks.store(Arc::new(rulebooks));
    }
}
