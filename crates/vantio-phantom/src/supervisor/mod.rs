//! Answers the agent's system calls.
//!
//! Workers wait for notifications in the run's mount namespace, so that every path means to them
//! what it means to the agent, and with no more capabilities than the agent has there.

mod back;
mod beyond;
mod change;
mod end;
mod execute;
mod flow;
mod forks;
mod hidden;
mod identity;
mod keeping;
mod metadata;
mod open;
mod process;
pub(crate) mod request;
pub(crate) mod resolve;
mod turn;
mod wait;
mod workers;

pub(crate) use end::UNRULED;
pub(crate) use identity::{ROOT_CAPABILITIES, current_mask};
pub(crate) use keeping::{Beginning, Keeping};

use std::{
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, openat, statx},
    io::Errno,
    process::Pid,
};
use vantio_core::{Access, Becomes, Effect, Intent, Target};

use self::{
    end::End,
    identity::Identity,
    request::{Reply, Request},
    resolve::{Object, View},
    wait::WaitingRoom,
};
use crate::{
    Oracle, Processes, Ruling, Spec, Ways,
    census::Census,
    cgroup::Cgroup,
    changes::BaseJournal,
    checkpoint::NotesSource,
    filter, nested,
    net::{self, Pool, Room, Watch},
    resources::Meters,
    speculation::{self, Speculator},
    world::mounts,
};

/// What a supervisor is made from.
pub(crate) struct Supervisor<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) oracle: Arc<dyn Oracle>,
    /// Process 1 of the run, as numbered on the host.
    pub(crate) init: Pid,
    /// Whether the agent may act as any user of the run.
    pub(crate) privileged: bool,
    pub(crate) network_namespace: OwnedFd,
    /// Who reads what an overlay notes on directories.
    pub(crate) notes: NotesSource,
    /// The control group of the run's processes, where there is one.
    pub(crate) cgroup: Option<Cgroup>,
    /// What the run uses, where that is limited.
    pub(crate) meters: Option<Arc<Meters>>,
    /// Whether the run has a terminal, which the caller's is behind.
    pub(crate) has_terminal: bool,
}

/// The planes of one run, shared by the workers.
pub(crate) struct Plane {
    oracle: Arc<dyn Oracle>,
    net: net::Plane,
    base: BaseJournal,
    keeping: Arc<Keeping>,
    init: Pid,
    end: End,
    privileged: bool,
    /// What the run uses, where that is limited.
    meters: Option<Arc<Meters>>,
    /// The host's root directory.
    host_root: OwnedFd,
    view: Arc<View>,
    /// What no run may see, move or replace: Vantio's own state.
    hidden: Vec<PathBuf>,
    /// What the caller gave as standard input, output and error.
    inherited: Vec<Inherited>,
    /// Whom the workers act as by themselves.
    identity: Identity,
    /// Set once a process of the run changed whom it acts as.
    identities_differ: AtomicBool,
    /// Set once a process of the run changed its file mode mask.
    masks_differ: AtomicBool,
    initial_mask: Mode,
    /// For calls that wait, so that no other call waits with them.
    blocking: Pool,
    watch: Watch,
    /// Who holds what, where flows are tracked.
    census: Option<Arc<Census>>,
    may_wait: bool,
    /// Where a run that waits may go on as a fork of itself.
    speculator: Option<Arc<Speculator>>,
    forks: Mutex<Option<StartForks>>,
    room: OnceLock<Arc<WaitingRoom>>,
    /// Calls that are being answered.
    answering: AtomicUsize,
}

type StartForks = Box<dyn FnOnce(Arc<Plane>, OwnedFd) -> io::Result<()> + Send>;

/// One open file that the run was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inherited {
    device: (u32, u32),
    inode: u64,
    may_read: bool,
    may_write: bool,
}

impl Inherited {
    fn is(&self, object: &Object) -> bool {
        let data = &object.data;
        self.device == (data.stx_dev_major, data.stx_dev_minor) && self.inode == data.stx_ino
    }
}

