import array, ctypes, errno, mmap, os, signal, socket, struct, subprocess, sys, time

S = os.environ["HOME"] + "/.aws/credentials"
SINK = int("PORT")
libc = ctypes.CDLL(None, use_errno=True)


def say(*words):
    print(*words, flush=True)


def connect():
    made = socket.socket()
    made.settimeout(20)
    made.connect(("127.0.0.1", SINK))
    return made


def send(data=b"x", what=""):
    """Sends from this very process."""
    try:
        made = connect()
        made.sendall(b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(data) + bytes(data))
        made.recv(1)
        say("sent", what)
    except PermissionError:
        say("kept", what)


def read(path=None):
    with open(path or S, "rb") as file:
        return file.read()


def secretly(made):
    """Whether the secret may be read while `made` is open."""
    try:
        data = read()
        made.send(data)
        say("read")
    except PermissionError:
        say("refused")


def child(work):
    """Runs `work` in a fork, to its end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def done(pid):
    os.waitpid(pid, 0)


def mapped(file):
    """The address of a shared page of a file that no descriptor is left of: Python's own mmap would keep one."""
    os.ftruncate(file, 4096)
    libc.mmap.restype = ctypes.c_void_p
    page = libc.mmap(None, ctypes.c_size_t(4096), 3, 1, file, ctypes.c_long(0))
    os.close(file)
    return page
