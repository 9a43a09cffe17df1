//! The shopper desk: duplicates, repeats, touches, orders, members, entries, funnels, counters (contract sections 2, 5,
//! 6 and 7). It owns the whole state of a shopper.

mod compiled_rules;
mod counters;
mod debounce;
mod entry;
mod funnel;
mod merchant;
mod money;
mod resolve;
mod settle;
#[expect(clippy::module_inception, reason = "the shopper of the shopper desk")]
mod shopper;

use std::collections::BTreeMap;

use merchant::{Merchant, MerchantState};

use crate::frame::{Frame, Kind, decode, encode};
use crate::model::address::Topic;
use crate::model::event::Event;
use crate::model::fact::{Fact, What};
use crate::model::rules::rulebook::Library;
use crate::model::time::Millis;
use crate::protocol::error::{DeskError, RestoreError};
use crate::protocol::stage::{Desk, Marker, Outbox};

/// State: the shoppers of one partition, by merchant.
#[derive(Clone, Debug, Default)]
pub struct ShopperDesk {
    merchants: BTreeMap<Box<str>, Merchant>,
    /// The highest `received` so far; it never decreases.
    received: Millis,
}

impl ShopperDesk {
    /// Number of touches that were dropped because a shopper had too many.
    #[must_use]
    pub fn touches_dropped(&self) -> u64 {
        self.merchants.values().map(Merchant::touches_dropped).sum()
    }

    /// Number of refunds that wait for their order.
    #[must_use]
    pub fn waiting_refunds(&self) -> usize {
        self.merchants.values().map(Merchant::waiting_refunds).sum()
    }
}

impl Desk for ShopperDesk {
    const TOPIC: Topic = Topic::Scans;

    fn save(&self) -> Vec<u8> {
        let merchants: Vec<(&str, &MerchantState)> =
            self.merchants.iter().map(|(name, m)| (&**name, m.state())).collect();
        encode(&(self.received, merchants))
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let mut sums: Vec<(&'static str, usize)> = Vec::new();
        for (kind, bytes) in self.merchants.values().flat_map(Merchant::sizes) {
            match sums.iter_mut().find(|(k, _)| *k == kind) {
                Some((_, sum)) => *sum += bytes,
                None => sums.push((kind, bytes)),
            }
        }
        sums
    }

    fn load(state: &[u8], library: &Library) -> Result<Self, RestoreError> {
        let (received, merchants): (Millis, Vec<(Box<str>, MerchantState)>) = decode(state)?;
        let merchants = merchants.into_iter().map(|(name, state)| Ok((name, Merchant::restore(state, library)?)));
        Ok(Self { merchants: merchants.collect::<Result<_, RestoreError>>()?, received })
    }

    fn apply(
        &mut self,
        frame: &Frame<'_>,
        append: Millis,
        _library: &Library,
        out: &mut Outbox,
    ) -> Result<Millis, DeskError> {
        if frame.kind != Kind::Events {
            return Err(DeskError::Kind { kind: frame.kind, topic: Self::TOPIC });
        }
        // All of them first: a record with an item that cannot be applied is set aside whole.
        let events = frame.items::<Event<'_>>().collect::<Result<Vec<_>, _>>()?;
        if let Some(event) = events.iter().find(|event| !self.merchants.contains_key(event.merchant)) {
            return Err(DeskError::NoRules(event.merchant.to_owned()));
        }
        for event in &events {
            self.received = self.received.max(event.stamp.min(append));
            if let Some(merchant) = self.merchants.get_mut(event.merchant) {
                merchant.event(event, self.received, out);
            }
        }
        for merchant in self.merchants.values_mut() {
            merchant.flush(out);
        }
        // Rows of the ledger expire by the latest `received`, so the ledger needs it even if this frame has no facts.
        out.report_received();
        Ok(self.received)
    }

    fn switch(&mut self, marker: &Marker<'_>, library: &Library, out: &mut Outbox) -> Result<(), DeskError> {
        let book = library.get(&marker.seq).ok_or(DeskError::Rules(marker.seq))?;
        match self.merchants.get_mut(marker.merchant) {
            Some(merchant) => merchant.switch(book, self.received),
            None => {
                self.merchants.insert(marker.merchant.into(), Merchant::new(marker.merchant, book));
            }
        }
        let what = What::Rules { seq: book.seq, sha256: book.sha256, currency: &book.rules.currency };
        out.fact(&Fact { merchant: marker.merchant, what });
        Ok(())
    }
}
