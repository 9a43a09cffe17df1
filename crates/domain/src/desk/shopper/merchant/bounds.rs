//! Bounds on what strangers can make a merchant keep (contract sections 5 and 7). Behaviour 1 has none of them.

use std::collections::VecDeque;

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

use super::expiry::{close, order_key};
use super::{Merchant, MerchantState};
use crate::desk::shopper::compiled_rules::Symbol;
use crate::desk::shopper::funnel::Attempt;
use crate::desk::shopper::named_texts::NamedTexts;
use crate::desk::shopper::resolve::EventContext;
use crate::desk::shopper::shopper::Shopper;
use crate::desk::shopper::shoppers::Shoppers;
use crate::model::event::Action;

/// What the bounds need to remember.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    pub(super) named: NamedTexts,
    /// Symbols below it were given under behaviour 1, which does not remember who uses them: their texts are kept.
    kept_below: Symbol,
    pub(super) reached: Reached,
}

/// How often each bound was reached.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) orders: u64,
    pub(super) refunds: u64,
    pub(super) attempts: u64,
    pub(super) candidates: u64,
}

/// What a snapshot stores of the bounds.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::desk::shopper) struct SavedBounds {
    named: NamedTexts,
    kept_below: Symbol,
    reached: Reached,
    /// The open attempts of each shopper who has any, by funnel.
    attempts: Vec<(u128, Vec<VecDeque<Attempt>>)>,
}

impl Bounds {
    pub(super) fn restore(saved: SavedBounds, shoppers: &mut Shoppers) -> Self {
        for (key, attempts) in saved.attempts {
            let more = shoppers.get_mut(key).and_then(Shopper::more_mut);
            let progress = more.into_iter().flat_map(|more| &mut more.funnels);
            progress.zip(attempts).for_each(|(progress, attempts)| progress.attempts = attempts);
        }
        Self { named: saved.named, kept_below: saved.kept_below, reached: saved.reached }
    }

    pub(super) fn bytes(&self) -> usize {
        self.named.bytes()
    }
}

impl Merchant {
    /// Behaviour 2 begins.
    pub(super) fn bound(&mut self) {
        let kept_below = self.state.names.end();
        self.bounds.get_or_insert_with(|| Bounds { kept_below, ..Bounds::default() });
    }

    /// What a snapshot stores of the bounds.
    pub(in crate::desk::shopper) fn save_bounds(&self) -> Option<SavedBounds> {
        let open = self.state.shoppers.iter().filter(|(_, s)| s.funnels().iter().any(|f| !f.attempts.is_empty()));
        let attempts = open.map(|(key, s)| (key, s.funnels().iter().map(|f| f.attempts.clone()).collect()));
        Some(SavedBounds { attempts: attempts.collect(), ..self.bounds_head()? })
    }

    /// The same without the attempts, which are in segments with their shoppers.
    pub(in crate::desk::shopper) fn bounds_head(&self) -> Option<SavedBounds> {
        let Bounds { named, kept_below, reached } = self.bounds.as_ref()?;
        Some(SavedBounds { named: named.clone(), kept_below: *kept_below, reached: *reached, attempts: Vec::new() })
    }

    /// How often each bound was reached.
    pub(in crate::desk::shopper) fn bounds_reached(&self) -> [(&'static str, u64); 6] {
        let reached = self.bounds.as_ref().map(|bounds| bounds.reached).unwrap_or_default();
        [
            ("touches_max", self.state.touches_dropped),
            ("orders_max", reached.orders),
            ("refunds", reached.refunds),
            ("funnel_attempts", reached.attempts),
            ("candidates", reached.candidates),
            ("names_max", self.bounds.as_ref().map_or(0, |bounds| bounds.named.others())),
        ]
    }

    /// Whether an event is a further refund of an order that has as many as it can have.
    pub(super) fn is_refund_too_many(&mut self, context: &EventContext<'_, '_>) -> bool {
        let Self { state, bounds: Some(bounds), .. } = self else { return false };
        let payment = context.payment().filter(|_| context.event.action == Action::Refund);
        let order = payment.zip(state.shoppers.get_mut(context.event.shopper_key)).and_then(|(payment, shopper)| {
            let orders = &mut shopper.money_mut()?.orders;
            let at = orders.find(payment.number)?;
            Some(&mut orders[at])
        });
        let is_too_many = order.is_some_and(|order| order.is_full_for(context.event.key));
        bounds.reached.refunds += u64::from(is_too_many);
        is_too_many
    }

    /// Drops the smallest orders of a shopper who has more than `orders_max`.
    pub(super) fn drop_orders(&mut self, context: &EventContext<'_, '_>) {
        let Self { compiled, state: MerchantState { shoppers, closed, .. }, bounds: Some(bounds), changes, .. } = self
        else {
            return;
        };
        let key = context.event.shopper_key;
        let money = shoppers.get_mut(key).and_then(Shopper::money_mut);
        if let (Action::Order, Some(money)) = (context.event.action, money) {
            money.orders.drop_beyond(compiled.book.rules.attribution.orders_max as usize, |order| {
                close(closed, changes.as_mut(), order_key(key, &order.number));
                bounds.reached.orders += 1;
            });
        }
    }

    /// Frees texts that nothing refers to, if there are many new ones. No answer depends on it.
    pub(super) fn sweep_texts(&mut self) {
        let Self { versions, state: MerchantState { names, shoppers, .. }, bounds: Some(bounds), .. } = self else {
            return;
        };
        if !names.is_sweep_due(shoppers.len()) {
            return;
        }
        let mut used: HashSet<Symbol> = versions.values().flat_map(|version| version.symbols()).collect();
        used.extend(bounds.named.symbols());
        used.extend(shoppers.iter().flat_map(|(_, shopper)| shopper.symbols()));
        names.sweep(|symbol| symbol < bounds.kept_below || used.contains(&symbol));
    }
}
