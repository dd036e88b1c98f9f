//! What a person sees when something cannot be done: one screen with what happened, why,
//! and what to type next.

mod cli_world;

use std::{fs, os::unix::fs::PermissionsExt as _};

use cli_world::World;

#[test]
fn misuse_is_told_in_json_where_that_is_asked_for() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["diff", "--json", "--pach", "last"]), @r#"
    exit 2
    {"detail":"unexpected argument '--pach' found","error":"E_USAGE","next_steps":["tip: a similar argument exists: '--patch'\n\nUsage: vantio diff --json --patch <RUN>\n\nFor more information, try '--help'."],"version":1}
    "#);
    insta::assert_snapshot!(world.run(&["--json", "replay", "./missing"]), @r#"
    exit 2
    {"detail":"there is no file `./missing`","error":"E_REPLAY_FILE","next_steps":["name a run, or a file that `vantio replay RUN --export FILE` wrote"],"version":1}
    "#);
    assert!(world.run(&["run", "--json", "--", "--json"]).starts_with("exit 12"));
    assert!(!world.run(&["run", "--nme", "--", "--json"]).contains('{'));
}

#[test]
fn a_folder_that_no_run_sees_is_refused() {
    let world = World::new();
    let said = world.shell("cd /dev/shm; $VANTIO run --preset workspace -- true 2>&1; echo exit $?");
    insta::assert_snapshot!(said, @"
    E_DIRECTORY

      x `/dev/shm` is in /dev, of which every run has its own
      help: start the run from a folder elsewhere
    exit 125
    ");
}

#[test]
fn help_lists_commands_and_exit_codes() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["--help"]), @"
    exit 0
    Run an agent under a policy, then review, commit or discard what it changed

    Usage: vantio [OPTIONS] <COMMAND>

    Commands:
      run          Run a program under a policy; its changes wait for your review
      diff         Show what a run changed
      review       Look at what a run changed, one by one, and commit what you accept
      commit       Bring what a run changed to the host
      checkpoint   Remember what a run has changed so far, to go back to
      restore      Put a run's changes back to what they were at a checkpoint
      undo         Take back the last commit of a run; what the host changed since stays
      discard      Drop what a run changed, and every copy of it
      prune        Drop all that is kept of runs that are over
      ps           List the runs that live or wait for review
      approvals    List what waits for an answer
      approve      Let something happen that waits for an answer
      deny         Refuse something that waits for an answer
      why          Explain what was refused to a run, and what would permit it
      replay       Decide again what was decided in a run, and say what comes out otherwise
      attach       Join the terminal of a detached run
      logs         Print what a detached run wrote
      kill         End a run that still lives
      ledger       Read, verify, prove and publish the ledger
      policy       Check, show, compare, explain and test policies, or write one from runs
      init         Write a policy for this folder
      doctor       Say what this host can enforce, and what each gap costs
      completions  Print a completion script for a shell

    Options:
          --json         Print machine-readable JSON instead of text
          --store <URL>  Where the ledger is: postgres://USER@HOST/DATABASE, or a file
      -h, --help         Print help
      -V, --version      Print version

    RUN is a run's id, the beginning of it, or `last`.

    Begin with:
      vantio init                write a policy for this folder
      vantio run -- CMD [ARG…]   run an agent under it
      vantio diff last           see what it changed
      vantio commit last         keep that, or: vantio discard last

    Exit status:
      0  done
      1  failed
      2  misused
      3  verified false: the ledger, an example, a question with --exit-code
      4  something was left undone: conflicts, hazards, a run that could not be dropped,
         or a suggestion is incomplete
      vantio run ends as the program did (128+N for signal N), or with
      125 when Vantio failed, 126 when the program may not be executed,
      127 when it is not found.

    Environment:
      VANTIO_STATE    where runs and the ledger are kept
                      [default: $XDG_STATE_HOME/vantio, else ~/.local/state/vantio]
      VANTIO_STORE    where the ledger is, as --store: the address of a server may have a
                      password in it, which a command line would show to others
      VANTIO_DNS      name servers of a run, as IP or IP:PORT, separated by commas
                      [default: those of /etc/resolv.conf]
      VANTIO_MANAGED  one more policy that narrows every run, as /etc/vantio/policy.yaml does
      NO_COLOR        print without colour
    ");
    insta::assert_snapshot!(world.run(&["run", "--help"]), @"
    exit 0
    Run a program under a policy; its changes wait for your review

    Usage: vantio run [OPTIONS] -- <CMD>...

    Arguments:
      <CMD>...  The program and its arguments

    Options:
          --policy <FILE>      The policy. A vantio.yaml in this folder or above is obeyed too, and is
                               the only one without --policy
          --preset <NAME>      A policy that comes with Vantio: read-only, workspace, open or learn
          --name <NAME>        A name for the run, shown in lists
      -d, --detach             Return once the program runs, and print the run's id
          --backend <BACKEND>  What enforces the policy [default: notify]
          --json               Print machine-readable JSON instead of text
          --store <URL>        Where the ledger is: postgres://USER@HOST/DATABASE, or a file
      -h, --help               Print help

    Standard output is the program's alone; what Vantio says goes to standard error.
    With --json that is one JSON object, the last line of standard error.

    With --detach standard output is the run's id alone. The run has a terminal if standard
    input is one; otherwise its input is /dev/null. A server listens in the run's own network:
    nothing outside of the run reaches it. Exit status: 0 once the program runs, else as without
    --detach.

    Exit status:
      the program's own, or
      128+N  signal N ended it
      125    Vantio failed; the program never ran unguarded
      126    the program may not be executed
      127    the program is not found
    ");
}

