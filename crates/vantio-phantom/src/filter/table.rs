//! The x86-64 system call table, as the filter sees it.

use libc::{
    CLONE_FILES, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER,
    CLONE_NEWUTS,
};

use super::{
    Action::{self, Allow, Fail, Notify},
    Condition::{AnyBit, Equals, Neither, NonZero},
    Rule, Run,
};

/// One rule a number, for every number this table knows.
pub(super) fn rules(run: Run) -> Vec<Rule> {
    let rule = |number| {
        let more = if run.tracks_flows {
            tracked(number)
        } else if run.forks {
            forked(number)
        } else {
            None
        };
        more.or_else(|| acting(number, run)).unwrap_or_else(|| rule(number))
    };
    (0..KNOWN).chain([KNOWN]).map(rule).collect()
}

/// Calls that change whom a process acts as, or the mask that it makes files with. The supervisor is told of what
/// leads away from how the run began; until then nobody differs. In an ordinary user's run there is nobody else to be.
fn acting(number: u32, run: Run) -> Option<Rule> {
    let nr = i64::from(number);
    let rule = |branches, otherwise| Some(Rule { number, branches, otherwise });
    if nr == libc::SYS_umask {
        return rule(vec![(Equals(0, run.mask), Allow)], Notify);
    }
    if !is_identity_change(nr) {
        return None;
    }
    let Some((user, group)) = run.root else { return rule(Vec::new(), Allow) };
    // What is in memory cannot be told from here.
    let (count, own) = match nr {
        libc::SYS_setuid | libc::SYS_setfsuid => (1, user),
        libc::SYS_setgid | libc::SYS_setfsgid => (1, group),
        libc::SYS_setreuid => (2, user),
        libc::SYS_setregid => (2, group),
        libc::SYS_setresuid => (3, user),
        libc::SYS_setresgid => (3, group),
        _ => return rule(Vec::new(), Notify),
    };
    let leads_away = |index| (Neither(index, [own, UNCHANGED]), Notify);
    rule((0..count).map(leads_away).collect(), Allow)
}

/// What leaves a user or a group as it is.
const UNCHANGED: u32 = u32::MAX;

/// What is different where the flows of a run are tracked: births, deaths, and the channels that no
/// descriptor stands for.
fn tracked(number: u32) -> Option<Rule> {
    let plain = |otherwise| Some(Rule { number, branches: Vec::new(), otherwise });
    let branch = |branches: &[_], otherwise| Some(Rule { number, branches: branches.to_vec(), otherwise });
    match i64::from(number) {
        // A thread as the C libraries and Go make it shares everything; anything else is looked at.
        libc::SYS_clone => branch(&THREADS.map(|flags| (Equals(0, flags), Allow)), Notify),
        libc::SYS_unshare => {
            branch(&[(AnyBit(0, NAMESPACES | CLONE_NEWTIME | CLONE_FILES as u32), Notify)], Allow)
        }
        libc::SYS_close_range => branch(&[(AnyBit(2, libc::CLOSE_RANGE_UNSHARE), Notify)], Allow),
        libc::SYS_prctl => branch(
            &[
                (Equals(0, libc::PR_SET_CHILD_SUBREAPER as u32), Notify),
                (Equals(0, libc::PR_SET_MM as u32), Notify),
            ],
            Allow,
        ),
        // What they put into a pipe or a socket is memory that may change after every end is closed. Programs that
        // meet this read and write instead.
        libc::SYS_vmsplice => plain(Fail(libc::ENOSYS)),
        libc::SYS_splice | libc::SYS_tee | libc::SYS_sendfile => plain(Fail(libc::EINVAL)),
        nr if is_birth(nr) || nr == libc::SYS_exit_group || is_system_v(nr) => plain(Notify),
        _ => None,
    }
}

