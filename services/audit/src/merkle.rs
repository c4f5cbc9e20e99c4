//! The RFC 6962 tree over the log's lines, as its right edge only.
//!
//! Promises the root of every prefix in memory that grows with the logarithm of the log. It is never
//! changed except by a leaf at its end.

use tlog_tiles::{EMPTY_HASH, Hash, node_hash};

/// The roots of the complete subtrees of a tree, largest first.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

/// A tree's size and root: what a checkpoint signs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// How many leaves.
    pub size: u64,
    /// RFC 6962 root hash.
    pub root: Hash,
}

impl Tree {
    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the hash of a leaf at the end.
    pub fn push(&mut self, leaf: Hash) {
        let mut subtree = leaf;
        // Each trailing one of the old size is a complete subtree that the new leaf completes further.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                subtree = node_hash(left, subtree);
            }
        }
        self.peaks.push(subtree);
        self.size += 1;
    }

    /// The root; of an empty tree, the hash of the empty string.
    #[must_use]
    pub fn root(&self) -> Hash {
        let peaks = self.peaks.iter().rev().copied();
        peaks.reduce(|right, left| node_hash(left, right)).unwrap_or(EMPTY_HASH)
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { size: self.size, root: self.root() }
    }
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;
    use tlog_tiles::record_hash;

    use super::*;

    #[test]
    fn every_root_equals_the_one_of_an_independent_implementation() {
        let mut ours = Tree::default();
        let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for number in 0_u32..1_200 {
            let leaf = format!("{{\"sequence\":{number}}}").into_bytes();
            ours.push(record_hash(&leaf));
            theirs.push(leaf);
            assert_eq!(ours.root().0.as_slice(), theirs.root().as_bytes().as_slice(), "at {number}");
            assert_eq!(ours.size(), theirs.len());
        }
    }

    #[test]
    fn an_empty_tree_has_the_root_of_the_standard() {
        let expected = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Tree::default().root().to_string(), expected);
    }
}
