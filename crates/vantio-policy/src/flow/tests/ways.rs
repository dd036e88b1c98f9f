//! Each way that a label takes.

use alloc::string::ToString;

use vantio_core::{Access, Effect, Intent, Target};

use super::world::{BOTH, EVERYTHING, NONE, OTHER, Refused, SECRET, World, file, process};
use crate::{flow::Channel, guard::tests::open};

const PIPE: Channel = Channel::Pipe(7);
const TO_SECRET_SINK: &str = "192.0.2.1:443";

#[test]
fn reading_a_source_gives_its_label_and_reading_something_else_none() {
    let mut world = World::new();
    world.read(1, "/k/plain").unwrap();
    assert_eq!(world.labels(1), NONE);
    world.read(1, "/k/secret").unwrap();
    assert_eq!(world.labels(1), SECRET);
    assert_eq!(
        world.connect(1, TO_SECRET_SINK),
        Err(Refused::ByVerdict(
            "it carries the label secret, which taint.sinks keeps from here: secret: net 192.0.2.0/24"
                .to_string()
        ))
    );
    world.connect(1, "203.0.113.1:443").unwrap();
}

#[test]
fn opening_a_source_only_for_writing_gives_nothing() {
    let mut world = World::new();
    world.write(1, "/k/secret").unwrap();
    assert_eq!(world.labels(1), NONE);
    world.act(1, &open("/k/secret", Access::Write)).unwrap();
    assert_eq!(world.labels(1), SECRET, "what may read as well reads");
}

#[test]
fn a_file_carries_what_its_writer_carried() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    world.read(2, "/k/secret").unwrap();
    world.write(2, "/tmp/copy").unwrap();
    world.read(3, "/tmp/copy").unwrap();
    assert_eq!((world.labels(1), world.labels(3)), (NONE, SECRET));
}

#[test]
fn a_reader_that_was_there_first_gets_what_is_written_later() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    world.read(3, "/tmp/log").unwrap();
    world.read(2, "/k/secret").unwrap();
    assert_eq!(world.labels(3), NONE);
    world.write(2, "/tmp/log").unwrap();
    assert_eq!(world.labels(3), SECRET);
}

#[test]
fn a_writer_that_was_there_first_passes_on_what_it_reads_later() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    world.write(2, "/tmp/log").unwrap();
    world.read(3, "/tmp/log").unwrap();
    world.read(2, "/k/secret").unwrap();
    assert_eq!(world.labels(3), SECRET);
}

#[test]
fn a_pipeline_carries_a_label_to_its_end() {
    let mut world = World::new();
    for (pid, reads) in [(2, None), (3, Some(7)), (4, Some(8))] {
        world.fork(1, pid);
        if let Some(pipe) = reads {
            world.hold(pid, Channel::Pipe(pipe), true, false);
        }
    }
    world.hold(2, PIPE, false, true);
    world.hold(3, Channel::Pipe(8), false, true);
    world.read(2, "/k/secret").unwrap();
    assert_eq!([1, 2, 3, 4].map(|pid| world.labels(pid)), [NONE, SECRET, SECRET, SECRET]);
    assert_eq!(
        world.trail(4, 1),
        "read `/k/secret` by `sh` (pid 2) at 1 → pipe → `sh` (pid 3) → pipe → `sh` (pid 4)"
    );
}

#[test]
fn who_is_connected_already_may_not_read() {
    let mut world = World::new();
    world.connect(1, TO_SECRET_SINK).unwrap();
    assert_eq!(
        world.read(1, "/k/secret"),
        Err(Refused::ByFlow(
            "it carries the label secret, which taint.sinks keeps from here: secret: net 192.0.2.0/24"
                .to_string(),
            "read `/k/secret` by `sh` (pid 1) at 2 → 192.0.2.1:443".to_string()
        ))
    );
    assert_eq!(world.labels(1), NONE);
    world.read(1, "/k/other").unwrap();
    world.drop_ends(1, &Channel::Peer(vantio_core::Transport::Tcp, TO_SECRET_SINK.parse().unwrap()));
    world.read(1, "/k/secret").unwrap();
    assert_eq!(world.labels(1), BOTH);
}

