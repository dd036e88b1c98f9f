good, stuck = [("127.0.0.1", int(port)) for port in sys.argv[1:3]]
stuck_bytes = v4(*stuck)

def with_timeout(milliseconds):
    made = tcp()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", milliseconds // 1000, milliseconds % 1000 * 1000))
    return made

result, took = timed(lambda: with_timeout(300).connect(stuck))
print("SO_SNDTIMEO", result, took > 0.25)

def python_timeout():
    made = tcp()
    made.settimeout(0.3)
    made.connect(stuck)
print("timeout", timed(python_timeout)[0])

# A handler that does not ask for a restart ends the call; one that does lets it go on.
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.2)
print("interrupted", connect(tcp(), stuck_bytes))
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.2)
restarted = tcp()
threading.Timer(1, lambda: restarted.shutdown(socket.SHUT_RDWR)).start()
start = time.monotonic()
print("restarted", connect(restarted, stuck_bytes), time.monotonic() - start > 0.9, len(seen) > 0)

# Many that block do not hold up one that does not.
blocked = [threading.Thread(target=lambda: attempt(with_timeout(4000).connect, stuck)) for _ in range(20)]
for thread in blocked: thread.start()
time.sleep(0.3)
result, took = timed(lambda: tcp().connect(good))
print("beside", result, took < 3)
for thread in blocked: thread.join()

def child():
    """A process that blocks in connect."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        connect(tcp(), stuck_bytes)
        os._exit(0)
    time.sleep(0.3)
    return pid

pid = child()
os.kill(pid, signal.SIGTERM)
print("terminated", os.waitpid(pid, 0)[1])
pid = child()
os.kill(pid, signal.SIGSTOP)
print("stopped", os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]))
os.kill(pid, signal.SIGCONT)
time.sleep(0.2)
print("goes on", os.waitpid(pid, os.WNOHANG)[0])
os.kill(pid, signal.SIGKILL)
print("killed", os.waitpid(pid, 0)[1])
