//! Calls that only probes make.

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::io;

use super::memory::last_error;

/// The version of the Landlock ABI (`landlock_create_ruleset(2)`).
pub(crate) fn landlock_version() -> io::Result<u32> {
    let no_ruleset = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the kernel reads no attributes.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, no_ruleset, 0_usize, 1_u32) };
    u32::try_from(version).map_err(|_| last_error())
}

/// Asks the kernel to wake a listener and its callers in step (`SECCOMP_IOCTL_NOTIF_SET_FLAGS`).
pub(crate) fn can_wake_in_step(listener: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument is a plain integer.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SET_FLAGS, FD_SYNC_WAKE_UP) };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// Loads an LSM program that permits everything, for the hook whose BTF type is `hook`.
pub(crate) fn load_lsm_program(hook: u32) -> io::Result<OwnedFd> {
    // r0 = 0; exit
    let program: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];
    let attributes = LoadAttributes {
        program_type: PROG_TYPE_LSM,
        instruction_count: 2,
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type: ATTACH_LSM_MAC,
        attach_btf_id: hook,
        ..LoadAttributes::default()
    };
    // SAFETY: the struct is as long as the size passed with it, and what it points to outlives the call.
    unsafe { bpf(PROG_LOAD, &attributes) }
}

/// Attaches an LSM program for as long as the descriptor returned is open.
pub(crate) fn attach_lsm_program(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let attributes = AttachAttributes { name: 0, program: program.as_raw_fd() as u32, reserved: 0 };
    // SAFETY: the struct is as long as the size passed with it.
    unsafe { bpf(RAW_TRACEPOINT_OPEN, &attributes) }
}

/// # Safety
///
/// `attributes` is the layout of `command`, and every pointer in it is valid.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's duty.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    // SAFETY: a non-negative result is a descriptor that nothing else owns.
    if fd < 0 { Err(last_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }) }
}

/// The part of `union bpf_attr` (linux/bpf.h) that `BPF_PROG_LOAD` takes.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
    btf_fd: u32,
    function_info_size: u32,
    function_info: u64,
    function_info_count: u32,
    line_info_size: u32,
    line_info: u64,
    line_info_count: u32,
    attach_btf_id: u32,
    attach_program: u32,
    core_relocation_count: u32,
}

/// The part of `union bpf_attr` that `BPF_RAW_TRACEPOINT_OPEN` takes.
#[repr(C)]
struct AttachAttributes {
    name: u64,
    program: u32,
    reserved: u32,
}

// linux/seccomp.h
const NOTIF_SET_FLAGS: libc::Ioctl = 0x4008_2104;
const FD_SYNC_WAKE_UP: libc::c_ulong = 1;

// linux/bpf.h
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const PROG_TYPE_LSM: u32 = 29;
const ATTACH_LSM_MAC: u32 = 27;
