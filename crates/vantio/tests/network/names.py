def addresses(host):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(host, 80, 0, socket.SOCK_STREAM)})
    except socket.gaierror as error:
        return error.errno == socket.EAI_NONAME

def question(host, kind, identifier):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in host.split("."))
    return struct.pack("!HHHHHH", identifier, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)

def summary(reply, identifier):
    """Whether it is ours, its code, its count of answers."""
    return struct.unpack("!H", reply[:2])[0] == identifier, reply[3] & 15, struct.unpack("!H", reply[6:8])[0]

def exactly(stream, count):
    data = b""
    while len(data) < count:
        data += stream.recv(count - len(data))
    return data

print(addresses("www.open.test"), addresses("WWW.OPEN.TEST"), addresses("localhost"), addresses("secret.closed.test"))
for family, server in ((socket.AF_INET, "198.51.100.53"), (socket.AF_INET6, "2001:db8::53"), (socket.AF_INET, "127.0.0.53")):
    asker = udp(family)
    asker.sendto(question("www.open.test", 16, 1), (server, 53))
    reply, source = asker.recvfrom(999)
    print(server, source[0] == server, summary(reply, 1))
    asker = udp(family)
    asker.connect((server, 53))
    asker.send(question("secret.closed.test", 1, 2))
    print("closed", summary(asker.recv(999), 2))
    asker.send(question("www.open.test", 255, 3))
    print("any", summary(asker.recv(999), 3))
    stream = socket.create_connection((server, 53), 10)
    for identifier in (4, 5):
        packet = question("www.open.test", 1, identifier)
        stream.sendall(struct.pack("!H", len(packet)) + packet)
        print("stream", summary(exactly(stream, struct.unpack("!H", exactly(stream, 2))[0]), identifier))
print("reverse", attempt(socket.gethostbyaddr, "192.0.2.77")[0])
