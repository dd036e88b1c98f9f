import stat

for kind, name in ((stat.S_IFBLK, "block"), (stat.S_IFCHR, "character")):
    for major, minor in ((1, 1), (8, 0), (254, 0), (10, 237)):
        attempt(f"mknod {name} {major}:{minor}", lambda: os.mknod(f"{name}-{major}-{minor}", kind | 0o666, os.makedev(major, minor)))
for path in ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop-control",
             "/dev/fuse", "/dev/kvm", "/dev/uinput", "/dev/net/tun", "/dev/tty1", "/dev/vhost-net", "/dev/mapper/control"):
    attempt(f"read {path}", lambda: os.open(path, os.O_RDONLY) >= 0)
    attempt(f"write {path}", lambda: open_for_writing(path))
for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname",
             "/proc/sys/vm/drop_caches", "/proc/sys/kernel/randomize_va_space", "/proc/sys/fs/binfmt_misc/register",
             "/proc/kcore", "/proc/kmem", "/proc/1/oom_score_adj", "/sys/kernel/uevent_helper", "/sys/power/state",
             "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs", "/sys/fs/cgroup/release_agent",
             "/sys/fs/cgroup/memory/release_agent", "/sys/module/kernel/parameters/panic", "/proc/irq/0/smp_affinity"):
    attempt(f"write {path}", lambda: open_for_writing(path))
for path in ("/proc/kcore", "/proc/kmsg", "/proc/kallsyms-", "/sys/kernel/debug/tracing/trace", "/sys/kernel/tracing/trace"):
    attempt(f"read {path}", lambda: len(os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 16)) > 0)
for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
    attempt(f"mkdir {root}", lambda: os.mkdir(f"{root}/escape"))

# What overlayfs itself reads as an instruction.
os.mkdir("redirected")
for name, value in (("overlay.redirect", sys.argv[1].encode()), ("overlay.opaque", b"y"), ("overlay.metacopy", b""), ("overlay.whiteout", b"")):
    for space in ("user", "trusted"):
        attempt(f"set {space}.{name}", lambda: os.setxattr("redirected", f"{space}.{name}", value))
attempt("read what is redirected", lambda: "secret" in os.listdir("redirected"))
attempt("set capabilities", lambda: os.setxattr("attack.py", "security.capability", bytes.fromhex("0000000200000000000000000000000000000000")))
