for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)

PIDFD_OPEN, PIDFD_SEND_SIGNAL, TGKILL, TKILL, SIGQUEUE = 434, 424, 234, 200, 129
own = {os.getpid(), os.getppid()}
supervisors = [int(pid) for pid in sys.argv[1:] if int(pid) not in own]


def by_pidfd(pid):
    syscall(PIDFD_SEND_SIGNAL, syscall(PIDFD_OPEN, pid, 0), signal.SIGKILL, None, 0)


def queue(pid):
    information = ctypes.create_string_buffer(struct.pack("iiiiii", signal.SIGKILL, 0, -1, 0, pid, 0) + bytes(104))
    syscall(SIGQUEUE, pid, signal.SIGKILL, information)


def say(name, action):
    """A signal that the kernel swallows is as good as refused: what counts is who is alive afterwards."""
    try:
        action()
        print(f"{name} sent")
    except OSError as error:
        print(f"{name} refused {errno.errorcode.get(error.errno)}")


for pid in [1, *supervisors]:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        say(f"kill {pid} {number}", lambda: os.kill(pid, number))
        say(f"tgkill {pid} {number}", lambda: syscall(TGKILL, pid, pid, number))
        say(f"tkill {pid} {number}", lambda: syscall(TKILL, pid, number))
        say(f"group {pid} {number}", lambda: os.kill(-pid, number) if pid != 1 else None)
    say(f"pidfd {pid}", lambda: by_pidfd(pid))
    say(f"sigqueue {pid}", lambda: queue(pid))
say("everybody", lambda: os.kill(-1, signal.SIGKILL))
say("own group", lambda: os.kill(0, signal.SIGTERM))
