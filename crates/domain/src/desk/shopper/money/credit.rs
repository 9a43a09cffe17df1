//! Who gets the credit of an order, and who is paid for it (contract section 5).

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::touch::Touch;
use crate::desk::shopper::compiled_rules::{CompiledRules, NONE, Symbol};
use crate::model::code::{Kind, Rank};
use crate::model::money::{share_ppm, split};
use crate::model::rules::rulebook::SuccessorTerms;
use crate::model::rules::{Attribution, Members, Model, PayeeKind};
use crate::model::time::Millis;

/// A touch with its weight in the credit.
#[derive(Clone, Copy, Debug)]
pub(in crate::desk::shopper) struct Credited {
    pub(in crate::desk::shopper) touch: Touch,
    pub(in crate::desk::shopper) weight: i64,
    /// Its share of base − refunded, and of the commission due on it.
    pub(in crate::desk::shopper) net: i64,
    pub(in crate::desk::shopper) commission: i64,
}

/// Who is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::desk::shopper) struct Payee {
    pub(in crate::desk::shopper) kind: PayeeKind,
    pub(in crate::desk::shopper) symbol: Symbol,
}

/// The amount that a payee is due on an order, and how long it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::desk::shopper) struct Due {
    pub(in crate::desk::shopper) payee: Payee,
    pub(in crate::desk::shopper) amount: i64,
    pub(in crate::desk::shopper) hold_ms: i64,
}

/// What decides an order's commission, besides its candidates.
#[derive(Clone, Copy, Debug)]
pub(in crate::desk::shopper) struct Sale {
    /// c: the time of the earliest part.
    pub(in crate::desk::shopper) time: Millis,
    /// The derived store of the earliest part.
    pub(in crate::desk::shopper) store: Symbol,
    /// base − refunded.
    pub(in crate::desk::shopper) net: i64,
    pub(in crate::desk::shopper) buyer: u128,
    /// The time of the shopper's first order.
    pub(in crate::desk::shopper) first_order: Millis,
}

/// The credited touches in (time, key) order, each with its weight. `candidates` are those within the window.
pub(in crate::desk::shopper) fn credits<'a>(
    candidates: impl Iterator<Item = &'a Touch> + Clone,
    model: Model,
    protect_ms: i64,
) -> Vec<Credited> {
    let Some(rank) = candidates.clone().map(|t| t.rank).max() else { return Vec::new() };
    let ranked = candidates.filter(|t| t.rank == rank);
    let credit = |(touch, weight): (&Touch, i64)| Credited { touch: *touch, weight, net: 0, commission: 0 };
    match model {
        Model::Last => {
            ranked.reduce(|holder, next| holds(holder, next, protect_ms)).map(|t| credit((t, 1))).into_iter().collect()
        }
        Model::First => ranked.take(1).map(|t| credit((t, 1))).collect(),
        Model::Linear => ranked.map(|t| credit((t, 1))).collect(),
        Model::Position => {
            let touches: Vec<&Touch> = ranked.collect();
            let weights = position_weights(touches.len());
            touches.into_iter().zip(weights).map(credit).collect()
        }
    }
}

/// Whether candidates give the same credit as before a touch came, apart from its time: to the same guides, stores and kinds, in the
/// same shares.
pub(in crate::desk::shopper) fn is_same_credit(
    candidates: &[Touch],
    touch: &Touch,
    model: Model,
    protect_ms: i64,
) -> bool {
    let at = candidates.partition_point(|t| t.order() < touch.order());
    let (earlier, later) = candidates.split_at(at);
    let before = credits(candidates.iter(), model, protect_ms);
    let after = credits(earlier.iter().chain([touch]).chain(later), model, protect_ms);
    let credit = |c: &Credited| (credit_of(&c.touch), c.weight);
    before.iter().map(credit).eq(after.iter().map(credit))
}

/// The guide, store and kind of a touch: who and what its credit is counted for.
type Credit = (Symbol, Symbol, Kind);

fn credit_of(touch: &Touch) -> Credit {
    (touch.guide, touch.store, touch.kind)
}

/// A quick look at candidates: some further touches of which [`is_same_credit`] is true.
#[derive(Clone, Copy, Debug)]
pub(in crate::desk::shopper) struct Calm {
    /// A touch of a lower rank; `None`: no touch at all.
    rank: Option<Rank>,
    /// A touch of this rank between these times, exclusive,
    times: (Millis, Millis),
    /// or with this credit.
    credit: Option<Credit>,
}

impl Calm {
    pub(in crate::desk::shopper) fn of(candidates: &[Touch], attribution: &Attribution) -> Self {
        let none = Self { rank: None, times: (Millis::MAX, Millis::MIN), credit: None };
        // The first order decides by the times of touches.
        if attribution.members == Members::New {
            return none;
        }
        let Some(rank) = candidates.iter().map(|t| t.rank).max() else { return none };
        let mut ranked = candidates.iter().filter(|t| t.rank == rank);
        let calm = Self { rank: Some(rank), ..none };
        let Some(first) = ranked.next() else { return calm };
        match attribution.model {
            Model::Last if attribution.protect_ms == 0 => {
                let last = ranked.next_back().unwrap_or(first);
                Self { times: (Millis::MIN, last.time), credit: Some(credit_of(last)), ..calm }
            }
            // Only if no other touch can take over.
            Model::Last => {
                let is_only = ranked.all(|t| credit_of(t) == credit_of(first));
                Self { credit: is_only.then(|| credit_of(first)), ..calm }
            }
            Model::First => Self { times: (first.time, Millis::MAX), credit: Some(credit_of(first)), ..calm },
            Model::Linear | Model::Position => calm,
        }
    }

