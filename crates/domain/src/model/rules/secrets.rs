//! The secrets that rules refer to. They are never in the rules, never printed, and wiped when they are dropped.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// One secret: 32 bytes.
pub type Secret = Zeroizing<[u8; 32]>;

/// The secrets of one version of a merchant's rules, as far as a role has them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// By campaign id.
    pub campaigns: BTreeMap<String, Secret>,
    /// By the number of the batch.
    pub batches: BTreeMap<u32, Secret>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} of campaigns, {} of batches)", self.campaigns.len(), self.batches.len())
    }
}
