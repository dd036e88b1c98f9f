//! The supervisor: sets a run up from outside, answers it, and sees it end.

use std::{
    fs, io, mem,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::Arc,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags, open},
    io::Errno,
    process::{
        DumpableBehavior, Pid, PidfdGetfdFlags, Resource, Rlimit, Signal, WaitOptions, getegid, geteuid,
        getrlimit, pidfd_getfd, set_dumpable_behavior, set_parent_process_death_signal, setrlimit, setsid,
        waitpid,
    },
};

use super::{
    MakeOracle,
    init::Init,
    link::{Link, Packet, Topic},
};
use crate::{
    Account, Ending, LaunchError, Oracle, Spec,
    cgroup::Cgroup,
    checkpoint::NotesSource,
    control::{Channel, Message},
    error::Context as _,
    resources::{self, Hold, Watching},
    supervisor::{Plane, Supervisor},
    sys::{
        process::{Fork, block_stops, enter, fork, fork_into, unshare},
        seccomp::Listener,
    },
    terminal,
    world::root::Folders,
};

/// Runs `spec` and reports to the caller through `channel`.
pub(super) fn supervise(
    spec: &Spec,
    folders: &Folders,
    plan: &terminal::Plan,
    (channel, notes): (&Channel, NotesSource),
    make_oracle: MakeOracle,
) -> Result<(), LaunchError> {
    let step = |what: &'static str| move || format!("could not {what}");
    set_parent_process_death_signal(Some(Signal::KILL)).context(
        "E_SUPERVISOR",
        step("tie itself to the caller"),
        "",
    )?;
    setsid().context("E_SUPERVISOR", step("leave the caller's session"), "")?;
    block_stops(false);
    let hold = Hold::prepare(spec.run_id, &spec.limits)?;
    let result = attended(spec, folders, plan, (channel, notes), make_oracle, &hold);
    hold.remove();
    let Over { ending, account, oracle } = result?;
    // Nothing of the run is left, and this is no part of it: the caller may be gone before it is done.
    let _ = set_parent_process_death_signal(None);
    let _ = channel.send(&Message::Ended(ending, account), None);
    oracle.leave();
    Ok(())
}

/// From the first namespace to the agent's end.
fn attended(
    spec: &Spec,
    folders: &Folders,
    plan: &terminal::Plan,
    (channel, notes): (&Channel, NotesSource),
    make_oracle: MakeOracle,
    hold: &Hold,
) -> Result<Over, LaunchError> {
    let step = |what: &'static str| move || format!("could not {what}");
    let started = start_init(spec, folders, plan, hold)?;
    let mount = join_world(&started)?;
    raise_open_files();
    // Init builds meanwhile, and the agent confines itself and waits. This process forks no more.
    let oracle = make_oracle()?;
    if !hold.holders.is_empty() {
        oracle.limited(&hold.holders);
    }
    let watched = resources::watch(hold, &spec.limits, folders.written()).context(
        "E_SUPERVISOR",
        step("watch what the run uses"),
        "",
    )?;
    let (meters, watch) = watched.unzip();
    let network_namespace = see_built(&started, channel)?;
    let supervisor = Supervisor {
        spec,
        oracle: Arc::clone(&oracle),
        init: started.init,
        privileged: folders.privileged,
        notes,
        cgroup: hold.cgroup.as_ref().map(Cgroup::again).transpose().context(
            "E_CGROUP",
            step("keep the run's control group"),
            "",
        )?,
        has_terminal: plan.needs_terminal(),
        meters,
        network_namespace,
    };
    let plane = supervisor.start().context("E_SUPERVISOR", step("start its planes"), "")?;
    plane.see().context("E_SUPERVISOR", step("see the world of the run"), "")?;
    let workers = plane.hire(mount.as_fd()).context("E_SUPERVISOR", step("start its workers"), "")?;
    let (agent, listener) = filtered(&started)?;
    plane.serve(Listener::new(listener), mount.as_fd(), workers).context(
        "E_SUPERVISOR",
        step("start its workers"),
        "",
    )?;
    // With its leader everything in the run ends, and is known to have ended so.
    let end_run = move || {
        let _ = crate::sys::process::kill(agent.as_raw_pid(), libc::SIGKILL);
    };
    let watching = watch.map(|watch| watch.start(Arc::clone(&oracle), end_run)).transpose();
    let watching = watching.context("E_SUPERVISOR", step("watch what the run uses"), "")?;
    oracle.begins()?;
    started.agent_link.tell(Topic::Go, 0).context("E_SUPERVISOR", step("release the agent"), "")?;
    let ending = attend(&started, agent, channel);
    plane.finish();
    let ended_some = watching.is_some_and(Watching::end);
    let ending = match ending {
        // Where memory ran out the kernel ends a run whole, its init with it.
        Err(lost) if ended_some && lost.code == RUN_LOST => {
            reap(started.init);
            Ending::Signaled(libc::SIGKILL)
        }
        Err(lost) if lost.code == RUN_LOST => return Err(ended(&plane, &*oracle).unwrap_or(lost)),
        other => other?,
    };
    let account = oracle.end(ending);
    leave_to_the_end(mount, started, plane);
    match oracle.failure() {
        // What it did since, nobody knows.
        Some(failure) => Err(failure),
        None => Ok(Over { ending, account, oracle }),
    }
}

