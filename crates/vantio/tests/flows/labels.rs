//! Sources and sinks of every kind, several labels, sanitizers, modes.

use std::fs;

use crate::{
    CONNECT, POLICY, Stage,
    collector::Collector,
    common::{SECRET, compile},
};

/// [`POLICY`] with other taint.
fn tainting(taint: &str) -> String {
    let (head, _) = POLICY.split_once("taint:").unwrap();
    format!("{head}taint:\n{taint}")
}

#[test]
fn two_labels_have_a_sink_each() {
    let stage = Stage::new();
    let other = Collector::start();
    stage.world.write("personal", "name and address\n");
    let policy = tainting(
        r#"  sources: [{label: secret, fs: ["~/.aws/**"]}, {label: personal, fs: ["${workspace}/personal"]}]
  sinks: [{label: secret, net: ["127.0.0.1:PORT"]}, {label: personal, net: ["127.0.0.1:OTHER"]}]
"#,
    )
    .replace("\"127.0.0.1:PORT\"]}\ntaint", "\"127.0.0.1:PORT\", \"127.0.0.1:OTHER\"]}\ntaint")
    .replace("OTHER", &other.port());
    let script = "
to() { curl -s -m 20 -o /dev/null --data-binary @$1 http://127.0.0.1:$2/ && echo sent $3 || echo kept $3; }
to personal PORT 'personal here'; to personal OTHER 'personal there'
cat $S personal > both; to both PORT 'both here'; to both OTHER 'both there'
"
    .replace("OTHER", &other.port());
    let outcome = stage.shell(&policy, &script);
    let there = format!("net.connect 127.0.0.1:{} personal", other.port());
    let prints = "sent personal here\nkept personal there\nkept both here\nkept both there";
    stage.check(&outcome, prints, &[CONNECT, &there]);
    assert!(stage.collector.has(b"name and address") && !other.has(b"name"));
    let outcome = stage
        .shell(&policy, &format!("cp $S s; curl -s --data-binary @s http://127.0.0.1:{}/", other.port()));
    stage.check(&outcome, "answer", &[]);
    assert!(other.has(SECRET.as_bytes()), "what has no sink there may go there");
}

#[test]
fn what_comes_from_the_network_stays_out_of_trusted_files() {
    let stage = Stage::new();
    let policy = tainting(
        r#"  sources: [{label: web, net: ["*"]}]
  sinks: [{label: web, fs: ["${workspace}/trusted/**"]}]
"#,
    );
    let script = "
mkdir trusted; curl -s -o page http://127.0.0.1:PORT/; cp page trusted/page || echo refused
curl -s http://127.0.0.1:PORT/ > trusted/direct || echo refused; cat trusted/direct
echo fine > trusted/clean && cat trusted/clean
";
    let outcome = stage.shell(&policy, script);
    stage.check(
        &outcome,
        "refused\nrefused\nfine",
        &["fs.open trusted/page web", "net.connect 127.0.0.1:PORT web trusted"],
    );
}

#[test]
fn what_carries_a_label_is_not_moved_into_trusted_files() {
    let stage = Stage::new();
    let policy = tainting(
        r#"  sources: [{label: web, net: ["*"]}]
  sinks: [{label: web, fs: ["${workspace}/trusted/**"]}]
"#,
    );
    let script = "
mkdir trusted d; curl -s -o page http://127.0.0.1:PORT/; cp page d/page
mv page trusted/page 2> /dev/null || echo refused; ln page trusted/link 2> /dev/null || echo refused
mv d trusted/d 2> /dev/null || echo refused; mkdir e; mv e trusted/e && echo moved
";
    let outcome = stage.shell(&policy, script);
    let refused = ["fs.rename trusted/page web", "fs.link trusted/link web", "fs.rename trusted/d web"];
    stage.check(&outcome, "refused\nrefused\nrefused\nmoved", &refused);
}

#[test]
fn a_program_is_a_source() {
    let stage = Stage::new();
    let policy = tainting(
        r#"  sources: [{label: made, exec: [/usr/bin/base64]}]
  sinks: [{label: made, net: ["*"]}]
"#,
    );
    let outcome = stage.shell(&policy, "base64 script.sh > out; send out; send script.sh");
    stage.check(&outcome, "kept out\nsent script.sh", &["net.connect 127.0.0.1:PORT made"]);
}

#[test]
fn a_program_is_a_sink() {
    let stage = Stage::new();
    let policy = tainting(
        r#"  sources: [{label: secret, fs: ["~/.aws/**"]}]
  sinks: [{label: secret, exec: [curl]}]
"#,
    );
    let outcome = stage.shell(&policy, "send script.sh; read x < $S; send script.sh");
    stage.check(&outcome, "sent script.sh\nkept script.sh", &["proc.exec curl secret"]);
}

#[test]
fn a_name_that_is_asked_for_is_a_way_out() {
    let stage = Stage::new();
    let policy = POLICY.replace("\"127.0.0.1:PORT\"]", "\"127.0.0.1:PORT\", \"*.open.test\"]");
    let script = "
def ask(name):
    try: socket.getaddrinfo(name, 80)
    except socket.gaierror: pass
ask('before.open.test')
read()
ask('after.open.test')
";
    let outcome = stage.python(&policy, script);
    stage.check(&outcome, "", &["net.dns after.open.test secret"]);
}

#[test]
fn a_datagram_is_a_way_out() {
    let stage = Stage::new();
    let received = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    received.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let port = received.local_addr().unwrap().port();
    let policy = POLICY.replace("\"127.0.0.1:PORT\"]", &format!("\"udp://127.0.0.1:{port}\"]"));
    let script = format!(
        "
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.sendto(b'clean', ('127.0.0.1', {port}))
time.sleep(0.2)
data = read()
for _ in range(3):
    made.sendto(data, ('127.0.0.1', {port}))
    time.sleep(0.05)
time.sleep(0.2)
"
    );
    let outcome = stage.python(&policy, &script);
    stage.check(&outcome, "", &["net.connect secret"]);
    let mut buffer = [0; 100];
    assert_eq!(received.recv(&mut buffer).unwrap(), 5);
    assert!(received.recv(&mut buffer).is_err(), "the secret has left");
}

#[test]
fn only_observing_records_what_would_be_refused() {
    let stage = Stage::new();
    let outcome = stage.shell(&format!("{POLICY}mode: monitor\n"), "cp $S out; send out");
    assert_eq!(outcome.assert_success().stdout, "sent out\n");
    stage.world.assert_refused("net.connect", &stage.collector.port());
}

#[test]
fn a_refusal_tells_how_the_label_came() {
    let stage = Stage::new();
    stage.shell(POLICY, "cat $S | sort > out; send out");
    let told = stage.world.ask(&["why", "last"]);
    assert!(told.contains("flow:   read `~/.aws/credentials` by `cat`"), "{told}");
    assert!(told.contains("→ pipe →"), "{told}");
}

/// [`POLICY`] with a sanitizer.
fn cleansing(sanitizer: &str) -> String {
    format!("{POLICY}  sanitizers: [{{label: secret, exec: [{sanitizer}]}}]\n")
}

#[test]
fn a_sanitizer_takes_a_label_away() {
    let stage = Stage::new();
    let script =
        "cat $S | sha256sum > digest; sha256sum $S > other; send digest; send other; cp $S copy; send copy";
    let outcome = stage.shell(&cleansing("/usr/bin/sha256sum"), script);
    stage.check(&outcome, "sent digest\nsent other\nkept copy", &[CONNECT]);
}

#[test]
fn a_sanitizer_with_something_loaded_into_it_takes_nothing_away() {
    let stage = Stage::new();
    let script = "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libm.so.6 sha256sum < $S > digest; send digest
ODD=1 sha256sum < $S > other; send other";
    let outcome = stage.shell(&cleansing("/usr/bin/sha256sum"), script);
    stage.check(&outcome, "kept digest\nkept other", &[CONNECT]);
}

#[test]
fn a_sanitizer_that_the_run_may_write_takes_nothing_away() {
    let stage = Stage::new();
    stage.world.write("redact", fs::read("/usr/bin/cat").unwrap());
    let script = "chmod +x redact; ./redact < $S > out; send out";
    let outcome = stage.shell(&cleansing("\"${workspace}/redact\""), script);
    stage.check(&outcome, "kept out", &[CONNECT]);
}

#[test]
fn a_sanitizer_that_did_not_start_takes_nothing_away() {
    let stage = Stage::new();
    // Too long a list of arguments: the process goes on as what it was.
    let script = "
data = read()
try: os.execv('/usr/bin/sha256sum', ['sha256sum', 'x' * 200000])
except OSError as error: say(errno.errorcode[error.errno])
open('out', 'wb').write(data)
print(subprocess.run(['bash', '-c', f'curl -s -o /dev/null --data-binary @out http://127.0.0.1:{SINK}/ || echo kept'],
    capture_output=True, text=True).stdout.strip())
";
    let outcome = stage.python(&cleansing("/usr/bin/sha256sum"), script);
    stage.check(&outcome, "E2BIG\nkept", &[CONNECT]);
}

#[test]
fn a_sanitizer_sends_nothing_itself() {
    let stage = Stage::new();
    let source = "int main(int c, char **v) { execv(\"/usr/bin/curl\", v); return 1; }";
    let program = compile(&stage.world, "redact", source);
    let outside = stage.world.outside().join("redact");
    fs::copy(&program, &outside).unwrap();
    let script = "OUTSIDE/redact -s -m 20 -o /dev/null --data-binary @$S http://127.0.0.1:PORT/ || echo kept";
    let outcome = stage.shell(&cleansing("OUTSIDE/redact"), script);
    stage.check(&outcome, "kept", &[CONNECT]);
}

#[test]
fn what_a_sanitizer_has_in_memory_is_not_clean() {
    let stage = Stage::new();
    let script = "
from_it, to_it = os.pipe()
def sanitize():
    os.dup2(from_it, 0)
    os.close(to_it)
    os.execve('/usr/bin/sha256sum', ['sha256sum'], {'PATH': '/usr/bin'})
pid = child(sanitize)
def look():
    os.close(from_it)
    os.close(to_it)
    while 'sha256sum' not in os.readlink(f'/proc/{pid}/exe'): time.sleep(0.01)
    made = connect()
    os.mkdir('connected')
    while not os.path.exists('written'): time.sleep(0.01)
    try:
        os.open(f'/proc/{pid}/mem', os.O_RDONLY)
        made.send(b'what was read')
        say('read')
    except PermissionError: say('refused')
other = child(look)
os.close(from_it)
while not os.path.exists('connected'): time.sleep(0.01)
os.write(to_it, read())
os.mkdir('written')
done(other)
os.kill(pid, 9)
";
    let outcome = stage.python(&cleansing("/usr/bin/sha256sum"), script);
    stage.check(&outcome, "refused", &["secret"]);
}

/// Where data of a secret must not be written.
const KEPT_OUT: &str = "version: 1
fs: {read: [/], write: [\"${workspace}\", \"${tmp}\", /dev]}
exec: {allow: [/]}
taint:
  sources: [{label: secret, fs: [\"~/.aws/**\"]}]
  sinks: [{label: secret, fs: [\"${workspace}/out/**\"]}]
";

#[test]
fn a_file_of_a_sink_is_one_by_every_name() {
    let stage = Stage::new();
    let script = "
import errno
def attempt(what):
    try: say('done', what())
    except OSError as error: say(errno.errorcode[error.errno])
os.mkdir('out')
file = os.open('one', os.O_RDWR | os.O_CREAT)
os.link('one', 'out/two')
os.rename('out/two', 'out/three')
os.unlink('one')
attempt(read)
os.close(file)
os.link('out/three', 'four')
def work():
    read()
    attempt(lambda: os.open('four', os.O_WRONLY))
done(child(work))
";
    let outcome = stage.python(KEPT_OUT, script);
    stage.check(&outcome, "EACCES\nEACCES", &["fs.open credentials secret", "fs.open four secret"]);
}

#[test]
fn a_nameless_file_gets_no_name_in_a_sink() {
    let stage = Stage::new();
    let script = "
import errno
os.mkdir('out')
file = os.open('.', os.O_TMPFILE | os.O_RDWR)
left = os.open(f'/proc/self/fd/{file}', os.O_PATH)
os.close(file)
def work():
    data = read()
    os.write(os.open(f'/proc/self/fd/{left}', os.O_WRONLY), data)
done(child(work))
def name(what):
    done_well = libc.linkat(-100, f'/proc/self/fd/{left}'.encode(), -100, what, 0x400) == 0
    say('named' if done_well else errno.errorcode[ctypes.get_errno()])
name(b'out/named')
name(b'plain')
";
    let outcome = stage.python(KEPT_OUT, script);
    stage.check(&outcome, "EACCES\nnamed", &["fs.open named secret"]);
}
