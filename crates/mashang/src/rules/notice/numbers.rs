//! Numbers for people: grouped digits, money, exact fractions and their percentages. Integers only.

use domain::model::money::Ratio;
use iso_currency::Currency;

use super::texts::{Texts, fill};

/// Maximum number of decimals of a percentage that is shown exactly; one with more is rounded.
const DECIMALS_EXACT_MAX: u32 = 10;
/// Minimum number of significant digits of a percentage that is rounded, as the power of ten that they reach.
const ROUNDED_MIN: u128 = 1_000;

/// A fraction in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraction {
    above: u128,
    below: u128,
}

impl From<Ratio> for Fraction {
    fn from(ratio: Ratio) -> Self {
        Self::new(ratio.numerator.into(), ratio.denominator.into())
    }
}

impl Fraction {
    /// `below` is not 0.
    pub(super) fn new(above: u128, below: u128) -> Self {
        let divisor = gcd(above, below);
        Self { above: above / divisor, below: below / divisor }
    }

    /// What is left of 1; `None` if the exact difference has too many digits.
    pub(super) fn rest(parts: impl Iterator<Item = Self>) -> Option<Self> {
        let mut left = Self { above: 1, below: 1 };
        for part in parts {
            let shared = gcd(left.below, part.below);
            let below = (left.below / shared).checked_mul(part.below)?;
            let from = left.above.checked_mul(part.below / shared)?;
            let part = part.above.checked_mul(left.below / shared)?;
            left = Self::new(from.checked_sub(part)?, below);
        }
        Some(left)
    }

    pub(super) fn is_zero(self) -> bool {
        self.above == 0
    }

    /// A long one may be cut into two lines at its bar.
    pub(super) fn text(self) -> String {
        const SHORT: usize = 7;
        let (above, below) = (grouped(self.above), grouped(self.below));
        let bar = if below.len() > SHORT { " / " } else { "/" };
        format!("{above}{bar}{below}")
    }

    /// The percentage: exact if it has few decimals, else rounded and marked as such; empty if it has too many digits.
    pub(super) fn percent(self, texts: &Texts) -> String {
        let scaled = |decimals: u32| self.above.checked_mul(100)?.checked_mul(10_u128.checked_pow(decimals)?);
        let exact = |decimals: &u32| scaled(*decimals).is_some_and(|scaled| scaled.is_multiple_of(self.below));
        if let Some(decimals) = (0..=DECIMALS_EXACT_MAX).find(exact) {
            return format!("{} %", decimal(scaled(decimals).unwrap_or_default() / self.below, decimals));
        }
        let is_enough = |decimals: &u32| scaled(*decimals).is_none_or(|scaled| scaled / self.below >= ROUNDED_MIN);
        let decimals = (2..).find(is_enough).unwrap_or_default();
        let rounded = scaled(decimals).and_then(|scaled| Some(scaled.checked_add(self.below / 2)? / self.below));
        let about = |n| fill(texts.about, &[("percent", &format!("{} %", decimal(n, decimals)))]);
        rounded.map_or_else(String::new, about)
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// A number of units of 10 to the power of minus `decimals`.
fn decimal(number: u128, decimals: u32) -> String {
    let unit = 10_u128.pow(decimals);
    match decimals {
        0 => grouped(number),
        _ => {
            let width = usize::try_from(decimals).unwrap_or(usize::MAX);
            format!("{}.{:0width$}", grouped(number / unit), number % unit)
        }
    }
}

/// Digits in groups of three.
pub(super) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount of minor units, with the decimals of its currency.
pub(super) fn money(minor: i64, currency: &str, texts: &Texts) -> String {
    let decimals = Currency::from_code(currency).and_then(Currency::exponent).map_or(0, u32::from);
    let number = decimal(u128::from(minor.unsigned_abs()), decimals);
    let text = if currency == "CNY" { texts.money_cny } else { texts.money };
    fill(text, &[("n", &number), ("currency", currency)])
}

#[cfg(test)]
mod tests {
    use super::super::language::Language;
    use super::*;

    #[test]
    fn percentages_are_exact_or_marked() {
        let texts = Language::En.texts();
        let percent = |above, below| Fraction::new(above, below).percent(texts);
        assert_eq!(percent(1, 20), "5 %");
        assert_eq!(percent(1, 1), "100 %");
        assert_eq!(percent(0, 7), "0 %");
        assert_eq!(percent(1, 1024), "0.09765625 %");
        assert_eq!(percent(1, 3), "about 33.33 %");
        assert_eq!(percent(2, 3), "about 66.67 %");
        assert_eq!(percent(1, 700_000_000_000), "about 0.0000000001429 %");
        assert_eq!(percent(1, 999_999_999_999_999_999), "about 0.0000000000000001000 %");
        assert_eq!(percent(1, u128::MAX), "");
    }

    #[test]
    fn the_rest_is_exact_or_none() {
        let parts = |list: &[(u128, u128)]| Fraction::rest(list.iter().map(|&(a, b)| Fraction::new(a, b)));
        assert_eq!(parts(&[(1, 50), (49, 50)]).map(Fraction::is_zero), Some(true));
        assert_eq!(parts(&[(1, 100), (1, 4)]).map(Fraction::text), Some("37/50".to_owned()));
        assert_eq!(parts(&[(1, u128::MAX), (1, u128::MAX - 1)]), None);
    }

    #[test]
    fn money_has_the_decimals_of_its_currency() {
        let (zh, en) = (Language::Zh.texts(), Language::En.texts());
        assert_eq!(money(123_456_789, "CNY", zh), "1,234,567.89 元");
        assert_eq!(money(5, "CNY", en), "CNY 0.05");
        assert_eq!(money(1500, "JPY", en), "JPY 1,500");
        assert_eq!(money(1500, "BHD", zh), "1.500 BHD");
    }
}
