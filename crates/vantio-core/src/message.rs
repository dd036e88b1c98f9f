//! Messages on their way into a SHA-256 digest (FIPS 180-4).

use core::slice;

use sha2::block_api::compress256;

/// A block (section 5.2.1).
type Block = [u8; 64];

/// A message of a short prefix and a body. Everything that must be copied for it is copied before the first
/// block is taken: a block that was just written holds the processor up until all before it is done.
pub(crate) struct Message<'m> {
    /// The prefix and the body's first bytes, where they fill a block.
    head: Option<Block>,
    /// The blocks that the body fills.
    middle: &'m [Block],
    /// The body's last bytes and the padding (section 5.1.1).
    tail: [Block; 2],
    /// How much of the tail there is.
    tail_length: usize,
}

impl<'m> Message<'m> {
    /// The message of `prefix` and `body`.
    pub fn new<const LENGTH: usize>(prefix: &[u8; LENGTH], body: &'m [u8]) -> Self {
        const { assert!(LENGTH < 64, "a prefix is shorter than a block") };
        let mut start = [0; 64];
        start[..LENGTH].copy_from_slice(prefix);
        let bits = 8 * (LENGTH as u64 + body.len() as u64);
        let Some((first, rest)) = body.split_at_checked(64 - LENGTH) else {
            start[LENGTH..LENGTH + body.len()].copy_from_slice(body);
            return Self::padded(None, &[], start, LENGTH + body.len(), bits);
        };
        start[LENGTH..].copy_from_slice(first);
        let (middle, rest) = rest.as_chunks();
        let mut end = [0; 64];
        end[..rest.len()].copy_from_slice(rest);
        Self::padded(Some(start), middle, end, rest.len(), bits)
    }

    /// With the padding, after `filled` bytes of the last block.
    fn padded(head: Option<Block>, middle: &'m [Block], mut end: Block, filled: usize, bits: u64) -> Self {
        end[filled] = 0x80;
        let mut tail = [end, [0; 64]];
        let tail_length = if filled < 56 { 1 } else { 2 };
        tail[tail_length - 1][56..].copy_from_slice(&bits.to_be_bytes());
        Self { head, middle, tail, tail_length }
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.head.iter().chain(self.middle).chain(&self.tail[..self.tail_length])
    }
}

/// The digests of two messages, in two thirds of the time: each step of a digest waits for the one before,
/// and meanwhile the processor takes one of the other's.
pub(crate) fn digests(messages: &[Message<'_>; 2]) -> [[u8; 32]; 2] {
    let [mut one, mut other] = [INITIAL; 2];
    let [mut ones, mut others] = messages.each_ref().map(Message::blocks);
    loop {
        let (block, other_block) = (ones.next(), others.next());
        if let Some(block) = block {
            compress256(&mut one, slice::from_ref(block));
        }
        if let Some(block) = other_block {
            compress256(&mut other, slice::from_ref(block));
        }
        if block.is_none() && other_block.is_none() {
            return [one, other].map(bytes);
        }
    }
}

/// The digest that a state is (section 6.2.2).
fn bytes(state: [u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (word, bytes) in state.iter().zip(bytes.as_chunks_mut().0) {
        *bytes = word.to_be_bytes();
    }
    bytes
}

/// The initial hash value (section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