/// Why the supervisor itself ended a run, where it did.
fn ended(plane: &Plane, oracle: &dyn Oracle) -> Option<LaunchError> {
    let why = plane.why_ended()?;
    Some(oracle.failure().unwrap_or_else(|| LaunchError {
        code: "E_RUN_ENDED".into(),
        what: "Vantio ended the run".into(),
        cause: io::Error::other(why),
        help: "what it changed until then is kept: see `vantio diff`".into(),
    }))
}

/// A run that is over.
struct Over {
    ending: Ending,
    account: Account,
    oracle: Arc<dyn Oracle>,
}

/// The kernel takes long to take a mount namespace apart, and whoever lets go of it last waits: that
/// shall be this process when it ends, for which nobody waits. With it go the planes.
fn leave_to_the_end(mount: OwnedFd, started: Started, plane: Arc<Plane>) {
    mem::forget((mount, started.staging, plane));
}

/// Init, and the ways to it and to the agent.
struct Started {
    init: Pid,
    link: Link,
    agent_link: Link,
    /// Where the overlays were staged, as root.
    staging: Option<OwnedFd>,
}

/// Those that init is born in; it makes its network namespace itself.
const NAMESPACES: i32 =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

fn start_init(
    spec: &Spec,
    folders: &Folders,
    plan: &terminal::Plan,
    hold: &Hold,
) -> Result<Started, LaunchError> {
    let cgroup = hold.cgroup.as_ref();
    let step = |what: &'static str| move || format!("could not {what}");
    let (link, init_link) = Link::pair().context("E_SUPERVISOR", step("make a link"), "")?;
    let (agent_link, agent_end) = Link::pair().context("E_SUPERVISOR", step("make a link"), "")?;
    let mut staging = None;
    let mut host = None;
    if folders.privileged {
        let remembered = Host::remember();
        host = Some(remembered.context("E_NAMESPACE", step("remember the host's mounts"), NAMESPACE_HELP)?);
        unshare(libc::CLONE_NEWNS).context("E_NAMESPACE", step("make a mount namespace"), NAMESPACE_HELP)?;
        folders.stage_overlays()?;
        staging = Some(own_mounts().context("E_NAMESPACE", step("keep the staged overlays"), "")?);
    }
    let born = cgroup.map(|cgroup| fork_into(NAMESPACES, cgroup.as_fd()));
    let joins_later = matches!(born, Some(Err(Errno::NOSYS)));
    let forked = match born {
        None | Some(Err(Errno::NOSYS)) => fork(NAMESPACES),
        Some(forked) => forked,
    };
    let forked = forked.context("E_NAMESPACE", step("make the run's namespaces"), NAMESPACE_HELP)?;
    let Fork::Parent(init) = forked else {
        drop((link, agent_link));
        Init { spec, folders, terminal: plan, link: init_link }.main(agent_end)
    };
    if joins_later && let Some(cgroup) = cgroup {
        let joined = cgroup.join(init).map_err(io::Error::other);
        joined.context("E_CGROUP", step("put the run into its cgroup"), "")?;
    }
    hold.join(init).context("E_CGROUP", step("put the run into its control groups"), "")?;
    map_identities(init, folders.privileged).context(
        "E_NAMESPACE",
        step("map the run's identities"),
        NAMESPACE_HELP,
    )?;
    if let Some(host) = host {
        host.restore().context("E_NAMESPACE", step("return to the host's namespace"), "")?;
    }
    Ok(Started { init, link, agent_link, staging })
}

/// The mount namespace and folder that this process came from.
struct Host {
    namespace: OwnedFd,
    directory: OwnedFd,
}

impl Host {
    fn remember() -> rustix::io::Result<Self> {
        let flags = OFlags::CLOEXEC | OFlags::PATH | OFlags::DIRECTORY;
        Ok(Self { namespace: own_mounts()?, directory: open(".", flags, Mode::empty())? })
    }

