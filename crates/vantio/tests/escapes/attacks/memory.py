PTRACE, VM_READV, VM_WRITEV, PIDFD_OPEN, PIDFD_GETFD, KCMP, MADVISE, MOVE_PAGES = 101, 310, 311, 434, 438, 312, 440, 279
ATTACH, SEIZE, POKE = 16, 0x4206, 4
buffer = ctypes.create_string_buffer(64)
vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(buffer), 64))

child = os.fork()
if child == 0:
    signal.pause()
for name, pid in (("init", 1), ("parent", os.getppid()), ("child", child)):
    attempt(f"attach {name}", lambda: syscall(PTRACE, ATTACH, pid, 0, 0) == 0)
    attempt(f"seize {name}", lambda: syscall(PTRACE, SEIZE, pid, 0, 0) == 0)
    attempt(f"poke {name}", lambda: syscall(PTRACE, POKE, pid, 0, 0) == 0)
    attempt(f"process_vm_readv {name}", lambda: syscall(VM_READV, pid, vector, 1, vector, 1, 0) > 0)
    attempt(f"process_vm_writev {name}", lambda: syscall(VM_WRITEV, pid, vector, 1, vector, 1, 0) > 0)
    attempt(f"pidfd_getfd {name}", lambda: syscall(PIDFD_GETFD, syscall(PIDFD_OPEN, pid, 0), 0, 0) >= 0)
os.kill(child, signal.SIGKILL)