#[test]
fn nobody_may_read_for_one_who_is_connected() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    world.hold(2, PIPE, false, true);
    world.hold(3, PIPE, true, false);
    world.connect(3, TO_SECRET_SINK).unwrap();
    let Err(Refused::ByFlow(_, trail)) = world.read(2, "/k/secret") else { panic!("it is refused") };
    assert_eq!(trail, "read `/k/secret` by `sh` (pid 2) at 2 → pipe → `sh` (pid 3) → 192.0.2.1:443");
    assert_eq!([2, 3].map(|pid| world.labels(pid)), [NONE, NONE]);
}

#[test]
fn a_file_that_is_a_sink_is_kept_from_who_has_it_open() {
    let mut world = World::new();
    world.write(1, "/share/out").unwrap();
    assert!(matches!(world.read(1, "/k/other"), Err(Refused::ByFlow(..))));
    world.read(1, "/k/secret").unwrap();
    world.fork(1, 2);
    world.drop_ends(2, &file("/share/out"));
    world.read(2, "/k/other").unwrap();
    assert!(matches!(world.write(2, "/share/in"), Err(Refused::ByVerdict(_))));
}

#[test]
fn what_comes_from_a_peer_or_a_program_has_its_label() {
    let mut world = World::new();
    world.fork(1, 2);
    world.connect(2, "198.51.100.9:80").unwrap();
    assert_eq!(world.trail(2, 0), "received from 198.51.100.9:80 by `sh` (pid 2) at 1");
    world.fork(1, 3);
    world.execute(3, "/bin/other", true, true);
    assert_eq!(world.trail(3, 0), "executed `/bin/other` by `sh` (pid 3) at 2");
    assert_eq!([1, 2, 3].map(|pid| world.labels(pid)), [NONE, OTHER, OTHER]);
}

#[test]
fn a_program_file_carries_what_was_written_to_it() {
    let mut world = World::new();
    world.fork(1, 2);
    world.read(2, "/k/secret").unwrap();
    world.write(2, "/tmp/program").unwrap();
    world.execute(1, "/tmp/program", true, true);
    assert_eq!(world.labels(1), SECRET);
}

#[test]
fn inside_the_run_ports_go_both_ways() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    world.local(2, 8080).unwrap();
    world.read(3, "/k/secret").unwrap();
    assert_eq!(world.labels(2), NONE);
    world.local(3, 9090).unwrap();
    assert_eq!(world.labels(2), NONE);
    world.local(3, 8080).unwrap();
    assert_eq!(world.labels(2), SECRET);
    world.fork(1, 4);
    world.connect(4, TO_SECRET_SINK).unwrap();
    assert!(matches!(world.local(4, 9090), Err(Refused::ByFlow(..))));
    world.exit(3);
    assert!(matches!(world.local(4, 9090), Err(Refused::ByFlow(..))), "the port still carries it");
}

#[test]
fn nobody_who_never_met_a_label_gets_one_and_nobody_is_counted_for_nothing() {
    let mut world = World::new();
    for pid in 2..6 {
        world.fork(1, pid);
        world.write(pid, "/tmp/x").unwrap();
        world.read(pid, "/tmp/x").unwrap();
        world.connect(pid, TO_SECRET_SINK).unwrap();
    }
    assert_eq!(world.censuses, 0);
    world.fork(1, 9);
    world.read(9, "/k/secret").unwrap();
    assert_eq!(world.censuses, 1);
    for intent in [open("/tmp/y", Access::Read), open("/k/secret", Access::Read)] {
        world.act(9, &intent).unwrap();
    }
    assert_eq!(world.censuses, 1, "nothing new");
    world.act_so(9, &open("/tmp/new", Access::Write), |act| act.is_new = true).unwrap();
    assert_eq!(world.censuses, 1, "nobody can hold what is new");
    assert_eq!([2, 3, 4, 5].map(|pid| world.labels(pid)), [NONE; 4]);
}

