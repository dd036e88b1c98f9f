port = int(sys.argv[1])
good = ("127.0.0.1", port)

# Registered before it connects, edge-triggered, with options set.
early = tcp()
early.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
early.setblocking(False)
events = select.epoll()
events.register(early, select.EPOLLOUT | select.EPOLLET)
print("connect", name(early.connect_ex(good)))
ready = 0
deadline = time.monotonic() + 10
while (not ready & select.EPOLLOUT or ready & select.EPOLLHUP) and time.monotonic() < deadline:
    for _, ready in events.poll(1): pass
print("ready", bool(ready & select.EPOLLOUT), early.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), early.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
print("flags", os.get_blocking(early.fileno()), early.get_inheritable())

# Half close: the server answers when it has everything.
early.setblocking(True)
early.sendall(b"z" * 100000)
early.shutdown(socket.SHUT_WR)
print("half close", early.recv(99))

first = tcp()
second = socket.socket(fileno=os.dup(first.fileno()))
first.connect(good)
second.sendall(b"four")
second.shutdown(socket.SHUT_WR)
print("duplicate", first.recv(99))

shared = tcp()
pid = os.fork()
if pid == 0:
    shared.connect(good)
    os._exit(0)
os.waitpid(pid, 0)
shared.sendall(b"seven..")
shared.shutdown(socket.SHUT_WR)
print("inherited", shared.recv(99))

passed, taken = socket.socketpair()
sent = tcp()
socket.send_fds(passed, [b"x"], [sent.fileno()])
received = socket.socket(fileno=socket.recv_fds(taken, 1, 1)[1][0])
received.connect(good)
sent.sendall(b"one")
sent.shutdown(socket.SHUT_WR)
print("passed", received.recv(99))

import asyncio
async def many():
    async def one(number):
        reader, writer = await asyncio.open_connection(*good)
        writer.write(b"x" * number)
        writer.write_eof()
        return await reader.read()
    return await asyncio.gather(*(one(number) for number in range(50)))
print("many", asyncio.run(many()) == [b"got %d" % number for number in range(50)])