impl Supervisor<'_> {
    /// Starts everything but the workers. The calling thread sees the host's mounts.
    pub(crate) fn start(self) -> io::Result<Arc<Plane>> {
        let (init, end) = (self.init, End::of(self.init));
        let view = Arc::new(View::new()?);
        let tracks = self.spec.tracks_flows;
        let census = tracks.then(|| Census::new(self.has_terminal).map(Arc::new)).transpose()?;
        if let Some(census) = &census {
            self.oracle.attach(Arc::clone(census) as Arc<dyn Processes>);
        }
        self.oracle.attach_marks(Arc::new(nested::Limits::new()?));
        self.oracle.attach_alarm({
            let end = end.clone();
            Box::new(move || end.now(UNRULED))
        });
        let config = net::Config {
            census: census.clone(),
            network: self.network_namespace,
            resolvers: self.spec.resolvers.clone(),
            udp_ports: self.spec.udp_ports.clone(),
            paths: Arc::clone(&view) as Arc<dyn net::Paths>,
            kill: {
                let end = end.clone();
                Arc::new(move |why| end.now(why))
            },
            hidden: self.spec.hidden.clone(),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beginning =
            Beginning { privileged: self.privileged, notes: self.notes, cgroup: self.cgroup, init };
        let host = Arc::new(Room::here("vantio-host")?);
        let keeping = Keeping::start(self.spec, beginning, &self.oracle, Arc::clone(&host))?;
        view.announce(Arc::clone(&keeping));
        let (speculator, forks) = forks(self.spec, init)?.unzip();
        if let Some(speculator) = &speculator {
            view.shadow(Arc::clone(speculator));
        }
        let plane = Arc::new(Plane {
            keeping,
            net: net::Plane::prepare(Arc::clone(&self.oracle), host, config).map_err(io::Error::other)?,
            oracle: self.oracle,
            view,
            meters: self.meters,
            base: BaseJournal::open(&self.spec.folder)?.frozen(self.spec)?,
            init,
            end,
            privileged: self.privileged,
            host_root: openat(CWD, "/", flags, Mode::empty())?,
            hidden: self.spec.hidden.clone(),
            inherited: inherited(),
            identity: Identity::own()?,
            identities_differ: AtomicBool::new(false),
            masks_differ: AtomicBool::new(false),
            initial_mask: current_mask(),
            blocking: Pool::new("vantio-blocking", BLOCKING_MAX),
            watch: Watch::prepare()?,
            census,
            may_wait: self.spec.may_wait,
            speculator,
            forks: Mutex::new(forks),
            room: OnceLock::new(),
            answering: AtomicUsize::new(0),
        });
        plane.view.ask(&plane);
        Ok(plane)
    }
}

/// What it takes to go on as a fork, where that is asked for and labels are not followed.
fn forks(spec: &Spec, init: Pid) -> io::Result<Option<(Arc<Speculator>, StartForks)>> {
    let Some(wanted) = spec.speculation.as_ref().filter(|_| spec.may_wait) else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (speculator, start) = speculation::start(speculation::Setup {
        after: wanted.after,
        roots: wanted.roots.clone(),
        proc: openat(CWD, "/proc", flags, Mode::empty())?,
        follows_flows: spec.tracks_flows,
        init,
    });
    Ok(Some((speculator, Box::new(start))))
}

impl Plane {
    /// The world is built.
    pub(crate) fn see(&self) -> io::Result<()> {
        let listed = fs::read(format!("/proc/{}/mountinfo", self.init.as_raw_pid()))?;
        self.view.see(&mounts::parse(&listed));
        Ok(())
    }

    /// Writes down what is still buffered.
    pub(crate) fn finish(&self) {
        // What is missing in the journal counts as changed by the host: nothing is overwritten for it.
        let _ = self.base.flush();
    }

    fn reply_to(self: &Arc<Self>, request: &Request) {
        let _answering = self.count_in();
        let answer = || self.hold_original(request).unwrap_or_else(|| self.answer(request));
        match catch_unwind(AssertUnwindSafe(answer)) {
            Ok(reply) => request.reply(reply),
            // Whatever it was, the agent found a way to lose those who answer it.
            Err(_) => self.end_run("an error in Vantio, as it answered a call"),
        }
    }

