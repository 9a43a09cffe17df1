//! Merkle trees over the records of a log: RFC 9162, section 2.1. The hash is SHA-256, a leaf is hashed after a byte 0x00, an inner
//! node after a byte 0x01, and the tree over n leaves splits at the largest power of two below n.

use sha2::{Digest, Sha256};

/// A hash of a leaf, a node or a whole tree.
pub type Hash = [u8; 32];

/// The hash of a leaf: SHA-256(0x00 ‖ record).
#[must_use]
pub fn leaf(record: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(record).finalize().into()
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree that takes its leaves in order. It keeps one hash for each binary digit of its size.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    size: u64,
    /// The roots of its perfect subtrees, the largest first: one for each binary 1 of `size`.
    subtrees: Vec<Hash>,
}

impl Tree {
    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the hash of a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut whole = leaf;
        // As a carry: each trailing 1 of the old size is a subtree that is as large as the new one.
        for _ in 0..self.size.trailing_ones() {
            let left = self.subtrees.pop().expect("a subtree for each binary 1 of the size");
            whole = node(&left, &whole);
        }
        self.subtrees.push(whole);
        self.size += 1;
    }

    /// The hash of the tree over all leaves so far; without a leaf the SHA-256 of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut smallest_first = self.subtrees.iter().rev().copied();
        match smallest_first.next() {
            None => Sha256::digest([]).into(),
            Some(last) => smallest_first.fold(last, |right, left| node(&left, &right)),
        }
    }
}

/// The proof that a leaf is in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The hash of the tree.
    pub root: Hash,
    /// The hashes of the neighbours, from the leaf up.
    pub path: Vec<Hash>,
}

/// Proves the leaf at `index` in the tree over the next `size` leaves of `next`, which are taken once, in order.
///
/// # Panics
/// If the leaf is none of the tree.
///
/// # Errors
/// As `next`.
pub fn inclusion<E>(index: u64, size: u64, next: &mut impl FnMut() -> Result<Hash, E>) -> Result<Inclusion, E> {
    assert!(index < size, "the leaf is one of the tree");
    let mut path = Vec::new();
    let root = subtree(Some(index), size, next, &mut path)?;
    Ok(Inclusion { root, path })
}

/// The hash of a subtree; if it holds the proved leaf, the neighbours inside of it are added to the path.
fn subtree<E>(
    index: Option<u64>,
    size: u64,
    next: &mut impl FnMut() -> Result<Hash, E>,
    path: &mut Vec<Hash>,
) -> Result<Hash, E> {
    if size == 1 {
        return next();
    }
    // The largest power of two below the size.
    let split = 1 << (size - 1).ilog2();
    let in_left = index.filter(|&index| index < split);
    let in_right = index.filter(|&index| index >= split).map(|index| index - split);
    let left = subtree(in_left, split, next, path)?;
    let right = subtree(in_right, size - split, next, path)?;
    if in_left.is_some() {
        path.push(right);
    }
    if in_right.is_some() {
        path.push(left);
    }
    Ok(node(&left, &right))
}

/// The root to which a path leads from a leaf (RFC 9162, section 2.1.3.2); `None` if no path of this length belongs to the leaf.
#[must_use]
pub fn root_of(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut root) = (index, size - 1, leaf);
    for neighbour in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            root = node(neighbour, &root);
            // A node without a right neighbour is lifted unchanged.
            while at.is_multiple_of(2) && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            root = node(&root, neighbour);
        }
        at /= 2;
        last /= 2;
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use data_encoding::HEXLOWER;

    use super::*;

    fn tree(leaves: &[Hash]) -> Tree {
        let mut tree = Tree::default();
        leaves.iter().for_each(|&leaf| tree.push(leaf));
        tree
    }

    /// The leaves of the test vectors of Certificate Transparency; the roots are computed by a recursion in Python that follows
    /// the text of RFC 9162, and equal the published ones.
    #[test]
    fn roots_are_those_of_the_rfc() {
        let records =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let leaves: Vec<Hash> =
            records.iter().map(|hex| leaf(&HEXLOWER.decode(hex.as_bytes()).expect("hex"))).collect();
        for (size, root) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            let tree = tree(&leaves[..size]);
            assert_eq!((HEXLOWER.encode(&tree.root()).as_str(), tree.size()), (root, size as u64));
        }
    }

    #[test]
    fn every_leaf_of_every_tree_is_proved() {
        let leaves: Vec<Hash> = (0..70_u8).map(|n| leaf(&[n])).collect();
        for size in 1..=leaves.len() {
            let root = tree(&leaves[..size]).root();
            for index in 0..size {
                let (at, of) = (index as u64, size as u64);
                let mut left = leaves[..size].iter().copied();
                let mut next = || Ok::<_, Infallible>(left.next().expect("no more than the size"));
                let Ok(proof) = inclusion(at, of, &mut next);
                assert_eq!((left.next(), proof.root), (None, root), "{index} of {size}");
                assert_eq!(root_of(leaves[index], at, of, &proof.path), Some(root), "{index} of {size}");
                // Another leaf, place, length or neighbour leads elsewhere.
                assert_ne!(root_of(leaf(b"other"), at, of, &proof.path), Some(root));
                assert_eq!(root_of(leaves[index], of, of, &proof.path), None);
                assert_ne!(root_of(leaves[index], at ^ 1, of, &proof.path), Some(root));
                let longer = [&proof.path[..], &[root]].concat();
                assert_eq!(root_of(leaves[index], at, of, &longer), None);
                if let Some((_, shorter)) = proof.path.split_last() {
                    assert_eq!(root_of(leaves[index], at, of, &proof.path[..shorter.len()]), None);
                }
            }
        }
    }
}
