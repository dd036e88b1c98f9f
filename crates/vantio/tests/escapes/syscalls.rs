//! System calls that no agent may make, and the doors of other ABIs.

use crate::{
    attack, attack_in_c,
    common::{CLOSED, World, compile},
};

/// System calls whose refusal must stand in the ledger by name.
const RECORDED: [&str; 26] = [
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "fsopen",
    "fsmount",
    "fspick",
    "move_mount",
    "open_tree",
    "mount_setattr",
    "unshare",
    "setns",
    "io_uring_setup",
    "bpf",
    "keyctl",
    "add_key",
    "request_key",
    "kexec_load",
    "kexec_file_load",
    "open_by_handle_at",
    "userfaultfd",
    "perf_event_open",
    "init_module",
    "reboot",
    "ptrace",
    "process_vm_readv",
];

#[test]
fn calls_that_no_agent_may_make_are_refused_and_recorded() {
    let world = World::new();
    let outcome = attack(&world, CLOSED, include_str!("attacks/syscalls.py"), &[]);
    let refusals = world.refusals();
    let recorded = |call: &&str| {
        refusals.iter().any(|refusal| refusal.effect == "proc.syscall" && refusal.target.contains(call))
    };
    let missing: Vec<_> = RECORDED.into_iter().filter(|call| !recorded(call)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "not in the ledger; the run said {}", outcome.describe());
}

#[test]
fn other_abis_are_closed() {
    let world = World::new();
    let secret = world.secret().to_string_lossy().into_owned();
    let program = compile(&world, "abi", include_str!("attacks/abi.c"));
    // A file that the policy opens: what is refused is the door, not the file.
    let open = world.write("open", "harmless").to_string_lossy().into_owned();
    attack_in_c(&world, CLOSED, &program, &[&open]);
    attack_in_c(&world, CLOSED, &program, &[&secret]);
}

#[test]
fn the_programs_that_mount_and_enter_namespaces_fail() {
    let world = World::new();
    for program in [
        &["mount", "-t", "tmpfs", "none", "/mnt"][..],
        &["umount", "-l", "/proc"],
        &["unshare", "--user", "--map-root-user", "--mount", "true"],
        &["chroot", "/usr", "/bin/true"],
        &["nsenter", "--target", "1", "--mount", "true"],
    ] {
        let line = format!("{}; echo \"ended $?\"", program.join(" "));
        let outcome = world.run(CLOSED, &["/bin/sh", "-c", &line]);
        assert!(outcome.stdout.contains("ended"), "{program:?}: {}", outcome.describe());
        assert!(!outcome.stdout.contains("ended 0"), "{program:?}: {}", outcome.describe());
    }
}
