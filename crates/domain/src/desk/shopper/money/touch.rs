//! Touches: what ties a shopper to a guide or a store, and for how long (contract section 5).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::refunds::reserve_one;
use crate::desk::shopper::compiled_rules::Symbol;
use crate::model::code::{Kind, Rank};
use crate::model::time::Millis;
use crate::table::uniform::UniformSet;

/// A touch. Guide and store are present only if the rules listed them when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::desk::shopper) struct Touch {
    pub(in crate::desk::shopper) time: Millis,
    key: [u64; 2],
    pub(in crate::desk::shopper) received: Millis,
    pub(in crate::desk::shopper) guide: Symbol,
    pub(in crate::desk::shopper) store: Symbol,
    pub(in crate::desk::shopper) rank: Rank,
    pub(in crate::desk::shopper) kind: Kind,
}

impl Touch {
    pub(in crate::desk::shopper) fn new(time: Millis, key: u128, received: Millis, seed: UntimedTouch) -> Self {
        let key = [(key >> 64) as u64, (key & u128::from(u64::MAX)) as u64];
        Self { time, key, received, guide: seed.guide, store: seed.store, rank: seed.rank, kind: seed.kind }
    }

    fn key(&self) -> u128 {
        u128::from(self.key[0]) << 64 | u128::from(self.key[1])
    }

    /// Its key is uniform already.
    pub(super) fn hash(&self) -> u64 {
        self.key[1]
    }

    /// The order of touches: the key decides between equal times.
    pub(in crate::desk::shopper) fn order(&self) -> (Millis, [u64; 2]) {
        (self.time, self.key)
    }
}

/// A touch before time and key are known.
#[derive(Clone, Copy, Debug)]
pub(in crate::desk::shopper) struct UntimedTouch {
    pub(in crate::desk::shopper) guide: Symbol,
    pub(in crate::desk::shopper) store: Symbol,
    pub(in crate::desk::shopper) rank: Rank,
    pub(in crate::desk::shopper) kind: Kind,
}

/// The result of adding a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::desk::shopper) enum Added {
    Known,
    Kept,
    /// There were too many, and the new touch was the smallest.
    DroppedItself,
    /// There were too many, and a smaller touch was dropped.
    DroppedAnother,
}

/// A shopper's touches in (time, key) order. One is kept while `received` < its own `received` + `keep_ms`.
///
/// Most shoppers have one, which needs no memory of its own.
#[derive(Clone, Debug, Default)]
pub(in crate::desk::shopper) enum Touches {
    #[default]
    None,
    One(Touch),
    Many(Box<Many>),
}

/// More touches than one.
#[derive(Clone, Debug)]
pub(in crate::desk::shopper) struct Many {
    list: Vec<Touch>,
    /// The smallest `received` in the list.
    oldest: Millis,
}

impl Touches {
    /// Drops touches that are no longer kept, and touches received before `floor`.
    pub(in crate::desk::shopper) fn expire(&mut self, received: Millis, keep_ms: i64, floor: Millis) {
        if self.oldest().is_none_or(|oldest| received < oldest + keep_ms && floor <= oldest) {
            return;
        }
        let Self::Many(many) = self else {
            *self = Self::None;
            return;
        };
        many.list.retain(|t| received < t.received + keep_ms && floor <= t.received);
        many.oldest = many.list.iter().map(|t| t.received).min().unwrap_or(0);
        match &*many.list {
            [] => *self = Self::None,
            [touch] => *self = Self::One(*touch),
            _ => {}
        }
    }

    /// Adds a touch; [`Touches::expire`] must come before.
    pub(in crate::desk::shopper) fn add(&mut self, touch: Touch, max: u32) -> Added {
        let list = self.all();
        // Only the key counts: a retry without a time of its own has another time.
        if list.iter().any(|t| t.key == touch.key) {
            return Added::Known;
        }
        let at = list.partition_point(|t| t.order() < touch.order());
        let full = list.len() >= max as usize;
        if full && at <= list.len() - max as usize {
            return Added::DroppedItself;
        }
        let many = match self {
            Self::None => {
                *self = Self::One(touch);
                return Added::Kept;
            }
            Self::One(one) => {
                let mut list = Vec::with_capacity(2);
                list.push(*one);
                let oldest = one.received;
                *self = Self::Many(Box::new(Many { list, oldest }));
                let Self::Many(many) = self else { unreachable!("it was made above") };
                many
            }
            Self::Many(many) => many,
        };
        many.oldest = many.oldest.min(touch.received);
        reserve_one(&mut many.list);
        many.list.insert(at, touch);
        if full {
            // More than one touch goes if new rules allow fewer.
            many.list.drain(..many.list.len() - max as usize);
            if let [touch] = *many.list {
                *self = Self::One(touch);
            }
            return Added::DroppedAnother;
        }
        Added::Kept
    }