#[test]
fn help_of_a_command_says_what_its_arguments_mean() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["commit", "--help"]), @"
    exit 0
    Bring what a run changed to the host

    Usage: vantio commit [OPTIONS] <RUN> [PATHS]...

    Arguments:
      <RUN>       A run: its id, the beginning of it, or `last`
      [PATHS]...  What to commit, with everything below; all of it when none is named

    Options:
          --glob            Read PATHs as patterns: *, ?, [a-z] within a name, ** across folders
          --hazards         Commit hazards too: without this, each must be named by its own path
          --interactive     Ask about each change, and each hunk of a text
          --patch           Print what would be committed as a unified patch, whose paths are from `/`
                            (`git -C / apply`), and commit nothing
          --to <DIR>        Write what would be committed to DIR/before and DIR/after, to compare them
                            elsewhere, and commit nothing
          --theirs <PATH>   Settle a conflict: take the run's change, overwrite what the host has
          --ours <PATH>     Settle a conflict: keep what the host has, drop the run's change
          --merge <PATH>    Settle a conflict: merge what the host and the run changed
          --markers         With --merge: commit lines that both changed with conflict markers
          --hunks <PATH:N>  Commit only these hunks of a text file, not its mode or owner, and nothing
                            else that is not named: PATH:1,3
          --json            Print machine-readable JSON instead of text
          --store <URL>     Where the ledger is: postgres://USER@HOST/DATABASE, or a file
      -h, --help            Print help

    --theirs, --ours and --merge settle what conflicts below their PATH; all else is committed too,
    unless PATHs are named.

    Exit status: 0 when everything asked for was committed or nothing was pending,
    4 when something was left: a conflict with the host, or a hazard that must be named;
    128+N when signal N (^C: 130) interrupted it: the commit is taken back at once, and nothing is
    committed. A second ^C leaves taking it back, or finishing it, to the next command.
    With --interactive, input that ends before the last answer and without `q` commits nothing: 4.
    ");
    insta::assert_snapshot!(world.run(&["ledger", "--help"]), @"
    exit 0
    Read, verify, prove and publish the ledger

    Usage: vantio ledger [OPTIONS] <COMMAND>

    Commands:
      list        List entries, newest last
      show        Show one entry whole
      verify      Recompute every hash, or check a bundle or a proof that someone gave you
      init        Make the tables on the server that --store names, as their owner
      archive     Close the ledger, put it away, and begin another that continues it
      checkpoint  Make a checkpoint and print it: keep it elsewhere, and give it to verify later
      key         Print the key that verifies this ledger's checkpoints
      witness     Have others sign how far the ledger goes, so that nobody here can take it back
      prove       Print the proof that an entry is in the ledger, for `verify --proof` elsewhere
      publish     Write the ledger as a public log into a folder that any web server can serve
      export      Write entries for others: as lines of JSON, or as a bundle that proves them

    Options:
          --json         Print machine-readable JSON instead of text
          --store <URL>  Where the ledger is: postgres://USER@HOST/DATABASE, or a file
      -h, --help         Print help
    ");
    insta::assert_snapshot!(world.run(&["policy", "--help"]), @"
    exit 0
    Check, show, compare, explain and test policies, or write one from runs

    Usage: vantio policy [OPTIONS] <COMMAND>

    Commands:
      check    Find mistakes in a policy
      show     Print a policy with everything that it includes
      hash     Print the hash that names what a policy means
      diff     Print what a policy allows that another does not
      explain  Say what a policy would answer, and why each rule won or lost
      test     Run the examples that a policy has under `tests`
      suggest  Write the smallest policy under which runs could do again what they did
      schema   Print the JSON Schema of a policy, for editors

    Options:
          --json         Print machine-readable JSON instead of text
          --store <URL>  Where the ledger is: postgres://USER@HOST/DATABASE, or a file
      -h, --help         Print help
    ");
}

#[test]
fn no_policy() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["run", "--", "true"]), @"
    exit 125
    E_POLICY_NONE

      x there is no policy here, and no agent runs without one
      `-> looked for vantio.yaml, vantio.json, vantio.toml and .vantio/policy.yaml in [WORK]
      help: write one with `vantio init`, or name one: --policy FILE, or --preset read-only, workspace or open
    ");
}

#[test]
fn an_error_in_the_policy() {
    let world = World::new();
    world.write("vantio.yaml", "version: 1\nfs:\n  raed: [/usr]\n");
    insta::assert_snapshot!(world.run(&["run", "--", "true"]), @"
    exit 125
    E_POLICY_UNKNOWN_KEY

      x `fs` has no key `raed`
       ,-[[WORK]/vantio.yaml:3:3]
     2 | fs:
     3 |   raed: [/usr]
       :   ^^|^
       :     `-- unknown key
       `----
      help: did you mean `read`?
    ");
    insta::assert_snapshot!(world.run(&["policy", "check", "vantio.yaml", "--json"]), @r#"
    exit 1
    {"detail":"`fs` has no key `raed`","error":"E_POLICY_UNKNOWN_KEY","file":"vantio.yaml","next_steps":["did you mean `read`?"],"problems":[{"column":3,"detail":"`fs` has no key `raed`","error":"E_POLICY_UNKNOWN_KEY","help":"did you mean `read`?","line":3}],"version":1}
    "#);
}

#[test]
fn several_problems_are_told_as_one_is() {
    let world = World::new();
    world.write("vantio.yaml", "version: 1\nfs: {reed: [/]}\nnett: {}\n");
    let said = world.run(&["policy", "check", "vantio.yaml"]);
    let codes: Vec<_> = said.lines().filter(|line| line.contains("E_POLICY")).collect();
    assert_eq!(codes, ["E_POLICY", "E_POLICY_UNKNOWN_KEY", "E_POLICY_UNKNOWN_KEY"], "{said}");
}

#[test]
fn an_unknown_preset() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["run", "--preset", "yolo", "--", "true"]), @"
    exit 125
    E_PRESET_UNKNOWN

      x no preset is called `yolo`
      help: the presets are read-only, workspace, open, learn
    ");
    insta::assert_snapshot!(world.run(&["policy", "show", "preset:yolo"]), @"
    exit 2
    E_PRESET_UNKNOWN

      x no preset is called `yolo`
      help: the presets are read-only, workspace, open, learn
    ");
}

#[test]
fn a_backend_that_does_not_exist_yet() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["run", "--backend", "kernel", "--", "true"]), @"
    exit 125
    E_BACKEND

      x the backend `kernel` cannot be used: it is not part of this version
      help: this version has one: --backend notify; `vantio doctor` tells what it can enforce here
    ");
}

#[test]
fn misuse_of_run_is_told_from_the_programs_own_status() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["run", "true"]), @"
    exit 125
    error: unexpected argument 'true' found

      tip: the program comes after `--`: vantio run -- CMD

    Usage: vantio run [OPTIONS] -- <CMD>...

    For more information, try '--help'.
    ");
    assert!(world.run(&["run", "--bogus"]).contains("tip: the program comes after `--`"));
    assert!(world.run(&["run", "--detatch"]).contains("tip: a similar argument exists: '--detach'"));
    insta::assert_snapshot!(world.run(&["dif"]), @"
    exit 2
    error: unrecognized subcommand 'dif'

      tip: a similar subcommand exists: 'diff'

    Usage: vantio [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    let tips = |word: &str| {
        let told = world.run(&[word]);
        let tips = told.lines().filter(|line| line.contains("tip:")).map(str::trim);
        tips.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!([tips("verify"), tips("log"), tips("show")].join("\n"), @"
    tip: there is `vantio ledger verify`
    tip: a similar subcommand exists: 'logs'
    tip: there is `vantio ledger list`
    tip: there is `vantio ledger show`
    tip: there is `vantio policy show`
    ");
}

#[test]
fn what_is_missing_is_named_with_what_would_do_instead() {
    let world = World::new();
    for (command, missing) in [
        ("ledger prove", "<SEQ|--since <FILE>>"),
        ("policy show", "<FILE|--effective>"),
        ("approve", "<ID|--all>"),
        ("deny", "<ID|--all>"),
    ] {
        let said = world.run(&command.split(' ').collect::<Vec<_>>());
        assert!(said.starts_with("exit 2\n") && said.contains(missing), "{said}");
    }
}

#[test]
fn a_policy_that_somebody_else_may_have_written() {
    let world = World::new();
    world.write("vantio.yaml", "version: 1\n");
    fs::set_permissions(world.work().join("vantio.yaml"), fs::Permissions::from_mode(0o666)).unwrap();
    insta::assert_snapshot!(world.run(&["run", "--", "true"]), @"
    exit 125
    E_POLICY_UNSAFE

      x the policy `[WORK]/vantio.yaml` was found, but cannot be trusted
      `-> every user may change it (mode 0666)
      help: chmod go-w [WORK]/vantio.yaml, or name it if you mean it: --policy [WORK]/vantio.yaml
    ");
}