/// What is different where a run may go on as a fork of itself: what acts on other processes, or on what all of them
/// share.
fn forked(number: u32) -> Option<Rule> {
    let branch = |branches: &[_], otherwise| Some(Rule { number, branches: branches.to_vec(), otherwise });
    match i64::from(number) {
        libc::SYS_prlimit64 => None,
        libc::SYS_sched_setaffinity
        | libc::SYS_sched_setscheduler
        | libc::SYS_sched_setparam
        | libc::SYS_sched_setattr => branch(&[(NonZero(0), Notify)], Allow),
        // Whom a descriptor sends its signals to.
        libc::SYS_fcntl => branch(&OWNING.map(|command| (Equals(1, command), Notify)), Allow),
        libc::SYS_ioctl => {
            let controls = REFUSED_CONTROLS.iter().chain(&OWNING_CONTROLS);
            branch(&controls.map(|control| (Equals(1, *control), Notify)).collect::<Vec<_>>(), Allow)
        }
        libc::SYS_setpriority | libc::SYS_ioprio_set => branch(&[(NonZero(1), Notify)], Allow),
        nr if acts_on_others(nr)
            || matches!(
                nr,
                libc::SYS_tkill | libc::SYS_tgkill | libc::SYS_rt_sigqueueinfo | libc::SYS_rt_tgsigqueueinfo
            ) =>
        {
            branch(&[], Notify)
        }
        _ => None,
    }
}

/// Whether the call says whom a descriptor sends its signals to.
pub(crate) fn owns_descriptor(number: i64, operation: i32) -> bool {
    let operation = operation.cast_unsigned();
    number == libc::SYS_fcntl && OWNING.contains(&operation)
        || number == libc::SYS_ioctl && OWNING_CONTROLS.contains(&operation)
}

/// Whether the call may act on other processes without a name, a socket or a descriptor of theirs, or on what all
/// processes of the run share.
pub(crate) fn acts_on_others(number: i64) -> bool {
    is_system_v(number)
        || matches!(
            number,
            libc::SYS_prlimit64
                | libc::SYS_sched_setaffinity
                | libc::SYS_sched_setscheduler
                | libc::SYS_sched_setparam
                | libc::SYS_sched_setattr
                | libc::SYS_setpriority
                | libc::SYS_ioprio_set
                | libc::SYS_pidfd_send_signal
                | libc::SYS_shmctl
                | libc::SYS_msgctl
                | libc::SYS_mq_unlink
                | libc::SYS_mq_notify
                | libc::SYS_mq_getsetattr
                | libc::SYS_move_pages
                | libc::SYS_migrate_pages
                | libc::SYS_process_mrelease
        )
}

/// Whether the call makes a process, or a thread.
pub(crate) fn is_birth(number: i64) -> bool {
    matches!(number, libc::SYS_clone | libc::SYS_fork | libc::SYS_vfork)
}

/// Whether the call uses a queue, a semaphore or a memory segment that has no descriptor.
pub(crate) fn is_system_v(number: i64) -> bool {
    matches!(
        number,
        libc::SYS_shmget
            | libc::SYS_shmat
            | libc::SYS_semget
            | libc::SYS_semop
            | libc::SYS_semtimedop
            | libc::SYS_semctl
            | libc::SYS_msgget
            | libc::SYS_msgsnd
            | libc::SYS_msgrcv
            | libc::SYS_mq_open
            | libc::SYS_mq_timedsend
            | libc::SYS_mq_timedreceive
    )
}

/// Whether `clone(2)` with these flags asks for namespaces of its own.
pub(crate) fn makes_namespace(flags: u64) -> bool {
    flags & u64::from(NAMESPACES) != 0
}

fn rule(number: u32) -> Rule {
    let plain = |otherwise| Rule { number, branches: Vec::new(), otherwise };
    let branch = |branches: &[_], otherwise| Rule { number, branches: branches.to_vec(), otherwise };
    match i64::from(number) {
        _ if number == KNOWN => plain(Fail(libc::ENOSYS)),
        // Its flags are in memory; libraries fall back to clone.
        libc::SYS_clone3 => plain(Fail(libc::ENOSYS)),
        libc::SYS_clone => branch(&[(AnyBit(0, NAMESPACES), Notify)], Allow),
        libc::SYS_unshare => branch(&[(AnyBit(0, NAMESPACES | CLONE_NEWTIME), Notify)], Allow),
        libc::SYS_socket => branch(&socket_branches(), Notify),
        libc::SYS_sendto => branch(&[(AnyBit(3, MSG_FASTOPEN), NO_FASTOPEN), (NonZero(4), Notify)], Allow),
        libc::SYS_sendmsg => branch(&[(AnyBit(2, MSG_FASTOPEN), NO_FASTOPEN)], Notify),
        libc::SYS_sendmmsg => branch(&[(AnyBit(3, MSG_FASTOPEN), NO_FASTOPEN)], Notify),
        // A routing header would lead a permitted connection somewhere else.
        libc::SYS_setsockopt => branch(
            &[(Equals(1, libc::IPPROTO_IPV6 as u32), Notify), (Equals(1, libc::IPPROTO_IP as u32), Notify)],
            Allow,
        ),
        libc::SYS_socketpair => branch(&[(Equals(0, libc::AF_UNIX as u32), Allow)], Fail(libc::EOPNOTSUPP)),
        libc::SYS_ioctl => branch(&REFUSED_CONTROLS.map(|control| (Equals(1, control), Notify)), Allow),
        // Reading limits is left to the kernel, and so are those of the caller itself.
        libc::SYS_prlimit64 => branch(&[(Equals(0, 0), Allow), (NonZero(2), Notify)], Allow),
        libc::SYS_tkill | libc::SYS_tgkill | libc::SYS_rt_sigqueueinfo | libc::SYS_rt_tgsigqueueinfo => {
            branch(&[(Equals(0, 1), Notify)], Allow)
        }
        nr if JUDGED.contains(&nr) || is_refused(nr) => plain(Notify),
        _ => plain(Allow),
    }
}

