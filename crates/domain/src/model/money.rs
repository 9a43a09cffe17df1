//! Money: minor units in `i64`, products in 128 bits, ratios exact.

use serde::{Deserialize, Serialize};

/// Maximum amount of one event, minor units; a larger one is refused (contract section 1).
pub const AMOUNT_MAX: i64 = 1_000_000_000_000_000;
/// Parts per million in a whole.
pub const PPM: u32 = 1_000_000;

/// An exact ratio in lowest terms, at most 1 where it is a rate or odds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio {
    /// The part above the line.
    pub numerator: u64,
    /// The part below the line, never 0.
    pub denominator: u64,
}

impl Ratio {
    /// Reads `"1/20"`, `"5%"` or `"0.05"`, each part at most 18 digits.
    ///
    /// # Errors
    /// A phrase that follows the key's name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "is no exact ratio: write \"1/20\", \"5%\" or \"0.05\"";
        const LONG: &str = "has too many digits (at most 18 above and below the line)";
        let whole = |t: &str| -> Result<u64, &'static str> {
            if t.is_empty() || !t.bytes().all(|b| b.is_ascii_digit()) {
                return Err(SHAPE);
            }
            if t.len() > 18 { Err(LONG) } else { t.parse().map_err(|_| LONG) }
        };
        let decimal = |t: &str, shift: u32| -> Result<(u64, u64), &'static str> {
            let (int, frac) = t.split_once('.').unwrap_or((t, ""));
            if t.ends_with('.') {
                return Err(SHAPE);
            }
            // Leading and trailing zeros do not count towards the limit of digits.
            let (written, frac) = (frac, frac.trim_end_matches('0'));
            let all_digits = int.bytes().chain(written.bytes()).all(|b| b.is_ascii_digit());
            if int.is_empty() || !all_digits {
                return Err(SHAPE);
            }
            let digits = format!("{int}{frac}");
            let digits = match digits.trim_start_matches('0') {
                "" => "0",
                digits => digits,
            };
            let scale = u32::try_from(frac.len()).map_err(|_| LONG)? + shift;
            Ok((whole(digits)?, 10_u64.checked_pow(scale).filter(|d| *d <= 1_000_000_000_000_000_000).ok_or(LONG)?))
        };
        let (n, d) = if let Some((n, d)) = text.split_once('/') {
            (whole(n.trim())?, whole(d.trim())?)
        } else if let Some(percent) = text.strip_suffix('%') {
            decimal(percent.trim_end(), 2)?
        } else {
            decimal(text, 0)?
        };
        if d == 0 {
            return Err("has 0 below the line");
        }
        let divisor = gcd(n, d);
        Ok(Self { numerator: n / divisor, denominator: d / divisor })
    }

    /// The ratio in whole parts per million, if it is that and at most 1.
    #[must_use]
    pub fn ppm(self) -> Option<u32> {
        let scaled = u128::from(self.numerator) * u128::from(PPM);
        let ppm = scaled / u128::from(self.denominator);
        (scaled.is_multiple_of(u128::from(self.denominator)) && ppm <= u128::from(PPM))
            .then(|| u32::try_from(ppm).ok())
            .flatten()
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// `floor(sum × ppm / 10⁶)` for `sum ≥ 0`.
#[must_use]
pub(crate) fn share_ppm(sum: i64, ppm: u32) -> i64 {
    debug_assert!(sum >= 0 && ppm <= PPM);
    let due = i128::from(sum) * i128::from(ppm) / i128::from(PPM);
    i64::try_from(due).unwrap_or(i64::MAX)
}

/// Splits `total ≥ 0` by `weights` into whole units, largest remainder first, ties in the order of the weights.
///
/// The parts add up to `total` unless all weights are 0, when all parts are 0.
#[must_use]
pub fn split(total: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i128 = weights.iter().map(|&w| i128::from(w)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |w: i64| i128::from(total) * i128::from(w);
    let mut parts: Vec<i64> = weights.iter().map(|&w| i64::try_from(exact(w) / sum).unwrap_or(i64::MAX)).collect();
    let left = total - parts.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(exact(weights[i]) % sum));
    for &i in order.iter().take(usize::try_from(left).unwrap_or(0)) {
        parts[i] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_parse_exactly_or_not_at_all() {
        let ppm = |t: &str| Ratio::parse(t).map(Ratio::ppm);
        assert_eq!(ppm("1/20"), Ok(Some(50_000)));
        assert_eq!(ppm("5%"), Ok(Some(50_000)));
        assert_eq!(ppm("0.05"), Ok(Some(50_000)));
        assert_eq!(ppm("7.25%"), Ok(Some(72_500)));
        assert_eq!(ppm("1/3"), Ok(None));
        assert_eq!(ppm("1.000001"), Ok(None));
        assert_eq!(ppm("1"), Ok(Some(1_000_000)));
        assert_eq!(ppm("0.05000000000000000000000000"), Ok(Some(50_000)));
        assert_eq!(ppm("0.123456789012345678"), Ok(None));
        assert_eq!(ppm("0000000000000000000000.5%"), Ok(Some(5_000)));
        for bad in [
            "",
            "1/1234567890123456789",
            "-1/2",
            "1/0",
            "a",
            "1.",
            ".5",
            "1/2/3",
            "5 percent",
            "1e-3",
            "0.0000000000000000001",
        ] {
            assert!(Ratio::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn split_parts_add_up_to_total() {
        assert_eq!(split(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(split(101, &[2, 1, 2]), [41, 20, 40]);
        assert_eq!(split(0, &[2, 1, 2]), [0, 0, 0]);
        assert_eq!(split(7, &[0, 0]), [0, 0]);
        assert_eq!(split(AMOUNT_MAX * 3, &[2, 1, 2]).iter().sum::<i64>(), AMOUNT_MAX * 3);
    }
}