#[test]
fn a_policy_that_cannot_be_read_says_what_to_do_by_the_cause() {
    let world = World::new();
    fs::create_dir(world.work().join("folder")).unwrap();
    let check = |file: &str| world.run(&["policy", "check", file]);
    assert!(check("none.yaml").contains("help: name a file that exists; `vantio init` writes one"));
    insta::assert_snapshot!(check("folder"), @"
    exit 2
    E_POLICY_FILE

      x the policy `folder` cannot be read
      `-> Is a directory (os error 21)
      help: name a file, not a folder
    ");
    let closed = world.work().join("closed.yaml");
    world.write("closed.yaml", "version: 1\n");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything.
    if fs::File::open(&closed).is_err() {
        assert!(check("closed.yaml").contains("help: make it readable: chmod u+r closed.yaml"));
    }
}

#[test]
fn runs_that_do_not_exist() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["diff", "last"]), @"
    exit 2
    E_RUN_NONE

      x there is no run yet
      help: start one: vantio run -- CMD
    ");
    assert_eq!(world.run(&["policy", "suggest", "last"]), world.run(&["diff", "last"]));
    world.fake_run("00000000-0001-7000-8000-000000000001", "ended");
    world.fake_run("00000000-0001-7000-8000-000000000002", "discarded");
    insta::assert_snapshot!(world.run(&["diff", "00000000-0001-7000-8000-000000000001"]), @"
    exit 0
    run 00000000-0001-7000-8000-000000000001: nothing pending
    ");
    insta::assert_snapshot!(world.run(&["diff", "7"]), @"
    exit 2
    E_RUN_UNKNOWN

      x no run is called `7`
      help: `vantio ps --all` lists every run
    ");
    insta::assert_snapshot!(world.run(&["why", "0000"]), @"
    exit 2
    E_RUN_AMBIGUOUS

      x 2 runs begin with `0000`
      help: type more of one of these:
              00000000-0001-7000-8000-000000000002
              00000000-0001-7000-8000-000000000001
    ");
    insta::assert_snapshot!(world.run(&["kill", "last"]), @"
    exit 1
    E_RUN_ENDED

      x run 00000000-0001-7000-8000-000000000002 does not live any more
      help: `vantio ps` lists the runs that do
    ");
    insta::assert_snapshot!(world.run(&["commit", "last", "--json"]), @r#"
    exit 1
    {"detail":"run 00000000-0001-7000-8000-000000000002 was discarded","error":"E_RUN_DISCARDED","next_steps":["nothing of it is left; its entries in the ledger are: `vantio ledger list --run 00000000-0001-7000-8000-000000000002`"],"version":1}
    "#);
    insta::assert_snapshot!(world.run(&["commit", "00000000-0001-7000-8000-000000000001"]), @"
    exit 0
    run 00000000-0001-7000-8000-000000000001: nothing pending
    ");
}

#[test]
fn a_state_folder_that_others_may_write_in() {
    let world = World::new();
    fs::create_dir(world.state()).unwrap();
    fs::set_permissions(world.state(), fs::Permissions::from_mode(0o777)).unwrap();
    insta::assert_snapshot!(world.run(&["ps"]), @"
    exit 1
    E_STATE_UNSAFE

      x others may write in the state folder `[STATE]` (mode 0777)
      help: set VANTIO_STATE to a folder that is yours alone; it is made if it does not exist
    ");
}

#[test]
fn a_state_folder_that_cannot_be_written() {
    let world = World::new();
    // Not even root writes here.
    insta::assert_snapshot!(world.with_state("/proc/vantio").run(&["ps"]), @"
    exit 1
    E_STATE_FOLDER

      x the state folder cannot be used: `/proc/vantio`
      `-> No such file or directory (os error 2)
      help: set VANTIO_STATE to a folder of yours
    ");
}

#[test]
fn a_run_recorded_by_a_newer_version() {
    let world = World::new();
    world.fake_run("00000000-0001-7000-8000-000000000001", "ended");
    let path = world.state().join("runs/00000000-0001-7000-8000-000000000001/run.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"format\":1", "\"format\":9")).unwrap();
    insta::assert_snapshot!(world.run(&["diff", "last"]), @"
    exit 1
    E_RUN_VERSION

      x run 00000000-0001-7000-8000-000000000001 was recorded in format 9; this version of Vantio reads format 1
      help: use the version of Vantio that made the run
    ");
}

#[test]
fn ledgers_that_are_not_there_or_not_ledgers() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["ledger", "verify"]), @"
    exit 1
    E_LEDGER_NOT_FOUND

      x there is no ledger at `[STATE]/ledger.db`
      help: the first governed run creates it; check the state folder
    ");
    fs::write(world.state().join("ledger.db"), "not a ledger").unwrap();
    insta::assert_snapshot!(world.run(&["ledger", "list"]), @"
    exit 1
    E_LEDGER_FORMAT

      x `[STATE]/ledger.db` is not a Vantio ledger
      help: point to another file
    ");
}

