//! Which prize an entry draws: by odds, by its place in a sealed batch, at a moment (contract, section 6).
use super::super::fields::gcd;
use super::super::minted::ff1::Ff1;
use super::super::rules::Campaign;
use super::super::{Seen, saw};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::BTreeSet;

fn hmac(secret: &[u8], text: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The first 8 bytes, big-endian.
fn uniform(secret: &[u8], text: &str) -> u64 {
    u64::from_be_bytes(hmac(secret, text)[..8].try_into().unwrap())
}

pub(crate) fn by_odds(c: &Campaign, input: &str, n: u64, now: i64, seen: &mut Seen) -> Option<String> {
    let phase = c.phases.iter().position(|p| {
        p.from.is_none_or(|f| f <= now) && p.to.is_none_or(|t| now < t) && p.first <= n && p.last.is_none_or(|l| n <= l)
    });
    let Some(phase) = phase else {
        saw(seen, "draw: no phase");
        return None;
    };
    if phase > 0 {
        saw(seen, "draw: a later phase");
    }
    let u = uniform(&c.secret, &format!("draw\x1f{input}")) as u128;
    let mut sum = (0u128, 1u128);
    for p in &c.prizes {
        let Some(&(n, d)) = c.phases[phase].odds.get(&p.id) else { continue };
        sum = (sum.0 * d + n * sum.1, sum.1 * d);
        let g = gcd(sum.0, sum.1);
        sum = (sum.0 / g, sum.1 / g);
        assert!(sum.0 <= u64::MAX as u128);
        if u < (sum.0 << 64) / sum.1 || sum.0 == sum.1 {
            return Some(p.id.clone());
        }
    }
    None
}

/// Where a serial comes to lie among the `count` codes of the batch.
fn place(secret: &[u8], id: &str, count: u64, serial: u64) -> u64 {
    let digits = (u64::BITS - (count - 1).leading_zeros()).max(20) as usize;
    let ff1 = Ff1::new(hmac(secret, "seal"));
    let mut p = serial;
    loop {
        let bits: Vec<u32> = (0..digits).rev().map(|i| (p >> i & 1) as u32).collect();
        p = ff1.encrypt(2, id.as_bytes(), &bits).into_iter().fold(0, |p, bit| p << 1 | bit as u64);
        if p < count {
            return p;
        }
    }
}

/// `count`: the batch's.
pub(crate) fn sealed(c: &Campaign, id: &str, count: u64, serial: u64, seen: &mut Seen) -> Option<String> {
    let p = place(&c.secret, id, count, serial);
    let mut end = 0;
    for prize in &c.prizes {
        end += prize.count;
        if p < end {
            saw(seen, "draw: sealed, a prize");
            return Some(prize.id.clone());
        }
    }
    saw(seen, "draw: sealed, none");
    None
}

/// When moment `i` of a prize is.
fn moment_at(secret: &[u8], (from, to): (i64, i64), id: &str, prize: &str, i: u64) -> i64 {
    let v = uniform(secret, &format!("moment\x1f{id}\x1f{prize}\x1f{i}"));
    from + ((v as u128 * (to - from) as u128) >> 64) as i64
}

/// The earliest that is not claimed, its prize and number.
pub(crate) fn moment(
    c: &Campaign,
    id: &str,
    now: i64,
    claimed: &BTreeSet<(String, String, u64)>,
    seen: &mut Seen,
) -> Option<(String, u64)> {
    let mut best = None;
    let mut passed = false;
    for (j, prize) in c.prizes.iter().enumerate() {
        for i in 0..prize.count {
            let at = moment_at(&c.secret, (c.from, c.to), id, &prize.id, i);
            if at > now {
                continue;
            }
            if claimed.contains(&(id.to_string(), prize.id.clone(), i)) {
                passed = true;
            } else if best.is_none_or(|best| (at, j, i) < best) {
                best = Some((at, j, i));
            }
        }
    }
    let found = best.map(|(_, j, i)| (c.prizes[j].id.clone(), i));
    saw(
        seen,
        match &found {
            Some(_) if passed => "draw: a later moment",
            Some(_) => "draw: a first moment",
            None if passed => "draw: all moments claimed",
            None => "draw: no moment yet",
        },
    );
    found
}

/// What is granted of `amount` to `most`; the input begins with the campaign.
pub(crate) fn amount(secret: &[u8], id: &str, prize: &str, input: &str, amount: i64, most: i64) -> i64 {
    let w = uniform(secret, &format!("amount\x1f{id}\x1f{prize}\x1f{input}"));
    amount + ((w as u128 * (most - amount + 1) as u128) >> 64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [1; 32];

    /// python3: FF1 over the AES of `cryptography`, cycle walking as the contract has it.
    #[test]
    fn places_are_those_of_another_ff1() {
        assert_eq!([0, 1, 999].map(|s| place(&SECRET, "caps", 1000, s)), [601, 370, 312]);
        // 21 digits: halves of 10 and 11
        assert_eq!([0, 1_499_999].map(|s| place(&SECRET, "caps", 1_500_000, s)), [873_377, 1_033_974]);
    }

    /// python3: from + (int.from_bytes(hmac.new(bytes([1]) * 32, b"moment\x1flive\x1fbig\x1f0", "sha256").digest()[:8]) * 100_000 >> 64)
    #[test]
    fn moments_are_those_of_python() {
        let at = |prize, i| moment_at(&SECRET, (1_000_000, 1_100_000), "live", prize, i);
        assert_eq!([0, 1].map(|i| at("big", i)), [1_014_191, 1_014_016]);
        assert_eq!([0, 1, 2].map(|i| at("small", i)), [1_067_204, 1_023_130, 1_086_246]);
    }

    #[test]
    fn amounts_are_those_of_python() {
        assert_eq!(amount(&SECRET, "live", "small", "live\x1f7:3", 100, 188), 147);
        let input = "live\x1fMAG\x1fu1\x1f2";
        assert_eq!(amount(&SECRET, "live", "small", input, 0, 1_000_000_000_000_000), 970_608_726_605_714);
        assert_eq!(amount(&SECRET, "live", "small", input, 7, 7), 7);
    }
}
