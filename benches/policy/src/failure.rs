//! Why the bench ended early.

use thiserror::Error;

/// Why the bench ended early.
#[derive(Debug, Error)]
pub enum Failure {
    /// Two subjects answer one request differently, so that their times cannot be compared.
    #[error(
        "at {rules} rules `{}` {} and `{}` does not: {request}",
        subjects[0],
        if *permits { "permits what" } else { "refuses what" },
        subjects[1]
    )]
    Disagreement {
        /// The number of rules.
        rules: usize,
        /// The request.
        request: String,
        /// The two.
        subjects: [&'static str; 2],
        /// Whether the first of them permits it.
        permits: bool,
    },
    /// Vantio itself could not be prepared.
    #[error("vantio refused {rules} rules: {reason}")]
    Refused {
        /// The number of rules.
        rules: usize,
        /// What it said.
        reason: String,
    },
}