    fn answer(self: &Arc<Self>, request: &Request) -> Reply {
        let number = request.number();
        if request.architecture() != AUDIT_ARCH_X86_64 || number & X32_BIT != 0 {
            return self.refuse_call(request, "a call of another architecture");
        }
        if number == libc::SYS_chroot && self.meets(request) {
            return Reply::Later;
        }
        if filter::is_refused(number) {
            return self.refuse_call(request, filter::name(number));
        }
        if let Some(reply) = self.flow_call(request) {
            return reply;
        }
        if filter::is_identity_change(number) {
            self.identities_differ.store(true, Ordering::Release);
            return Reply::Continue;
        }
        let result = match number {
            libc::SYS_umask => {
                self.masks_differ.store(true, Ordering::Release);
                Ok(Reply::Continue)
            }
            libc::SYS_execve | libc::SYS_execveat => self.execute(request),
            libc::SYS_kill
            | libc::SYS_tkill
            | libc::SYS_tgkill
            | libc::SYS_rt_sigqueueinfo
            | libc::SYS_rt_tgsigqueueinfo => Ok(self.signal(request)),
            libc::SYS_prlimit64 => Ok(self.limit(request)),
            _ if filter::acts_on_others(number) || filter::owns_descriptor(number, request.int(1)) => {
                Ok(self.act_on_others(request))
            }
            libc::SYS_clone | libc::SYS_unshare | libc::SYS_ioctl => {
                Ok(self.refuse_call(request, filter::name(number)))
            }
            libc::SYS_socket
            | libc::SYS_connect
            | libc::SYS_bind
            | libc::SYS_listen
            | libc::SYS_sendto
            | libc::SYS_sendmsg
            | libc::SYS_sendmmsg
            | libc::SYS_setsockopt => self.socket_call(request),
            _ => self.file_call(request),
        };
        result.unwrap_or_else(Reply::Error)
    }