    /// Whether a touch is one of these.
    pub(in crate::desk::shopper) fn leaves(&self, touch: &Touch) -> bool {
        let Some(rank) = self.rank else { return false };
        let is_same =
            || self.times.0 < touch.time && touch.time < self.times.1 || self.credit == Some(credit_of(touch));
        touch.rank < rank || touch.rank == rank && is_same()
    }

    /// The touches that both leave alone, or fewer.
    pub(in crate::desk::shopper) fn and(&self, other: &Self) -> Self {
        match self.rank.cmp(&other.rank) {
            Ordering::Less => *self,
            Ordering::Greater => *other,
            Ordering::Equal => Self {
                rank: self.rank,
                times: (self.times.0.max(other.times.0), self.times.1.min(other.times.1)),
                credit: self.credit.filter(|_| self.credit == other.credit),
            },
        }
    }
}

/// The touch that holds the credit after a later touch.
fn holds<'a>(holder: &'a Touch, next: &'a Touch, protect_ms: i64) -> &'a Touch {
    let same = if holder.guide == NONE && next.guide == NONE {
        holder.store == next.store
    } else {
        holder.guide == next.guide
    };
    if same || next.time >= holder.time + protect_ms { next } else { holder }
}

/// 40 % first, 40 % last, 20 % evenly over the middle, in units of 1 / (5 × (n − 2)).
fn position_weights(n: usize) -> Vec<i64> {
    if n <= 2 {
        return vec![1; n];
    }
    let ends = 2 * i64::try_from(n - 2).unwrap_or(i64::MAX / 2);
    (0..n).map(|i| if i == 0 || i == n - 1 { ends } else { 1 }).collect()
}

/// Splits an order's net over its credited touches and computes what each payee is due.
pub(in crate::desk::shopper) fn share(credited: &mut [Credited], sale: &Sale, compiled: &CompiledRules) -> Vec<Due> {
    let weights: Vec<i64> = credited.iter().map(|c| c.weight).collect();
    for (credit, net) in credited.iter_mut().zip(split(sale.net, &weights)) {
        credit.net = net;
    }
    let paid: Vec<Option<(usize, Payee)>> = credited.iter().map(|c| paid(&c.touch, sale, compiled)).collect();
    let mut dues: Vec<Due> = Vec::new();
    for (i, sum) in paid.iter().enumerate() {
        let Some((terms, payee)) = *sum else { continue };
        if paid[..i].contains(sum) {
            continue;
        }
        let touches: Vec<usize> = (i..paid.len()).filter(|&j| paid[j] == *sum).collect();
        let parts: Vec<i64> = touches.iter().map(|&j| credited[j].net).collect();
        let commission = &compiled.book.rules.commissions[terms];
        let amount = share_ppm(parts.iter().sum(), commission.rate_ppm);
        for (&j, part) in touches.iter().zip(split(amount, &parts)) {
            credited[j].commission = part;
        }
        match dues.iter_mut().find(|d| d.payee == payee) {
            Some(due) => {
                due.amount += amount;
                due.hold_ms = due.hold_ms.max(commission.hold_ms);
            }
            None => dues.push(Due { payee, amount, hold_ms: commission.hold_ms }),
        }
    }
    dues
}

/// The commission terms of a touch (by index) and its payee; `None` if it earns no commission.
fn paid(touch: &Touch, sale: &Sale, compiled: &CompiledRules) -> Option<(usize, Payee)> {
    let rules = &compiled.book.rules;
    let guide = compiled.guide_of(touch.guide);
    let kind = match (touch.guide, touch.store) {
        (NONE, NONE) => return None,
        (NONE, _) => PayeeKind::Store,
        _ => PayeeKind::Guide,
    };
    let level = guide.and_then(|g| rules.guides[g as usize].level.as_deref());
    let terms = rules.commissions.iter().zip(&compiled.conditions).position(|(c, &(store, credited))| {
        c.payee == kind
            && c.from.is_none_or(|from| from <= sale.time)
            && c.to.is_none_or(|to| sale.time < to)
            && (store == NONE || store == sale.store)
            && (credited == NONE || credited == touch.guide)
            && (c.level.is_none() || c.level.as_deref() == level)
    })?;
    if rules.attribution.members == Members::New && sale.first_order < touch.time {
        return None;
    }
    let payee = match kind {
        PayeeKind::Store => {
            compiled.store_of(touch.store)?;
            Payee { kind, symbol: touch.store }
        }
        PayeeKind::Guide => guide_payee(guide?, sale, compiled)?,
    };
    Some((terms, payee))
}

/// The guide, or the successor of a guide who has left; `None` if the buyer would earn on the own purchase.
fn guide_payee(credited: u32, sale: &Sale, compiled: &CompiledRules) -> Option<Payee> {
    let guides = &compiled.book.guides;
    let is_buyer = |guide: u32| guides[guide as usize].shopper_key == Some(sale.buyer);
    if is_buyer(credited) {
        return None;
    }
    let mut guide = credited;
    // Successors form no cycle, so the chain is at most as long as the list of guides.
    for _ in 0..guides.len() {
        let terms = &guides[guide as usize];
        match (terms.left.is_some_and(|left| left <= sale.time), terms.successor) {
            (true, SuccessorTerms::Guide(next)) => guide = next,
            (true, SuccessorTerms::Store(store)) => {
                return Some(Payee { kind: PayeeKind::Store, symbol: compiled.stores[store as usize].sym });
            }
            (true, SuccessorTerms::Keep) | (false, _) => break,
        }
    }
    (!is_buyer(guide)).then_some(Payee { kind: PayeeKind::Guide, symbol: compiled.guides[guide as usize] })
}
