//! The arithmetic of a draw (contract section 6): provable from the rules, the secret and the entry alone.

use std::sync::OnceLock;

use hmac::{Hmac, KeyInit, Mac};
use num_bigint::BigUint;
use num_rational::Ratio as Exact;
use sha2::Sha256;
use zeroize::ZeroizeOnDrop;

use super::ff1::Ff1;
use super::secrets::Secret;
use super::{Campaign, Phase, Prize};
use crate::model::ids::SEPARATOR;
use crate::model::money::Ratio;
use crate::model::time::Millis;

/// A campaign's secret, ready to draw with; never printed, and wiped when it is dropped.
#[derive(Clone)]
pub struct DrawKey(Hmac<Sha256>);

// The states of HMAC are those of its hash, which wipes them itself.
const _: fn() = || {
    fn wipes<T: ZeroizeOnDrop>() {}
    wipes::<Sha256>();
};

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
        self.uniform(&["draw"], Some(input))
    }

    /// w: as u, with `amount` ‖ 0x1F ‖ campaign ‖ 0x1F ‖ the granted prize ‖ 0x1F ‖ input.
    #[must_use]
    pub fn amount(&self, prize: &str, input: Input<'_>) -> u64 {
        self.uniform(&["amount", input.campaign, prize], Some(input))
    }

    /// v: as u, with `moment` ‖ 0x1F ‖ campaign ‖ 0x1F ‖ prize ‖ 0x1F ‖ i.
    #[must_use]
    pub fn moment(&self, campaign: &str, prize: &str, i: u64) -> u64 {
        self.uniform(&["moment", campaign, prize, &i.to_string()], None)
    }

    /// The key of a sealed draw: HMAC-SHA256(secret, `seal`).
    #[must_use]
    pub fn seal(&self) -> Secret {
        let mut mac = self.0.clone();
        mac.update(b"seal");
        Secret::new(mac.finalize().into_bytes().into())
    }

    /// The first 8 bytes, big-endian, of HMAC-SHA256(secret, the parts and the input, joined by 0x1F).
    fn uniform(&self, parts: &[&str], input: Option<Input<'_>>) -> u64 {
        let mut mac = self.0.clone();
        let (campaign, code, entry) = match input {
            Some(Input { campaign, code, entry }) => (Some(campaign), Some(code), entry),
            None => (None, None, None),
        };
        let number = entry.map(|(_, n)| n.to_string());
        let of_input = [campaign, code, entry.map(|(shopper, _)| shopper), number.as_deref()];
        for (i, part) in parts.iter().copied().chain(of_input.into_iter().flatten()).enumerate() {
            if i > 0 {
                mac.update(&[SEPARATOR]);
            }
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().iter().take(8).fold(0, |u, &b| u << 8 | u64::from(b))
    }
}

/// floor(whole × u / 2⁶⁴): a uniform number below `whole`.
fn scaled(u: u64, whole: u64) -> u64 {
    u64::try_from((u128::from(u) * u128::from(whole)) >> 64).unwrap_or(0)
}

/// The amount that a prize grants: of a prize with a range, the one that `w` draws.
#[must_use]
pub fn granted_amount(prize: &Prize, w: impl FnOnce() -> u64) -> Option<i64> {
    let amount = prize.amount?;
    let Some(more) = prize.amount_max.and_then(|max| u64::try_from(max - amount).ok()).filter(|&more| more > 0) else {
        return Some(amount);
    };
    Some(amount.saturating_add_unsigned(scaled(w(), more + 1)))
}

/// The index of the phase of an entry by its time and number, if any matches.
#[must_use]
pub fn phase(campaign: &Campaign, time: Millis, n: u64) -> Option<usize> {
    let matches = |phase: &Phase| {
        let (first, last) = phase.entries;
        phase.from.is_none_or(|from| from <= time)
            && phase.to.is_none_or(|to| time < to)
            && first <= n
            && last.is_none_or(|last| n <= last)
    };
    campaign.phases.iter().position(matches)
}

