//! The segments of a merchant's state: tables, closed orders and shoppers.
//!
//! A segment is a row of [`Block`]s. Tables are written as the changes that make them, or, if they are large, part by part.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::compact::CompactTables;
use super::counting::{minute, repeats_keep_ms};
use super::{Merchant, MerchantState};
use crate::desk::shopper::money::order::Order;
use crate::desk::shopper::shoppers::Shoppers;
use crate::frame::{DecodeError, encode_into};
use crate::model::time::{Day, Millis};
use crate::protocol::stage::segments::{Noted, ROW_BYTES};
use crate::table::bucket::Bucket;
use crate::table::changes::{Change, changes, put};
use crate::table::table::{PARTS, Table};
use crate::table::uniform::UniformSet;

/// Maximum number of keys in a block of removed shoppers.
const REMOVED_TOGETHER: usize = 4_096;

/// What a block of a segment stores of a merchant.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::desk::shopper) enum Block<'a> {
    /// Changes of tables, in their order.
    Changes(#[serde(with = "serde_bytes")] &'a [u8]),
    /// Keys of shoppers who were removed. Those who came back are in a later block.
    Removed(Vec<u128>),
    /// Shoppers, in place of what is known of them.
    Shoppers(#[serde(with = "serde_bytes")] &'a [u8]),
    /// A part of a table.
    Part(TableName, u16, #[serde(with = "serde_bytes")] &'a [u8]),
}

/// A table that can have parts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::desk::shopper) enum TableName {
    Delivered,
    Entered,
    Repeats,
    /// Distinct shoppers of a day.
    Uniques(Day),
}

/// A cut of a merchant that is not written to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    changes: VecDeque<Vec<u8>>,
    removed: Vec<u128>,
}

/// Where the writing of a merchant's base is.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::desk::shopper) enum BaseAt {
    /// What is small.
    #[default]
    Sets,
    /// A part of a table.
    Part(TableName, usize),
    /// Shoppers from a place on.
    Shoppers(usize),
}

impl Merchant {
    /// From now on it notes what changes.
    pub(in crate::desk::shopper) fn track(&mut self) {
        self.changes = Some(Noted::default());
        self.state.shoppers.track();
    }

    /// Notes a change, if changes are noted.
    pub(super) fn note(&mut self, change: Change) {
        if let Some(changes) = self.changes.as_mut().and_then(Noted::room) {
            put(changes, change);
        }
    }

    /// Size of the changes that are noted, bytes; `None` if there were too many.
    pub(in crate::desk::shopper) fn changed_bytes(&self) -> Option<usize> {
        self.changes.as_ref().map_or(Some(0), Noted::len)
    }

    /// Begins a cut.
    pub(in crate::desk::shopper) fn cut(&mut self) {
        let changes = self.changes.as_mut().map(Noted::take).unwrap_or_default();
        self.cut = Some(Cut { changes, removed: self.state.shoppers.cut() });
    }

    /// Writes blocks of the cut until there are about `until` bytes. Returns whether they were the last; a merchant that came after the
    /// cut has none.
    pub(in crate::desk::shopper) fn write_cut(&mut self, until: usize, to: &mut Vec<u8>) -> bool {
        let Some(cut) = &mut self.cut else { return true };
        let name = &self.state.name;
        while let Some(changes) = cut.changes.pop_front() {
            encode_into(to, &(name, Block::Changes(&changes)));
            if to.len() >= until {
                return false;
            }
        }
        while !cut.removed.is_empty() {
            let some = cut.removed.split_off(cut.removed.len().saturating_sub(REMOVED_TOGETHER));
            encode_into(to, &(name, Block::Removed(some)));
            if to.len() >= until {
                return false;
            }
        }
        let mut shoppers = Vec::new();
        let is_last = self.state.shoppers.write_cut(until.saturating_sub(to.len()), &mut shoppers);
        if !shoppers.is_empty() {
            encode_into(to, &(name, Block::Shoppers(&shoppers)));
        }
        if is_last {
            self.cut = None;
        }
        is_last
    }

