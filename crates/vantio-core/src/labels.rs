//! Taint labels.

/// A set of labels. A policy numbers its labels from 0 to 63, in the order of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(u64);

impl Labels {
    /// How many labels a policy may have.
    pub const MAX: usize = 64;
    /// No label.
    pub const NONE: Self = Self(0);

    /// The set of these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The set of one label; empty for a number that no label has.
    pub const fn single(number: u8) -> Self {
        if number < 64 { Self(1 << number) } else { Self(0) }
    }

    /// One bit a label.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether there is no label.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every label of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The labels of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The labels of both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The labels of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The numbers of the labels, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |number| self.0 >> number & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sets() {
        let (a, b) = (Labels::single(0), Labels::single(63));
        assert!(a.union(b).contains(b) && !a.contains(b));
        assert_eq!(a.union(b).without(a), b);
        assert_eq!(a.union(b).intersection(b), b);
        assert!(a.union(b).numbers().eq([0, 63]));
        assert_eq!(Labels::single(64), Labels::NONE);
    }
}
