//! The shoppers of a merchant in one partition, by key, and the days on which they are swept.
//!
//! A shopper stays in one place, in a chunk of memory that is never moved; indexes of four bytes find it. Many indexes are cut into
//! parts, so that only one of them grows at a time.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashTable;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::funnel::Attempt;
use super::shopper::Shopper;
use crate::frame::{self, DecodeError, encode_into};

/// Number of shoppers in a chunk.
const CHUNK: usize = 1_024;
/// Number of chunks in which what shoppers own beside their places is added up; for more chunks it is estimated from these.
const MEASURED_CHUNKS: usize = 4;
/// Number of places that are written together to a base.
const WRITTEN_TOGETHER: usize = 128;
/// Number of shoppers above which there are several parts.
const SINGLE_MAX: usize = 4_096;
/// Number of parts then.
const PARTS: usize = 1_024;

/// The place of a shopper: its chunk, and where in it.
type Place = u32;
type Slot = Option<(u128, Shopper)>;

#[derive(Clone, Debug, Default)]
pub(super) struct Shoppers {
    chunks: Vec<Vec<Slot>>,
    /// Places of shoppers that are gone.
    free: Vec<Place>,
    /// None while there is no shopper, else 1 or [`PARTS`].
    parts: Vec<HashTable<Place>>,
    len: usize,
    /// The places of shoppers to sweep, by day of `received`; each shopper at most once.
    sweep: BTreeMap<i32, Vec<Place>>,
    /// What changed; `None` unless changes are noted.
    marks: Option<Box<Marks>>,
}

/// Which shoppers changed since the last cut, and which of them the cut has still to write.
#[derive(Clone, Debug, Default)]
struct Marks {
    changed: Bits,
    unwritten: Bits,
    /// Shoppers of the cut that were written early, because they were about to change.
    early: Vec<u8>,
    /// Keys of shoppers who were removed since the last cut.
    removed: Vec<u128>,
    /// The word of `unwritten` that is written next.
    at: usize,
}

/// A bit for each place.
#[derive(Clone, Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, place: Place) {
        let word = place as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (place % 64);
    }

    /// Clears a bit; returns whether it was set.
    fn take(&mut self, place: Place) -> bool {
        let Some(word) = self.0.get_mut(place as usize / 64) else { return false };
        let was = *word & (1 << (place % 64)) != 0;
        *word &= !(1 << (place % 64));
        was
    }
}

impl Marks {
    /// A shopper is about to change, or to be removed: a cut stores what she is now.
    fn before_change(&mut self, chunks: &[Vec<Slot>], place: Place) {
        if self.unwritten.take(place) {
            write(chunks, place, &mut self.early);
        }
    }
}

