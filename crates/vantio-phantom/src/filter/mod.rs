//! Which system calls run untouched, which ask the supervisor, which fail.
//!
//! The filter decides by number and register only. What needs a look into the
//! agent's memory, and what is refused with a record, goes to the supervisor. Calls
//! that this table does not know fail with `ENOSYS`, as on an older kernel.

mod assemble;
mod table;

pub(crate) use table::{
    acts_on_others, is_birth, is_identity_change, is_refused, is_system_v, makes_namespace, name,
    owns_descriptor,
};

use crate::sys::seccomp::Instruction;

/// The filter of a run.
pub(crate) fn program(run: Run) -> Vec<Instruction> {
    assemble::assemble(&table::rules(run))
}

/// What the filter of a run depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Whether its flows are tracked: more is asked then.
    pub(crate) tracks_flows: bool,
    /// Whether it may go on as a fork of itself: more is asked then.
    pub(crate) forks: bool,
    /// The user and the group of its first process, where others may act as somebody else: where it is root.
    pub(crate) root: Option<(u32, u32)>,
    /// The file mode mask of its first process.
    pub(crate) mask: u32,
}

/// What the filter does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The kernel carries it out.
    Allow,
    /// The supervisor answers.
    Notify,
    /// It fails at once.
    Fail(i32),
}

/// A condition on one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The lower half, masked, is not zero.
    AnyBit(usize, u32),
    /// The lower half equals.
    Equals(usize, u32),
    /// Either half is not zero.
    NonZero(usize),
    /// The lower half is neither.
    Neither(usize, [u32; 2]),
}

/// What happens to one system call: the action of the first condition that holds,
/// else the last action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) number: u32,
    pub(crate) branches: Vec<(Condition, Action)>,
    pub(crate) otherwise: Action,
}
