//! Pipes, and what shells make of them.

use crate::{CONNECT, python_flows, shell_flows};

shell_flows! {
    a_pipeline_and_not_its_shell: "cat $S | tr a-z A-Z | sort | uniq > out; send out; echo fine > clean; send clean"
        => "kept out\nsent clean", [CONNECT];
    a_substitution_labels_the_shell: "x=$(cat $S); echo fine > clean; send clean" => "kept clean", [CONNECT];
    a_substitution_of_something_else: "x=$(cat script.sh); cat $S > out; send script.sh" => "sent script.sh", [];
    a_process_substitution: "cat <(cat $S) > out; send out" => "kept out", [CONNECT];
    a_process_substitution_that_takes: "cat $S > >(cat > out); sleep 0.3; send out" => "kept out", [CONNECT];
    a_here_document: "read x < $S; cat > out <<END\n$x\nEND\nsend out" => "kept out", [CONNECT];
    a_here_string: "x=$(cat $S); cat <<< \"$x\" > out; send out" => "kept out", [CONNECT];
    a_descriptor_kept_open: "exec 3> out; cat $S >&3; exec 3>&-; send out; echo > clean; send clean"
        => "kept out\nsent clean", [CONNECT];
    a_descriptor_to_read_and_write: "exec 3<> out; cat $S >&3; read -u 3 x; send script.sh" => "kept script.sh", [CONNECT];
    a_builtin: "read x < $S; send script.sh" => "kept script.sh", [CONNECT];
    a_fifo: "mkfifo p; cat $S > p & cat p > out; wait; send out; echo > clean; send clean"
        => "kept out\nsent clean", [CONNECT];
    arguments_from_a_pipe: "echo $S | xargs cat > out; send out; send script.sh" => "kept out\nsent script.sh", [CONNECT];
    a_subshell: "( cat $S; echo more ) > out; send out; send script.sh" => "kept out\nsent script.sh", [CONNECT];
    a_group_that_reads: "{ read x; } < $S; send script.sh" => "kept script.sh", [CONNECT];
    a_loop: "while read x; do echo $x; done < $S > out; send out; " => "kept out", [CONNECT];
    a_loop_in_a_pipeline: "cat $S | while read x; do echo $x >> out; done; send out; send script.sh"
        => "kept out\nsent script.sh", [CONNECT];
    a_pipe_opened_by_its_link: "cat $S | cat /dev/stdin > out; send out; send script.sh"
        => "kept out\nsent script.sh", [CONNECT];
    a_tool_that_starts_others: "find $HOME/.aws -name 'cred*' -exec cat {} + > out; send out; send script.sh"
        => "kept out\nsent script.sh", [CONNECT];
    a_coprocess: "coproc cat; cat $S >&${COPROC[1]}; read -u ${COPROC[0]} x; send script.sh" => "kept script.sh", [CONNECT];
    null_and_zero_carry_nothing: "cat $S > /dev/null; head -c 3 /dev/zero > out; cat < /dev/null >> out; send out"
        => "sent out", [];
}

python_flows! {
    a_pipe_between_relatives: "
reads, writes = os.pipe()
done(child(lambda: os.write(writes, read())))
send(os.read(reads, 100))
" => "kept", [CONNECT];
    a_pipe_that_was_closed_in_time: "
reads, writes = os.pipe()
os.close(reads)
done(child(lambda: read()))
send()
" => "sent", [];
    a_pipe_opened_through_another_process: "
def work():
    reads, writes = os.pipe()
    os.dup2(reads, 50)
    os.write(writes, read())
    os.mkdir('ready')
    time.sleep(20)
pid = child(work)
while not os.path.exists('ready'): time.sleep(0.01)
data = os.read(os.open(f'/proc/{pid}/fd/50', os.O_RDONLY), 100)
send(data)
os.kill(pid, 9)
" => "kept", [CONNECT];
    memory_lent_to_a_pipe: "
reads, writes = os.pipe()
file = os.open('file', os.O_RDWR | os.O_CREAT)
os.write(file, b'x' * 4096)
def attempt(what):
    try: say(what())
    except OSError as error: say(errno.errorcode[error.errno])
page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
vector = struct.pack('QQ', ctypes.addressof(ctypes.c_char.from_buffer(page)), 4096)
say(libc.vmsplice(writes, vector, 1, 0), errno.errorcode[ctypes.get_errno()])
attempt(lambda: os.splice(file, writes, 4096, offset_src=0))
attempt(lambda: os.sendfile(connect().fileno(), file, 0, 4096))
other = os.pipe()[1]
os.write(writes, b'x')
say(libc.tee(reads, other, 1, 0), errno.errorcode[ctypes.get_errno()])
" => "-1 ENOSYS\nEINVAL\nEINVAL\n-1 EINVAL", [];
    copies_without_lent_memory: "
import shutil
shutil.copyfile('script.py', 'a')
subprocess.run('cp a b && cat b > c && cat c | cat > d && cat d >> e && git init -q g && cp e g && cd g && git add e && '
    'git -c user.name=a -c user.email=a commit -qm x && git clone -q . ../h && cd .. && curl -s -o f file://$PWD/h/e && dd if=f of=i status=none', shell=True, check=True)
say(all(read(name) == read('script.py') for name in ['a', 'b', 'c', 'd', 'e', 'f', 'h/e', 'i']))
send(what='it')
" => "True\nsent it", [];
}
