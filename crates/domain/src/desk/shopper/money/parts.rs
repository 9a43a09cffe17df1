//! The parts that pay an order. Most orders have one.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::refunds::Paid;
use crate::model::event::Part;

/// At most one of each kind.
#[derive(Clone, Debug, Default)]
pub(super) enum Parts {
    #[default]
    None,
    One(Part, Paid),
    Many(Box<ByKind>),
}

/// The parts by kind.
type ByKind = [Option<Paid>; Part::ALL.len()];

impl Parts {
    /// All of them, by kind.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Paid> {
        let (one, many): (Option<&Paid>, &[Option<Paid>]) = match self {
            Self::None => (None, &[]),
            Self::One(_, paid) => (Some(paid), &[]),
            Self::Many(parts) => (None, &**parts),
        };
        one.into_iter().chain(many.iter().flatten())
    }

    pub(super) fn get(&self, part: Part) -> Option<&Paid> {
        match self {
            Self::One(kind, paid) if *kind == part => Some(paid),
            Self::None | Self::One(..) => None,
            Self::Many(parts) => parts[part as usize].as_ref(),
        }
    }

    pub(super) fn set(&mut self, part: Part, paid: Paid) {
        match self {
            Self::None => *self = Self::One(part, paid),
            Self::One(kind, _) if *kind == part => *self = Self::One(part, paid),
            Self::One(..) => {
                let mut parts = self.by_kind();
                parts[part as usize] = Some(paid);
                *self = Self::Many(Box::new(parts));
            }
            Self::Many(parts) => parts[part as usize] = Some(paid),
        }
    }

    fn by_kind(&self) -> ByKind {
        match self {
            Self::None => ByKind::default(),
            Self::One(part, paid) => {
                let mut parts = ByKind::default();
                parts[*part as usize] = Some(*paid);
                parts
            }
            Self::Many(parts) => **parts,
        }
    }

    /// Size in memory beside the order, bytes.
    pub(super) fn bytes(&self) -> usize {
        if matches!(self, Self::Many(_)) { size_of::<ByKind>() } else { 0 }
    }
}

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.by_kind().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut parts = Self::None;
        for (&part, paid) in Part::ALL.iter().zip(ByKind::deserialize(from)?) {
            paid.into_iter().for_each(|paid| parts.set(part, paid));
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::shopper::money::order::Order;
    use crate::desk::shopper::money::refunds::tests::paid;
    use crate::frame::{decode, encode};

    #[test]
    fn parts_are_kept_by_kind_and_take_memory_from_the_second_on() {
        let (mut parts, mut by_kind) = (Parts::default(), ByKind::default());
        for (n, &part) in (1..).zip(Part::ALL.iter().rev().chain(Part::ALL)) {
            parts.set(part, paid(n, n.unsigned_abs().into(), n));
            by_kind[part as usize] = Some(paid(n, n.unsigned_abs().into(), n));
            let amounts = |paid: &Paid| (paid.time, paid.key, paid.amount);
            assert!(parts.iter().map(amounts).eq(by_kind.iter().flatten().map(amounts)));
            assert!(
                Part::ALL
                    .iter()
                    .all(|&part| { parts.get(part).map(amounts) == by_kind[part as usize].as_ref().map(amounts) })
            );
            assert_eq!(encode(&parts), encode(&by_kind), "snapshots keep their form");
            parts = decode(&encode(&parts)).expect("parts");
            assert_eq!(parts.bytes() > 0, n > 1);
        }
        assert!(size_of::<Order>() <= 160, "{} bytes", size_of::<Order>());
    }
}