impl Shoppers {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: u128) -> Option<&Shopper> {
        let place = self.find(key)?;
        slot(&self.chunks, place).as_ref().map(|(_, shopper)| shopper)
    }

    pub(super) fn get_mut(&mut self, key: u128) -> Option<&mut Shopper> {
        let place = self.find(key)?;
        self.mark(place);
        slot_mut(&mut self.chunks, place).as_mut().map(|(_, shopper)| shopper)
    }

    /// The shopper of a key, who is added if there is none.
    pub(super) fn get_or_add(&mut self, key: u128) -> &mut Shopper {
        let place = self.find(key).unwrap_or_else(|| self.add(key));
        self.mark(place);
        &mut slot_mut(&mut self.chunks, place).get_or_insert_with(|| (key, Shopper::default())).1
    }

    /// Removes a shopper who is in no day's list, or whose lists are made anew.
    pub(super) fn remove(&mut self, key: u128) {
        let part = self.part(key);
        let Some(table) = self.parts.get_mut(part) else { return };
        let Ok(entry) = table.find_entry(hash(key), |&place| is_of(&self.chunks, place, key)) else { return };
        let (place, _) = entry.remove();
        if let Some(marks) = &mut self.marks {
            marks.before_change(&self.chunks, place);
            marks.changed.take(place);
            marks.removed.push(key);
        }
        *slot_mut(&mut self.chunks, place) = None;
        self.free.push(place);
        self.len -= 1;
    }

    /// All of them, with their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, &Shopper)> {
        self.chunks.iter().flatten().flatten().map(|(key, shopper)| (*key, shopper))
    }

    /// Puts a shopper who is in no day's list into that of the day of `received` that `day` gives.
    pub(super) fn schedule(&mut self, key: u128, day: impl FnOnce(&Shopper) -> Option<i64>) {
        let Some(place) = self.find(key) else { return };
        let Some((_, shopper)) = slot(&self.chunks, place) else { return };
        if shopper.due().is_none()
            && let Some(day) = day(shopper)
        {
            // A sweep far ahead may as well come earlier.
            let day = i32::try_from(day).unwrap_or(i32::MAX);
            self.set_due(place, Some(day));
            self.sweep.entry(day).or_default().push(place);
        }
    }

    /// Takes a shopper out of a list of today or an earlier day.
    pub(super) fn due(&mut self, today: i64) -> Option<u128> {
        loop {
            let mut first = self.sweep.first_entry().filter(|first| i64::from(*first.key()) <= today)?;
            let Some(place) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            let Some(&(key, _)) = slot(&self.chunks, place).as_ref() else { continue };
            self.set_due(place, None);
            return Some(key);
        }
    }

    fn set_due(&mut self, place: Place, day: Option<i32>) {
        self.mark(place);
        if let Some((_, shopper)) = slot_mut(&mut self.chunks, place) {
            shopper.set_due(day);
        }
    }

    /// A shopper is about to change.
    fn mark(&mut self, place: Place) {
        if let Some(marks) = &mut self.marks {
            marks.before_change(&self.chunks, place);
            marks.changed.set(place);
        }
    }

    /// From now on it notes who changes.
    pub(super) fn track(&mut self) {
        self.marks = Some(Box::default());
    }

    /// Begins a cut: who changed until now is written by [`Shoppers::write_cut`], as she is now. The cut before is written to its end.
    /// Returns the keys of those who were removed since then; who came back is written, too.
    pub(super) fn cut(&mut self) -> Vec<u128> {
        let Some(marks) = &mut self.marks else { return Vec::new() };
        marks.unwritten = std::mem::take(&mut marks.changed);
        (marks.early, marks.at) = (Vec::new(), 0);
        std::mem::take(&mut marks.removed)
    }

    /// Writes about `bytes` bytes of shoppers of the cut. Returns whether they were the last.
    pub(super) fn write_cut(&mut self, bytes: usize, to: &mut Vec<u8>) -> bool {
        let Some(marks) = &mut self.marks else { return true };
        to.append(&mut marks.early);
        while let Some(word) = marks.unwritten.0.get_mut(marks.at) {
            if to.len() >= bytes {
                return false;
            }
            let first = marks.at * 64;
            let mut left = std::mem::take(word);
            while left != 0 {
                let place = first + left.trailing_zeros() as usize;
                write(&self.chunks, Place::try_from(place).unwrap_or(Place::MAX), to);
                left &= left - 1;
            }
            marks.at += 1;
        }
        marks.unwritten = Bits::default();
        true
    }

    /// Writes some shoppers, from a place on. Returns the place after them; `None` if there are no more.
    pub(super) fn write_from(&self, first: usize, to: &mut Vec<u8>) -> Option<usize> {
        let places = self.chunks.len().saturating_sub(1) * CHUNK + self.chunks.last().map_or(0, Vec::len);
        let next = places.min(first + WRITTEN_TOGETHER);
        for place in first..next {
            write(&self.chunks, Place::try_from(place).unwrap_or(Place::MAX), to);
        }
        (next > first).then_some(next)
    }

    /// Restores shoppers that were written, in place of what is known of them.
    ///
    /// # Errors
    /// The bytes are no shoppers.
    pub(super) fn load(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            let ((key, mut shopper, attempts), rest) =
                frame::take_from_row::<(u128, Shopper, Option<Vec<VecDeque<Attempt>>>)>(bytes)?;
            bytes = rest;
            let funnels = shopper.more_mut().into_iter().flat_map(|more| &mut more.funnels);
            funnels.zip(attempts.into_iter().flatten()).for_each(|(funnel, attempts)| funnel.attempts = attempts);
            *self.get_or_add(key) = shopper;
        }
        Ok(())
    }

    /// All shoppers are restored: makes the lists of the days from what each says.
    pub(super) fn loaded(&mut self) {
        self.sweep.clear();
        for (place, slot) in (0..).zip(self.chunks.iter().flatten()) {
            if let Some(day) = slot.as_ref().and_then(|(_, shopper)| shopper.due()) {
                self.sweep.entry(day).or_default().push(place);
            }
        }
    }

    /// Approximate size in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Slot>()).sum::<usize>();
        let parts = self.parts.iter().map(HashTable::allocation_size).sum::<usize>();
        let directory = self.parts.capacity() * size_of::<HashTable<Place>>();
        let lists = self.sweep.values().map(Vec::capacity).sum::<usize>() + self.free.capacity();
        // Chunks at equal distances: shoppers who came at one time are alike.
        let distance = self.chunks.len().div_ceil(MEASURED_CHUNKS).max(1);
        let measured = self.chunks.iter().step_by(distance);
        let (shoppers, owned) = measured
            .flatten()
            .flatten()
            .fold((0, 0), |(shoppers, owned), (_, shopper)| (shoppers + 1, owned + shopper.bytes()));
        let owned = owned as u128 * self.len as u128 / shoppers.max(1);
        chunks + parts + directory + lists * size_of::<Place>() + usize::try_from(owned).unwrap_or(usize::MAX)
    }

    fn part(&self, key: u128) -> usize {
        if self.parts.len() > 1 { (key >> 64) as usize % PARTS } else { 0 }
    }

    fn find(&self, key: u128) -> Option<Place> {
        let part = self.parts.get(self.part(key))?;
        part.find(hash(key), |&place| is_of(&self.chunks, place, key)).copied()
    }

    /// Finds a place for a shopper who is not here.
    fn add(&mut self, key: u128) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                // The chunk of a small merchant grows as it needs.
                self.chunks.push(if self.chunks.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK) });
            }
            let before = (self.chunks.len() - 1) * CHUNK;
            let chunk = self.chunks.last_mut().expect("it was pushed above");
            chunk.push(None);
            Place::try_from(before + chunk.len() - 1).expect("fewer than 2^32 shoppers")
        });
        *slot_mut(&mut self.chunks, place) = Some((key, Shopper::default()));
        self.len += 1;
        if self.parts.is_empty() || (self.parts.len() == 1 && self.len > SINGLE_MAX) {
            self.parts = vec![HashTable::new(); if self.len > SINGLE_MAX { PARTS } else { 1 }];
            let slots = (0..).zip(self.chunks.iter().flatten());
            let places = slots.filter_map(|(place, slot)| slot.as_ref().map(|(key, _)| (*key, place)));
            let places: Vec<(u128, Place)> = places.collect();
            places.into_iter().for_each(|(key, place)| self.index(key, place));
        } else {
            self.index(key, place);
        }
        place
    }

    fn index(&mut self, key: u128, place: Place) {
        let part = self.part(key);
        let Self { chunks, parts, .. } = self;
        parts[part]
            .insert_unique(hash(key), place, |&place| slot(chunks, place).as_ref().map_or(0, |(key, _)| hash(*key)));
    }
}

