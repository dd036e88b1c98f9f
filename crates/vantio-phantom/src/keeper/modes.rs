//! What a program switched on in a terminal and somebody who leaves has to switch off.
//!
//! DEC private modes (`CSI ? n h`, `CSI ? n l`), as xterm has them.

/// Follows the modes that output switches.
#[derive(Debug, Default)]
pub(super) struct Modes {
    state: State,
    numbers: Vec<u16>,
    /// Switched away from what a shell expects.
    changed: Vec<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Bracket,
    Private,
}

impl Modes {
    /// Sees what is shown.
    pub(super) fn see(&mut self, output: &[u8]) {
        for byte in output {
            self.state = match (self.state, *byte) {
                (_, 0x1b) => State::Escape,
                (State::Escape, b'[') => State::Bracket,
                (State::Bracket, b'?') => {
                    self.numbers = vec![0];
                    State::Private
                }
                (State::Private, digit @ b'0'..=b'9') => {
                    if let Some(number) = self.numbers.last_mut() {
                        *number = number.saturating_mul(10).saturating_add(u16::from(digit - b'0'));
                    }
                    State::Private
                }
                (State::Private, b';') if self.numbers.len() < MOST => {
                    self.numbers.push(0);
                    State::Private
                }
                (State::Private, switch @ (b'h' | b'l')) => {
                    self.switch(switch == b'h');
                    State::Ground
                }
                _ => State::Ground,
            };
        }
    }

    /// What has to be shown to have a terminal as a shell expects it.
    pub(super) fn undo(&self) -> Vec<u8> {
        let back = self.changed.iter().rev().flat_map(|mode| {
            let switch = if USUALLY_ON.contains(mode) { 'h' } else { 'l' };
            format!("\x1b[?{mode}{switch}").into_bytes()
        });
        back.collect()
    }

    fn switch(&mut self, is_on: bool) {
        for mode in std::mem::take(&mut self.numbers).into_iter().filter(|mode| FOLLOWED.contains(mode)) {
            self.changed.retain(|changed| *changed != mode);
            if is_on != USUALLY_ON.contains(&mode) {
                self.changed.push(mode);
            }
        }
    }
}

/// Cursor keys, the mouse in its kinds, focus, the other screen in its kinds, pasting, the cursor itself.
const FOLLOWED: [u16; 15] = [1, 9, 25, 47, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1049, 2004];
const USUALLY_ON: [u16; 1] = [25];
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(output: &[u8]) -> String {
        let mut modes = Modes::default();
        output.chunks(3).for_each(|piece| modes.see(piece));
        String::from_utf8(modes.undo()).unwrap()
    }

    #[test]
    fn what_a_program_switched_on_is_switched_off() {
        assert_eq!(
            undone(b"\x1b[?1049h\x1b[?25ltext\x1b[?1000;1006h"),
            "\x1b[?1006l\x1b[?1000l\x1b[?25h\x1b[?1049l"
        );
    }

    #[test]
    fn what_a_program_left_as_it_was_is_left() {
        assert_eq!(undone(b"\x1b[?1049h\x1b[31mred\x1b[?7h\x1b[?1049l"), "");
        assert_eq!(undone(b"plain text, [?1049h without an escape"), "");
    }
}
