import ctypes, errno, os, random, select, signal, socket, struct, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
kept = []

def name(number):
    return errno.errorcode.get(number, str(number))

def attempt(call, *arguments):
    """What the call returns, or the name of its error."""
    try:
        return call(*arguments)
    except OSError as error:
        return name(error.errno) if error.errno else repr(error)

def tcp(family=socket.AF_INET):
    made = socket.socket(family)
    kept.append(made)
    return made

def udp(family=socket.AF_INET):
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(10)
    kept.append(made)
    return made

def v4(ip, port):
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(ip) + bytes(8)

def v6(ip, port):
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + socket.inet_pton(socket.AF_INET6, ip) + bytes(4)

def raw(function, fd, address, length=None):
    """connect(2) or bind(2) with the bytes of an address."""
    buffer = ctypes.create_string_buffer(address, max(len(address), 1))
    result = function(fd.fileno(), buffer, len(address) if length is None else length)
    return "ok" if result == 0 else name(ctypes.get_errno())

def connect(fd, address, length=None):
    return raw(libc.connect, fd, address, length)

def timed(call):
    start = time.monotonic()
    return attempt(call), time.monotonic() - start