fn slot(chunks: &[Vec<Slot>], place: Place) -> &Slot {
    &chunks[place as usize / CHUNK][place as usize % CHUNK]
}

fn slot_mut(chunks: &mut [Vec<Slot>], place: Place) -> &mut Slot {
    &mut chunks[place as usize / CHUNK][place as usize % CHUNK]
}

/// Writes the shopper at a place, if there is one, with the open attempts that her own encoding leaves out.
fn write(chunks: &[Vec<Slot>], place: Place, to: &mut Vec<u8>) {
    if let Some((key, shopper)) = slot(chunks, place) {
        let funnels = shopper.funnels();
        let attempts = funnels.iter().any(|funnel| !funnel.attempts.is_empty());
        let attempts: Option<Vec<&VecDeque<Attempt>>> =
            attempts.then(|| funnels.iter().map(|funnel| &funnel.attempts).collect());
        encode_into(to, &(key, shopper, attempts));
    }
}

fn is_of(chunks: &[Vec<Slot>], place: Place, key: u128) -> bool {
    slot(chunks, place).as_ref().is_some_and(|(other, _)| *other == key)
}

/// The keys are uniform already.
fn hash(key: u128) -> u64 {
    key as u64
}

impl Serialize for Shoppers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.len))?;
        for (key, shopper) in self.iter() {
            map.serialize_entry(&key, shopper)?;
        }
        map.end()
    }
}