#[test]
fn a_policy_is_never_overwritten_by_accident() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["init"]), @"
    exit 0
    wrote [WORK]/vantio.yaml
    next: read it, then run an agent under it: vantio run -- CMD
    ");
    insta::assert_snapshot!(world.run(&["init"]), @"
    exit 2
    E_POLICY_EXISTS

      x `[WORK]/vantio.yaml` exists
      help: edit it, or start again with `vantio init --force`
    ");
    insta::assert_snapshot!(world.run(&["init", "--force", "--json"]), @r#"
    exit 0
    {"file":"[WORK]/vantio.yaml","policy_hash":"[HASH]","version":1}
    "#);
    insta::assert_snapshot!(world.run(&["policy", "check", "vantio.yaml"]), @"
    exit 0
    vantio.yaml: valid, mode enforce
    ");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new();
    let status = world.shell("\"$VANTIO\" completions bash | head -c 1 >/dev/null; echo ${PIPESTATUS[0]}");
    assert_eq!(status.trim(), "0");
}

#[test]
fn a_policy_is_replaced_whole_or_not_at_all() {
    let world = World::new();
    world.write("vantio.yaml", "version: 1\n");
    let full = "trap '' XFSZ; ulimit -f 0; $VANTIO init";
    let said = world.shell(&format!("{full} --force 2>&1; echo exit $?"));
    assert!(said.contains("E_OUTPUT") && said.ends_with("exit 1\n"), "{said}");
    assert_eq!(fs::read_to_string(world.work().join("vantio.yaml")).unwrap(), "version: 1\n");
    fs::remove_file(world.work().join("vantio.yaml")).unwrap();
    world.shell(full);
    assert_eq!(world.shell("ls"), "", "nothing cut is left");
}

#[test]
fn a_second_policy_is_never_written() {
    for name in ["vantio.json", "vantio.toml"] {
        let world = World::new();
        world.write(name, "x");
        for words in [&["init"][..], &["init", "--force"]] {
            let said = world.run(words);
            assert!(said.starts_with("exit 2\nE_POLICY_EXISTS\n"), "{said}");
            assert!(said.contains("move it away first") && !said.contains("--force"), "{said}");
        }
        assert!(!world.work().join("vantio.yaml").exists());
    }
}

#[test]
fn a_link_to_nothing_is_said_to_be_one() {
    let world = World::new();
    std::os::unix::fs::symlink("nowhere", world.work().join("vantio.yaml")).unwrap();
    for words in [&["init"][..], &["init", "--force"]] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(world.run(words), @"
            exit 2
            E_OUTPUT

              x `[WORK]/vantio.yaml` is a symbolic link to `nowhere`, which does not exist
              help: remove the link, or make what it leads to
            ");
        }
    }
}

#[test]
fn who_looks_for_runs_inside_one_is_told() {
    let world = World::new();
    let inside = "VANTIO=1 VANTIO_RUN_ID=abc";
    let binary = env!("CARGO_BIN_EXE_vantio");
    for command in ["ps", "diff last", "why 0192"] {
        let said = world.shell(&format!("{inside} {binary} {command} 2>&1"));
        assert!(said.contains("this is inside run abc, which sees no runs"), "{said}");
    }
    // Most have no folder there that they may write.
    let world = world.with_state("/dev/null/state");
    let said = world.shell(&format!("{inside} {binary} ps 2>&1"));
    assert!(said.contains("E_STATE_FOLDER") && said.contains("this is inside run abc, which sees"), "{said}");
}

#[test]
fn help_and_completions_offer_what_can_be_typed() {
    let world = World::new();
    assert_eq!(world.run(&["help", "run"]), world.run(&["run", "--help"]));
    assert!(!world.run(&["--json"]).contains("keep"));
    let bash = world.run(&["completions", "bash"]);
    let offers = bash.matches("\"read-only workspace open learn\"").count();
    assert_eq!(offers, 2, "of `run` and `init`: {bash}");
    for offered in ["\"fs.open fs.", " run.start\""] {
        assert!(bash.contains(offered), "effects and operations: {bash}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = world.run(&["completions", shell]);
        assert!(script.contains("read-only"), "{shell}");
        // What the shells call a command of theirs: `keep` is a word of descriptions too.
        for listed in ["(keep)", "\"keep\"", "'keep:", "vantio__keep", "__subcmd__keep"] {
            assert!(!script.contains(listed), "{shell}: {listed}");
        }
    }
}
