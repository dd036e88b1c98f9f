with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    _, passed, _, _ = socket.recv_fds(server, 16, 4)
print(f"received {len(passed)}")
directory, path_only = passed
attempt("open below", lambda: b"secret" in os.read(os.open("secret", os.O_RDONLY, dir_fd=directory), 64))
attempt("create below", lambda: os.open("created", os.O_WRONLY | os.O_CREAT, dir_fd=directory) >= 0)
attempt("remove below", lambda: os.unlink("secret", dir_fd=directory))
attempt("rename below", lambda: os.rename("secret", "moved", src_dir_fd=directory, dst_dir_fd=directory))
attempt("link below", lambda: os.link("secret", "taken", src_dir_fd=directory))
attempt("mkdir below", lambda: os.mkdir("made", dir_fd=directory))
attempt("chmod below", lambda: os.chmod("secret", 0o777, dir_fd=directory))
attempt("reopen", lambda: b"secret" in read(f"/proc/self/fd/{path_only}"))
attempt("reopen for writing", lambda: open_for_writing(f"/proc/self/fd/{path_only}"))
attempt("truncate", lambda: os.truncate(f"/proc/self/fd/{path_only}", 0))
attempt("link the descriptor", lambda: syscall(265, path_only, b"", -100, b"taken", 0x1000))


def enter():
    os.fchdir(directory)
    return b"secret" in read("secret")


attempt("enter", enter)
