//! Starts a run and waits for its end.

use std::sync::Arc;

use crate::{Ending, LaunchError, Oracle, Spec};

/// Makes the oracle inside the supervisor, once no fork is left to happen.
pub type MakeOracle = Box<dyn FnOnce() -> Result<Arc<dyn Oracle>, LaunchError>>;

/// Runs `spec` to its end. The calling process must be single-threaded.
///
/// # Errors
///
/// When any part of the world could not be built; the program was then never started.
pub fn run(spec: &Spec, make_oracle: MakeOracle) -> Result<Ending, LaunchError> {
    let _ = (spec, make_oracle);
    Err(LaunchError {
        code: "E_BACKEND",
        what: "this backend is being built".into(),
        cause: std::io::ErrorKind::Unsupported.into(),
        help: "",
    })
}