    /// All of them, in (time, key) order.
    pub(in crate::desk::shopper) fn all(&self) -> &[Touch] {
        match self {
            Self::None => &[],
            Self::One(touch) => std::slice::from_ref(touch),
            Self::Many(many) => &many.list,
        }
    }

    /// The smallest `received`; after touches were dropped because there were too many, perhaps that of one of them.
    fn oldest(&self) -> Option<Millis> {
        match self {
            Self::None => None,
            Self::One(touch) => Some(touch.received),
            Self::Many(many) => Some(many.oldest),
        }
    }

    /// Size in memory beside the shopper, bytes.
    pub(in crate::desk::shopper) fn bytes(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Many(many) => size_of::<Many>() + many.list.capacity() * size_of::<Touch>(),
        }
    }

    /// When the first touch expires; `None` if there are none.
    pub(in crate::desk::shopper) fn next_expiry(&self, keep_ms: i64) -> Option<Millis> {
        self.oldest().map(|oldest| oldest + keep_ms)
    }
}

impl Serialize for Touches {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.all(), self.oldest().unwrap_or(0)).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Touches {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (list, oldest): (Vec<Touch>, Millis) = Deserialize::deserialize(from)?;
        Ok(match &*list {
            [] => Self::None,
            [touch] => Self::One(*touch),
            _ => Self::Many(Box::new(Many { list, oldest })),
        })
    }
}

/// The touches with `from < time ≤ to`, of touches in (time, key) order.
pub(in crate::desk::shopper) fn within(touches: &[Touch], from: Millis, to: Millis) -> &[Touch] {
    let start = touches.partition_point(|t| t.time <= from);
    let end = touches.partition_point(|t| t.time <= to);
    &touches[start..end.max(start)]
}

/// Inserts touches in (time, key) order into candidates, except those whose keys are there, up to `max` candidates.
pub(in crate::desk::shopper) fn insert_all(candidates: &mut Vec<Touch>, touches: &[Touch], max: usize) {
    if candidates.is_empty() {
        candidates.extend_from_slice(touches);
    } else {
        for &touch in touches {
            if candidates.len() < max {
                insert(candidates, touch);
            }
        }
    }
}

/// Maximum number of candidates of an order or a member, from behaviour 2 on: a further touch is none.
pub(in crate::desk::shopper) fn candidates_max(touches_max: u32) -> usize {
    (2 * touches_max as usize).max(CANDIDATES_MAX_MIN)
}

/// Least maximum number of candidates.
const CANDIDATES_MAX_MIN: usize = 512;

/// Inserts a touch into candidates in (time, key) order, unless its key is there.
pub(in crate::desk::shopper) fn insert(candidates: &mut Vec<Touch>, touch: Touch) {
    if !candidates.iter().any(|t| t.key == touch.key) {
        let at = candidates.partition_point(|t| t.order() < touch.order());
        reserve_one(candidates);
        candidates.insert(at, touch);
    }
}

/// Inserts touches that came later, in the order in which they came, up to `max` candidates: as [`insert`] for each.
pub(in crate::desk::shopper) fn insert_later(candidates: &mut Vec<Touch>, touches: &[Touch], max: usize) {
    if touches.len() < MANY {
        for &touch in touches {
            if candidates.len() < max {
                insert(candidates, touch);
            }
        }
        return;
    }
    let mut keys: UniformSet = candidates.iter().map(Touch::key).collect();
    for &touch in touches {
        if candidates.len() < max && keys.insert(touch.key()) {
            candidates.push(touch);
        }
    }
    candidates.sort_by_key(Touch::order);
}

/// Number of touches from which on they are sorted together.
const MANY: usize = 16;
