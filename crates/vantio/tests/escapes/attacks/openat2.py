OPENAT2, AT_FDCWD = 437, -100
secret = sys.argv[1].encode()
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT, CACHED = 1, 2, 4, 8, 16, 32


def open2(path, flags, mode=0, resolve=0, directory=AT_FDCWD, size=24):
    how = ctypes.create_string_buffer(struct.pack("QQQ", flags, mode, resolve) + bytes(max(0, size - 24)))
    return syscall(OPENAT2, directory, path, how, size)


for resolve in (0, NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, CACHED, IN_ROOT, BENEATH):
    attempt(f"read {resolve}", lambda: b"secret" in os.read(open2(secret, os.O_RDONLY, 0, resolve), 64))
    attempt(f"write {resolve}", lambda: open2(secret, os.O_WRONLY, 0, resolve) >= 0)
    attempt(f"up {resolve}", lambda: b"secret" in os.read(open2(b"../outside/secret", os.O_RDONLY, 0, resolve), 64))
attempt("larger", lambda: b"secret" in os.read(open2(secret, os.O_RDONLY, size=32), 64))
attempt("create", lambda: open2(os.path.dirname(secret) + b"/new", os.O_CREAT | os.O_WRONLY, 0o644) >= 0)
attempt("temporary", lambda: open2(os.path.dirname(secret), os.O_TMPFILE | os.O_RDWR, 0o600) >= 0)
root = os.open("/", os.O_PATH)
attempt("in root", lambda: b"secret" in os.read(open2(secret, os.O_RDONLY, 0, IN_ROOT, root), 64))