    fn restore(&self) -> rustix::io::Result<()> {
        enter(self.namespace.as_fd(), libc::CLONE_NEWNS)?;
        rustix::process::fchdir(&self.directory)
    }
}

/// The calling process's mount namespace.
fn own_mounts() -> rustix::io::Result<OwnedFd> {
    open("/proc/self/ns/mnt", OFlags::CLOEXEC, Mode::empty())
}

/// An ordinary user is itself and nobody else in the run; root is everybody, one to one.
fn map_identities(init: Pid, privileged: bool) -> io::Result<()> {
    let path = |name: &str| format!("/proc/{}/{name}", init.as_raw_pid());
    if privileged {
        fs::write(path("uid_map"), fs::read_to_string("/proc/self/uid_map").map(|map| one_to_one(&map))?)?;
        return fs::write(
            path("gid_map"),
            fs::read_to_string("/proc/self/gid_map").map(|map| one_to_one(&map))?,
        );
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    fs::write(path("uid_map"), format!("{user} {user} 1"))?;
    fs::write(path("setgroups"), "deny")?;
    fs::write(path("gid_map"), format!("{group} {group} 1"))
}

/// The identities that exist here, each mapped to itself.
fn one_to_one(map: &str) -> String {
    let ranges = map.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (inside, _, length) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{inside} {inside} {length}\n"))
    });
    ranges.collect()
}

/// Has init build the world, and enters the user namespace that it is built in; the world's mount namespace.
fn join_world(started: &Started) -> Result<OwnedFd, LaunchError> {
    let step = |what: &'static str| move || format!("could not {what}");
    started.link.tell(Topic::Go, 0).context("E_NAMESPACE", step("start init"), "")?;
    let namespace = |name: &str| {
        let path = format!("/proc/{}/ns/{name}", started.init.as_raw_pid());
        open(path, OFlags::CLOEXEC, Mode::empty()).context(
            "E_NAMESPACE",
            step("find the run's namespaces"),
            "",
        )
    };
    let (user, mount) = (namespace("user")?, namespace("mnt")?);
    enter(user.as_fd(), libc::CLONE_NEWUSER).context(
        "E_NAMESPACE",
        step("enter the run's user namespace"),
        "",
    )?;
    // The change of capabilities made this process undumpable, and its own files in /proc root's.
    set_dumpable_behavior(DumpableBehavior::Dumpable).context("E_NAMESPACE", step("open itself"), "")?;
    // And it took the death signal away.
    set_parent_process_death_signal(Some(Signal::KILL)).context(
        "E_SUPERVISOR",
        step("tie itself to the caller"),
        "",
    )?;
    Ok(mount)
}

/// A policy's ports may take more descriptors than the caller has use for. The run, which is started, keeps its limit.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // What is not permitted is missed where it is needed.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Waits until init built the world; its network namespace.
fn see_built(started: &Started, channel: &Channel) -> Result<OwnedFd, LaunchError> {
    let network = hear(started, Topic::Network)?;
    let network = network.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
    let network = network.context("E_NAMESPACE", || "could not find the run's network".into(), "")?;
    if let Some(master) = hear(started, Topic::Built)? {
        let _ = channel.send(&Message::Terminal, Some(master.as_fd()));
    }
    Ok(network)
}

/// Waits for init's word on `topic`; what is attached to it.
fn hear(started: &Started, topic: Topic) -> Result<Option<OwnedFd>, LaunchError> {
    let received = started.link.receive();
    let received = received.context("E_NAMESPACE", || "could not build the world".into(), NAMESPACE_HELP);
    let (packet, attached) = received?;
    if packet.topic == topic { Ok(attached) } else { Err(init_failed(&packet)) }
}

fn init_failed(packet: &Packet) -> LaunchError {
    let mut parts = packet.text.split('\0').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    LaunchError {
        code: part(),
        what: part(),
        help: part(),
        cause: io::Error::from_raw_os_error(packet.number),
    }
}

/// Takes over the descriptor of the agent's filter.
fn filtered(started: &Started) -> Result<(Pid, OwnedFd), LaunchError> {
    let step = |what: &'static str| move || format!("could not {what}");
    let mut handle = None;
    loop {
        let received = started.agent_link.receive();
        let (packet, fd) = received.context("E_SECCOMP", step("confine the agent"), NAMESPACE_HELP)?;
        match (packet.topic, fd, &handle) {
            (Topic::Agent, Some(fd), None) => handle = Some(fd),
            (Topic::Filtered, None, Some(handle)) => {
                let listener = pidfd_getfd(handle, packet.number, PidfdGetfdFlags::empty()).context(
                    "E_SECCOMP",
                    step("take the filter over"),
                    "",
                )?;
                let agent = number_of(handle).context("E_SECCOMP", step("identify the agent"), "")?;
                return Ok((agent, listener));
            }
            _ => {
                let cause = io::Error::from_raw_os_error(packet.number);
                return Err(cause).context(
                    "E_SECCOMP",
                    || format!("could not {}", packet.text),
                    LANDLOCK_HELP,
                );
            }
        }
    }
}

