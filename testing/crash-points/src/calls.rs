//! Which system calls change what outlives a process.

use std::{collections::BTreeMap, io};

use nix::{
    libc::{self, c_long, user_regs_struct},
    sys::ptrace,
    unistd::Pid,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Has the calling thread, and what it starts, stop at the calls that may change a file.
pub(crate) fn stop_at_changes() -> io::Result<()> {
    let filter = filter().map_err(io::Error::other)?;
    seccompiler::apply_filter(&filter).map_err(io::Error::other)
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = BTreeMap::new();
    for (call, _) in CHANGING {
        rules.insert(*call, conditions(*call)?.into_iter().collect());
    }
    let [otherwise, found] = [SeccompAction::Allow, SeccompAction::Trace(0)];
    SeccompFilter::new(rules, otherwise, found, TargetArch::x86_64)?.try_into()
}

/// What must hold of a call's arguments; without any, every call may change a file.
fn conditions(call: c_long) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let has = |argument, flag: i32| {
        let flag = flag as u64;
        SeccompCondition::new(argument, Dword, SeccompCmpOp::MaskedEq(flag), flag)
    };
    let opens_to_change = |argument| [has(argument, libc::O_CREAT), has(argument, libc::O_TRUNC)];
    let conditions = match call {
        libc::SYS_open => opens_to_change(1).into(),
        libc::SYS_openat => opens_to_change(2).into(),
        libc::SYS_ioctl => {
            let is = |request| SeccompCondition::new(1, Dword, SeccompCmpOp::Eq, request);
            CHANGING_REQUESTS.map(is).into()
        }
        _ => Vec::new(),
    };
    conditions.into_iter().map(|condition| SeccompRule::new(vec![condition?])).collect()
}

/// The name of the call a thread has stopped at, when it can change a file. Two
/// moments between which there is none leave the same files.
pub(crate) fn changing(thread: Pid, registers: &user_regs_struct) -> Option<&'static str> {
    let call = registers.orig_rax as c_long;
    // `struct open_how` begins with the flags; a filter cannot see them.
    let flags = (libc::O_CREAT | libc::O_TRUNC) as u64;
    if call == libc::SYS_openat2 && word(thread, registers.rdx) & flags == 0 {
        return None;
    }
    CHANGING.iter().find(|(number, _)| *number == call).map(|(_, name)| *name)
}

/// A word of the thread's memory; all ones, which is any flag, where there is none.
fn word(thread: Pid, address: u64) -> u64 {
    ptrace::read(thread, address as ptrace::AddressType).map_or(u64::MAX, |word| word as u64)
}

/// `FICLONE`, `FICLONERANGE`, `FS_IOC_SETFLAGS`, `FS_IOC_FSSETXATTR`.
const CHANGING_REQUESTS: [u64; 4] = [0x4004_9409, 0x4020_940d, 0x4008_6602, 0x401c_5820];

macro_rules! calls {
    ($($number:ident)*) => { &[$((libc::$number, stringify!($number))),*] };
}

const CHANGING: &[(c_long, &str)] = calls![
    SYS_open SYS_openat SYS_openat2 SYS_creat
    SYS_write SYS_writev SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_copy_file_range SYS_sendfile SYS_splice
    SYS_truncate SYS_ftruncate SYS_fallocate SYS_ioctl
    SYS_rename SYS_renameat SYS_renameat2 SYS_link SYS_linkat SYS_symlink SYS_symlinkat
    SYS_unlink SYS_unlinkat SYS_rmdir SYS_mkdir SYS_mkdirat SYS_mknod SYS_mknodat
    SYS_chmod SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_chown SYS_lchown SYS_fchown SYS_fchownat
    SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_removexattr SYS_lremovexattr SYS_fremovexattr
    SYS_utime SYS_utimes SYS_utimensat SYS_futimesat
    SYS_mount SYS_umount2
];
