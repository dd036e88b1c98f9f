CLOSE_RANGE = 436
for fd in range(3, 32):
    attempt(f"inherited {fd}", lambda: b"secret" in os.pread(fd, 64, 0))
    attempt(f"below inherited {fd}", lambda: b"secret" in os.read(os.open("secret", os.O_RDONLY, dir_fd=fd), 64))
    attempt(f"listed {fd}", lambda: "secret" in os.listdir(fd))
    attempt(f"written {fd}", lambda: os.write(fd, b"x") > 0)
    attempt(f"entered {fd}", lambda: (os.fchdir(fd), "secret" in os.listdir("."))[1])
