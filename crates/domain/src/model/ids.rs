//! Identities: keys of events, shoppers and orders, and the shards that they fall into.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// The byte between the parts of an identity (ASCII unit separator; no text of an event can contain it).
pub const SEPARATOR: u8 = 0x1F;
/// Number of fixed shards that keys fall into; shards map to partitions.
pub(crate) const SHARDS: u32 = 1024;

/// The first 16 bytes of SHA-256 over the parts, joined by [`SEPARATOR`], as a big-endian number.
#[must_use]
pub fn digest128(parts: &[&str]) -> u128 {
    if let Some(block) = single_block(parts) {
        let mut state = SHA256_START;
        compress256(&mut state, &[block]);
        return state[..4].iter().fold(0, |n, &word| n << 32 | u128::from(word));
    }
    let mut hash = Sha256::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            hash.update([SEPARATOR]);
        }
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    digest.iter().take(16).fold(0, |n, &b| n << 8 | u128::from(b))
}

/// The state with which SHA-256 begins (FIPS 180-4, section 5.3.3).
const SHA256_START: [u32; 8] =
    [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];
/// Maximum size of a message that is padded to one block of SHA-256, bytes.
const SINGLE_BLOCK_MAX: usize = 55;

/// The only block of SHA-256 over the joined parts; none if they are longer. Keys of events are short, and a hash that collects its
/// input in a buffer first takes half as long again.
fn single_block(parts: &[&str]) -> Option<[u8; 64]> {
    let bytes = parts.iter().map(|part| part.len()).sum::<usize>() + parts.len().saturating_sub(1);
    if bytes > SINGLE_BLOCK_MAX {
        return None;
    }
    let (mut block, mut at) = ([0; 64], 0);
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            block[at] = SEPARATOR;
            at += 1;
        }
        block[at..at + part.len()].copy_from_slice(part.as_bytes());
        at += part.len();
    }
    block[at] = 0x80;
    block[56..].copy_from_slice(&(bytes as u64 * 8).to_be_bytes());
    Some(block)
}

/// The key of an event (contract section 1), from its action's word: a refund may bear the id of its order. Its order as
/// a number is its order as bytes.
#[must_use]
pub fn event_key(merchant: &str, shopper: &str, action: &str, id: &str) -> u128 {
    digest128(&[merchant, shopper, action, id])
}

/// The key of the answer to a keyless scan, from its random id. It has two parts and an event key has four, so they differ.
#[must_use]
pub fn keyless_answer_key(id: &str) -> u128 {
    digest128(&["keyless", id])
}

/// The key of a shopper of a merchant.
#[must_use]
pub fn shopper_key(merchant: &str, shopper: &str) -> u128 {
    digest128(&[merchant, shopper])
}

/// A key for tables of a text that is no identity of money (XXH3, 128 bits).
#[must_use]
pub(crate) fn text_key(text: &str) -> u128 {
    xxhash_rust::xxh3::xxh3_128(text.as_bytes())
}

/// One key from two: a keyed permutation of the sum's halves, so that neither order nor addition cancels out.
#[must_use]
pub(crate) const fn join_keys(a: u128, b: u128) -> u128 {
    const ODD: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
    let mixed = (a ^ b.rotate_left(41)).wrapping_mul(ODD).wrapping_add(b);
    mixed ^ (mixed >> 67)
}

/// The shard of a uniform key: its top ten bits.
#[must_use]
pub const fn shard(key: u128) -> u32 {
    (key >> 118) as u32
}

/// A key of the shard of a serial: serial mod 1,024.
#[must_use]
pub(crate) const fn shard_key(serial: u64) -> u128 {
    ((serial % SHARDS as u64) as u128) << 118
}

/// The partition of a shard, in a topic of `partitions` partitions.
#[must_use]
pub const fn partition(shard: u32, partitions: u16) -> u16 {
    (shard * partitions as u32 / SHARDS) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_key_is_sha256_of_joined_parts() {
        // printf 'acme\x1fu1\x1forder\x1f7f3a' | sha256sum | head -c 32
        assert_eq!(format!("{:032x}", event_key("acme", "u1", "order", "7f3a")), "793e9accdd23051af1e034aa33f4bd25");
        assert_eq!(format!("{:032x}", event_key("acme", "u1", "refund", "7f3a")), "2d3a50eea725956a84a274fb4920295d");
    }

    #[test]
    fn keys_of_one_block_and_of_several_are_the_same_hash() {
        let text = "é".repeat(100);
        for bytes in (0..150).step_by(2) {
            for parts in [&[&text[..bytes]][..], &["a", &text[..bytes]], &["", &text[..bytes], "", "order"]] {
                let joined = parts.join("\u{1F}");
                let whole: [u8; 16] = Sha256::digest(joined.as_bytes())[..16].try_into().expect("16 bytes");
                assert_eq!(digest128(parts), u128::from_be_bytes(whole), "{} bytes", joined.len());
            }
        }
    }

    #[test]
    fn shards_cover_all_partitions() {
        assert_eq!(shard(u128::MAX), SHARDS - 1);
        for partitions in [1, 4, 7, 16] {
            let hit: std::collections::BTreeSet<u16> = (0..SHARDS).map(|s| partition(s, partitions)).collect();
            assert_eq!(hit.len(), usize::from(partitions));
        }
    }
}
