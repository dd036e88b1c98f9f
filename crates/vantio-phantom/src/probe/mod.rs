//! What this host can enforce, found out by doing it.
//!
//! A list of features says what a kernel was built with, not what it lets this
//! process do. So every probe tries the real thing, in a child process and in
//! namespaces of its own, and nothing of it lasts.

mod bpf;
mod limits;
mod namespaces;
mod overlay;
mod seccomp;
mod system;

use std::path::Path;

use crate::sys::trial::Refusal;

/// What was found out about one thing that the host can or cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub name: &'static str,
    /// Whether it works here, for this user.
    pub works: bool,
    /// What was seen; where it does not work, why, and what to do about it.
    pub detail: String,
    /// What is lost without it.
    pub cost: &'static str,
    /// Whether no run can start without it.
    pub is_required: bool,
}

/// Probes everything. `state` is the folder where runs would keep their upper
/// layers. Takes some tens of milliseconds.
///
/// The calling process may have other threads; its environment, working
/// directory and descriptors are not touched.
pub fn host(state: &Path) -> Vec<Finding> {
    let is_root = rustix::process::geteuid().is_root();
    let mut findings = vec![namespaces::user(is_root), system::apparmor(), namespaces::others()];
    if is_root {
        findings.push(overlay::of_root());
    }
    findings.extend([
        overlay::in_user_namespace(is_root),
        overlay::state_folder(state, is_root),
        seccomp::notification(),
        seccomp::sync_wake_up(),
        system::pidfd_getfd(),
        system::yama(),
        system::landlock(),
        system::landlock_tcp(),
        system::landlock_scopes(),
        system::openat2(),
        system::cgroup(),
        limits::of_resources(),
        bpf::lsm(),
    ]);
    findings
}

/// The required things among `findings` that do not work.
///
/// # Errors
///
/// Returns them if there are any.
pub fn requirements(findings: &[Finding]) -> Result<(), Vec<Finding>> {
    let missing: Vec<_> = findings.iter().filter(|finding| finding.is_required && !finding.works).collect();
    if missing.is_empty() { Ok(()) } else { Err(missing.into_iter().cloned().collect()) }
}

/// A probe's name and what depends on it.
#[derive(Clone, Copy)]
struct Subject {
    name: &'static str,
    cost: &'static str,
    is_required: bool,
}

impl Subject {
    const fn required(name: &'static str) -> Self {
        Self { name, cost: "no run can start", is_required: true }
    }

    const fn optional(name: &'static str, cost: &'static str) -> Self {
        Self { name, cost, is_required: false }
    }

    fn works(self, detail: impl Into<String>) -> Finding {
        self.finding(true, detail.into())
    }

    fn fails(self, detail: impl Into<String>) -> Finding {
        self.finding(false, detail.into())
    }

    /// A refusal, and what to do about it.
    fn refused(self, refusal: &Refusal, advice: &str) -> Finding {
        let cause = std::io::Error::from(refusal.errno);
        let separator = if advice.is_empty() { "" } else { "; " };
        self.fails(format!("{}: {cause}{separator}{advice}", refusal.step))
    }

    fn finding(self, works: bool, detail: String) -> Finding {
        Finding { name: self.name, works, detail, cost: self.cost, is_required: self.is_required }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_and_missing_is_named() {
        let required = Subject::required("a");
        let optional = Subject::optional("b", "speed");
        assert_eq!(requirements(&[required.works(""), optional.fails("")]), Ok(()));
        let missing = required.fails("no");
        assert_eq!(requirements(&[optional.works(""), missing.clone()]), Err(vec![missing]));
    }

    #[test]
    fn probing_leaves_mounts_groups_and_the_state_folder_as_they_were() {
        let state = tempfile::tempdir().unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let findings = host(state.path());
        assert!(findings.iter().all(|finding| !finding.name.is_empty() && !finding.cost.is_empty()));
        assert!(findings.iter().all(|finding| !finding.detail.is_empty()), "{findings:#?}");
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
        assert_eq!(std::fs::read_to_string("/proc/self/cgroup").unwrap(), groups);
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_state_folder_that_cannot_hold_layers_is_found_out() {
        let finding = overlay::state_folder(Path::new("/proc/self"), rustix::process::geteuid().is_root());
        assert!(!finding.works, "{finding:?}");
    }
}
