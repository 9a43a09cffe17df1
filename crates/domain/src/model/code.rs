//! Codes: their kinds, their ranks as touches, and what `wire` reads from a code's text.

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
    /// Whether every item has a code of its own: such a code draws once, and its scans are counted to find counterfeits.
    #[must_use]
    pub const fn is_item(self) -> bool {
        matches!(self, Self::Interactive | Self::Sales | Self::Unlock | Self::Repair)
    }

    /// Whether a counted scan of this kind is an interaction.
    #[must_use]
    pub(crate) const fn is_interaction(self) -> bool {
        matches!(self, Self::Service) || self.is_item()
    }

    /// The rank of a touch by a code of this kind; `None` for unknown and forged codes.
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

/// How strongly a touch ties a shopper; a higher rank excludes all lower ones (contract section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rank {
    /// An item code.
    Item,
    /// A product.
    Product,
    /// A medium, such as a poster.
    Media,
    /// A service.
    Service,
    /// A store.
    Store,
    /// A guide.
    Guide,
}

/// What `wire` reads from the text of a code that is a URL; the rules give it its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link<'a> {
    /// No GS1 key: the query parameter `c`, the last path segment, or a text without what scanners add. Also a key of AI 01 in
    /// fewer than 14 digits and without a serial: it resolves as these digits do.
    Text(#[serde(borrow)] &'a str),
    /// GS1 AI 01 with a valid check digit, and the serial of AI 21 if there is one.
    Gtin(u64, Option<&'a str>),
    /// GS1 AI 414 with a valid check digit: a location.
    Gln(u64),
    /// GS1 AI 8017 with a valid check digit: a person who provides a service.
    Gsrn(u64),
}

/// Reads a GTIN-8, -12, -13 or -14 with a valid check digit; returns the number of its 14-digit form.
#[must_use]
pub fn gtin(text: &str) -> Option<u64> {
    if matches!(text.len(), 8 | 12 | 13 | 14) { checked_digits(text) } else { None }
}

/// Reads digits whose last one is the GS1 check digit (weights 3 and 1 from the right, modulo 10).
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
    fn wrong_check_digit_is_refused() {
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
