port = int(sys.argv[1])
good = v4("127.0.0.1", port)

class Number:
    """A descriptor by number."""
    def __init__(self, number): self.number = number
    def fileno(self): return self.number

print("short", connect(tcp(), good[:15]), connect(tcp(), b""), connect(tcp(), b"\2"))
print("odd length", connect(tcp(), good, -1), connect(tcp(), good + bytes(200)))
print("fault", libc.connect(tcp().fileno(), 1, 16), name(ctypes.get_errno()))
print("descriptor", connect(Number(999), good), connect(open("/dev/null"), good))
print("family", connect(tcp(), v6("::1", port)), connect(tcp(socket.AF_INET6), good), connect(tcp(), b"\1\0/tmp/x" + bytes(20)))
print("unspecified", connect(tcp(), bytes(16)))
print("mapped", connect(tcp(socket.AF_INET6), v6("::ffff:127.0.0.1", port)))
print("short v6", connect(tcp(socket.AF_INET6), v6("::1", port)[:23]))

any_address = tcp()
print("any", connect(any_address, v4("0.0.0.0", port)), any_address.getpeername()[0])
print("again", connect(any_address, good), connect(any_address, v4("127.0.0.1", 1)))
print("dissolve", connect(any_address, bytes(16)), connect(any_address, good))

waits = tcp()
waits.setblocking(False)
print("nonblocking", connect(waits, good))
select.select([], [waits], [], 10)
print("error", waits.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
print("connected", connect(waits, good), connect(waits, good))
print("refused", attempt(tcp().connect, ("127.0.0.1", 1)))

listener = tcp()
listener.listen(1)
print("listener", connect(listener, good), raw(libc.bind, listener, v4("127.0.0.1", 0)))
connected = tcp()
connected.connect(("127.0.0.1", port))
print("connected", attempt(connected.listen), raw(libc.bind, connected, v4("127.0.0.1", 0)))

bound = tcp()
bound.bind(("127.0.0.1", 0))
print("bound", bound.getsockname()[0], raw(libc.bind, bound, v4("127.0.0.1", 0)))
print("in use", raw(libc.bind, tcp(), v4("127.0.0.1", bound.getsockname()[1])))
wished = tcp()
wished.bind(("", 0))
print("bound, then connected", connect(wished, good), wished.getpeername())

local = socket.socket(socket.AF_UNIX)
open("plain", "w").close()
print("local", connect(local, b"\1\0/tmp/nothing-here\0"), connect(local, b"\1\0"), connect(local, b"\1\0\0nobody"))
print("local", connect(local, good), connect(local, b"\1\0plain\0"))
print("protocol", attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 132))
datagrams = udp()
print("datagrams", connect(datagrams, v4("192.0.2.1", 9)), connect(datagrams, bytes(16)), connect(datagrams, v4("192.0.2.1", 9)[:9]))
print("datagrams", attempt(datagrams.listen))
print("netlink", connect(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0), struct.pack("=HHII", 16, 0, 0, 0)))