/// The process number behind a pidfd, as numbered on the host.
fn number_of(handle: &OwnedFd) -> io::Result<Pid> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd()))?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    number.and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Passes on what the caller says and what init reports, until the agent is gone.
fn attend(started: &Started, agent: Pid, channel: &Channel) -> Result<Ending, LaunchError> {
    // Closed by a successful exec; a failed one says why.
    let mut not_started = None;
    loop {
        let [from_init, from_caller, from_agent] = wait(started, channel, not_started.is_none())?;
        if from_agent {
            not_started = Some(match started.agent_link.receive() {
                Ok((packet, _)) if packet.topic == Topic::NotStarted => packet.number,
                _ => {
                    // The caller may have gone; the death signal then ends all this.
                    let _ = channel.send(&Message::Started { pid: agent.as_raw_pid() }, None);
                    0
                }
            });
        }
        if from_init && let Some(ending) = hear_init(started, channel, not_started)? {
            return Ok(ending);
        }
        if from_caller {
            obey(channel, agent)?;
        }
    }
}

/// Which of init, the caller and, `with_agent`, the agent has something to say.
fn wait(started: &Started, channel: &Channel, with_agent: bool) -> Result<[bool; 3], LaunchError> {
    let mut waiting = vec![PollFd::new(&started.link, PollFlags::IN), PollFd::new(channel, PollFlags::IN)];
    if with_agent {
        waiting.push(PollFd::new(&started.agent_link, PollFlags::IN));
    }
    match poll(&mut waiting, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error).context("E_SUPERVISOR", || "could not wait".into(), ""),
    }
    let is_ready = |index: usize| waiting.get(index).is_some_and(|fd| !fd.revents().is_empty());
    Ok([0, 1, 2].map(is_ready))
}

/// What init reports; the ending, once the agent is gone and everything with it.
fn hear_init(
    started: &Started,
    channel: &Channel,
    not_started: Option<i32>,
) -> Result<Option<Ending>, LaunchError> {
    let lost = |_| LaunchError {
        code: RUN_LOST.into(),
        what: "the run ended without a word".into(),
        cause: io::ErrorKind::UnexpectedEof.into(),
        help: "it was killed from outside, or the machine is out of memory".into(),
    };
    let (packet, _) = started.link.receive().map_err(lost)?;
    let ending = match packet.topic {
        Topic::Stopped => {
            let _ = channel.send(&Message::Stopped { signal: packet.number }, None);
            return Ok(None);
        }
        Topic::Exited => ending(packet.number, not_started),
        Topic::Signaled => Ending::Signaled(packet.number),
        _ => return Err(init_failed(&packet)),
    };
    reap(started.init);
    Ok(Some(ending))
}

fn ending(code: i32, not_started: Option<i32>) -> Ending {
    match not_started.filter(|errno| *errno != 0) {
        Some(libc::ENOENT) => Ending::NotFound,
        Some(_) => Ending::NotExecutable,
        None => Ending::Exited(code),
    }
}

/// Waits until the kernel has ended every process of the run.
fn reap(init: Pid) {
    let _ = waitpid(Some(init), WaitOptions::empty());
}

/// Carries out what the caller asks.
fn obey(channel: &Channel, agent: Pid) -> Result<(), LaunchError> {
    let group = -agent.as_raw_pid();
    let message = channel.receive().map_err(io::Error::other);
    let message = message.context("E_SUPERVISOR", || "the caller is gone".into(), "")?.0;
    let (target, signal) = match message {
        // What a terminal sends, it sends to everybody in the foreground.
        Message::Signal { number } if OF_TERMINALS.contains(&number) => (group, number),
        Message::Signal { number } => (agent.as_raw_pid(), number),
        Message::Continue => (group, libc::SIGCONT),
        _ => return Ok(()),
    };
    // Gone already: nothing to signal.
    let _ = crate::sys::process::kill(target, signal);
    Ok(())
}

const RUN_LOST: &str = "E_RUN_LOST";
const OF_TERMINALS: &[i32] =
    &[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
pub(super) const NAMESPACE_HELP: &str =
    "this host may forbid user namespaces; `vantio doctor` shows what it allows and how to change it";
const LANDLOCK_HELP: &str =
    "Linux 5.19 or newer with Landlock enabled is needed; `vantio doctor` shows what this host has";
