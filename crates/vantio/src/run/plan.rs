//! Everything about a run before it starts.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use vantio_core::{Access, Effect, Intent, RunId, Target, json::Value};
use vantio_identity::TrustDomain;
use vantio_ledger::AgentSvid;
use vantio_phantom::{
    Spec, Speculation,
    changes::{Escaped, PathBytes, Stamp},
    checkpoint::Automatic,
    resources::Limits,
};
use vantio_policy::{
    Backend, Bindings, Details, Mode, PolicyProgram, State as PolicyState, Viewing, decide_by_lists,
    flow::Flow,
    layers::{LayerKind, Merged},
};

use super::{
    host,
    key::RunKey,
    policy::{Effective, Policy},
};
use crate::{
    approvals::Announcement,
    arguments,
    failure::Failure,
    oracle::{Charge, bindings_value, bytes_value},
    present::shown_path,
    store::{LayerSource, PolicySource, Record, State, Store},
};

/// A run before it starts.
pub struct Plan {
    /// What the store will know about it.
    pub record: Record,
    /// What the mechanism is told.
    pub spec: Spec,
    /// What the oracle is told.
    pub charge: Charge,
}

impl Plan {
    /// Plans a run of `arguments` under `policy`.
    pub fn new(store: &Store, policy: Policy, arguments: &arguments::Run) -> Result<Self, Failure> {
        let directory = super::policy::current_directory()?;
        refuse_state_folder(store, &directory)?;
        refuse_own_folders(&directory)?;
        let home = host::home()?;
        let (id, started_ns) = new_id()?;
        let agent = agent(arguments);
        let (key, effective) = beside(|| issue(store, &agent, id), || Effective::new(&policy, &home));
        let Effective { merged, bindings, variables, withheld } = effective?;
        let key = key?;
        refuse_unmet(&merged, &arguments.backend)?;
        refuse_narrowed(&merged)?;
        refuse_too_little(merged.program.limits())?;
        let program = merged.program;
        let environment = with_run(variables, id);
        let state = PolicyState::new(&program, bindings.clone());
        let source = policy.base_source().clone();
        let Policy { sources, workspace, .. } = policy;

        let record = Record {
            id,
            name: arguments.name.clone(),
            command: arguments.command.iter().map(|word| PathBytes(word.as_bytes().to_vec())).collect(),
            directory: path_bytes(&directory),
            workspace: path_bytes(&workspace),
            policy: source,
            layers: sources,
            policy_hash: program.hash().to_string(),
            mode: program.mode().name().to_owned(),
            commit: program.commit_mode().name().to_owned(),
            drops_details: program.details() == Details::Drop,
            withheld,
            detached: arguments.detach,
            backend: arguments.backend.clone(),
            started_ns,
            ended: None,
            state: State::Running,
            outcome: None,
            pending: None,
        };
        let svid = key.svid();
        let start = start_value(&record, &program, &bindings, &svid);
        let spec = Spec {
            run_id: id,
            started: Stamp::from_ns(started_ns),
            folder: store.folder(id),
            hidden: store.hidden(),
            command: arguments.command.clone(),
            environment,
            frozen: (program.viewing() == Viewing::Snapshot).then(|| workspace.clone()),
            visible: vec![workspace.clone(), home],
            directory,
            masks: host::existing(&state.denied_literals()),
            unexecutable: unexecutable(&program, &state),
            executable: executable(&program, &state, &workspace),
            udp_ports: program.udp_ports(),
            resolvers: host::resolvers()?,
            tracks_flows: Flow::is_needed(&program),
            may_wait: program.may_hold(),
            checkpoints: Automatic {
                exec: program.checkpointing().exec,
                writes: program.checkpointing().writes,
            },
            limits: limits(&program),
            speculation: speculation(&program, &workspace),
        };
        Ok(Self {
            record,
            spec,
            charge: Charge {
                run_id: id,
                program,
                state,
                svid,
                seal: Arc::new(key),
                home: bindings.home,
                start,
                announcement: Announcement::Silent,
                folder: store.folder(id),
            },
        })
    }
}

