//! What mode `learn` may permit.

use vantio_core::{Access, Effect, Intent, Reversibility, Target};

use crate::{PolicyProgram, path::is_within};

/// Whether an intent changes nothing, or nothing but the phantom, or the policy says that it can be
/// taken back. Files of `/proc` and `/sys`
/// are switches of the host's kernel: no phantom holds what is written there.
pub(crate) fn can_be_taken_back(program: &PolicyProgram, intent: &Intent<'_>) -> bool {
    let overridden = program.parts.guards.reversibility.get(&intent.effect).copied();
    let reversibility = overridden.unwrap_or(intent.effect.reversibility());
    matches!(reversibility, Reversibility::None | Reversibility::Reversible) && !changes_kernel(intent)
}

fn changes_kernel(intent: &Intent<'_>) -> bool {
    let is_switch = |path: &[u8]| is_within(path, b"/proc") || is_within(path, b"/sys");
    match intent.target {
        Target::Path { path, access, .. } => {
            let only_reads = matches!(intent.effect, Effect::FsStat | Effect::ProcExec)
                || intent.effect == Effect::FsOpen && access == Access::Read;
            !only_reads && is_switch(path)
        }
        Target::Paths { from, to, .. } => is_switch(from) || is_switch(to),
        _ => false,
    }
}