/// A sealed draw: which serials of a batch win is a permutation of the batch, so that exactly the stated counts are drawn.
#[derive(Debug)]
pub struct SealedDraw {
    ff1: Ff1,
    /// Number of codes of the batch.
    count: u64,
    /// By index of the prize, the end of its range of permuted serials.
    ends: Vec<u64>,
    /// The permuted serials of a small batch, once one was asked for.
    table: OnceLock<Box<[u32]>>,
}

/// Fewest binary digits of the permutation.
const DIGITS_MIN: u32 = 20;
/// A batch with fewer codes is tabulated at its first draw: of its numbers FF1 leaves most outside, so that each draw would
/// need many steps.
const TABULATED_BELOW: u64 = 1 << 18;

impl SealedDraw {
    /// The draw of a campaign over a batch of this many codes.
    #[must_use]
    pub fn new(campaign: &Campaign, count: u64, key: &DrawKey) -> Self {
        let digits = DIGITS_MIN.max(u64::BITS - (count.max(1) - 1).leading_zeros());
        let mut end = 0;
        let ends = campaign.prizes.iter().map(|prize| {
            end += prize.count.unwrap_or(0);
            end
        });
        let ends = ends.collect();
        Self { ff1: Ff1::new(&key.seal(), campaign.id.as_bytes(), digits), count, ends, table: OnceLock::new() }
    }

    /// The index of the prize that a serial draws.
    #[must_use]
    pub fn prize(&self, serial: u64) -> Option<usize> {
        let p = self.permuted(serial);
        let prize = self.ends.partition_point(|&end| end <= p);
        (prize < self.ends.len()).then_some(prize)
    }

    /// Where the permutation puts a serial of the batch.
    fn permuted(&self, serial: u64) -> u64 {
        if self.count >= TABULATED_BELOW {
            return self.walked(serial);
        }
        let table = self.table.get_or_init(|| {
            let all = (0..self.count).map(|serial| u32::try_from(self.walked(serial)).unwrap_or(u32::MAX));
            all.collect()
        });
        usize::try_from(serial).ok().and_then(|at| table.get(at)).map_or(u64::MAX, |&p| p.into())
    }

    /// FF1, repeated until the number is one of the batch.
    fn walked(&self, serial: u64) -> u64 {
        let mut p = self.ff1.encrypt(serial);
        while p >= self.count {
            p = self.ff1.encrypt(p);
        }
        p
    }
}

/// A winning moment of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// From when on it can be claimed.
    pub time: Millis,
    /// The index of its prize in the campaign.
    pub prize: u32,
    /// Its number among the moments of the prize, from 0.
    pub i: u32,
}

/// The moments of a campaign, the earliest first; of equal times in the order of prizes and numbers.
#[must_use]
pub fn moments(campaign: &Campaign, key: &DrawKey) -> Vec<Moment> {
    let length = u64::try_from(campaign.to - campaign.from).unwrap_or(0);
    let of_prize = |(prize, terms): (u32, &Prize)| {
        let all = 0..terms.count.unwrap_or(0);
        let moment = |i| Moment {
            time: campaign.from.saturating_add_unsigned(scaled(key.moment(&campaign.id, &terms.id, i), length)),
            prize,
            i: u32::try_from(i).unwrap_or(u32::MAX),
        };
        all.map(moment).collect::<Vec<_>>()
    };
    let mut moments: Vec<Moment> = (0..).zip(&campaign.prizes).flat_map(of_prize).collect();
    moments.sort_unstable();
    moments
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
        // ... b"amount\x1fwheel\x1fred\x1fwheel\x1f7:12", and b"moment\x1fwheel\x1fred\x1f3", and b"seal"
        let w = key.amount("red", Input { campaign: "wheel", code: "7:12", entry: None });
        assert_eq!(format!("{w:016x}"), "c101535902a3a7d1");
        assert_eq!(format!("{:016x}", key.moment("wheel", "red", 3)), "82895e115a6da7ee");
        assert_eq!(data_encoding::HEXLOWER.encode(&key.seal()[..8]), "b3a671aa05974d83");
    }
}