/// A run within a run before it starts.
pub struct Narrowed {
    /// Its policies as one.
    pub program: PolicyProgram,
    /// What this host, as the outer run sees it, gives them.
    pub bindings: Bindings,
    /// What it gets of the environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Where programs may be executed.
    pub executable: Vec<PathBuf>,
}

impl Narrowed {
    /// Plans it.
    pub fn new(policy: &Policy, arguments: &arguments::Run) -> Result<Self, Failure> {
        let Effective { merged, bindings, variables, .. } = Effective::new(policy, &host::home()?)?;
        refuse_unmet(&merged, &arguments.backend)?;
        refuse_narrowed(&merged)?;
        let program = merged.program;
        let state = PolicyState::new(&program, bindings.clone());
        let executable = executable(&program, &state, &policy.workspace);
        Ok(Self { program, bindings, variables, executable })
    }
}

/// A new id, and the time that is in it. Change times that a file system gave before are no
/// later: the coarse clock would lag behind those that recent kernels refine.
fn new_id() -> Result<(RunId, i64), Failure> {
    let now = clock_gettime(ClockId::Realtime);
    let nanoseconds = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|cause| {
        Failure::new("E_RANDOMNESS", "the system gives no random numbers").because(cause.to_string())
    })?;
    Ok((RunId::new(u64::try_from(nanoseconds / 1_000_000).unwrap_or(0), random), nanoseconds))
}

/// The variables of a run, and its id.
fn with_run(mut variables: Vec<(OsString, OsString)>, id: RunId) -> Vec<(OsString, OsString)> {
    variables.push(("VANTIO".into(), "1".into()));
    variables.push(("VANTIO_RUN_ID".into(), id.to_string().into()));
    variables
}

/// A policy whose kill switch is set runs nothing, and one that demands a stronger backend
/// than there is runs nothing weaker.
fn refuse_unmet(merged: &Merged, backend: &str) -> Result<(), Failure> {
    let by = |key| {
        let (layer, origin) = merged.setting_origin(key)?;
        let layer = &merged.layers[layer];
        let place = origin.map_or_else(|| layer.name.clone(), |origin| origin.to_string());
        Some(format!("the {} policy says so ({place})", layer.kind.name()))
    };
    if merged.program.is_kill_switch_set() {
        return Err(Failure::new("E_KILL_SWITCH", "the kill switch is set, and no agent runs")
            .because(by("kill_switch").unwrap_or_default())
            .help("when its approvers agree, clear `kill_switch` there"));
    }
    let used = Backend::ALL.into_iter().find(|known| known.name() == backend);
    match merged.program.required_backend() {
        Some(required) if used.is_none_or(|used| used < required) => Err(Failure::new(
            "E_BACKEND",
            format!("the policy requires the backend `{}`, and this run has `{backend}`", required.name()),
        )
        .because(by("require").unwrap_or_default())
        .help("`vantio doctor` tells what this host can enforce")),
        _ => Ok(()),
    }
}

/// A run that was asked to watch, and that another policy makes enforce, would teach nothing.
fn refuse_narrowed(merged: &Merged) -> Result<(), Failure> {
    let mode = merged.program.mode();
    let asked = merged.layers.iter().find(|layer| layer.kind == LayerKind::CommandLine);
    let Some(asked) = asked.filter(|asked| asked.compiled.program.mode() != mode) else { return Ok(()) };
    let (does, own) = match asked.compiled.program.mode() {
        Mode::Learn => ("learning", "learn"),
        Mode::Monitor => ("monitoring", "monitor"),
        Mode::Enforce => return Ok(()),
    };
    let Some((narrower, _)) = merged.setting_origin("mode") else { return Ok(()) };
    let narrower = &merged.layers[narrower];
    let (name, verb) = (&narrower.name, if mode == Mode::Monitor { "monitors" } else { "enforces" });
    let option = if asked.name.starts_with("preset:") { "--preset" } else { "--policy" };
    let help = match narrower.kind {
        LayerKind::Project => format!(
            "start in a folder without a policy, or set `mode: {own}` in {name} and run without {option}"
        ),
        LayerKind::Managed => {
            "it is the policy of whoever administers this host, and narrows every run".to_owned()
        }
        _ => format!("set `mode: {own}` in {name}, or move that policy away for the time"),
    };
    Err(Failure::misuse("E_MODE_NARROWED", format!("{does} has no effect here: {name} {verb}")).help(help))
}

