//! The shopper desk: duplicates, repeats, touches, orders, members, entries, funnels, counters (contract sections 2, 5,
//! 6 and 7). It owns the whole state of a shopper.

mod compiled_rules;
mod counters;
mod entry;
mod funnel;
mod merchant;
mod money;
mod named_texts;
mod resolve;
mod settle;
#[expect(clippy::module_inception, reason = "the shopper of the shopper desk")]
mod shopper;
mod shoppers;

use std::collections::BTreeMap;
use std::ops::Bound;

use merchant::{BaseAt, Block, CompactTables, Merchant, MerchantState, SavedBounds};

use crate::frame::{self, DecodeError, Frame, Kind, decode, encode};
use crate::model::address::Topic;
use crate::model::event::Event;
use crate::model::fact::{Fact, What};
use crate::model::rules::rulebook::Library;
use crate::model::time::Millis;
use crate::protocol::behaviour::Behaviour;
use crate::protocol::error::{DeskError, RestoreError};
use crate::protocol::kept::Kept;
use crate::protocol::stage::segments::Segments;
use crate::protocol::stage::{Desk, Marker, Outbox};

/// Size that an event has at least in a frame, bytes, as long as its keys are uniform.
const EVENT_BYTES: usize = 40;
/// Number of events whose lines are read ahead: what they touch stays in the nearest caches until they are applied.
const LOOK_AHEAD: usize = 32;

/// State: the shoppers of one partition, by merchant.
#[derive(Clone, Debug, Default)]
pub struct ShopperDesk {
    merchants: BTreeMap<Box<str>, Merchant>,
    /// The highest `received` so far; it never decreases.
    received: Millis,
    /// `None` before the first marker.
    behaviour: Option<Behaviour>,
    /// Whether changes are noted.
    is_tracked: bool,
    /// Where the writing of a base is: the merchant, and where in it.
    base: Option<(Box<str>, BaseAt)>,
}

