//! The rights of a client: merchants, actions and quotas.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use domain::model::event::Action;
use tokio::sync::Semaphore;
use wire::event::Merchants;
use wire::keys::Key;

use crate::merchants::{Currencies, MerchantCatalog};
use crate::quota::Bucket;

/// Buckets by merchant. Not a `DashMap`: the map never changes while it is shared, and a bucket is one atomic number.
pub type Buckets = BTreeMap<String, Arc<Bucket>>;

/// The rights of a client.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The key's id; empty where no key is needed.
    pub key: Arc<str>,
    /// `None` is all merchants.
    merchants: Option<Arc<KeyMerchants>>,
    actions: Option<Arc<[Action]>>,
    /// The quota of the key.
    pub quota: Option<Arc<Bucket>>,
    /// The quotas of merchants that apply to it.
    pub merchant_quotas: Arc<Buckets>,
    /// The memory that all requests of the key hold, in the units of their server; `None` where no key is needed.
    pub in_flight: Option<Arc<AtomicUsize>>,
    /// The turn of the key's large bodies, which one of them has at a time; `None` where no key is needed.
    pub turn: Option<Arc<Semaphore>>,
}

/// The merchants of a key.
#[derive(Debug)]
struct KeyMerchants {
    names: Vec<String>,
    /// All merchants that were served at the last look, and those of the key among them.
    served: ArcSwap<(Arc<Currencies>, Arc<Merchants>)>,
}

impl Grant {
    /// All rights: for this machine, if there is no file of keys.
    #[must_use]
    pub fn everything() -> Self {
        Self::keyless(Arc::default())
    }

    /// All rights, within the quotas of merchants.
    pub(super) fn keyless(merchant_quotas: Arc<Buckets>) -> Self {
        Self {
            key: "".into(),
            merchants: None,
            actions: None,
            quota: None,
            merchant_quotas,
            in_flight: None,
            turn: None,
        }
    }

    /// The rights of a key.
    pub(super) fn of(id: &str, key: Key, quota: Option<Arc<Bucket>>, merchant_quotas: Arc<Buckets>) -> Self {
        Self {
            key: id.into(),
            merchants: Some(Arc::new(KeyMerchants { names: key.merchants, served: ArcSwap::default() })),
            actions: key.actions.map(Into::into),
            quota,
            merchant_quotas,
            in_flight: Some(Arc::default()),
            turn: Some(Arc::new(Semaphore::new(1))),
        }
    }

    /// Whether the key's quota has at least one event left.
    ///
    /// # Errors
    /// It has none left, for the returned time.
    pub fn check_quota(&self, now: Instant) -> Result<(), Duration> {
        self.quota.as_ref().map_or(Ok(()), |bucket| bucket.check(now))
    }

    /// Takes these events from the quotas of the key and of their merchants.
    ///
    /// # Errors
    /// A merchant has none left, for the returned time: nothing is taken.
    pub fn take_quotas(
        &self,
        now: Instant,
        events: u64,
        of_merchants: &BTreeMap<String, u64>,
    ) -> Result<(), (&str, Duration)> {
        let sent = |merchant: &String| of_merchants.get(merchant).copied().unwrap_or(0);
        let quotas = || self.merchant_quotas.iter().filter(|(merchant, _)| sent(merchant) > 0);
        for (merchant, bucket) in quotas() {
            bucket.check(now).map_err(|wait| (merchant.as_str(), wait))?;
        }
        quotas().for_each(|(merchant, bucket)| bucket.take(now, sent(merchant)));
        self.quota.iter().for_each(|bucket| bucket.take(now, events));
        Ok(())
    }

    /// Whether it is for a merchant.
    #[must_use]
    pub fn may_for(&self, merchant: &str) -> bool {
        self.merchants.as_ref().is_none_or(|own| own.names.iter().any(|m| m == merchant))
    }

    /// Whether it is the grant of a key, and none of the key's merchants is served.
    #[must_use]
    pub fn has_no_merchant(&self, served: &MerchantCatalog) -> bool {
        self.merchants.is_some() && !served.now().keys().any(|merchant| self.may_for(merchant))
    }

    /// The merchants that events may be sent for, of those that are served.
    #[must_use]
    pub fn merchants(&self, served: &MerchantCatalog) -> Arc<Merchants> {
        let Some(own) = &self.merchants else { return served.merchants() };
        let now = served.now();
        let known = own.served.load();
        if Arc::ptr_eq(&known.0, &now) {
            return Arc::clone(&known.1);
        }
        let merchants = Arc::new(Merchants::new(now.iter().filter(|(merchant, _)| self.may_for(merchant))));
        own.served.store(Arc::new((now, Arc::clone(&merchants))));
        merchants
    }

    /// Whether it allows events of an action.
    #[must_use]
    pub fn may_send(&self, action: Action) -> bool {
        self.actions.as_ref().is_none_or(|all| all.contains(&action))
    }
}
