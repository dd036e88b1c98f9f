//! Memory that processes share, and what the kernel keeps for them.

use crate::{CONNECT, python_flows};

python_flows! {
    shared_memory_without_a_name: "
shared = mmap.mmap(-1, 4096)
def work():
    data = read()
    shared[:len(data)] = data
done(child(work))
send(shared[:31])
" => "kept", [CONNECT];
    memory_of_its_own: "
private = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
done(child(read))
send()
" => "sent", [];
    a_memory_file: "
fd = os.memfd_create('x')
done(child(lambda: os.write(fd, read())))
send(os.pread(fd, 100, 0))
" => "kept", [CONNECT];
    a_memory_file_mapped_and_closed: "
fd = os.memfd_create('x')
os.ftruncate(fd, 4096)
shared = mmap.mmap(fd, 4096)
os.close(fd)
def work():
    data = read()
    shared[:len(data)] = data
done(child(work))
send(shared[:31])
" => "kept", [CONNECT];
    a_mapped_file_that_was_closed: "
with open('m', 'wb') as file: file.truncate(4096)
fd = os.open('m', os.O_RDWR)
shared = mmap.mmap(fd, 4096)
os.close(fd)
def work():
    inner = mmap.mmap(os.open('m', os.O_RDWR), 4096)
    data = read()
    inner[:len(data)] = data
done(child(work))
send(shared[:31])
" => "kept", [CONNECT];
    a_file_written_through_a_mapping: "
with open('m', 'wb') as file: file.truncate(4096)
def work():
    fd = os.open('m', os.O_RDWR)
    shared = mmap.mmap(fd, 4096)
    os.close(fd)
    data = read()
    shared[:len(data)] = data
done(child(work))
send(what='clean')
send(read('m')[:31], 'm')
" => "sent clean\nkept m", [CONNECT];
    a_mapping_that_becomes_writable: "
with open('m', 'wb') as file: file.truncate(4096)
def work():
    fd = os.open('m', os.O_RDWR)
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, 4096, 1, 1, fd, 0)
    os.close(fd)
    data = read()
    assert libc.mprotect(ctypes.c_void_p(address), 4096, 3) == 0
    ctypes.memmove(address, data, len(data))
done(child(work))
send(what='clean')
send(read('m')[:31], 'm')
" => "sent clean\nkept m", [CONNECT];
    a_private_mapping_of_what_is_written_later: "
with open('m', 'wb') as file: file.write(bytes(4096))
fd = os.open('m', os.O_RDONLY)
private = mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
os.close(fd)
def work():
    with open('m', 'r+b') as file: file.write(read())
done(child(work))
send(private[:31])
" => "kept", [CONNECT];
    a_segment_of_system_v: "
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0, 4096, 0o1600)
def work():
    address = libc.shmat(segment, None, 0)
    data = read()
    ctypes.memmove(address, data, len(data))
done(child(work))
send(ctypes.string_at(libc.shmat(segment, None, 0), 31))
" => "kept", [CONNECT];
    a_queue_of_system_v: "
queue = libc.msgget(0, 0o1600)
def work():
    data = struct.pack('l', 1) + read()
    assert libc.msgsnd(queue, data, len(data) - 8, 0) == 0
done(child(work))
buffer = ctypes.create_string_buffer(200)
assert libc.msgrcv(queue, buffer, 100, 0, 0) > 0
send(buffer.raw[8:39])
" => "kept", [CONNECT];
    the_memory_of_another_process: "
buffer = ctypes.create_string_buffer(100)
ready = mmap.mmap(-1, 1, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
def work():
    buffer.value = read()
    os.mkdir('ready')
    time.sleep(20)
pid = child(work)
while not os.path.exists('ready'): time.sleep(0.01)
send(what='before')
memory = os.open(f'/proc/{pid}/mem', os.O_RDONLY)
send(os.pread(memory, 31, ctypes.addressof(buffer)), 'after')
os.kill(pid, 9)
" => "sent before\nkept after", [CONNECT];
    the_memory_of_another_process_is_not_written: "
pid = child(lambda: time.sleep(20))
try:
    os.open(f'/proc/{pid}/mem', os.O_RDWR)
    say('opened')
except PermissionError:
    say('refused')
os.kill(pid, 9)
" => "refused", ["proc.syscall memory of a process"];
    a_core: "
import resource
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
def work():
    data = read()
    os.kill(os.getpid(), signal.SIGSEGV)
done(child(work))
say([name for name in os.listdir('.') if name.startswith('core')])
" => "[]", [];
    a_counter_of_events: "
fd = os.eventfd(0)
done(child(lambda: os.eventfd_write(fd, read()[0])))
send(bytes([os.eventfd_read(fd)]))
" => "kept", [CONNECT];
    a_mapped_file_whose_name_misleads: "
for name in ['a (deleted)', 'b\\\\012c', 'd\\n\\\\012e']:
    def work():
        page = mapped(os.open(name, os.O_RDWR | os.O_CREAT))
        data = read()
        ctypes.memmove(page, data, len(data))
    def check(): send(read(name)[:31])
    done(child(work))
    done(child(check))
" => "kept \nkept \nkept", [CONNECT];
    what_is_found_at_a_process_that_made_it_with_the_secret: "
for make in [os.pipe, lambda: (os.memfd_create('x'),) * 2]:
    def work():
        data = read()
        found, target = make()
        os.write(target, data)
        os.dup2(found, 50)
        os.mkdir('ready')
        time.sleep(20)
    pid = child(work)
    while not os.path.exists('ready'): time.sleep(0.01)
    os.rmdir('ready')
    def check():
        made = connect()
        try: made.send(os.read(os.open(f'/proc/{pid}/fd/50', os.O_RDONLY), 100))
        except PermissionError: say('refused')
    done(child(check))
    def after():
        data = os.open(f'/proc/{pid}/fd/50', os.O_RDONLY)
        send()
    done(child(after))
    os.kill(pid, 9)
    done(pid)
" => "refused\nkept \nrefused\nkept", [CONNECT, "ipc.send secret"];
    a_mapping_of_a_name_that_was_removed: "
def work():
    file = os.open('one', os.O_RDWR | os.O_CREAT)
    os.link('one', 'two')
    page = mapped(file)
    os.unlink('one')
    data = read()
    ctypes.memmove(page, data, len(data))
done(child(work))
send(read('two')[:31])
" => "kept", [CONNECT];
    a_mapping_of_what_is_only_referred_to: "
def scene(make):
    file = make()
    page = mapped(os.dup(file))
    left = os.open(f'/proc/self/fd/{file}', os.O_PATH)
    os.close(file)
    def look():
        libc.munmap(ctypes.c_void_p(page), ctypes.c_size_t(4096))
        made = connect()
        os.mkdir('connected')
        while not os.path.exists('written'): time.sleep(0.01)
        os.rmdir('written')
        try: made.send(os.read(os.open(f'/proc/self/fd/{left}', os.O_RDONLY), 31))
        except PermissionError: say('refused')
    looking = child(look)
    while not os.path.exists('connected'): time.sleep(0.01)
    os.rmdir('connected')
    data = read()
    ctypes.memmove(page, data, len(data))
    os.mkdir('written')
    done(looking)
for make in [lambda: os.memfd_create('x'), lambda: os.open('.', os.O_TMPFILE | os.O_RDWR)]:
    done(child(lambda: scene(make)))
" => "refused\nrefused", ["ipc.send memory secret"];
}
