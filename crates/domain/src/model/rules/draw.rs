//! The arithmetic of a draw with odds (contract section 6): provable from the rules, the secret and the entry alone.

use hmac::{Hmac, KeyInit, Mac};
use num_bigint::BigUint;
use num_rational::Ratio as Exact;
use sha2::Sha256;

use crate::model::ids::SEPARATOR;
use crate::model::money::Ratio;

/// A campaign's secret, ready to draw with; never printed.
#[derive(Clone)]
pub struct DrawKey(Hmac<Sha256>);

impl std::fmt::Debug for DrawKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DrawKey(…)")
    }
}

/// The input of a draw: the code, and for codes that are not one-item codes also the shopper and the entry's number.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The campaign's id.
    pub campaign: &'a str,
    /// The code's name.
    pub code: &'a str,
    /// `None` for one-item codes.
    pub entry: Option<(&'a str, u64)>,
}

impl DrawKey {
    /// # Panics
    /// Never: HMAC takes a key of any length.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    /// u: the first 8 bytes, big-endian, of HMAC-SHA256(secret, `draw` ‖ 0x1F ‖ input).
    #[must_use]
    pub fn odds(&self, input: Input<'_>) -> u64 {
        let mut mac = self.0.clone();
        for part in ["draw", input.campaign] {
            mac.update(part.as_bytes());
            mac.update(&[SEPARATOR]);
        }
        mac.update(input.code.as_bytes());
        if let Some((shopper, n)) = input.entry {
            mac.update(&[SEPARATOR]);
            mac.update(shopper.as_bytes());
            mac.update(&[SEPARATOR]);
            mac.update(n.to_string().as_bytes());
        }
        mac.finalize().into_bytes().iter().take(8).fold(0, |u, &b| u << 8 | u64::from(b))
    }
}

/// `floor(2⁶⁴ × (odds₁ + … + oddsⱼ))` for each prize j, in the order of the prizes.
///
/// The sums are exact; the last threshold is at most 2⁶⁴ where the odds add up to at most 1.
#[must_use]
pub(crate) fn thresholds(odds: &[Option<Ratio>]) -> Vec<u128> {
    let mut sum = Exact::from_integer(BigUint::ZERO);
    let whole = Exact::from_integer(BigUint::from(1_u128 << 64));
    odds.iter()
        .map(|ratio| {
            if let Some(r) = ratio {
                sum += Exact::new(BigUint::from(r.numerator), BigUint::from(r.denominator));
            }
            u128::try_from((&sum * &whole).floor().to_integer()).unwrap_or(u128::MAX)
        })
        .collect()
}

/// The smallest j with u below its threshold.
#[must_use]
pub fn winner(u: u64, thresholds: &[u128]) -> Option<usize> {
    thresholds.iter().position(|&t| u128::from(u) < t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_exact_and_in_prize_order() {
        let r = |t| Ratio::parse(t).ok();
        assert_eq!(thresholds(&[r("1/2"), None, r("1/2")]), [1 << 63, 1 << 63, 1 << 64]);
        assert_eq!(thresholds(&[r("1/3"), r("1/3"), r("1/3")])[2], 1 << 64);
        assert_eq!(winner(u64::MAX, &[1 << 63, 1 << 64]), Some(1));
        assert_eq!(winner((1 << 63) - 1, &[1 << 63]), Some(0));
        assert_eq!(winner(1 << 63, &[1 << 63]), None);
        assert_eq!(winner(0, &[0, 0]), None);
    }

    #[test]
    fn draw_number_equals_recomputed_hmac() {
        // python3: hmac.new(bytes(range(32)), b"draw\x1fwheel\x1fMAG-7\x1fu1\x1f2", "sha256").digest()[:8].hex()
        let key = DrawKey::new(&std::array::from_fn(|i| u8::try_from(i).expect("small")));
        let u = key.odds(Input { campaign: "wheel", code: "MAG-7", entry: Some(("u1", 2)) });
        assert_eq!(format!("{u:016x}"), "d0717bcc77a95730");
        let u = key.odds(Input { campaign: "wheel", code: "MAG-7", entry: None });
        assert_eq!(format!("{u:016x}"), "7a5be4342ae048e5");
    }
}
