//! Acting on files as the agent does.

use rustix::{
    fs::Mode,
    io::{self, Errno},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};

use super::{Plane, request::Request};
use crate::sys::process::set_file_identity;

/// What root keeps inside a run: what it takes to treat the files of others as its own; nothing that
/// reaches the kernel, the network or another process's memory.
pub(crate) const ROOT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// While this lives, the thread acts on files as the caller of a request.
pub(super) struct Assumed {
    before: Option<CapabilitySets>,
    is_identity: bool,
}

impl Plane {
    /// Takes the caller's file identity on, where it may differ from our own.
    pub(super) fn assume(&self, request: &Request) -> io::Result<Assumed> {
        use std::sync::atomic::Ordering;
        if !self.privileged || !self.identities_differ.load(Ordering::Acquire) {
            return Ok(Assumed { before: None, is_identity: false });
        }
        let numbers = |key| -> io::Result<Vec<u32>> {
            let text = request.status_field(key).ok_or(Errno::SRCH)?;
            text.split_whitespace().map(|number| number.parse().map_err(|_| Errno::SRCH)).collect()
        };
        let (users, groups, more) = (numbers("Uid:")?, numbers("Gid:")?, numbers("Groups:")?);
        let (Some(user), Some(group)) = (users.get(3), groups.get(3)) else { return Err(Errno::SRCH) };
        let effective = request.status_field("CapEff:").and_then(|text| u64::from_str_radix(&text, 16).ok());
        let effective = CapabilitySet::from_bits_retain(effective.ok_or(Errno::SRCH)?);
        let before = capabilities(None)?;
        let assumed = Assumed { before: Some(before), is_identity: true };
        set_file_identity(*user, *group, &more)?;
        // The change of user took or gave file capabilities by the kernel's rules; these are the caller's.
        let wanted = effective.intersection(ROOT_CAPABILITIES).union(CapabilitySet::SYS_PTRACE);
        set_capabilities(
            None,
            CapabilitySets { effective: wanted.intersection(before.permitted), ..before },
        )?;
        Ok(assumed)
    }

    /// The caller's file mode mask.
    fn mask(&self, request: &Request) -> io::Result<Mode> {
        use std::sync::atomic::Ordering;
        if !self.masks_differ.load(Ordering::Acquire) {
            return Ok(self.initial_mask);
        }
        let text = request.status_field("Umask:").ok_or(Errno::SRCH)?;
        u32::from_str_radix(&text, 8).map(Mode::from_raw_mode).map_err(|_| Errno::SRCH)
    }
}

impl Plane {
    /// Makes files with the caller's mask while the result lives.
    pub(super) fn with_mask(&self, request: &Request) -> io::Result<Masked> {
        rustix::process::umask(self.mask(request)?);
        Ok(Masked)
    }
}

impl Plane {
    /// Gives up, while the result lives, what lets this thread look into other processes.
    pub(super) fn renounce_tracing() -> io::Result<Assumed> {
        let before = capabilities(None)?;
        let effective = before.effective.difference(CapabilitySet::SYS_PTRACE);
        set_capabilities(None, CapabilitySets { effective, ..before })?;
        Ok(Assumed { before: Some(before), is_identity: false })
    }
}

/// While this lives, the thread makes files with a caller's mask.
pub(super) struct Masked;

impl Drop for Masked {
    fn drop(&mut self) {
        rustix::process::umask(Mode::empty());
    }
}

impl Drop for Assumed {
    fn drop(&mut self) {
        let Some(before) = self.before.take() else { return };
        let mut restored = set_capabilities(None, before);
        if self.is_identity {
            restored = restored.and_then(|()| set_file_identity(0, 0, &[]));
            restored = restored.and_then(|()| set_capabilities(None, before));
        }
        if restored.is_err() {
            // Acting on as somebody else would judge the next caller wrongly.
            std::process::abort();
        }
    }
}