/// The sums by name, in the order in which the names come.
fn add_up<N: std::ops::AddAssign>(counts: impl Iterator<Item = (&'static str, N)>) -> Vec<(&'static str, N)> {
    let mut sums: Vec<(&'static str, N)> = Vec::new();
    for (name, count) in counts {
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => sums.push((name, count)),
        }
    }
    sums
}

impl Segments for ShopperDesk {
    fn has_segments(&self) -> bool {
        true
    }

    fn track(&mut self) {
        self.is_tracked = true;
        self.merchants.values_mut().for_each(Merchant::track);
    }

    fn changed_bytes(&self) -> Option<usize> {
        self.merchants.values().map(Merchant::changed_bytes).sum()
    }

    fn cut(&mut self) {
        self.merchants.values_mut().for_each(Merchant::cut);
    }

    fn write_cut(&mut self, until: usize, to: &mut Vec<u8>) -> bool {
        self.merchants.values_mut().all(|merchant| to.len() < until && merchant.write_cut(until, to))
    }

    fn begin_base(&mut self) {
        self.base = self.merchants.keys().next().map(|first| (first.clone(), BaseAt::default()));
    }

    fn write_base(&mut self, until: usize, to: &mut Vec<u8>) -> bool {
        while let Some((name, at)) = &self.base {
            if to.len() >= until {
                return false;
            }
            let next = self.merchants.get(name).and_then(|merchant| merchant.write_base(*at, to));
            self.base = match next {
                Some(at) => Some((name.clone(), at)),
                None => {
                    let after = (Bound::Excluded(name.clone()), Bound::Unbounded);
                    let mut rest = self.merchants.range::<Box<str>, _>(after);
                    rest.next().map(|(name, _)| (name.clone(), BaseAt::default()))
                }
            };
        }
        true
    }

    fn load_segment(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            let ((name, block), rest) = frame::take_from_row::<(&str, Block<'_>)>(bytes)?;
            bytes = rest;
            let merchant = self.merchants.get_mut(name);
            let unknown = || DecodeError::Malformed(format!("the head has no merchant {name}"));
            merchant.ok_or_else(unknown)?.load(block, self.received)?;
        }
        Ok(())
    }

    fn loaded(&mut self) {
        self.merchants.values_mut().for_each(Merchant::loaded);
    }
}

impl Desk for ShopperDesk {
    const TOPIC: Topic = Topic::Scans;

    fn save(&self) -> Vec<u8> {
        let merchants: Vec<(&str, &MerchantState)> =
            self.merchants.iter().map(|(name, m)| (&**name, m.state())).collect();
        // Workers of the build that introduced a behaviour read it too.
        if !self.behaviour.is_some_and(|behaviour| behaviour.is_bounded) {
            return encode(&(self.received, merchants));
        }
        let bounds: Vec<Option<SavedBounds>> = self.merchants.values().map(Merchant::save_bounds).collect();
        if !self.behaviour.is_some_and(|behaviour| behaviour.has_compact_tables) {
            return encode(&(self.received, merchants, bounds));
        }
        let tables: Vec<Option<&CompactTables>> = self.merchants.values().map(Merchant::compact_tables).collect();
        encode(&(self.received, merchants, bounds, tables))
    }

    fn save_head(&self) -> Vec<u8> {
        let of = self.merchants.values();
        let merchants: Vec<_> = self.merchants.iter().map(|(name, m)| (&**name, m.head())).collect();
        let bounds: Vec<Option<SavedBounds>> = of.clone().map(Merchant::bounds_head).collect();
        let tables: Vec<Option<CompactTables>> = of.map(Merchant::compact_head).collect();
        encode(&(self.received, merchants, bounds, tables))
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        add_up(self.merchants.values().flat_map(Merchant::sizes))
    }

    fn kept(&self) -> Kept {
        Kept {
            waiting_refunds: self.merchants.values().map(Merchant::waiting_refunds).sum(),
            bounds_reached: add_up(self.merchants.values().flat_map(Merchant::bounds_reached)),
            looked_at: self.merchants.values().map(Merchant::looked_at).sum(),
            inactive_scans: self.merchants.values().map(|merchant| merchant.suspect_scans().inactive).sum(),
            diverted_scans: self.merchants.values().map(|merchant| merchant.suspect_scans().diverted).sum(),
            codes_in_alarm: 0,
        }
    }

    fn load(state: &[u8], library: &Library, behaviour: Option<Behaviour>) -> Result<Self, RestoreError> {
        type Merchants = Vec<(Box<str>, MerchantState)>;
        type Bounds = Vec<Option<SavedBounds>>;
        type Tables = Vec<Option<CompactTables>>;
        let (received, merchants, bounds, tables): (Millis, Merchants, Bounds, Tables) = match behaviour {
            Some(Behaviour { has_compact_tables: true, .. }) => decode(state)?,
            Some(Behaviour { is_bounded: true, .. }) => {
                let (received, merchants, bounds) = decode(state)?;
                (received, merchants, bounds, Vec::new())
            }
            _ => {
                let (received, merchants) = decode(state)?;
                (received, merchants, Vec::new(), Vec::new())
            }
        };
        let bounds = bounds.into_iter().chain(std::iter::repeat_with(|| None));
        let tables = tables.into_iter().chain(std::iter::repeat_with(|| None));
        let merchants = merchants
            .into_iter()
            .zip(bounds.zip(tables))
            .map(|((name, state), (bounds, tables))| Ok((name, Merchant::restore(state, bounds, tables, library)?)));
        let merchants = merchants.collect::<Result<_, RestoreError>>()?;
        Ok(Self { merchants, received, behaviour, is_tracked: false, base: None })
    }

    fn behave(&mut self, behaviour: Behaviour) {
        self.behaviour = Some(behaviour);
        self.merchants.values_mut().for_each(|merchant| merchant.behave(behaviour));
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
        let mut events = Vec::with_capacity((frame.count as usize).min(frame.body.len() / EVENT_BYTES));
        for event in frame.items::<Event<'_>>() {
            events.push(event?);
        }
        let of_merchants = || events.chunk_by(|a, b| a.merchant == b.merchant);
        for of_merchant in of_merchants() {
            let name = of_merchant[0].merchant;
            let Some(merchant) = self.merchants.get(name) else {
                return Err(DeskError::NoRules(name.to_owned()));
            };
            merchant.check_secrets()?;
        }
        for of_merchant in of_merchants() {
            let Some(merchant) = self.merchants.get_mut(of_merchant[0].merchant) else { continue };
            for events in of_merchant.chunks(LOOK_AHEAD) {
                merchant.look_ahead(events);
                for event in events {
                    self.received = self.received.max(event.stamp.min(append));
                    merchant.event(event, self.received, out);
                }
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
                let mut merchant = Merchant::new(marker.merchant, book, self.behaviour);
                if self.is_tracked {
                    merchant.track();
                }
                self.merchants.insert(marker.merchant.into(), merchant);
            }
        }
        let what = What::Rules { seq: book.seq, sha256: book.sha256, currency: &book.rules.currency };
        out.fact(&Fact { merchant: marker.merchant, what });
        Ok(())
    }
}
