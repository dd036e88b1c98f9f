//! Who would hold runs to limits on resources.

use super::{Finding, Subject};
use crate::resources::{Holder, holders};

const LIMITS: Subject = Subject::optional(
    "limits of resources",
    "a policy with a limit that nobody holds refuses the run, unless it says `best_effort: true`",
);

pub(super) fn of_resources() -> Finding {
    let holders = holders();
    let detail: Vec<String> =
        holders.iter().map(|(resource, holder)| format!("{}: {}", resource.name(), holder.name())).collect();
    let all_held = holders.iter().all(|(_, holder)| *holder != Holder::Nobody);
    LIMITS.finding(all_held, detail.join(", "))
}
