//! Maps from keys that are uniform already: no second hash.

use std::hash::{BuildHasherDefault, Hasher};

/// A map from uniform 128-bit keys.
pub type UniformMap<V> = hashbrown::HashMap<u128, V, BuildHasherDefault<UniformHasher>>;
/// A set of uniform 128-bit keys.
pub type UniformSet = hashbrown::HashSet<u128, BuildHasherDefault<UniformHasher>>;

/// Takes the low half of a key as its hash; shards take the top.
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
