//! Which system calls change what outlives a process.

use nix::{
    libc::{self, c_long, user_regs_struct},
    sys::ptrace,
    unistd::Pid,
};

/// The name of the call a stopped thread is about to make, when it can change
/// a file. Two moments between which there is none leave the same files.
pub(crate) fn changing(thread: Pid, registers: &user_regs_struct) -> Option<&'static str> {
    let call = registers.orig_rax as c_long;
    let is_changing = match call {
        libc::SYS_open => opens_to_change(registers.rsi),
        libc::SYS_openat => opens_to_change(registers.rdx),
        // `struct open_how` begins with the flags.
        libc::SYS_openat2 => opens_to_change(word(thread, registers.rdx)),
        libc::SYS_ioctl => CHANGING_REQUESTS.contains(&registers.rsi),
        _ => true,
    };
    CHANGING.iter().find(|(number, _)| *number == call && is_changing).map(|(_, name)| *name)
}

fn opens_to_change(flags: u64) -> bool {
    flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0
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