#[test]
fn monitor_lets_a_label_reach_a_sink_and_tells() {
    let mut world = World::with(&alloc::format!("mode: monitor\n{EVERYTHING}"));
    world.connect(1, TO_SECRET_SINK).unwrap();
    let intent = open("/k/secret", Access::Read);
    let act = crate::flow::Act::new(process(1), 5, &intent);
    let ends = [crate::flow::End {
        process: process(1),
        channel: Channel::Peer(vantio_core::Transport::Tcp, TO_SECRET_SINK.parse().unwrap()),
        reads: true,
        writes: true,
    }];
    let observed =
        world.flow.admit(&world.case.program, &world.case.state, &act, &mut || ends.to_vec()).unwrap();
    assert_eq!(observed.unwrap().label, 1);
    assert_eq!(world.labels(1), SECRET);
}

#[test]
fn tools_that_are_sources_give_their_label() {
    let mut guards = crate::guard::tests::guards();
    let scope = crate::guard::tests::scope(&[Effect::ToolCall], None, &["user_*"]);
    guards.sources.push(crate::guard::tests::entry(Some(1), scope));
    let case = crate::guard::tests::Case::new(guards);
    let mut flow = crate::flow::Flow::new(&case.program);
    flow.appear(process(1), None, b"/bin/agent");
    for (name, labels) in [("other", NONE), ("user_input", SECRET)] {
        let intent = Intent::new(Effect::ToolCall, Target::Named(name));
        let act = crate::flow::Act::new(process(1), 5, &intent);
        flow.admit(&case.program, &case.state, &act, &mut alloc::vec::Vec::new).unwrap();
        assert_eq!(flow.labels(process(1)), labels);
    }
}

#[test]
fn channels_without_an_intent_are_joined() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    let join = |world: &mut World, pid: u32, channel: Channel, reads: bool, writes: bool| {
        let intent = Intent::new(Effect::IpcSend, Target::Named(""));
        let act = crate::flow::Act { reads, writes, ..crate::flow::Act::new(process(pid), 9, &intent) };
        world
            .flow
            .join(&world.case.program, &world.case.state, &act, channel, &mut alloc::vec::Vec::new)
            .is_ok()
    };
    assert!(join(&mut world, 3, Channel::SystemV, true, true));
    world.read(2, "/k/secret").unwrap();
    assert_eq!(world.labels(3), NONE);
    assert!(join(&mut world, 2, Channel::SystemV, false, false), "there is only one way to hold it");
    assert_eq!(world.labels(3), SECRET);
    // A fork has what its parent joined.
    world.fork(1, 4);
    let name = Channel::Named(b"\0agent".to_vec());
    assert!(join(&mut world, 4, name.clone(), true, true));
    world.fork(4, 5);
    assert!(join(&mut world, 2, name, true, true));
    assert_eq!([1, 4, 5].map(|pid| world.labels(pid)), [NONE, SECRET, SECRET]);
    // Of what a census shows, an act says which way it is held.
    assert!(join(&mut world, 1, Channel::Memory(1), true, false));
    assert!(join(&mut world, 2, Channel::Memory(1), false, true));
    assert_eq!(world.labels(1), NONE, "the census shows no end of it");
    assert!(join(&mut world, 1, Channel::Memory(1), true, false));
    assert_eq!(world.labels(1), SECRET);
}

#[test]
fn whether_a_census_comes_is_known_before() {
    let mut world = World::new();
    world.fork(1, 2);
    let looks = |world: &World, pid, intent: &Intent<'_>| {
        let act = crate::flow::Act::new(process(pid), 9, intent);
        world.flow.will_look(&world.case.state, &act, None)
    };
    let (secret, plain) = (open("/k/secret", Access::Read), open("/tmp/x", Access::Write));
    assert!(looks(&world, 1, &secret) && !looks(&world, 1, &plain));
    world.read(1, "/k/secret").unwrap();
    assert!(!looks(&world, 1, &secret) && looks(&world, 1, &plain));
    assert!(looks(&world, 2, &secret) && !looks(&world, 2, &plain));
}
