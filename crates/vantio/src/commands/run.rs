//! `vantio run`

use std::{io, sync::Arc};

use vantio_core::json::Value;
use vantio_phantom::{
    Account, Ending, LaunchError, MakeOracle, Spec,
    cgroup::Cgroup,
    keeper::Inherited,
    snapshot::{self, Bounds},
};

use super::{
    changes::{glance, has_entry, write_end},
    commit::auto_commit,
    detach,
    summary::Summary,
    sweep::{close, sweep},
    why::refusals,
};
use crate::{
    approvals::{self, Announcement},
    arguments,
    failure::Failure,
    nested,
    oracle::{Charge, Warden, ending_value, ledger_failed},
    present::{Progress, entries, now_ms, shown},
    run::{Plan, policy},
    store::{Claim, Process, State, Store, open_ledger},
};

/// Runs a program under a policy, to its end, or until it is seen to run.
pub fn run(place: Option<&str>, arguments: &arguments::Run, json: bool) -> Result<u8, Failure> {
    let inherited = Inherited::note();
    check_backend(&arguments.backend)?;
    if nested::is_inside()
        && let Some(code) = nested::run(arguments)?
    {
        return Ok(code);
    }
    let policy = policy::find(arguments.policy.as_deref(), arguments.preset.as_deref())?;
    let store = Store::open(place)?;
    sweep(&store);
    let mut plan = Plan::new(&store, policy, arguments)?;
    if !json && plan.charge.program.may_hold() {
        plan.charge.announcement = Announcement::Of(store.short(plan.record.id));
    }
    let claim = store.create(plan.record)?;
    claim.keep(&plan.charge.program)?;
    let claim = freeze(&store, claim, &plan.spec)?;
    let prepared = Prepared { claim, spec: plan.spec, charge: plan.charge };
    if arguments.detach {
        return detach::start(&store, prepared, &inherited, json);
    }
    let (code, summary) = conduct(&store, prepared, &mut || {})?;
    summary.print(json);
    Ok(code)
}

/// A run that only has to be started.
pub struct Prepared {
    /// What holds its folder.
    pub claim: Claim,
    spec: Spec,
    charge: Charge,
}

/// Runs what is prepared to its end; `started` is called once its program executes. Returns the exit status and what there is
/// to say.
pub fn conduct(
    store: &Store,
    prepared: Prepared,
    started: &mut dyn FnMut(),
) -> Result<(u8, Summary), Failure> {
    let Prepared { claim, spec, charge } = prepared;
    // This process has one thread here: what starts threads is in the supervisor.
    let ending = vantio_phantom::run(&spec, oracle(store, charge), started);
    if ending.is_err() {
        // A supervisor that was lost has left its control group.
        Cgroup::sweep(&|run| run == claim.record.id);
    }
    close(&store.folder(claim.record.id));
    // What stays is removed with the run.
    drop(snapshot::remove(&store.folder(claim.record.id)));
    match ending {
        Ok((ending, account)) => finish(store, claim, ending, account),
        Err(_) if was_killed(store, &claim) => {
            finish(store, claim, Ending::Signaled(SIGKILL), Account::Unwritten)
        }
        Err(error) => Err(fail(store, claim, error)),
    }
}

/// Copies the workspace, where the policy has the run see it as it is now.
fn freeze(store: &Store, claim: Claim, spec: &Spec) -> Result<Claim, Failure> {
    let Some(workspace) = &spec.frozen else { return Ok(claim) };
    let left_out: Vec<_> = spec.hidden.iter().chain(&spec.masks).cloned().collect();
    let mut progress = Progress::new("copying the workspace");
    let limits = (claim.record.started_ns, Bounds::USUAL);
    let taken = snapshot::take(&spec.folder, workspace, &left_out, limits, &mut |taken| {
        progress.tell(|| format!("{}, {} MB", entries(taken.entries), taken.bytes / 1_000_000));
    });
    drop(progress);
    match taken {
        Ok(()) => Ok(claim),
        Err(error) => {
            drop(snapshot::remove(&spec.folder));
            let (code, help) = (error.code().into(), error.help().into());
            let what = "the run could not be given a snapshot of its workspace".into();
            Err(fail(store, claim, LaunchError { code, what, cause: io::Error::other(error), help }))
        }
    }
}

