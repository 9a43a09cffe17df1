//! Changes of tables, noted as they are made, so that a snapshot stores what changed and not the whole tables.

use crate::frame::DecodeError;
use crate::model::time::{Day, Millis};
use crate::table::part::TIME_MAX;
use crate::table::recent::Minute;

/// Size of the bits of a key that a compact table compares, bytes.
const KEY_BYTES: usize = 10;

/// A change of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An event was delivered first.
    Delivered { key: u128, minute: Minute },
    /// A shopper is distinct on a day in a scope.
    Distinct { key: u128, day: Day },
    /// A scan was counted.
    Counted { key: u128, time: Millis, received: Millis },
    /// A shopper entered with a one-item code.
    Entered { key: u128 },
    /// An order is no longer kept.
    Closed { key: u128 },
}

/// Appends a change to others.
pub(crate) fn put(bytes: &mut Vec<u8>, change: Change) {
    let mut add = |tag: u8, key: u128, key_bytes: usize| {
        bytes.push(tag);
        bytes.extend_from_slice(&key.to_le_bytes()[..key_bytes]);
    };
    match change {
        Change::Delivered { key, minute } => {
            add(0, key, KEY_BYTES);
            bytes.extend_from_slice(&minute.to_le_bytes());
        }
        Change::Distinct { key, day } => {
            add(1, key, KEY_BYTES);
            bytes.extend_from_slice(&day.to_le_bytes());
        }
        Change::Counted { key, time, received } => {
            add(2, key, KEY_BYTES);
            bytes.extend_from_slice(&time.to_le_bytes());
            bytes.extend_from_slice(&received.to_le_bytes());
        }
        Change::Entered { key } => add(3, key, KEY_BYTES),
        Change::Closed { key } => add(4, key, size_of::<u128>()),
    }
}

/// The changes that were put into these bytes, in their order.
pub(crate) fn changes(mut bytes: &[u8]) -> impl Iterator<Item = Result<Change, DecodeError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let change = first(&mut bytes).ok_or_else(|| DecodeError::Malformed("a change of a table is cut".to_owned()));
        if change.is_err() {
            bytes = &[];
        }
        Some(change)
    })
}

fn first(bytes: &mut &[u8]) -> Option<Change> {
    let tag = take::<1>(bytes)?[0];
    let key_bytes = if tag == 4 { size_of::<u128>() } else { KEY_BYTES };
    let (digits, rest) = bytes.split_at_checked(key_bytes)?;
    *bytes = rest;
    let mut key = [0; size_of::<u128>()];
    key[..key_bytes].copy_from_slice(digits);
    let key = u128::from_le_bytes(key);
    Some(match tag {
        0 => Change::Delivered { key, minute: Minute::from_le_bytes(take(bytes)?) },
        1 => Change::Distinct { key, day: Day::from_le_bytes(take(bytes)?) },
        2 => {
            let (time, received) = (Millis::from_le_bytes(take(bytes)?), Millis::from_le_bytes(take(bytes)?));
            let is_time = |time| (0..=TIME_MAX).contains(&time);
            (is_time(time) && is_time(received)).then_some(Change::Counted { key, time, received })?
        }
        3 => Change::Entered { key },
        4 => Change::Closed { key },
        _ => return None,
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_were_noted() {
        let key = u128::MAX >> 49;
        let noted = [
            Change::Delivered { key, minute: 30_000_000 },
            Change::Distinct { key: 1, day: 20_000 },
            Change::Counted { key, time: 1_700_000_000_000, received: 1_700_000_000_001 },
            Change::Entered { key },
            Change::Closed { key: u128::MAX },
        ];
        let mut bytes = Vec::new();
        noted.into_iter().for_each(|change| put(&mut bytes, change));
        let read: Result<Vec<Change>, _> = changes(&bytes).collect();
        assert_eq!(read.expect("changes"), noted);
        for cut in 1..bytes.len() {
            let whole = changes(&bytes[..cut]).take_while(Result::is_ok).count();
            assert!(whole < noted.len() && changes(&bytes[..cut]).count() <= whole + 1, "{cut}");
        }
        assert!(changes(&[9; 40]).next().is_some_and(|change| change.is_err()));
    }
}
