//! What has an id: each once, none unknown, no chain of them in a cycle.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::table::{Notes, SourceLocation};
use crate::json::quoted;

/// The ids of one kind of things, each with the place where it was first given.
pub(super) struct Ids<K> {
    thing: &'static str,
    places: BTreeMap<K, SourceLocation>,
}

impl<K: Ord + Display> Ids<K> {
    pub(super) fn of(thing: &'static str) -> Self {
        Self { thing, places: BTreeMap::new() }
    }

    /// Notes an id that another thing has.
    pub(super) fn add(&mut self, notes: &Notes, id: K, at: SourceLocation) {
        if let Some(first) = self.places.get(&id) {
            let (id, thing) = (quoted(&id.to_string()), self.thing);
            notes.mistake(&at, format!("is {id}, as is another {thing}'s at {}:{}", first.file, first.line));
        } else {
            self.places.insert(id, at);
        }
    }
}

impl Ids<String> {
    pub(super) fn has(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    /// Notes an id that nothing has.
    pub(super) fn check(&self, notes: &Notes, id: Option<&String>, at: &SourceLocation) {
        if let Some(id) = id.filter(|id| !self.has(id)) {
            notes.lack(at, format!("is {}, which is no {} here", quoted(id), self.thing));
        }
    }
}

/// From one id to another, as it is written at a place.
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) at: SourceLocation,
}

/// Notes each cycle of arrows once, at its first arrow in the order given.
pub(super) fn check_cycles(notes: &Notes, arrows: &[Arrow]) {
    const SHOWN_MAX: usize = 8;
    let by_start: BTreeMap<&str, usize> = arrows.iter().enumerate().rev().map(|(i, a)| (a.from.as_str(), i)).collect();
    // 0 is not visited yet, else the walk that came by first.
    let mut walks = vec![0; arrows.len()];
    for start in 0..arrows.len() {
        let walk = start + 1;
        let mut at = Some(start);
        while let Some(i) = at.filter(|&i| walks[i] == 0) {
            walks[i] = walk;
            at = by_start.get(arrows[i].to.as_str()).copied();
        }
        if let Some(i) = at.filter(|&i| walks[i] == walk) {
            let next = |i: usize| by_start.get(arrows[i].to.as_str()).copied().filter(|&next| next != i);
            let mut members = vec![i];
            members.extend(std::iter::successors(next(i), |&j| next(j)).take_while(|&j| j != i));
            let first = members.iter().copied().min().unwrap_or(i);
            let turn = members.iter().position(|&member| member == first).unwrap_or(0);
            members.rotate_left(turn);
            let mut shown: Vec<&str> = members.iter().take(SHOWN_MAX).map(|&m| arrows[m].from.as_str()).collect();
            if members.len() > SHOWN_MAX {
                shown.push("…");
            }
            shown.push(&arrows[first].from);
            notes.mistake(&arrows[first].at, format!("goes in a cycle: {}", shown.join(" → ")));
        }
    }
}
