//! The primary keys of GS1 that codes may have: GTIN, GLN and GSRN.

use domain::model::code::{Link, checked_digits, gtin};

/// A key whose value has a right length and a right check digit.
#[derive(Clone, Copy, Debug)]
pub(super) enum PrimaryKey<'a> {
    /// AI 01: a trade item, as 14 digits and as it stands.
    Gtin { number: u64, digits: &'a str },
    /// AI 414: a location.
    Gln(u64),
    /// AI 8017: a person who serves.
    Gsrn(u64),
}

impl<'a> PrimaryKey<'a> {
    /// The key of an AI, or of its name in a Digital Link; none if it is no primary key or its value is wrong.
    pub(super) fn of(ai: &str, value: &'a str) -> Option<Self> {
        let of_length = |length| if value.len() == length { checked_digits(value) } else { None };
        match ai {
            "01" | "gtin" => Some(Self::Gtin { number: gtin(value)?, digits: value }),
            "414" | "gln" => of_length(13).map(Self::Gln),
            "8017" | "gsrnp" => of_length(18).map(Self::Gsrn),
            _ => None,
        }
    }

    /// What the key links to, with the serial that stands beside it; only a GTIN has one.
    ///
    /// A GTIN of fewer than 14 digits without a serial is returned as text, because code ids are compared with the digits as
    /// written.
    pub(super) fn link(self, serial: Option<&'a str>) -> Link<'a> {
        match self {
            Self::Gtin { digits, .. } if digits.len() < 14 && serial.is_none() => Link::Text(digits),
            Self::Gtin { number, .. } => Link::Gtin(number, serial),
            Self::Gln(number) => Link::Gln(number),
            Self::Gsrn(number) => Link::Gsrn(number),
        }
    }
}

/// Whether an AI, or its name in a Digital Link, is that of the serial.
pub(super) fn is_serial(ai: &str) -> bool {
    matches!(ai, "21" | "ser")
}