/// The lists of the days, as a snapshot stores them.
pub(super) struct SavedSweep<'a>(pub(super) &'a Shoppers);

impl Serialize for SavedSweep<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Shoppers { chunks, sweep, .. } = self.0;
        let key = |&place: &Place| slot(chunks, place).as_ref().map(|(key, _)| *key);
        let day =
            |(day, places): (&i32, &Vec<Place>)| (i64::from(*day), places.iter().filter_map(key).collect::<Vec<_>>());
        to.collect_map(sweep.iter().map(day))
    }
}

impl<'de> Deserialize<'de> for Shoppers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Shoppers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("shoppers by key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shoppers, A::Error> {
                let mut shoppers = Shoppers::default();
                while let Some((key, shopper)) = map.next_entry::<u128, Shopper>()? {
                    let day = shopper.due();
                    *shoppers.get_or_add(key) = shopper;
                    if let (Some(day), Some(place)) = (day, shoppers.find(key)) {
                        shoppers.sweep.entry(day).or_default().push(place);
                    }
                }
                Ok(shoppers)
            }
        }
        from.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{decode, encode};
    use crate::model::ids::digest128;

    fn key(n: usize) -> u128 {
        digest128(&[&n.to_string()])
    }

    #[test]
    fn shopper_with_one_touch_takes_at_most_96_bytes() {
        assert_eq!(size_of::<Slot>(), 80);
        let mut shoppers = Shoppers::default();
        for n in 0..200_000 {
            shoppers.get_or_add(key(n));
            shoppers.schedule(key(n), |_| Some(20_000));
        }
        let a_shopper = shoppers.bytes() * 10 / shoppers.len();
        assert!(a_shopper <= 960, "{}.{} bytes", a_shopper / 10, a_shopper % 10);
    }

    #[test]
    fn shoppers_are_found_removed_and_swept_as_in_plain_maps() {
        let (mut shoppers, mut plain) = (Shoppers::default(), BTreeMap::new());
        for n in 0..12_000 {
            let k = key(n);
            shoppers.get_or_add(k);
            let day = i64::try_from(n % 7).expect("small") + 1;
            shoppers.schedule(k, |_| Some(day));
            shoppers.schedule(k, |_| Some(day + 1));
            plain.insert(k, day);
            if n == 9_000 {
                shoppers = decode(&encode(&shoppers)).expect("shoppers");
            }
        }
        assert!(plain.iter().all(|(k, day)| shoppers.get(*k).and_then(Shopper::due) == i32::try_from(*day).ok()));
        assert!(shoppers.get(key(12_000)).is_none() && shoppers.get_mut(key(12_001)).is_none());
        let mut swept = 0;
        while let Some(k) = shoppers.due(3) {
            assert!(plain.remove(&k).is_some_and(|day| day <= 3));
            assert_eq!(shoppers.get(k).and_then(Shopper::due), None);
            shoppers.remove(k);
            swept += 1;
            assert!(shoppers.get(k).is_none());
        }
        assert!(swept > 5_000 && plain.values().all(|day| *day > 3));
        let before = shoppers.bytes();
        for n in 20_000..20_000 + swept {
            shoppers.get_or_add(key(n));
            plain.insert(key(n), 0);
        }
        assert!(shoppers.bytes() < before + before / 20, "the places of shoppers that are gone are used again");
        let mut keys: Vec<u128> = shoppers.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        assert!(keys.iter().eq(plain.keys()) && keys.len() == shoppers.len());
    }
}
