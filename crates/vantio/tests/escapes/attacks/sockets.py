STREAM, DATAGRAM, RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW
families = {"packet": 17, "vsock": 40, "alg": 38, "bluetooth": 31, "key": 15, "can": 29, "xdp": 44, "tipc": 30, "rds": 21, "nfc": 39, "smc": 43, "qipcrtr": 42, "kcm": 41}
for name, family in families.items():
    for kind in (STREAM, DATAGRAM, RAW, socket.SOCK_SEQPACKET):
        attempt(f"{name} {kind}", lambda: socket.socket(family, kind).fileno() >= 0)
for protocol in (1, 6, 17, 58, 255):
    attempt(f"raw {protocol}", lambda: socket.socket(socket.AF_INET, RAW, protocol).fileno() >= 0)
    attempt(f"raw6 {protocol}", lambda: socket.socket(socket.AF_INET6, RAW, protocol).fileno() >= 0)
for protocol in (132, 33, 136, 262):
    for kind in (STREAM, socket.SOCK_SEQPACKET, DATAGRAM, 6):
        attempt(f"protocol {protocol} {kind}", lambda: socket.socket(socket.AF_INET, kind, protocol).fileno() >= 0)
for protocol in (4, 6, 9, 12, 16, 20):
    attempt(f"netlink {protocol}", lambda: socket.socket(socket.AF_NETLINK, RAW, protocol).fileno() >= 0)
