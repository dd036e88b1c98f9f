//! What is typed to leave a run: `^P ^Q`. `^P ^P` is one `^P`.

/// Looks for the keys that detach, in what is typed.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Whether a `^P` was typed and waits for what follows.
    is_pending: bool,
}

impl Keys {
    /// What of `typed` is for the run, and whether whoever typed it leaves.
    pub(super) fn take(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            match (std::mem::take(&mut self.is_pending), *byte) {
                (true, LEAVE) => return (passed, true),
                (true, PREFIX) => passed.push(PREFIX),
                (true, other) => passed.extend([PREFIX, other]),
                (false, PREFIX) => self.is_pending = true,
                (false, other) => passed.push(other),
            }
        }
        (passed, false)
    }
}

const PREFIX: u8 = 0x10;
const LEAVE: u8 = 0x11;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = Keys::default();
        let mut passed = Vec::new();
        for piece in pieces {
            let (bytes, leaves) = keys.take(piece);
            passed.extend(bytes);
            if leaves {
                return (passed, true);
            }
        }
        (passed, false)
    }

    #[test]
    fn two_keys_detach_in_one_piece_or_in_two() {
        assert_eq!(typed(&[b"a\x10\x11b"]), (b"a".to_vec(), true));
        assert_eq!(typed(&[b"a\x10", b"\x11b"]), (b"a".to_vec(), true));
    }

    #[test]
    fn either_key_alone_is_for_the_run() {
        assert_eq!(typed(&[b"\x11", b"\x10x", b"\x10", b"y"]), (b"\x11\x10x\x10y".to_vec(), false));
    }

    #[test]
    fn the_keys_themselves_can_be_typed() {
        assert_eq!(typed(&[b"\x10\x10\x11"]), (b"\x10\x11".to_vec(), false));
        assert_eq!(typed(&[b"\x10\x10", b"\x10\x11"]), (b"\x10".to_vec(), true));
    }
}
