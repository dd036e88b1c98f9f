//! Checkpoints of a run that lives.

use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

use serde_json::Value;

use crate::{
    Paused, committed,
    common::{World, finish, is_root},
    diff, entries, folder, list, patch, take, tree,
};

pub(crate) fn a_workspace() -> World {
    let world = World::new();
    for (name, text) in [("host", "base\n"), ("d/a", "a\n"), ("d/sub/b", "b\n"), ("e/f", "f\n")] {
        world.write(name, text);
    }
    world
}

/// Steps of a script, each of which changes what the one before left.
pub(crate) fn steps() -> Vec<&'static str> {
    let renames =
        if is_root() { "mv e moved; echo n > moved/n; rm moved/f" } else { "cp -r e moved; rm -r e" };
    vec![
        "echo one > f; echo x >> host; mkdir new; echo n > new/n; mkdir -p shut/in; echo 1 > shut/in/f; chmod 000 shut/in; exec 5>> log; echo l1 >&5",
        "rm -r d; echo two >> f; echo l2 >&5; mv new newer; ln f g; chmod 600 host; chmod 700 shut/in; echo 2 > shut/in/f; echo 3 > shut/in/g; chmod 500 shut/in",
        renames,
        "rm f; echo three >> g; mkdir d; echo again > d/a; truncate -s 100000 sparse; ln -s nowhere s",
        "mv -T newer d/newer; rm g host; echo l3 >&5; setfattr -n user.mark -v 1 d/a",
    ]
}

#[test]
fn every_checkpoint_of_a_live_run_can_be_gone_back_to() {
    let world = a_workspace();
    let mut run = Paused::start(&world, &format!("pause\n{}\n", steps().join("\npause\n")));
    let mut seen = Vec::new();
    for _ in 1..steps().len() {
        run.next();
        let id = take(&world, &[]);
        seen.push((id, diff(&world, &[]), patch(&world, &[])));
    }
    run.end();
    for (id, changes, text) in &seen {
        // A look at a checkpoint goes back to it in a copy.
        assert_eq!(diff(&world, &["--to", &id.to_string()]), *changes, "at {id}");
        assert_eq!(patch(&world, &["--to", &id.to_string()]), *text, "at {id}");
    }
    for (id, changes, text) in seen.iter().rev() {
        world.ask(&["restore", "last", &id.to_string()]);
        assert_eq!(diff(&world, &[]), *changes, "back at {id}");
        assert_eq!(patch(&world, &[]), *text, "back at {id}");
        assert_eq!(diff(&world, &["--from", &id.to_string()]), [""; 0], "back at {id}");
    }
    assert_eq!(list(&world).len(), 1);
    assert_eq!((entries(&world, "run.checkpoint"), entries(&world, "run.restore")), (seen.len(), seen.len()));
    finish(&mut world.vantio(["ledger", "verify"])).assert_success();
}

/// Where the state was copied, or came back from a backup, a number may be that of another file.
#[test]
fn a_file_is_told_apart_by_more_than_its_number() {
    let world = a_workspace();
    let run = Paused::start(&world, "echo one > f; pause; echo two > f");
    let id = take(&world, &[]);
    run.end();
    let layers = folder(&world).join("layers");
    let found = finish(Command::new("find").arg(layers).args(["-path", "*/upper/*", "-name", "f"]));
    let now = fs::metadata(found.stdout.trim()).unwrap();
    let journal = folder(&world).join(format!("checkpoints/{id}/journal.jsonl"));
    let text = fs::read_to_string(&journal).unwrap();
    let mut is_changed = false;
    let lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if let Some(number) = line.pointer_mut("/was/state/copied/whole/1") {
            *number = now.ino().into();
            is_changed = true;
        }
        line.to_string() + "\n"
    });
    let lines: String = lines.collect();
    fs::write(&journal, lines).unwrap();
    assert!(is_changed, "{text}");
    world.ask(&["restore", "last", &id.to_string()]);
    assert_eq!(fs::read_to_string(found.stdout.trim()).unwrap(), "one\n");
}

#[test]
fn what_is_committed_after_a_restore_is_what_there_was() {
    let [once, twice] = [a_workspace(), a_workspace()];
    let steps = steps();
    for (world, more) in [(&once, ""), (&twice, "yes")] {
        let all = format!("{}\n{}\npause\n{}\n", steps[0], steps[1], steps[2..].join("\n"));
        let script = if more.is_empty() { format!("{}\n{}\npause\n", steps[0], steps[1]) } else { all };
        let run = Paused::start(world, &script);
        take(world, &["--label", "half"]);
        run.end();
    }
    twice.ask(&["restore", "last", "half"]);
    assert_eq!(committed(&twice), committed(&once));
    // What is on the host now, no checkpoint takes back.
    assert_eq!(list(&twice).len(), 0);
    finish(&mut twice.vantio(["restore", "last", "half"])).assert_code(2);
}

