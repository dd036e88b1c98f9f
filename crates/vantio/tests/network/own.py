port = int(sys.argv[1])

server = tcp()
other = socket.socket(fileno=os.dup(server.fileno()))
os.set_inheritable(other.fileno(), True)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
server.bind(("", 0))
other.listen(5)
print("options", *(other.getsockopt(*option) for option in (
    (socket.SOL_SOCKET, socket.SO_REUSEADDR), (socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))))
print("duplicates", server.getsockname() == other.getsockname(), server.get_inheritable(), other.get_inheritable())

def greets(host, listener):
    client = socket.create_connection((host, listener.getsockname()[1]), 10)
    accepted, _ = listener.accept()
    accepted.sendall(b"own")
    return client.recv(9)

for host in ("127.0.0.1", "localhost", "127.0.0.9", "0.0.0.0"):
    print(host, greets(host, server))
six = tcp(socket.AF_INET6)
six.bind(("::", 0))
six.listen()
print("v6", greets("::1", six), greets("127.0.0.1", six))
unbound = tcp()
unbound.listen()
print("unbound", greets("127.0.0.1", unbound))
again = tcp()
again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
used = server.getsockname()
server.close()
other.close()
again.bind(used)
print("reused", again.getsockname() == used)

# Where a rule opens a port of the host, the run's own listener wins while it listens.
mine = socket.create_server(("127.0.0.1", port))
print("own first", greets("127.0.0.1", mine))
mine.close()
host = socket.create_connection(("127.0.0.1", port), 10)
host.shutdown(socket.SHUT_WR)
print("then the host's", host.recv(99))

a, b = udp(), udp()
a.bind(("127.0.0.1", 0))
b.sendto(b"datagram", a.getsockname())
print("datagram", a.recv(99))