/// With less than this no run begins, and what the kernel says then is of something else.
fn refuse_too_little(limits: &vantio_policy::Limits) -> Result<(), Failure> {
    let needed = [("memory", limits.memory, LEAST_MEMORY), ("open_files", limits.open_files, LEAST_FILES)];
    let Some((name, Some(limit), least)) =
        needed.into_iter().find(|(_, limit, least)| limit.is_some_and(|limit| limit < *least))
    else {
        return Ok(());
    };
    Err(Failure::misuse("E_LIMIT_TOO_SMALL", format!("no run begins with `limits: {{{name}: {limit}}}`"))
        .help(format!("allow it {least} at least, and what its program needs besides")))
}

/// A run that starts in the state folder would start in a folder that it cannot see.
fn refuse_state_folder(store: &Store, directory: &Path) -> Result<(), Failure> {
    if !directory.starts_with(store.root()) {
        return Ok(());
    }
    Err(Failure::new(
        "E_DIRECTORY",
        format!("`{}` is in the state folder, which no run sees", shown_path(directory)),
    )
    .help("start the run from the folder that the agent is to work on"))
}

/// One that starts where every run has a file system of its own would not see the folder either, nor bring anything back.
fn refuse_own_folders(directory: &Path) -> Result<(), Failure> {
    let Some(own) = ["/dev", "/proc", "/sys"].into_iter().find(|own| directory.starts_with(own)) else {
        return Ok(());
    };
    Err(Failure::new(
        "E_DIRECTORY",
        format!("`{}` is in {own}, of which every run has its own", shown_path(directory)),
    )
    .help("start the run from a folder elsewhere"))
}

/// Does both at once: of two processors one is idle until the run has processes.
fn beside<A: Send, B>(one: impl Fn() -> A + Sync, other: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, &one);
        let other = other();
        let one =
            thread.map_or_else(|_| one(), |one| one.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (one, other)
    })
}

/// What the agent is called: the name given, else its program's.
fn agent(arguments: &arguments::Run) -> String {
    arguments.name.clone().unwrap_or_else(|| {
        let program = arguments.command.first().map(|word| Escaped(word.as_bytes()).to_string());
        let program = program.unwrap_or_default();
        program.rsplit('/').next().unwrap_or(&program).to_owned()
    })
}

fn issue(store: &Store, agent: &str, id: RunId) -> Result<RunKey, Failure> {
    let domain = TrustDomain::open(&store.identity(), TRUST_DOMAIN)?;
    Ok(RunKey::issue(&domain, agent, id)?)
}

/// When a run that waits goes on as a fork, and what that may change.
fn speculation(program: &PolicyProgram, workspace: &Path) -> Option<Speculation> {
    let goes_on = program.speculation() == vantio_policy::Speculation::Auto;
    goes_on.then(|| Speculation { after: MOMENT, roots: vec![workspace.to_owned(), "/tmp".into()] })
}

/// What a run may have at one time, for the mechanism.
fn limits(program: &PolicyProgram) -> Limits {
    let vantio_policy::Limits { memory, processes, cpu, disk, open_files, best_effort } = *program.limits();
    Limits { memory, processes, cpu, disk, open_files, best_effort }
}

