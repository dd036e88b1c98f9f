//! Acting on files as the agent does.

use std::sync::atomic::Ordering;

use rustix::{
    fs::Mode,
    io::{self, Errno},
    process::{Gid, getegid, geteuid, getgroups},
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

/// Whom the kernel takes a thread for where files are concerned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    user: u32,
    group: u32,
    groups: Vec<u32>,
}

impl Identity {
    /// That of this process, which is the first process's too.
    pub(super) fn own() -> io::Result<Self> {
        let groups = getgroups()?.into_iter().map(Gid::as_raw).collect();
        Ok(Self { user: geteuid().as_raw(), group: getegid().as_raw(), groups })
    }
}

/// While this lives, the thread acts on files as the caller of a request.
pub(super) struct Assumed<'a> {
    before: Option<CapabilitySets>,
    own: Option<&'a Identity>,
}

impl Plane {
    /// Takes the caller's file identity on, where it differs from our own.
    pub(super) fn assume(&self, request: &Request) -> io::Result<Assumed<'_>> {
        if !self.privileged || !self.identities_differ.load(Ordering::Acquire) {
            return Ok(Assumed { before: None, own: None });
        }
        let status = request.status().ok_or(Errno::SRCH)?;
        let (caller, capable) = read_identity(&status).ok_or(Errno::SRCH)?;
        let before = capabilities(None)?;
        let wanted = capable.intersection(ROOT_CAPABILITIES).union(CapabilitySet::SYS_PTRACE);
        let effective = wanted.intersection(before.permitted);
        if caller == self.identity && effective == before.effective {
            return Ok(Assumed { before: None, own: None });
        }
        let assumed = Assumed { before: Some(before), own: Some(&self.identity) };
        set_file_identity(caller.user, caller.group, &caller.groups)?;
        // The change of user took or gave file capabilities by the kernel's rules; these are the caller's.
        set_capabilities(None, CapabilitySets { effective, ..before })?;
        Ok(assumed)
    }

    /// The caller's file mode mask.
    fn mask(&self, request: &Request) -> io::Result<Mode> {
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
    pub(super) fn renounce_tracing() -> io::Result<Assumed<'static>> {
        let before = capabilities(None)?;
        let effective = before.effective.difference(CapabilitySet::SYS_PTRACE);
        set_capabilities(None, CapabilitySets { effective, ..before })?;
        Ok(Assumed { before: Some(before), own: None })
    }
}

/// Whom a process acts as, and what it is capable of, by its `/proc/PID/status`.
fn read_identity(status: &str) -> Option<(Identity, CapabilitySet)> {
    let field = |key| status.lines().find_map(|line| line.strip_prefix(key));
    // Real, effective, saved, and that of file access.
    let fourth = |key| field(key)?.split_whitespace().nth(3)?.parse().ok();
    let groups = field("Groups:")?.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let capable = u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?;
    let identity = Identity { user: fourth("Uid:")?, group: fourth("Gid:")?, groups };
    Some((identity, CapabilitySet::from_bits_retain(capable)))
}

/// The mask that this process makes files with.
pub(crate) fn current_mask() -> Mode {
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask);
    mask
}

/// While this lives, the thread makes files with a caller's mask.
pub(super) struct Masked;

impl Drop for Masked {
    fn drop(&mut self) {
        rustix::process::umask(Mode::empty());
    }
}

impl Drop for Assumed<'_> {
    fn drop(&mut self) {
        let Some(before) = self.before.take() else { return };
        let mut restored = set_capabilities(None, before);
        if let Some(own) = self.own {
            restored = restored.and_then(|()| set_file_identity(own.user, own.group, &own.groups));
            restored = restored.and_then(|()| set_capabilities(None, before));
        }
        if restored.is_err() {
            // Acting on as somebody else would judge the next caller wrongly.
            std::process::abort();
        }
    }
}
