//! What comes without a call that could wait: datagrams of a connected socket, and questions for names.

use crate::{
    Run, answer, assert_replayed,
    common::{World, server::Udp},
    question,
};

fn policy(rule: &str, allow: &str) -> String {
    format!(
        "version: 1\nfs: {{read: [/], write: [\"${{workspace}}\"]}}\nexec: {{allow: [/]}}\n\
         net: {{allow: [\"{allow}\"]}}\nhold: [{{effect: {rule}}}]\n"
    )
}

const SEND: &str = "
import socket, time
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(0.2)
def ask(send):
    for attempt in range(600):
        try:
            send()
            return asker.recv(99)
        except TimeoutError: pass
        except PermissionError: return 'refused'
";

#[test]
fn a_datagram_waits_with_its_call() {
    for (verb, printed) in [("approve", "1"), ("deny", "refused")] {
        let world = World::new();
        let script = format!(
            "{SEND}
try: print(asker.sendto(b'x', ('192.0.2.5', 9)))
except PermissionError: print('refused')
"
        );
        let run = Run::python(&world, &policy("net.connect", "udp://192.0.2.5:9"), &script);
        let question = question(&world);
        assert_eq!(question["waiting"], 1, "{question:#}");
        answer(&world, verb, &[]);
        run.prints(printed);
    }
}

#[test]
fn a_datagram_without_a_call_is_lost_until_it_is_approved() {
    let (world, echo) = (World::new(), Udp::answering(|data| Some(data.to_vec())));
    let port = echo.address.port();
    let script =
        format!("{SEND}\nasker.connect(('127.0.0.1', {port}))\nprint(ask(lambda: asker.send(b'x')))");
    let run = Run::python(&world, &policy("net.connect", &format!("udp://{}", echo.address)), &script);
    let question = question(&world);
    assert_eq!((&question["waiting"], echo.datagrams().len()), (&0.into(), 0), "{question:#}");
    answer(&world, "approve", &[]);
    run.prints("b'x'");
}

#[test]
fn a_name_is_not_told_until_it_is_approved() {
    let world = World::new();
    let script = "
import socket
for attempt in range(50):
    try:
        print(socket.gethostbyname('db.test'))
        break
    except socket.gaierror as error: print(error.errno, file=sys.stderr)
";
    // An answer with one address, to whatever is asked.
    let server = Udp::answering(|query| {
        let mut reply = query.to_vec();
        let end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
        reply.truncate(end);
        reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77]);
        Some(reply)
    });
    world.write("script.py", format!("import sys\n{script}"));
    let policy = policy("net.dns, target: \"db.test\"", "db.test");
    let mut command = world.governed(&policy, &["/usr/bin/python3", "-B", "script.py"]);
    command.env("VANTIO_DNS", server.address.to_string()).env("RES_OPTIONS", "timeout:1 attempts:5");
    let run = Run { world: &world, child: crate::common::start(&mut command) };
    let question = question(&world);
    assert_eq!(
        (question["subject"].as_str(), server.datagrams().len()),
        (Some("db.test"), 0),
        "{question:#}"
    );
    answer(&world, "approve", &[]);
    let outcome = run.end();
    assert_eq!(outcome.stdout, "192.0.2.77\n", "{}", outcome.describe());
    assert_replayed(&world);
}