    /// TCP and what may leave is the network plane's; other families never leave the run.
    fn socket_call(self: &Arc<Self>, request: &Request) -> rustix::io::Result<Reply> {
        if self.defers(request) {
            return Ok(Reply::Later);
        }
        // A bound path belongs to whom the caller acts as.
        let _identity = self.assume(request)?;
        if request.number() != libc::SYS_socket {
            return Ok(self.net.handle(request));
        }
        let (family, kind, protocol) = (request.int(0), request.int(1) & 0xf, request.int(2));
        Ok(match (family, kind) {
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM) => self.net.handle(request),
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM)
                if matches!(protocol, 0 | libc::IPPROTO_UDP) =>
            {
                Reply::Continue
            }
            (libc::AF_NETLINK, _) if protocol == libc::NETLINK_ROUTE => Reply::Continue,
            _ => self.refuse_call(request, "a socket that is neither TCP, UDP nor local"),
        })
    }

    /// Asks the oracle about one intent of `request`.
    pub(crate) fn decide(&self, request: &Request, effect: Effect, target: Target<'_>) -> Ruling {
        self.decide_as(request, &Intent::new(effect, target), None)
    }

    /// As [`Plane::decide`]: a ruling that is no permit has the call unwind as a refused one does, and one that waits is
    /// then put aside. `ways` for an open of which more is known than the intent says.
    fn decide_as(&self, request: &Request, intent: &Intent<'_>, ways: Option<Ways>) -> Ruling {
        if !request.is_waiting() {
            // The caller is gone, and its number may be somebody else's: what was read of it is void.
            return Ruling::Refuse;
        }
        let pid = request.tid().as_raw_pid().unsigned_abs();
        let intent = Intent { pid, syscall: Some(request.syscall()), ..*intent };
        if let Some(ruling) = self.decide_for_fork(request, &intent) {
            return ruling;
        }
        let ruling = match ways {
            Some(ways) => self.oracle.decide_open(&intent, ways),
            None => self.oracle.decide(&intent),
        };
        if request.rehearses(ruling) {
            return Ruling::Refuse;
        }
        match ruling {
            // Its number may have been somebody else's already when the oracle looked at who asks.
            Ruling::Permit if !request.is_waiting() => return Ruling::Refuse,
            Ruling::Kill => self.end_run(UNRULED),
            Ruling::Wait => request.wait(),
            Ruling::Permit | Ruling::Refuse => {}
        }
        ruling
    }

    /// Whether `effect` on one path is permitted; `EACCES` when not.
    pub(crate) fn permit_path(
        &self,
        request: &Request,
        effect: Effect,
        path: &[u8],
        access: Access,
        subtree: bool,
    ) -> rustix::io::Result<()> {
        self.permit(request, &Intent::new(effect, Target::Path { path, access, subtree }), None)
    }

    /// Refuses, on record, what no rule can name: `why` and where it is.
    pub(crate) fn refuse_path<T>(
        &self,
        request: &Request,
        effect: Effect,
        why: &str,
        path: &[u8],
        access: Access,
    ) -> rustix::io::Result<T> {
        let unnamed = [why.as_bytes(), b": ", path].concat();
        self.permit_path(request, effect, &unnamed, access, false)?;
        Err(Errno::ACCESS)
    }

    /// Whether what is at a path may become that; `EACCES` when not.
    pub(crate) fn permit_becoming(
        &self,
        request: &Request,
        effect: Effect,
        path: &[u8],
        becomes: Becomes<'_>,
    ) -> rustix::io::Result<()> {
        let target = Target::Path { path, access: Access::Write, subtree: false };
        self.permit(request, &Intent { becomes: Some(becomes), ..Intent::new(effect, target) }, None)
    }

    /// As [`Plane::decide_as`]; `EACCES` for what is no permit.
    fn permit(&self, request: &Request, intent: &Intent<'_>, ways: Option<Ways>) -> rustix::io::Result<()> {
        match self.decide_as(request, intent, ways) {
            Ruling::Permit => Ok(()),
            Ruling::Refuse | Ruling::Kill | Ruling::Wait => Err(rustix::io::Errno::ACCESS),
        }
    }

    /// Remembers what the host has at `path`, before the run first changes it.
    pub(crate) fn note_base(&self, path: &[u8]) -> rustix::io::Result<()> {
        if !self.view.is_layered(path) {
            // It never comes to the host, and to look there could have an automounter mount something.
            return Ok(());
        }
        // Without the base a commit could not tell whose change it overwrites.
        let noted = if self.fork_going_on().is_some() {
            self.base.note_aside(self.host_root.as_fd(), path)
        } else {
            self.base.note(self.host_root.as_fd(), path)
        };
        noted.map_err(|error| unkept(&error))
    }

    /// As [`Plane::note_base`], of what takes more room: `ENOSPC` where there is none.
    pub(crate) fn note_growth(&self, path: &[u8]) -> rustix::io::Result<()> {
        self.meters.as_ref().map_or(Ok(()), |meters| meters.disk.check())?;
        self.note_base(path)
    }

    /// Ends every process of the run.
    pub(crate) fn end_run(&self, why: &'static str) {
        self.end.now(why);
    }

    /// Why the run was ended from here, where it was.
    pub(crate) fn why_ended(&self) -> Option<&'static str> {
        self.end.why()
    }
}

/// What a call fails with that is not carried out because something could not be kept before.
fn unkept(error: &io::Error) -> Errno {
    match Errno::from_io_error(error) {
        Some(errno @ (Errno::NOSPC | Errno::DQUOT)) => errno,
        _ => Errno::IO,
    }
}

/// The open files at 0, 1 and 2.
fn inherited() -> Vec<Inherited> {
    let describe = |fd: BorrowedFd<'_>| {
        let data = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).ok()?;
        if !matches!(FileType::from_raw_mode(data.stx_mode.into()), FileType::RegularFile | FileType::Fifo) {
            return None;
        }
        let access = rustix::fs::fcntl_getfl(fd).ok()? & OFlags::RWMODE;
        Some(Inherited {
            device: (data.stx_dev_major, data.stx_dev_minor),
            inode: data.stx_ino,
            may_read: access != OFlags::WRONLY,
            may_write: access != OFlags::RDONLY,
        })
    };
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
        .into_iter()
        .filter_map(describe)
        .collect()
}

/// How many calls may wait at once.
const BLOCKING_MAX: usize = 256;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const X32_BIT: i64 = 0x4000_0000;
