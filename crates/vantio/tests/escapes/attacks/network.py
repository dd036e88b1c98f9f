port, port6, udp, host = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
FASTOPEN, FASTOPEN_CONNECT, ZEROCOPY = 0x20000000, 30, 0x4000000
four = ["127.0.0.1", "127.0.0.2", "127.1", "0.0.0.0", "0", "2130706433", "0x7f.1", "0177.0.0.1", host]
six = ["::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", f"::ffff:{host}", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]


def connect(family, address):
    with socket.socket(family, STREAM) as client:
        client.settimeout(5)
        client.connect(address)


def resolved(family, name, number):
    return socket.getaddrinfo(name, number, family, STREAM)[0][4]


for name in four:
    attempt(f"connect {name}", lambda: connect(socket.AF_INET, resolved(socket.AF_INET, name, port)))
for name in six:
    for number in (port, port6):
        attempt(f"connect {name} {number}", lambda: connect(socket.AF_INET6, (name, number)))


def fast_open(family, address, how):
    with socket.socket(family, STREAM) as client:
        client.settimeout(5)
        if how == "sendto":
            client.sendto(b"secret", FASTOPEN, address)
        elif how == "sendmsg":
            client.sendmsg([b"secret"], [], FASTOPEN, address)
        else:
            client.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
            client.connect(address)
            client.send(b"secret")


for how in ("sendto", "sendmsg", "option"):
    attempt(f"fast open {how}", lambda: fast_open(socket.AF_INET, ("127.0.0.1", port), how))
    attempt(f"fast open {how} 6", lambda: fast_open(socket.AF_INET6, ("::1", port6), how))
    attempt(f"fast open {how} elsewhere", lambda: fast_open(socket.AF_INET, ("198.51.100.7", 80), how))


def unspecified_first():
    with socket.socket(socket.AF_INET, STREAM) as client:
        libc.connect(client.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16)
        client.settimeout(5)
        client.connect(("127.0.0.1", port))


def bound_first():
    with socket.socket(socket.AF_INET, STREAM) as client:
        client.bind(("0.0.0.0", 0))
        client.settimeout(5)
        client.connect(("127.0.0.1", port))


def mapped_family(family_of_socket, packed):
    with socket.socket(family_of_socket, STREAM) as client:
        if libc.connect(client.fileno(), packed, len(packed)):
            raise OSError(ctypes.get_errno(), "connect")


attempt("unspecified first", unspecified_first)
attempt("bound first", bound_first)
attempt("in a child", lambda: os.waitstatus_to_exitcode(os.wait()[1]) == 0 if os.fork() else os._exit(socket.socket().connect_ex(("127.0.0.1", port)) != 0))
attempt("elsewhere", lambda: connect(socket.AF_INET, ("198.51.100.7", 80)))
attempt("metadata", lambda: connect(socket.AF_INET, ("169.254.169.254", 80)))
attempt("elsewhere 6", lambda: connect(socket.AF_INET6, ("2001:db8::7", 80)))


def heard_by_the_host(name, send):
    """A datagram to the run's own loopback may be sent: the host must not hear it, which the test checks."""
    try:
        send()
        print(f"{name} sent")
    except OSError as error:
        print(f"{name} refused {errno.errorcode.get(error.errno)}")


def send_many(address):
    packed = struct.pack("!H", address[1]) + socket.inet_aton(address[0])
    name = ctypes.create_string_buffer(struct.pack("H", socket.AF_INET) + packed + bytes(8))
    data = ctypes.create_string_buffer(b"secret")
    vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(data), 6))
    header = struct.pack("QIxxxxQQQQiI", ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0, 0)
    headers = ctypes.create_string_buffer(header * 2)
    with socket.socket(socket.AF_INET, DATAGRAM) as client:
        syscall(307, client.fileno(), headers, 2, 0)


for name in ("127.0.0.1", "0.0.0.0", host, "198.51.100.7"):
    address = (name, udp)
    heard_by_the_host(f"sendto {name}", lambda: socket.socket(socket.AF_INET, DATAGRAM).sendto(b"secret", address))
    heard_by_the_host(f"sendmsg {name}", lambda: socket.socket(socket.AF_INET, DATAGRAM).sendmsg([b"secret"], [], 0, address))
    heard_by_the_host(f"sendmmsg {name}", lambda: send_many(address))
    heard_by_the_host(f"mapped {name}", lambda: socket.socket(socket.AF_INET6, DATAGRAM).sendto(b"secret", (f"::ffff:{name}", udp)))

    def connected():
        with socket.socket(socket.AF_INET, DATAGRAM) as client:
            client.connect(address)
            client.send(b"secret")
            client.sendmsg([b"secret"])

    heard_by_the_host(f"connected {name}", connected)
