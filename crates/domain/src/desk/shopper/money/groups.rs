//! Orders of one shopper that have the same candidates, as groups: a touch that changes the credit of none of them is added once
//! for all of them.
//!
//! An order in a group has its candidates there and none of its own. No answer depends on which orders are in groups.

use std::sync::Arc;

use super::order::Order;
use super::touch::{Touch, insert};
use crate::model::rules::RulesSeq;
use crate::model::time::Millis;

/// Least number of orders of a new group.
const GROUPED_FROM: usize = 16;
/// Maximum number of groups: each touch looks at all of them.
const GROUPS_MAX: usize = 64;
/// The number of no group.
const NONE: u8 = u8::MAX;

/// What a touch is to the orders of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::desk::shopper) enum Relation {
    /// It is a candidate of none.
    None,
    /// It is a candidate of all, and changes the credit of none.
    Unchanged,
    /// Each order must be looked at.
    Other,
}

#[derive(Clone, Debug)]
pub(in crate::desk::shopper) struct Group {
    pub(in crate::desk::shopper) candidates: Arc<Vec<Touch>>,
    pub(in crate::desk::shopper) rules: RulesSeq,
    /// The first and the last time of an order when the group was made.
    pub(in crate::desk::shopper) times: (Millis, Millis),
    members: usize,
}

/// The groups of a shopper's orders.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// The group of the order at each place; places beyond the end have none.
    of: Vec<u8>,
    members: usize,
}

impl Groups {
    /// Number of orders in groups.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// The group of the order at a place.
    pub(super) fn of(&self, at: usize) -> Option<&Group> {
        self.of.get(at).and_then(|&group| self.groups.get(usize::from(group)))
    }

    /// Takes an order out of its group; it gets its candidates.
    pub(super) fn leave(&mut self, at: usize, order: &mut Order) {
        let Some(of) = self.of.get_mut(at).filter(|of| **of != NONE) else { return };
        let group = &mut self.groups[usize::from(*of)];
        order.candidates = Arc::clone(&group.candidates);
        *of = NONE;
        group.members -= 1;
        self.members -= 1;
    }

    /// Adds a touch to the groups whose orders it does not change. Orders that must be looked at leave their groups.
    pub(super) fn add(&mut self, touch: Touch, orders: &mut [Order], relation: impl Fn(&Group) -> Relation) {
        for number in 0..self.groups.len() {
            let group = &mut self.groups[number];
            if group.members == 0 {
                continue;
            }
            match relation(group) {
                Relation::None => {}
                Relation::Unchanged => insert(Arc::make_mut(&mut group.candidates), touch),
                Relation::Other => {
                    let members: Vec<usize> =
                        (0..self.of.len()).filter(|&at| usize::from(self.of[at]) == number).collect();
                    members.into_iter().for_each(|at| self.leave(at, &mut orders[at]));
                }
            }
        }
    }

    /// Makes groups of orders that follow each other in `places` and share their candidates.
    pub(super) fn make(&mut self, places: &[usize], orders: &mut [Order]) {
        let none = Arc::default();
        let same = |&one: &usize, &other: &usize| {
            let (one, other) = (&orders[one], &orders[other]);
            Arc::ptr_eq(&one.candidates, &other.candidates) && one.rules == other.rules
        };
        let runs: Vec<&[usize]> = places.chunk_by(same).filter(|run| run.len() >= GROUPED_FROM).collect();
        for run in runs {
            let free = self.groups.iter().position(|group| group.members == 0);
            let number = free.unwrap_or(self.groups.len());
            if number >= GROUPS_MAX {
                return;
            }
            let times = || run.iter().filter_map(|&at| orders[at].time());
            let (Some(first), Some(last)) = (times().min(), times().max()) else { continue };
            let order = &orders[run[0]];
            let candidates = Arc::clone(&order.candidates);
            let group = Group { candidates, rules: order.rules, times: (first, last), members: run.len() };
            match free {
                Some(at) => self.groups[at] = group,
                None => self.groups.push(group),
            }
            self.of.resize(orders.len(), NONE);
            self.members += run.len();
            for &at in run {
                self.of[at] = u8::try_from(number).expect("fewer groups than that");
                orders[at].candidates = Arc::clone(&none);
            }
        }
    }
}
