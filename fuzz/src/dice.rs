//! Choices that the fuzzer makes.

/// Bytes, each of which is a choice; after the last, the first choice is taken always.
pub struct Dice<'b>(&'b [u8]);

impl<'b> Dice<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there are choices left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A number less than `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % end
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        // The first choice is the common one.
        self.below(100) >= 100 - percent
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn some<T>(&mut self, least: usize, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| make(self)).collect()
    }
}
