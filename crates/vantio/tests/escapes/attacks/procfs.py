secret, supervisors = sys.argv[1], sys.argv[2:]
own = ["self", "thread-self", str(os.getpid()), str(os.getppid()), "1"]

for pid in own + supervisors:
    for way in (f"/proc/{pid}/root{secret}", f"/proc/{pid}/task/{pid}/root{secret}", f"/proc/{pid}/cwd/../outside/secret"):
        attempt(f"read {way}", lambda: b"secret" in read(way))
    attempt(f"write {pid} root", lambda: open_for_writing(f"/proc/{pid}/root{secret}"))

for pid in ["1", *supervisors]:
    for name in ("mem", "environ", "maps", "auxv", "syscall", "stack"):
        attempt(f"read {pid} {name}", lambda: len(os.pread(os.open(f"/proc/{pid}/{name}", os.O_RDONLY), 64, 0)) > 0)
    attempt(f"write {pid} mem", lambda: open_for_writing(f"/proc/{pid}/mem"))
    attempt(f"names behind {pid} fd", lambda: any("/world-" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")))
    attempt(f"cwd of {pid}", lambda: "secret" in os.listdir(f"/proc/{pid}/cwd"))
    for fd in range(64):
        attempt(f"fd {pid} {fd}", lambda: b"secret" in read(f"/proc/{pid}/fd/{fd}"))

directory = os.open("/", os.O_PATH | os.O_DIRECTORY)
attempt("from a path descriptor", lambda: b"secret" in read(f"/proc/self/fd/{directory}{secret}"))
handle = os.open(".", os.O_PATH)
attempt("up from a path descriptor", lambda: b"secret" in read(f"/proc/self/fd/{handle}/../outside/secret"))
attempt("by openat", lambda: b"secret" in os.read(os.open("../outside/secret", os.O_RDONLY, dir_fd=handle), 64))


def reopen():
    """A descriptor that names the secret without opening it, opened through its magic link."""
    path_only = os.open(secret, os.O_PATH)
    return b"secret" in read(f"/proc/self/fd/{path_only}")


attempt("reopen a path descriptor", reopen)


def own_memory():
    """The process's own memory stays its own: a program may read it."""
    with open("/proc/self/mem", "rb") as file:
        file.seek(id(secret))
        return len(file.read(8)) != 8


attempt("own memory", own_memory)

for name in ("/proc/made", "/proc/1/made", "/proc/self/fd/made"):
    attempt(f"make {name}", lambda: os.close(os.open(name, os.O_WRONLY | os.O_CREAT)))
    attempt(f"make folder {name}", lambda: os.mkdir(name))
attempt("remove", lambda: os.unlink("/proc/version"))
attempt("rename", lambda: os.rename("/proc/version", "version"))