#[test]
fn a_diff_between_checkpoints_is_of_what_changed_there() {
    let world = a_workspace();
    let script =
        "echo 1 > a; echo 1 > b; pause; echo 2 > b; rm d/a; mkdir x; pause; echo 3 > b; rmdir x; rm a; pause";
    let mut run = Paused::start(&world, script);
    take(&world, &["--label", "one"]);
    run.next();
    take(&world, &["--label", "two"]);
    run.next();
    let kinds = |arguments: &[&str]| -> Vec<String> {
        let lines = diff(&world, arguments);
        let words = lines.iter().map(|line| {
            let mut words = line.split(' ').map(|word| word.trim_matches('"'));
            let (kind, path) = (words.next().unwrap(), words.next().unwrap());
            format!("{kind} {}", path.rsplit('/').next().unwrap())
        });
        words.collect()
    };
    let one_to_two = ["modified b", "deleted a", "added x"];
    let two_to_now = ["deleted a", "modified b", "deleted x"];
    assert_eq!(kinds(&["--from", "one", "--to", "two"]), one_to_two);
    assert_eq!(kinds(&["--from", "two"]), two_to_now);
    assert!(patch(&world, &["--from", "one", "--to", "two"]).contains("-1\n+2\n"));
    // What is saved for a checkpoint may be another name of it.
    let tree = world.ask(&["diff", "last", "--from", "one", "--to", "two", "--tree"]);
    assert!(tree.contains("/b") || tree.contains(" b"), "{tree}");
    assert!(!tree.contains("another name on the host"), "{tree}");
    // Backwards too.
    assert!(patch(&world, &["--from", "two", "--to", "one"]).contains("-2\n+1\n"));
    run.end();
    assert_eq!(kinds(&["--from", "one", "--to", "two"]), one_to_two);
    assert_eq!(kinds(&["--from", "two"]), two_to_now);
}

#[test]
fn a_diff_between_checkpoints_tells_what_became_of_what_a_renamed_folder_brought() {
    if !is_root() {
        return;
    }
    let setups = [
        // Where something of that name was, that was gone with the folder there.
        "rm -r to; mv from to",
        // Where something of that name was, that went elsewhere with the folder there.
        "mv to third; mv from to",
        // There is something new where it was.
        "rm -r to; mv from to; mkdir from; echo new > from/same; echo new > from/other",
    ];
    for setup in setups {
        let world = World::new();
        for name in ["from/same", "from/other", "from/kept", "to/same", "to/own"] {
            world.write(name, format!("{name}\n"));
        }
        let script = format!("{setup}; pause; rm to/same; echo changed > to/other; pause");
        let mut run = Paused::start(&world, &script);
        take(&world, &["--label", "one"]);
        run.next();
        run.end();
        let lines = diff(&world, &["--from", "one"]);
        let told = lines.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
        let told: Vec<_> =
            told.map(|line| line.replace(&world.workspace().display().to_string(), "")).collect();
        assert_eq!(told, ["\"modified\" \"/to/other\"", "\"deleted\" \"/to/same\""], "{setup}");
        world.ask(&["restore", "last", "one"]);
        world.ask(&["commit", "last", "--hazards"]);
        for name in ["same", "other", "kept"] {
            let text = fs::read_to_string(world.workspace().join("to").join(name)).unwrap();
            assert_eq!(text, format!("from/{name}\n"), "{setup}");
        }
    }
}

#[test]
fn a_run_that_lives_is_ended_before_it_is_restored() {
    let world = a_workspace();
    let mut run = Paused::start(&world, "echo 1 > a; pause; echo 2 > a; pause; sleep 600");
    take(&world, &["--label", "one"]);
    run.next();
    let refused = finish(&mut world.vantio(["restore", "last", "one"]));
    refused.assert_code(1);
    for said in ["E_RUN_LIVE", "vantio restore ", " 1 --kill", "--processes"] {
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
    let processes = finish(&mut world.vantio(["restore", "last", "one", "--processes"]));
    processes.assert_code(1);
    assert!(processes.stderr.contains("E_CHECKPOINT_PROCESSES"), "{processes:?}");
    // A name that is none ends nothing.
    let unknown = finish(&mut world.vantio(["restore", "last", "two", "--kill"]));
    unknown.assert_code(2);
    assert!(unknown.stderr.contains("it has 1 (one)"), "{unknown:?}");
    world.ask(&["restore", "last", "one", "--kill"]);
    assert!(run.child.wait().unwrap().code() == Some(137));
    assert!(patch(&world, &[]).contains("+1\n"));
}

#[test]
fn a_checkpoint_has_a_number_and_one_name() {
    let world = a_workspace();
    let run = Paused::start(&world, "echo 1 > a; pause");
    assert_eq!(take(&world, &["--label", "here"]), 1);
    for wrong in [&["--label", "here"][..], &["--label", "7"], &["--label", ""], &["--label", "a b"]] {
        let outcome = finish(world.vantio(["checkpoint", "last"]).args(wrong));
        assert!(!outcome.status.success(), "{wrong:?}");
    }
    run.end();
    // Of a run that ended, it is what there is.
    assert_eq!(take(&world, &["--label", "after"]), 2);
    let labels: Vec<_> =
        list(&world).iter().map(|entry| entry["label"].as_str().unwrap().to_owned()).collect();
    assert_eq!(labels, ["here", "after"]);
    world.ask(&["discard", "last"]);
    assert!(!world.vantio(["checkpoint", "last"]).status().unwrap().success());
    // Nothing that was kept outlives a discard.
    let left: Vec<_> = fs::read_dir(folder(&world)).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| entry.file_name() == "run.json"), "{left:?}");
}

#[test]
fn a_run_without_a_checkpoint_keeps_nothing() {
    let world = a_workspace();
    let before = tree(&world.workspace());
    Paused::start(&world, "echo 1 > a; rm -r d; pause").end();
    assert_eq!(list(&world).len(), 0);
    let unknown = finish(&mut world.vantio(["restore", "last", "1"]));
    unknown.assert_code(2);
    assert!(unknown.stderr.contains("take one: vantio checkpoint"), "{unknown:?}");
    assert_eq!(tree(&world.workspace()), before);
}
