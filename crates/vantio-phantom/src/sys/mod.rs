//! System calls that no library offers safely. The only room with `unsafe`.

pub(crate) mod clock;
pub(crate) mod lease;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod seccomp;
pub(crate) mod socket;
pub(crate) mod trace;
pub(crate) mod trial;
pub(crate) mod tty;