/// A TCP socket is made by the supervisor; local, datagram and routing sockets are the
/// run's own namespaces' affair; the rest is refused with a record.
fn socket_branches() -> Vec<(super::Condition, Action)> {
    // The register holds the family alone, so equality is enough; type and protocol of
    // everything but local sockets are checked by the supervisor.
    vec![(Equals(0, libc::AF_UNIX as u32), Allow)]
}

/// Calls that the supervisor judges and mostly performs.
const JUDGED: &[i64] = &[
    libc::SYS_open,
    libc::SYS_openat,
    SYS_OPENAT2,
    libc::SYS_creat,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_truncate,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_chown,
    libc::SYS_fchown,
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_kill,
];

/// Whether the call may change whom the caller acts as: after the first that does, the supervisor
/// looks at each caller's identity.
pub(crate) fn is_identity_change(number: i64) -> bool {
    matches!(
        number,
        libc::SYS_setuid
            | libc::SYS_setgid
            | libc::SYS_setreuid
            | libc::SYS_setregid
            | libc::SYS_setresuid
            | libc::SYS_setresgid
            | libc::SYS_setfsuid
            | libc::SYS_setfsgid
            | libc::SYS_setgroups
            | libc::SYS_capset
    )
}

/// Whether no agent may make the call, whatever the policy says.
pub(crate) fn is_refused(number: i64) -> bool {
    REFUSED.iter().any(|(refused, _)| *refused == number)
}

/// The name of a call that is refused as such.
pub(crate) fn name(number: i64) -> &'static str {
    let known = REFUSED.iter().chain(CONDITIONAL).find(|(refused, _)| *refused == number);
    known.map_or("unknown", |(_, name)| *name)
}