fn check_backend(backend: &str) -> Result<(), Failure> {
    let exists_later = match backend {
        "notify" => return Ok(()),
        "kernel" | "static" | "audit" => "it is not part of this version",
        _ => "there is none of that name",
    };
    Err(Failure::misuse(
        "E_BACKEND",
        format!("the backend `{}` cannot be used: {exists_later}", shown(backend)),
    )
    .help("this version has one: --backend notify; `vantio doctor` tells what it can enforce here"))
}

/// What makes the oracle inside the supervisor, which waits for the run's first entry before it lets the program
/// start.
fn oracle(store: &Store, charge: Charge) -> MakeOracle {
    let (store, supervisor) = (store.clone(), store.supervisor_file(charge.run_id));
    Box::new(move || {
        let written = Process::own().and_then(|process| process.write(&supervisor));
        written.map_err(|cause| LaunchError {
            code: "E_STATE_FOLDER".into(),
            what: "the supervisor cannot be written down".into(),
            cause,
            help: "the state folder must be writable and have room".into(),
        })?;
        let ledger = open_ledger(&store).map_err(ledger_failed)?;
        let (folder, asks) = (store.folder(charge.run_id), charge.program.may_hold());
        let warden = Warden::start(ledger, charge).map_err(ledger_failed)?;
        if asks {
            let served = approvals::serve(Arc::clone(warden.holds()), &folder, store.runs());
            served.map_err(|cause| LaunchError {
                code: "E_APPROVALS".into(),
                what: "nobody could answer what the policy holds".into(),
                cause,
                help: "the state folder must be on a file system that takes sockets".into(),
            })?;
        }
        Ok(Arc::new(warden))
    })
}

/// Writes down how the run ended, and what became of it.
fn finish(
    store: &Store,
    mut claim: Claim,
    ending: Ending,
    account: Account,
) -> Result<(u8, Summary), Failure> {
    claim.record.ended = Some(now_ms());
    claim.record.state = State::Ended;
    claim.record.outcome = Some(ending.into());
    if claim.record.commit == "auto" {
        // A commit that is cut off is that of a run that ended.
        claim.save()?;
    }
    if account == Account::Unwritten && !has_entry(store, &claim.record, "run.end") {
        // The supervisor writes it, unless it was killed.
        write_end(store, &claim.record, ending_value(ending))?;
    }
    let refusals = if account == Account::Quiet { Vec::new() } else { refusals(store, &claim.record)? };
    let summary =
        auto_commit(store, &mut claim).and_then(|commit| Summary::new(store, &mut claim, commit, refusals));
    claim.save()?;
    let summary = summary?;
    claim.release()?;
    Ok((u8::try_from(ending.exit_code() & 0xff).unwrap_or(u8::MAX), summary))
}

/// Writes down that the run could not start, or that its supervisor was lost.
pub fn fail(store: &Store, mut claim: Claim, error: LaunchError) -> Failure {
    let request = Value::object([("code", Value::from(error.code.as_str())), ("ending", "failed".into())]);
    let error = LaunchError { help: error.help.replace("RUN", &store.short(claim.record.id)), ..error };
    claim.record.ended = Some(now_ms());
    claim.record.state = State::Failed;
    claim.record.pending = glance(store, &claim.record).ok().map(|changes| changes.changes().len() as u64);
    if claim.record.pending != Some(0) {
        claim.record.state = State::Died;
    }
    // The first failure is the one to tell; the ledger may be what failed. What could not be written down is left to
    // the next command, as if this one had died.
    let is_written = !has_begun(store, &claim) || write_end(store, &claim.record, request).is_ok();
    if is_written && claim.save().is_ok() {
        drop(claim.release());
    }
    Failure::from(error)
}

/// Whether the ledger has the run's first entry, and so wants a last one.
fn has_begun(store: &Store, claim: &Claim) -> bool {
    has_entry(store, &claim.record, "run.start")
}

/// Whether somebody typed `vantio kill`: the supervisor's death is no failure then.
fn was_killed(store: &Store, claim: &Claim) -> bool {
    has_entry(store, &claim.record, "run.kill")
}

const SIGKILL: i32 = 9;
