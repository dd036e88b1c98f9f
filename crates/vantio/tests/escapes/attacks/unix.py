abstract, *paths = sys.argv[1:]
STREAM, DATAGRAM, PACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
for address in ("\0" + abstract, *paths):
    shown = address.replace("\0", "@")
    for kind in (STREAM, DATAGRAM, PACKET):
        attempt(f"connect {kind} {shown}", lambda: socket.socket(socket.AF_UNIX, kind).connect(address))
    attempt(f"sendto {shown}", lambda: socket.socket(socket.AF_UNIX, DATAGRAM).sendto(b"secret", address) > 0)
    attempt(f"sendmsg {shown}", lambda: socket.socket(socket.AF_UNIX, DATAGRAM).sendmsg([b"secret"], [], 0, address) > 0)
for path in paths:
    os.symlink(path, "way")
    attempt(f"by symlink {path}", lambda: socket.socket(socket.AF_UNIX).connect("way"))
    os.unlink("way")
    handle = os.open(os.path.dirname(path), os.O_PATH)
    attempt(f"by descriptor {path}", lambda: socket.socket(socket.AF_UNIX).connect(f"/proc/self/fd/{handle}/{os.path.basename(path)}"))
    attempt(f"by link {path}", lambda: (os.link(path, "linked"), socket.socket(socket.AF_UNIX).connect("linked"))[1])

# Inside the run both kinds work.
for address in ("\0own", "own.sock"):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(address)
    listener.accept()[0].send(b"inside")
    print("inside works" if client.recv(6) == b"inside" else "inside is broken")