const REFUSED: &[(i64, &str)] = &[
    (libc::SYS_ptrace, "ptrace"),
    (libc::SYS_process_vm_readv, "process_vm_readv"),
    (libc::SYS_process_vm_writev, "process_vm_writev"),
    (libc::SYS_process_madvise, "process_madvise"),
    (libc::SYS_pidfd_getfd, "pidfd_getfd"),
    (libc::SYS_kcmp, "kcmp"),
    (libc::SYS_io_uring_setup, "io_uring_setup"),
    (libc::SYS_io_uring_enter, "io_uring_enter"),
    (libc::SYS_io_uring_register, "io_uring_register"),
    (libc::SYS_bpf, "bpf"),
    (libc::SYS_perf_event_open, "perf_event_open"),
    (libc::SYS_userfaultfd, "userfaultfd"),
    (libc::SYS_fanotify_init, "fanotify_init"),
    (libc::SYS_fanotify_mark, "fanotify_mark"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_umount2, "umount2"),
    (libc::SYS_pivot_root, "pivot_root"),
    (libc::SYS_chroot, "chroot"),
    (libc::SYS_open_tree, "open_tree"),
    (SYS_OPEN_TREE_ATTR, "open_tree_attr"),
    (libc::SYS_move_mount, "move_mount"),
    (libc::SYS_fsopen, "fsopen"),
    (libc::SYS_fsconfig, "fsconfig"),
    (libc::SYS_fsmount, "fsmount"),
    (libc::SYS_fspick, "fspick"),
    (libc::SYS_mount_setattr, "mount_setattr"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_open_by_handle_at, "open_by_handle_at"),
    (libc::SYS_kexec_load, "kexec_load"),
    (libc::SYS_kexec_file_load, "kexec_file_load"),
    (libc::SYS_init_module, "init_module"),
    (libc::SYS_finit_module, "finit_module"),
    (libc::SYS_delete_module, "delete_module"),
    (libc::SYS_add_key, "add_key"),
    (libc::SYS_request_key, "request_key"),
    (libc::SYS_keyctl, "keyctl"),
    (libc::SYS_reboot, "reboot"),
    (libc::SYS_swapon, "swapon"),
    (libc::SYS_swapoff, "swapoff"),
    (libc::SYS_acct, "acct"),
    (libc::SYS_quotactl, "quotactl"),
    (libc::SYS_quotactl_fd, "quotactl_fd"),
    (libc::SYS_settimeofday, "settimeofday"),
    (libc::SYS_clock_settime, "clock_settime"),
    (libc::SYS_sethostname, "sethostname"),
    (libc::SYS_setdomainname, "setdomainname"),
    (libc::SYS_iopl, "iopl"),
    (libc::SYS_ioperm, "ioperm"),
    (libc::SYS_modify_ldt, "modify_ldt"),
    (libc::SYS_vhangup, "vhangup"),
    (libc::SYS_syslog, "syslog"),
    (libc::SYS_uselib, "uselib"),
    (libc::SYS_lookup_dcookie, "lookup_dcookie"),
    (libc::SYS_nfsservctl, "nfsservctl"),
    (SYS_FILE_SETATTR, "file_setattr"),
    (SYS_SETXATTRAT, "setxattrat"),
    (SYS_REMOVEXATTRAT, "removexattrat"),
];

/// Calls that are refused only with certain arguments.
const CONDITIONAL: &[(i64, &str)] = &[
    (libc::SYS_clone, "clone with a new namespace"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_socket, "socket"),
    (libc::SYS_ioctl, "ioctl that types into a terminal or changes the flags of a file"),
    (libc::SYS_prlimit64, "prlimit of another process"),
    (libc::SYS_prctl, "prctl that changes what the kernel tells of a process"),
];

const NAMESPACES: u32 = (CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET) as u32;
const CLONE_NEWTIME: u32 = 0x80;
/// The flags with which glibc, musl and Go make a thread.
const THREADS: [u32; 3] = [0x3d_0f00, 0x7d_0f00, 0x5_0f00];
const MSG_FASTOPEN: u32 = 0x2000_0000;
const NO_FASTOPEN: Action = Fail(libc::EOPNOTSUPP);

/// What types into a terminal; and what changes a file through a descriptor that was opened for reading,
/// be it one of the host's that the run was started with (linux/fs.h, linux/fsverity.h, linux/fscrypt.h).
const REFUSED_CONTROLS: [u32; 14] = [
    0x5412,      // TIOCSTI
    0x541c,      // TIOCLINUX
    0x4008_6602, // FS_IOC_SETFLAGS
    0x4004_6602, // FS_IOC32_SETFLAGS
    0x401c_5820, // FS_IOC_FSSETXATTR
    0x4008_7602, // FS_IOC_SETVERSION
    0x4004_7602, // FS_IOC32_SETVERSION
    0x4008_6604, // EXT4_IOC_SETVERSION
    0x6609,      // EXT4_IOC_MIGRATE
    0x660c,      // EXT4_IOC_ALLOC_DA_BLKS
    0x4080_6685, // FS_IOC_ENABLE_VERITY
    0x800c_6613, // FS_IOC_SET_ENCRYPTION_POLICY
    0xc050_6617, // FS_IOC_ADD_ENCRYPTION_KEY
    0xc040_6618, // FS_IOC_REMOVE_ENCRYPTION_KEY
];

/// `F_SETOWN`, `F_SETOWN_EX`
const OWNING: [u32; 2] = [8, 15];
/// `FIOSETOWN`, `SIOCSPGRP`
const OWNING_CONTROLS: [u32; 2] = [0x8901, 0x8902];
// Newer than the C library's table: include/uapi/asm-generic/unistd.h.
const SYS_OPENAT2: i64 = 437;
const SYS_FCHMODAT2: i64 = 452;
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_OPEN_TREE_ATTR: i64 = 467;
const SYS_FILE_SETATTR: i64 = 469;
/// The first number that no kernel of this table's time has.
const KNOWN: u32 = 470;
