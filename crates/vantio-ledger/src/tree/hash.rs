//! Leaves and nodes.

use vantio_core::Hash;

/// The root of a tree without entries: SHA-256 of nothing (RFC 9162, section 2.1.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// What comes before an entry in the message that its hash is the digest of.
pub(crate) const LEAF: &[u8; 1] = &[0];

/// The hash of an entry: `SHA-256(0x00 || entry)` (RFC 9162, section 2.1.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash::of_parts(&[LEAF, entry])
}

/// The hash of a node: `SHA-256(0x01 || left || right)` (RFC 9162, section 2.1.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash::of(&bytes)
}

/// The root of a complete subtree, reduced in place: `hashes` are a power of two many.
pub fn reduce(hashes: &mut [Hash]) -> Option<Hash> {
    let mut width = hashes.len();
    while width > 1 {
        width /= 2;
        for place in 0..width {
            hashes[place] = node_hash(&hashes[2 * place], &hashes[2 * place + 1]);
        }
    }
    hashes.first().copied()
}
