//! Maps whose keys are uniformly distributed already, so that they are not hashed again.

use std::hash::{BuildHasherDefault, Hasher};

/// A map with uniform 128-bit keys.
pub type UniformMap<V> = hashbrown::HashMap<u128, V, BuildHasherDefault<UniformHasher>>;
/// A set of uniform 128-bit keys.
pub type UniformSet = hashbrown::HashSet<u128, BuildHasherDefault<UniformHasher>>;

/// Approximate size of a table in memory, bytes: an entry and a control byte per slot, without what the values own elsewhere.
#[must_use]
pub fn table_bytes<V>(capacity: usize) -> usize {
    capacity * (size_of::<(u128, V)>() + 1)
}

/// Uses the low half of a key as its hash; shards use the top bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct UniformHasher(u64);

impl Hasher for UniformHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only for keys of 128 bits");
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = (key & u128::from(u64::MAX)) as u64;
    }
}
