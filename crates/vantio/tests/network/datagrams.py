open_port, closed_port = [int(port) for port in sys.argv[1:3]]
asker = udp()
asker.sendto(b"a", ("127.0.0.1", open_port))
print("sendto", asker.recvfrom(99) == (b"echo a", ("127.0.0.1", open_port)))
asker = udp()
asker.connect(("127.0.0.1", open_port))
asker.send(b"b" * 3000)
print("connected", len(asker.recv(65535)))
askers = [udp() for _ in range(20)]
for number, asker in enumerate(askers):
    asker.sendto(b"%d" % number, ("127.0.0.1", open_port))
print("many", [asker.recv(99) for asker in askers] == [b"echo %d" % number for number in range(20)])
print("closed", attempt(udp().sendto, b"x", ("192.0.2.5", 123)), attempt(udp().sendmsg, [b"x"], [], 0, ("192.0.2.5", 123)))
print("connects", attempt(udp().connect, ("192.0.2.6", 123)))
beside = udp()
beside.settimeout(0.5)
beside.sendto(b"x", ("127.0.0.1", closed_port))
print("beside", attempt(beside.recv, 9))
