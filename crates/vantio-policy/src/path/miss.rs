//! Where a path and a pattern part.

use alloc::string::String;

use super::{Component, Matcher};
use crate::{
    explain::{Miss, Reason},
    glob,
};

impl Matcher {
    /// Why a path (without trailing slash, the root empty) is not covered.
    pub(crate) fn miss(&self, path: &[u8]) -> Miss {
        let mut fitting = 0;
        let mut names = path.split(|byte| *byte == b'/').skip(1);
        for expected in self.prefix.split(|byte| *byte == b'/').skip(1) {
            match names.next() {
                None => return Miss::new(Reason::Above, fitting),
                Some(name) if name == expected => fitting += 1,
                Some(name) => return parted(fitting, fitting, name, literal(expected)),
            }
        }
        let (mut depth, mut bits) = (fitting, self.skip_deep(1));
        let mut last = None;
        for name in names {
            let next = self.step(bits, name);
            let nearness = fitting + self.progress(bits);
            if next == 0 && bits & self.accept() != 0 {
                return Miss::new(Reason::EntriesOnly, nearness);
            }
            if next == 0 {
                return parted(depth, nearness, name, self.expected(bits));
            }
            last = Some((depth, name, bits));
            bits = next;
            depth += 1;
        }
        let nearness = fitting + self.progress(bits);
        if bits & self.accept() != 0 {
            return Miss::new(Reason::NotBelow, nearness);
        }
        if self.ends_deep && bits & self.accept() >> 1 != 0 {
            return Miss::new(Reason::OnlyBelow, nearness);
        }
        match last {
            // Any folder would do; it is the name that is another.
            Some((depth, name, before)) if self.is_in_deep(bits) => {
                parted(depth, nearness, name, self.expected(before))
            }
            _ => Miss::new(Reason::Above, nearness),
        }
    }

    /// Components after the literal beginning that fit, those that `**` took not counted.
    fn progress(&self, bits: u64) -> u32 {
        let furthest = (u64::BITS - bits.leading_zeros()).saturating_sub(1) as usize;
        let passed = self.tail.iter().take(furthest);
        passed.fold(0, |count, component| count + u32::from(*component != Component::Deep))
    }

    fn is_in_deep(&self, bits: u64) -> bool {
        self.tail
            .iter()
            .enumerate()
            .any(|(index, component)| bits & 1 << index != 0 && *component == Component::Deep)
    }

    /// The component that would lead furthest.
    fn expected(&self, bits: u64) -> String {
        let furthest = (0..self.tail.len()).rev().find(|index| bits & 1 << index != 0);
        let mut text = String::new();
        match furthest.and_then(|index| self.tail.get(index)) {
            Some(Component::Literal(name)) => glob::write_literal(name, &mut text),
            Some(Component::Glob(glob)) => glob.write(&mut text),
            Some(Component::Deep) | None => text.push_str("**"),
        }
        text
    }
}

fn literal(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn parted(depth: u32, nearness: u32, name: &[u8], expected: String) -> Miss {
    let found = literal(name);
    Miss::new(Reason::Component { number: depth as usize + 1, found, expected }, nearness)
}