/// Where the kernel lets programs be executed from: what is judged one by one may be less. A
/// folder that the run has yet to make, in its workspace or its own /tmp, stands for the one that
/// it will be made in; a policy that only observes, or learns, refuses none by the lack of a rule.
fn executable(program: &PolicyProgram, state: &PolicyState, workspace: &Path) -> Vec<PathBuf> {
    if program.mode() != Mode::Enforce {
        return vec![PathBuf::from("/")];
    }
    let nearest = |root: Vec<u8>| {
        let root = PathBuf::from(OsString::from_vec(root));
        let is_to_be_made = root.starts_with(workspace) || root.starts_with("/tmp");
        let existing = root.ancestors().find(|ancestor| ancestor.exists() || !is_to_be_made)?;
        Some(existing.as_os_str().as_bytes().to_vec())
    };
    host::existing(&state.exec_roots().into_iter().filter_map(nearest).collect::<Vec<_>>())
}

/// What the policy names and denies to be started. Where the run may put something else in its place a mount would be in
/// the way.
fn unexecutable(program: &PolicyProgram, state: &PolicyState) -> Vec<PathBuf> {
    let permits = |effect, access, path: &Path| {
        let target = Target::Path { path: path.as_os_str().as_bytes(), access, subtree: false };
        decide_by_lists(program, state, &Intent::new(effect, target)).is_permit()
    };
    let denied = host::existing(&state.denied_programs()).into_iter();
    let denied = denied.filter(|path| !permits(Effect::ProcExec, Access::Read, path));
    denied.filter(|path| !permits(Effect::FsUnlink, Access::Write, path)).collect()
}

fn path_bytes(path: &Path) -> PathBytes {
    PathBytes(path.as_os_str().as_bytes().to_vec())
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::Array(values.collect())
}

/// The run's first entry: what was started, under what, and what the policy's variables
/// and names stood for.
fn start_value(record: &Record, program: &PolicyProgram, bindings: &Bindings, svid: &AgentSvid) -> Value {
    let mut policy = vec![
        ("commit", Value::from(program.commit_mode().name())),
        ("layers", list(record.layers.iter().map(layer_value))),
        ("mode", program.mode().name().into()),
        ("name", program.name().map_or(Value::Null, Value::from)),
        ("source", source_value(&record.policy)),
    ];
    if program.viewing() != Viewing::default() {
        policy.push(("view", program.viewing().name().into()));
    }
    let svid = [("certificate", svid.certificate_base64()), ("id", svid.spiffe_id())];
    Value::object([
        ("backend", Value::from(record.backend.as_str())),
        ("bindings", bindings_value(bindings)),
        ("command", list(record.command.iter().map(|word| bytes_value(word.as_bytes())))),
        ("directory", bytes_value(record.directory.as_bytes())),
        ("name", record.name.as_deref().map_or(Value::Null, Value::from)),
        ("policy", Value::object(policy)),
        ("svid", Value::object(svid.map(|(key, text)| (key, Value::from(text))))),
        ("version", env!("CARGO_PKG_VERSION").into()),
    ])
}

fn source_value(source: &PolicySource) -> Value {
    match source {
        PolicySource::File { path, digest } => file_value(path, digest),
        PolicySource::Preset(name) => Value::object([("preset", Value::from(name.as_str()))]),
    }
}

fn file_value(path: &PathBytes, digest: &str) -> Value {
    Value::object([("digest", Value::from(digest)), ("file", bytes_value(path.as_bytes()))])
}

/// A policy that the run is under, with every document that it is made of.
fn layer_value(layer: &LayerSource) -> Value {
    let includes = layer.includes.iter().map(|(path, digest)| file_value(path, digest));
    Value::object([
        ("includes", list(includes)),
        ("kind", Value::from(layer.kind.as_str())),
        ("source", source_value(&layer.source)),
    ])
}

/// How long a call is held before its run goes on as a fork.
const MOMENT: Duration = Duration::from_millis(250);
const TRUST_DOMAIN: &str = "vantio.local";
/// What the first process of a run takes, in bytes, with some room.
const LEAST_MEMORY: u64 = 1 << 20;
/// What it has open before it is its program, with some room.
const LEAST_FILES: u64 = 16;
