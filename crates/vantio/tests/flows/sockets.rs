//! Sockets within the run, descriptors that travel, and connections that are open already.

use crate::{CONNECT, python_flows};

python_flows! {
    a_refused_read_leaves_the_way_out_open: "
made = connect()
try: read()
except PermissionError: say('kept')
made.close()
send(what='clean')
" => "kept\nsent clean", ["fs.open credentials taint"];
    a_connection_in_flight_during_the_read: "
made = connect()
one, other = socket.socketpair()
socket.send_fds(one, [b'x'], [made.fileno()])
made.close()
try: read()
except PermissionError: say('kept')
socket.recv_fds(other, 10, 1)
" => "kept", ["fs.open credentials taint"];
    a_pair: "
one, other = socket.socketpair()
done(child(lambda: other.send(read())))
send(one.recv(100))
" => "kept", [CONNECT];
    a_local_socket_with_a_path: "
server = socket.socket(socket.AF_UNIX)
server.bind('s')
server.listen()
def work():
    made = socket.socket(socket.AF_UNIX)
    made.connect('s')
    made.send(read())
pid = child(work)
send(server.accept()[0].recv(100))
done(pid)
" => "kept", [CONNECT];
    a_server_that_reads_first: "
def work():
    server = socket.socket(socket.AF_UNIX)
    server.bind('s')
    server.listen()
    data = read()
    os.mkdir('ready')
    server.accept()[0].send(data)
pid = child(work)
while not os.path.exists('ready'): time.sleep(0.01)
send(what='clean')
made = socket.socket(socket.AF_UNIX)
made.connect('s')
send(made.recv(100), 'after')
done(pid)
" => "sent clean\nkept after", [CONNECT];
    a_name_that_is_no_path: "
server = socket.socket(socket.AF_UNIX)
server.bind('\\0flow')
server.listen()
def work():
    made = socket.socket(socket.AF_UNIX)
    made.connect('\\0flow')
    made.send(read())
pid = child(work)
send(server.accept()[0].recv(100))
done(pid)
" => "kept", [CONNECT];
    names_that_the_kernel_lists_otherwise: "
def flow(name):
    one, other = socket.socketpair()
    def bind():
        server = socket.socket(socket.AF_UNIX)
        server.bind(name)
        server.listen()
        socket.send_fds(one, [b'x'], [server.fileno()])
    done(child(bind))
    # Nobody who bound it has it any more: whoever holds it is known by the kernel's list alone.
    server = socket.socket(fileno=socket.recv_fds(other, 10, 1)[1][0])
    one.close()
    other.close()
    def work():
        server.close()
        made = socket.socket(socket.AF_UNIX)
        made.connect(name)
        made.send(read())
    pid = child(work)
    send(server.accept()[0].recv(100))
    done(pid)
for name in (b'\\0a\\0b', b'\\0a\\nb', b'@a', b' a', b'a\\nb'):
    done(child(lambda: flow(name)))
" => "kept \nkept \nkept \nkept \nkept", [CONNECT];
    local_datagrams: "
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind('s')
done(child(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(read(), 's')))
send(server.recv(100))
" => "kept", [CONNECT];
    a_connection_within_the_run: "
server = socket.create_server(('127.0.0.1', 0))
def work():
    made = socket.create_connection(server.getsockname())
    made.send(read())
pid = child(work)
send(server.accept()[0].recv(100))
done(pid)
" => "kept", [CONNECT];
    a_connection_made_before_the_read: "
server = socket.create_server(('127.0.0.1', 0))
def work():
    made = socket.create_connection(server.getsockname())
    time.sleep(0.2)
    made.send(read())
pid = child(work)
taken = server.accept()[0]
send(what='clean')
send(taken.recv(100), 'after')
done(pid)
" => "sent clean\nkept after", [CONNECT];
    datagrams_within_the_run: "
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('127.0.0.1', 0))
done(child(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(read(), server.getsockname())))
send(server.recv(100))
" => "kept", [CONNECT];
    connected_datagrams_within_the_run: "
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind(('::1', 0))
def work():
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.connect(server.getsockname())
    made.send(read())
done(child(work))
send(server.recv(100))
" => "kept", [CONNECT];
    an_open_secret_that_is_passed_on: "
one, other = socket.socketpair()
done(child(lambda: socket.send_fds(other, [b'x'], [os.open(S, os.O_RDONLY)])))
fd = socket.recv_fds(one, 10, 1)[1][0]
send(os.read(fd, 100))
" => "kept", [CONNECT];
    a_pipe_that_is_on_its_way: "
one, other = socket.socketpair()
def work():
    reads, writes = os.pipe()
    socket.send_fds(other, [b'x'], [reads])
    os.close(reads)
    os.close(other.detach())
    os.close(one.detach())
    try: os.write(writes, read())
    except PermissionError: say('refused')
done(child(work))
fd = socket.recv_fds(one, 10, 1)[1][0]
data = os.read(fd, 100)
os.close(fd)
send(data, 'clean')
" => "refused\nsent clean", ["fs.open credentials taint"];
    a_terminal_of_the_runs_own: "
master, slave = os.openpty()
done(child(lambda: os.write(slave, read())))
send(os.read(master, 100))
" => "kept", [CONNECT];
    a_process_that_is_connected_may_not_read: "
made = connect()
try:
    read()
    say('read')
except PermissionError:
    say('refused')
made.send(b'x')
say('clean')
" => "refused\nclean", ["fs.open credentials secret"];
    who_leads_to_one_that_is_connected_may_not_read: "
reads, writes = os.pipe()
def work():
    os.close(writes)
    made = connect()
    os.mkdir('ready')
    made.send(os.read(reads, 100))
pid = child(work)
os.close(reads)
while not os.path.exists('ready'): time.sleep(0.01)
try:
    read()
    say('read')
except PermissionError:
    say('refused')
os.close(writes)
done(pid)
" => "refused", ["fs.open credentials secret"];
    a_connection_that_was_closed_leaves_nothing: "
connect().close()
data = read()
send(data)
" => "kept", [CONNECT];
    datagrams_to_the_addresses_of_the_run: "
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('0.0.0.0', 0))
port = server.getsockname()[1]
done(child(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(read(), ('10.255.255.1', port))))
send(server.recv(100))
" => "kept", [CONNECT];
    connected_datagrams_to_the_addresses_of_the_run: "
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('0.0.0.0', 0))
def work():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(('10.255.255.1', server.getsockname()[1]))
    made.send(read())
done(child(work))
send(server.recv(100))
" => "kept", [CONNECT];
    datagrams_to_a_group: "
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('0.0.0.0', 0))
group = socket.inet_aton('239.1.2.3') + socket.inet_aton('127.0.0.1')
server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
server.settimeout(2)
def work():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('127.0.0.1'))
    made.connect(('239.1.2.3', server.getsockname()[1]))
    made.send(read())
done(child(work))
send(server.recv(100))
" => "kept", [CONNECT];
    a_socket_that_no_list_has: "
shared = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
shared.bind((0, 0))
def work():
    data = read()
    shared.send(struct.pack('=IHHII', 16 + len(data), 99, 1, 1, 0) + data)
done(child(work))
data = shared.recv(4096)
send(data[data.index(b'AKIA'):] if b'AKIA' in data else b'x')
" => "kept", [CONNECT];
}
