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

/// `count`: the batch's.
pub(crate) fn sealed(c: &Campaign, id: &str, count: u64, serial: u64, seen: &mut Seen) -> Option<String> {
    let digits = (u64::BITS - (count - 1).leading_zeros()).max(20) as usize;
    let ff1 = Ff1::new(hmac(&c.secret, "seal"));
    let mut p = serial;
    loop {
        let bits: Vec<u32> = (0..digits).rev().map(|i| (p >> i & 1) as u32).collect();
        p = ff1.encrypt(2, id.as_bytes(), &bits).into_iter().fold(0, |p, bit| p << 1 | bit as u64);
        if p < count {
            break;
        }
    }
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
pub(crate) fn moment_at(c: &Campaign, id: &str, prize: &str, i: u64) -> i64 {
    let v = uniform(&c.secret, &format!("moment\x1f{id}\x1f{prize}\x1f{i}"));
    c.from + (v as u128 * (c.to - c.from) as u128 >> 64) as i64
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
            let at = moment_at(c, id, &prize.id, i);
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
pub(crate) fn amount(c: &Campaign, id: &str, prize: &str, input: &str, amount: i64, most: i64) -> i64 {
    let w = uniform(&c.secret, &format!("amount\x1f{id}\x1f{prize}\x1f{input}"));
    amount + (w as u128 * (most - amount + 1) as u128 >> 64) as i64
}