    /// Writes the next block of the base. Returns where the next one is; `None` if it was the last.
    pub(in crate::desk::shopper) fn write_base(&self, at: BaseAt, to: &mut Vec<u8>) -> Option<BaseAt> {
        let none = CompactTables::default();
        let tables = self.compact.as_deref().unwrap_or(&none);
        let name = &self.state.name;
        let mut part = |table: TableName, index: usize, bytes: Option<Vec<u8>>| {
            bytes.map(|bytes| encode_into(to, &(name, Block::Part(table, index as u16, &bytes))))?;
            (index + 1 < PARTS).then_some(BaseAt::Part(table, index + 1))
        };
        let uniques_from = |day: Day| match tables.uniques.day_from(day) {
            Some((day, _)) => BaseAt::Part(TableName::Uniques(day), 0),
            None => BaseAt::Shoppers(0),
        };
        Some(match at {
            BaseAt::Sets => {
                for changes in sets(tables, &self.state.closed) {
                    encode_into(to, &(name, Block::Changes(&changes)));
                }
                BaseAt::Part(TableName::Delivered, 0)
            }
            BaseAt::Part(table @ TableName::Delivered, index) => {
                let next = part(table, index, tables.delivered.table().save_part(index));
                next.unwrap_or(BaseAt::Part(TableName::Entered, 0))
            }
            BaseAt::Part(table @ TableName::Entered, index) => {
                let next = part(table, index, tables.entered.save_part(index));
                next.unwrap_or(BaseAt::Part(TableName::Repeats, 0))
            }
            BaseAt::Part(table @ TableName::Repeats, index) => {
                let next = part(table, index, tables.repeats.table().save_part(index));
                next.unwrap_or_else(|| uniques_from(Day::MIN))
            }
            BaseAt::Part(table @ TableName::Uniques(day), index) => {
                let keys = tables.uniques.day_from(day).filter(|(found, _)| *found == day);
                let next = part(table, index, keys.and_then(|(_, keys)| keys.save_part(index)));
                next.unwrap_or_else(|| uniques_from(day.saturating_add(1)))
            }
            BaseAt::Shoppers(first) => {
                let mut shoppers = Vec::new();
                let next = self.state.shoppers.write_from(first, &mut shoppers)?;
                if !shoppers.is_empty() {
                    encode_into(to, &(name, Block::Shoppers(&shoppers)));
                }
                BaseAt::Shoppers(next)
            }
        })
    }

    /// Restores a block. `received` is the highest of the state that is restored.
    ///
    /// # Errors
    /// The bytes are not what they say.
    pub(in crate::desk::shopper) fn load(&mut self, block: Block<'_>, received: Millis) -> Result<(), DecodeError> {
        let Self { compiled, compact, state, .. } = self;
        let tables = compact.get_or_insert_default();
        let MerchantState { shoppers, closed, .. } = state;
        match block {
            Block::Changes(bytes) => {
                let rules = &compiled.book.rules;
                let (now, horizon) = (minute(received), rules.dedup.horizon_minutes);
                let counted_from = received - repeats_keep_ms(rules) + 1;
                for change in changes(bytes) {
                    match change? {
                        Change::Delivered { key, minute } => tables.delivered.restore(key, minute, now, horizon),
                        Change::Distinct { key, day } => {
                            tables.uniques.day_mut(day).into_iter().for_each(|keys| keys.restore(key, 0, (), 0));
                        }
                        Change::Counted { key, time, received } => {
                            tables.repeats.restore(key, time, received, counted_from);
                        }
                        Change::Entered { key } => tables.entered.restore(key, 0, (), 0),
                        Change::Closed { key } => drop(closed.insert(key)),
                    }
                }
            }
            Block::Removed(keys) => keys.into_iter().for_each(|key| shoppers.remove(key)),
            Block::Shoppers(bytes) => shoppers.load(bytes)?,
            Block::Part(table, index, bytes) => {
                let index = usize::from(index);
                match table {
                    TableName::Delivered => tables.delivered.table_mut().restore_part(index, bytes)?,
                    TableName::Entered => tables.entered.restore_part(index, bytes)?,
                    TableName::Repeats => tables.repeats.table_mut().restore_part(index, bytes)?,
                    TableName::Uniques(day) => {
                        if let Some(keys) = tables.uniques.day_mut(day) {
                            keys.restore_part(index, bytes)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// All blocks are restored.
    pub(in crate::desk::shopper) fn loaded(&mut self) {
        self.state.shoppers.loaded();
        self.waiting_refunds = waiting_refunds(&self.state.shoppers);
    }
}

/// Number of refunds that wait for their order.
pub(super) fn waiting_refunds(shoppers: &Shoppers) -> usize {
    shoppers.iter().flat_map(|(_, shopper)| shopper.orders()).map(Order::waiting_refunds).sum()
}

/// The changes that make the closed orders, and the tables that have no parts, in rows.
fn sets(tables: &CompactTables, closed: &UniformSet) -> Vec<Vec<u8>> {
    let mut rows = vec![Vec::new()];
    let mut add = |change| {
        if rows.last().is_none_or(|row| row.len() >= ROW_BYTES) {
            rows.push(Vec::new());
        }
        rows.last_mut().into_iter().for_each(|row| put(row, change));
    };
    let CompactTables { delivered, uniques, repeats, entered } = tables;
    for (key, minute, ()) in small(delivered.table()) {
        add(Change::Delivered { key, minute: u32::try_from(minute).unwrap_or(0) });
    }
    for (key, received, time) in small(repeats.table()) {
        add(Change::Counted { key, time, received });
    }
    for (key, ..) in small(entered) {
        add(Change::Entered { key });
    }
    let mut next = uniques.day_from(Day::MIN);
    while let Some((day, keys)) = next {
        small(keys).for_each(|(key, ..)| add(Change::Distinct { key, day }));
        next = uniques.day_from(day.saturating_add(1));
    }
    closed.iter().for_each(|&key| add(Change::Closed { key }));
    rows
}

fn small<B: Bucket>(table: &Table<B>) -> impl Iterator<Item = (u128, i64, B::Value)> {
    table.small_entries()
}
