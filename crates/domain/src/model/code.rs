//! Codes: their kinds, their ranks as touches, and what was read from the text of one.

use serde::{Deserialize, Serialize};

super::text::words! {
    /// What a scanned code is (contract section 3).
    Kind {
        Product = "product",
        Service = "service",
        Media = "media",
        Interactive = "interactive",
        Store = "store",
        Guide = "guide",
        Sales = "sales",
        Unlock = "unlock",
        Repair = "repair",
        Unknown = "unknown",
        Forged = "forged",
    }
}

impl Kind {
    /// One item, one code: drawn once, counted against counterfeits.
    #[must_use]
    pub const fn is_item(self) -> bool {
        matches!(self, Self::Interactive | Self::Sales | Self::Unlock | Self::Repair)
    }

    /// Counted scans of these kinds are interactions.
    #[must_use]
    pub const fn is_interaction(self) -> bool {
        matches!(self, Self::Service) || self.is_item()
    }

    /// The rank of a touch by a code of this kind; none for what no rule knows.
    #[must_use]
    pub const fn rank(self) -> Option<Rank> {
        match self {
            Self::Guide => Some(Rank::Guide),
            Self::Store => Some(Rank::Store),
            Self::Service => Some(Rank::Service),
            Self::Media => Some(Rank::Media),
            Self::Product => Some(Rank::Product),
            Self::Interactive | Self::Sales | Self::Unlock | Self::Repair => Some(Rank::Item),
            Self::Unknown | Self::Forged => None,
        }
    }
}

/// How strongly a touch ties a shopper; a greater one shuts out all lesser ones (contract section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rank {
    Item,
    Product,
    Media,
    Service,
    Store,
    Guide,
}

/// What was read from the text of a code that does not stand for itself; made by `wire`, given its meaning by the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link<'a> {
    /// No GS1 key: the query parameter `c`, the last path segment, or a text without what scanners add. Also a key of AI 01 in
    /// fewer than 14 digits and without a serial: it resolves as these digits do.
    Text(#[serde(borrow)] &'a str),
    /// GS1 AI 01, check digit right, with the serial of AI 21 if there is one; the number is that of its 14 digits.
    Gtin(u64, Option<&'a str>),
    /// GS1 AI 414, check digit right: a location.
    Gln(u64),
    /// GS1 AI 8017, check digit right: a person who serves.
    Gsrn(u64),
}

/// Reads a GTIN-8, -12, -13 or -14 with a right check digit; the number that 14 digits would write.
#[must_use]
pub fn gtin(text: &str) -> Option<u64> {
    if matches!(text.len(), 8 | 12 | 13 | 14) { checked_digits(text) } else { None }
}

/// Reads digits of which the last is the GS1 check digit (weights 3 and 1 from the right, modulo 10).
#[must_use]
pub fn checked_digits(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 18 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let sum: u32 =
        text.bytes().rev().enumerate().map(|(i, b)| u32::from(b - b'0') * if i % 2 == 0 { 1 } else { 3 }).sum();
    if sum.is_multiple_of(10) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits() {
        assert_eq!(gtin("06901234567892"), Some(6_901_234_567_892));
        assert_eq!(gtin("6901234567892"), Some(6_901_234_567_892));
        assert_eq!(gtin("6901234567893"), None);
        assert_eq!(gtin("96385074"), Some(96_385_074));
        assert_eq!(gtin("036000291452"), Some(36_000_291_452));
        assert_eq!(gtin("690123456789"), None);
        assert_eq!(checked_digits("6901234000016"), Some(6_901_234_000_016));
        assert_eq!(checked_digits("690123400000000018"), Some(690_123_400_000_000_018));
    }
}
