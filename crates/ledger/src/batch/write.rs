//! Writes batches into the tables.
//!
//! Tables are written in a fixed order, and rows that two facts partitions may share (rules) in the order of their keys. So two
//! writers of the same rows wait one after the other and never deadlock.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::{ALARMS, AWARDS, COUNTERS, FUNNELS, MEMBERS, ORDERS, POSTINGS, RULES, UNLOCKING};
use super::{Batch, Cell, Cells, MerchantNumber, Row};
use crate::error::LedgerError;
use crate::segments::buffer::Buffer;
use crate::segments::{self, ALWAYS, SegmentKind};
use crate::store::sums::divided;
use crate::store::{Insert, Sink, Store, Value};

type Written = Result<(), LedgerError>;

/// Writes batches within a transaction, in ascending order of their facts partitions. `owner` has the segments: a facts partition
/// whose position the transaction has locked.
pub(crate) fn write(batches: &[(u16, &Batch)], owner: u16, store: &mut dyn Store) -> Written {
    store.insert(&RULES, &mut |rows| put_rules(batches, rows))?;
    let mut each = |table: &'static Insert, put: fn(&Batch, i64, &mut dyn Sink) -> Written| {
        store.insert(table, &mut |rows| {
            batches.iter().try_for_each(|(facts, batch)| put(batch, i64::from(*facts), rows))
        })
    };
    each(&COUNTERS, Batch::put_counters)?;
    each(&FUNNELS, Batch::put_funnels)?;
    each(&POSTINGS, |batch, _, rows| batch.put_added(&batch.postings, rows))?;
    each(&ORDERS, |batch, _, rows| {
        batch.orders.iter().try_for_each(|((merchant, number, shopper), cells)| {
            put_cells(&[batch.name(*merchant).into(), number.as_str().into(), shopper.as_str().into()], cells, rows)
        })
    })?;
    each(&MEMBERS, |batch, _, rows| batch.put_latest(&batch.members, rows))?;
    each(&AWARDS, |batch, _, rows| batch.put_added(&batch.awards, rows))?;
    each(&UNLOCKING, |batch, _, rows| batch.put_added(&batch.unlocking, rows))?;
    each(&ALARMS, |batch, _, rows| batch.put_latest(&batch.alarms, rows))?;
    let mut add = |kind, of: fn(&Batch) -> &Buffer| {
        let buffers: Vec<&Buffer> = batches.iter().map(|(_, batch)| of(batch)).collect();
        segments::add(store, owner, kind, ALWAYS, &buffers)
    };
    add(SegmentKind::Codes, |batch| &batch.codes)?;
    add(SegmentKind::Claims, |batch| &batch.claims)?;
    add(SegmentKind::Scans, |batch| &batch.scans)?;
    let hours: BTreeSet<i64> = batches.iter().flat_map(|(_, batch)| batch.answers.keys().copied()).collect();
    hours.into_iter().try_for_each(|hour| {
        let buffers: Vec<&Buffer> = batches.iter().filter_map(|(_, batch)| batch.answers.get(&hour)).collect();
        segments::add(store, owner, SegmentKind::Answers, hour, &buffers)
    })
}

fn put_rules(batches: &[(u16, &Batch)], rows: &mut dyn Sink) -> Written {
    // Every partition holds the same rules.
    let all: BTreeMap<_, _> =
        batches.iter().flat_map(|(_, batch)| batch.rules.iter().map(|(seq, rules)| (*seq, (*batch, rules)))).collect();
    for (seq, (batch, rules)) in all {
        let name = batch.name(rules.merchant);
        rows.put(&[
            i64::from(seq.0).into(),
            name.into(),
            rules.sha256.as_str().into(),
            rules.currency.as_str().into(),
        ])?;
    }
    Ok(())
}

/// Writes a row: its first values, then its cells.
fn put_cells(first: &[Value<'_>], cells: &[Cell], rows: &mut dyn Sink) -> Written {
    let mut row = [Value::Null; COLUMNS_MAX];
    row[..first.len()].copy_from_slice(first);
    for (value, cell) in row[first.len()..].iter_mut().zip(cells) {
        *value = match cell {
            Cell::Null => Value::Null,
            Cell::Int(int) => Value::Int(*int),
            Cell::Text(text) => Value::Text(text),
            Cell::Word(word) => Value::Text(word),
        };
    }
    rows.put(&row[..first.len() + cells.len()])
}

/// Maximum number of columns of a table; a wider row panics.
const COLUMNS_MAX: usize = 16;

impl Batch {
    fn name(&self, merchant: MerchantNumber) -> &str {
        &self.merchants[merchant as usize]
    }

    fn put_counters(&self, facts: i64, rows: &mut dyn Sink) -> Written {
        for ((merchant, scope), keys) in &self.counters {
            // In order, so that neighbouring rows are written to the same pages.
            let mut keys: Vec<_> = keys.iter().collect();
            keys.sort_unstable_by_key(|(key, _)| *key);
            for (key, sums) in keys {
                let mut sums: Vec<_> = sums.iter().filter(|(_, sum)| **sum != 0).collect();
                sums.sort_unstable_by_key(|(what, _)| **what);
                for ((day, metric), sum) in sums {
                    let (carry, value) = divided(*sum);
                    rows.put(&[
                        self.name(*merchant).into(),
                        scope.as_str().into(),
                        key.as_str().into(),
                        i64::from(*day).into(),
                        metric.as_str().into(),
                        facts.into(),
                        carry.into(),
                        value.into(),
                    ])?;
                }
            }
        }
        Ok(())
    }

    fn put_funnels(&self, facts: i64, rows: &mut dyn Sink) -> Written {
        for ((merchant, funnel, step, action, channel, day), shoppers) in &self.funnels {
            rows.put(&[
                self.name(*merchant).into(),
                funnel.as_str().into(),
                i64::from(*step).into(),
                action.as_str().into(),
                channel.as_str().into(),
                i64::from(*day).into(),
                facts.into(),
                (*shoppers).into(),
            ])?;
        }
        Ok(())
    }

    fn put_added(&self, added: &[Row], rows: &mut dyn Sink) -> Written {
        added.iter().try_for_each(|row| put_cells(&[self.name(row.merchant).into()], &row.cells, rows))
    }

    fn put_latest(&self, latest: &BTreeMap<(MerchantNumber, String), Cells>, rows: &mut dyn Sink) -> Written {
        latest.iter().try_for_each(|((merchant, key), cells)| {
            put_cells(&[self.name(*merchant).into(), key.as_str().into()], cells, rows)
        })
    }
}
