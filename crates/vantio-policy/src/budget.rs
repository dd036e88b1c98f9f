//! Limits on what a run may use.

/// Limits of a run. `None` is unlimited, 0 permits none; reaching a limit
/// exactly is permitted, passing it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Tokens of models, in and out together.
    pub tokens: Option<u64>,
    /// Calls of tools and models.
    pub calls: Option<u64>,
    /// Milliseconds of inference.
    pub inference_ms: Option<u64>,
    /// Bytes written to files.
    pub file_bytes: Option<u64>,
    /// Bytes sent to and received from the network.
    pub network_bytes: Option<u64>,
    /// Milliseconds from the run's start.
    pub wall_ms: Option<u64>,
    /// Processes and threads at one time.
    pub processes: Option<u64>,
    /// Cost in millionths of a US dollar; `cost_usd` in a document.
    pub cost_micro_usd: Option<u64>,
}

impl Budgets {
    /// The names of the limits, in the order of [`Budgets::values`].
    pub const NAMES: [&'static str; 8] = [
        "tokens",
        "calls",
        "inference_ms",
        "file_bytes",
        "network_bytes",
        "wall_ms",
        "processes",
        "cost_micro_usd",
    ];

    /// The limits, in the order of [`Budgets::NAMES`].
    pub const fn values(&self) -> [Option<u64>; 8] {
        [
            self.tokens,
            self.calls,
            self.inference_ms,
            self.file_bytes,
            self.network_bytes,
            self.wall_ms,
            self.processes,
            self.cost_micro_usd,
        ]
    }

    /// The name of the first limit that `used` passes.
    pub fn exceeded_by(&self, used: &[u64; 8]) -> Option<&'static str> {
        let limits = self.values();
        (0..8)
            .find(|&index| limits[index].is_some_and(|limit| used[index] > limit))
            .map(|index| Self::NAMES[index])
    }

    pub(crate) const fn from_values(values: [Option<u64>; 8]) -> Self {
        let [tokens, calls, inference_ms, file_bytes, network_bytes, wall_ms, processes, cost_micro_usd] =
            values;
        Self { tokens, calls, inference_ms, file_bytes, network_bytes, wall_ms, processes, cost_micro_usd }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_may_be_reached_and_not_passed() {
        let budgets = Budgets { calls: Some(2), processes: Some(0), ..Budgets::default() };
        assert_eq!(budgets.exceeded_by(&[9, 2, 9, 9, 9, 9, 0, 9]), None);
        assert_eq!(budgets.exceeded_by(&[9, 3, 9, 9, 9, 9, 0, 9]), Some("calls"));
        assert_eq!(budgets.exceeded_by(&[9, 2, 9, 9, 9, 9, 1, 9]), Some("processes"));
        assert_eq!(Budgets::from_values(budgets.values()), budgets);
    }
}
