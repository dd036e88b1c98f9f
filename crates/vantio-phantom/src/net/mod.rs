//! Sockets, names and datagrams of a run.
//!
//! TCP sockets are made in the host's network namespace and connected here, on the
//! agent's behalf, after the oracle permitted it; what turns out to be the run's own
//! (bind, listen, loopback) is exchanged for a socket of the run's namespace. Local
//! sockets by path are connected and bound here as well. Names are resolved here, and
//! datagrams leave through a relay. Files and programs are the supervisor's.

mod address;
mod connect;
mod datagram;
mod dns;
pub(crate) mod inventory;
mod local;
mod options;
mod relay;
mod send;
mod socket;
mod thread;
mod unix;
mod watch;

use std::{
    collections::HashSet,
    net::SocketAddr,
    os::fd::{BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use rustix::io::{self, Errno};
use vantio_core::{Channel, Effect, Endpoint, Intent, Target, Transport};

use self::{address::LENGTH_MAX, dns::Resolver, socket::Sockets, unix::Bound};
pub(crate) use self::{
    connect::may_stay,
    thread::{Pool, Room},
    watch::{Fate, Outcome, Watch},
};
use crate::{
    LaunchError, Oracle, Ruling, Ways,
    census::{Census, Tables},
    error::Context as _,
    supervisor::{
        UNRULED,
        request::{Reply, Request},
    },
};

/// What the plane needs to know about a run.
pub(crate) struct Config {
    /// The run's network namespace, which is set up.
    pub(crate) network: OwnedFd,
    /// Name servers of the host, in order.
    pub(crate) resolvers: Vec<SocketAddr>,
    /// Inclusive port ranges to which a rule lets datagrams leave.
    pub(crate) udp_ports: Vec<(u16, u16)>,
    /// Resolves paths in the caller's view.
    pub(crate) paths: Arc<dyn Paths>,
    pub(crate) kill: Kill,
    /// Who holds which sockets, where flows are tracked.
    pub(crate) census: Option<Arc<Census>>,
    /// Where no socket of the host is for a run, whatever a rule says: Vantio's own state.
    pub(crate) hidden: Vec<PathBuf>,
}

/// Resolves paths as the caller of a request would, in the run's mount namespace.
/// Only called on the thread that called [`Plane::handle`].
pub(crate) trait Paths: Send + Sync {
    /// What `path` names, following symlinks.
    fn existing(&self, request: &Request, path: &[u8]) -> io::Result<Found>;

    /// What `path`, at which nothing is, is called; `None` where its folder is not there.
    fn missing(&self, request: &Request, path: &[u8]) -> Option<Vec<u8>>;

    /// Where `path`, which need not exist, would be created.
    fn place(&self, request: &Request, path: &[u8]) -> io::Result<Place>;
}

/// An existing file.
#[derive(Debug)]
pub(crate) struct Found {
    /// Opened with `O_PATH`.
    pub(crate) file: OwnedFd,
    /// Canonical absolute path within the run.
    pub(crate) path: Vec<u8>,
}

/// A name that may be created.
#[derive(Debug)]
pub(crate) struct Place {
    /// The directory, opened with `O_PATH`.
    pub(crate) directory: OwnedFd,
    /// The last component.
    pub(crate) name: Vec<u8>,
    /// Canonical absolute path of the new name within the run.
    pub(crate) path: Vec<u8>,
}

/// Answers a run's socket calls and carries its names and datagrams.
///
/// Nothing of the run reaches a network before a call that is handled here, so what carries it is made for the first
/// of these: most programs need none of it, and none waits for it to start.
pub(crate) struct Plane {
    /// The host's namespaces, where everything of the plane is born.
    host: Arc<Room>,
    kill: Kill,
    core: OnceLock<Arc<Core>>,
    unmade: Mutex<Option<Unmade>>,
}

/// Ends the run, for the reason given.
pub(crate) type Kill = Arc<dyn Fn(&'static str) + Send + Sync>;

/// What the plane is made of.
struct Unmade {
    oracle: Arc<dyn Oracle>,
    config: Config,
    ports: Vec<u16>,
}

impl Plane {
    /// Prepares the plane. `host` is in the host's mount and network namespaces, and inside the run's user namespace.
    pub(crate) fn prepare(
        oracle: Arc<dyn Oracle>,
        host: Arc<Room>,
        config: Config,
    ) -> Result<Self, LaunchError> {
        let ports = ports(&config.udp_ports).context(
            "E_NETWORK",
            || "the rules open too many ports to datagrams".into(),
            "a policy's udp:// rules open at most 1024 ports in all; name the ports that the run needs",
        )?;
        // The census reads the run's sockets, and local ones are made without a word; many ports may be too many
        // descriptors, which is told before the program starts.
        let is_needed = config.census.is_some() || !ports.is_empty();
        let (kill, core) = (Arc::clone(&config.kill), OnceLock::new());
        let plane = Self { host, kill, core, unmade: Mutex::new(Some(Unmade { oracle, config, ports })) };
        if is_needed {
            let made = plane.make().map_err(std::io::Error::from);
            made.context("E_NETWORK", || "could not start the run's sockets and resolver".into(), "")?;
        }
        Ok(plane)
    }

    /// What carries the run's traffic. A run for which it cannot be made does not go on: what it tries could not be
    /// judged.
    fn core(&self) -> io::Result<&Arc<Core>> {
        if self.core.get().is_none()
            && let Err(error) = self.make()
        {
            (self.kill)("its sockets and resolver could not be made");
            return Err(error);
        }
        self.core.get().ok_or(Errno::NOBUFS)
    }

    /// Makes it, once.
    fn make(&self) -> io::Result<()> {
        let mut unmade = self.unmade.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(parts) = unmade.take() else { return Ok(()) };
        let core = self.host.call(move || parts.assemble().map_err(|error| errno(&error)))?;
        // Nobody else has come here: the parts were there once.
        let _ = self.core.set(core);
        Ok(())
    }

    /// Answers a socket call. The calling thread is in the run's mount namespace with a working
    /// directory and umask of its own.
    pub(crate) fn handle(&self, request: &Request) -> Reply {
        let answer = match request.number() {
            libc::SYS_socket => local::socket(request),
            number => self.core().and_then(|core| core.handle(number, request)),
        };
        answer.unwrap_or_else(Reply::Error)
    }
}

impl Unmade {
    /// Starts the threads of the plane, where the calling one is.
    fn assemble(self) -> std::io::Result<Arc<Core>> {
        let Self { oracle, config, ports } = self;
        let host = Arc::new(Room::here("net-host")?);
        let judge = Arc::new(Judge { oracle, kill: config.kill, census: config.census });
        let sockets = Sockets::start(config.network)?;
        let resolver = Arc::new(Resolver::new(Arc::clone(&judge), config.resolvers));
        dns::server::start(&sockets, &resolver)?;
        relay::start(Arc::clone(&judge), Arc::clone(&resolver), &sockets, ports)?;
        let core = Arc::new(Core {
            judge,
            paths: config.paths,
            hidden: config.hidden,
            sockets,
            resolver,
            pool: Pool::within(Arc::clone(&host), "net-connect", CONNECTS_MAX),
            host,
            watch: Watch::prepare()?,
            bound: Bound::default(),
            listened: Mutex::default(),
            privileged_below: local::privileged_below(),
        });
        if let Some(census) = &core.judge.census {
            census.read_tables_from(Box::new(RunTables(Arc::downgrade(&core))));
        }
        Ok(core)
    }
}

impl Core {
    fn handle(self: &Arc<Self>, number: i64, request: &Request) -> io::Result<Reply> {
        match number {
            libc::SYS_connect => connect::connect(self, request),
            libc::SYS_bind => local::bind(self, request),
            libc::SYS_listen => local::listen(self, request),
            libc::SYS_setsockopt => local::set_option(self, request),
            libc::SYS_sendto => send::sendto(self, request),
            libc::SYS_sendmsg => send::sendmsg(self, request),
            libc::SYS_sendmmsg => send::sendmmsg(self, request),
            _ => Err(Errno::NOSYS),
        }
    }
}

/// What a caller learns of it.
fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::NOBUFS)
}

/// The oracle, and what is done when it ends the run.
struct Judge {
    oracle: Arc<dyn Oracle>,
    kill: Kill,
    census: Option<Arc<Census>>,
}

/// The run's lists of sockets, for the census.
struct RunTables(std::sync::Weak<Core>);

impl Tables for RunTables {
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let (core, name) = (self.0.upgrade().ok_or(Errno::IO)?, name.to_owned());
        core.sockets.in_run(move || inventory::read(&name))
    }
}

impl Judge {
    /// What the oracle says; a run that it ends is ended here.
    fn decide(&self, intent: &Intent<'_>) -> Ruling {
        let ruling = self.oracle.decide(intent);
        if ruling == Ruling::Kill {
            (self.kill)(UNRULED);
        }
        ruling
    }

    /// What it says of an intent that comes without a call: the first that is no permit, of those who may have asked.
    fn decide_all(&self, askers: &[u32], intent: &Intent<'_>) -> Ruling {
        let mut rulings = askers.iter().map(|pid| self.decide(&Intent { pid: *pid, ..*intent }));
        rulings.find(|ruling| *ruling != Ruling::Permit).unwrap_or(Ruling::Permit)
    }

    /// Who may have sent something from a port of the run; 0 for nobody knows whom.
    fn askers(&self, transport: Transport, port: u16) -> Vec<u32> {
        let Some(census) = &self.census else { return vec![0] };
        let tables = match transport {
            Transport::Tcp => ["tcp", "tcp6"],
            Transport::Udp => ["udp", "udp6"],
        };
        census.askers(&tables, port)
    }

    /// Whether the caller may get an end of a channel within the run for which no intent is asked.
    fn joins(&self, request: &Request, channel: Channel, ways: Ways) -> io::Result<()> {
        if self.census.is_none() {
            return Ok(());
        }
        self.expects(request, channel.clone(), ways)?;
        match self.oracle.join(request.tid().as_raw_pid().unsigned_abs(), channel, ways) {
            Ruling::Permit => Ok(()),
            // Nobody is asked about an end of a channel.
            Ruling::Refuse | Ruling::Wait => Err(Errno::ACCESS),
            Ruling::Kill => {
                (self.kill)(UNRULED);
                Err(Errno::ACCESS)
            }
        }
    }

    /// Until it is answered the caller counts as holding an end of `channel`: for what is asked before there is one.
    fn expects(&self, request: &Request, channel: Channel, ways: Ways) -> io::Result<()> {
        self.census.as_ref().map_or(Ok(()), |census| census.expect(request, channel, ways))
    }

    /// The socket leads to `channel` from now on.
    fn leads(&self, file: BorrowedFd<'_>, channel: Channel) {
        if let Some(census) = &self.census
            && let Ok(stat) = rustix::fs::fstat(file)
        {
            census.registry().add(stat.st_ino, channel);
        }
    }
}

const BOTH_WAYS: Ways = Ways { reads: true, writes: true, is_new: false };
const OUTWARDS: Ways = Ways { reads: false, writes: true, is_new: false };

/// What the answers share.
struct Core {
    judge: Arc<Judge>,
    paths: Arc<dyn Paths>,
    hidden: Vec<PathBuf>,
    sockets: Sockets,
    resolver: Arc<Resolver>,
    /// Sees the host's files.
    host: Arc<Room>,
    /// Children of that room.
    pool: Pool,
    watch: Watch,
    bound: Bound,
    /// The ports on which the run ever listened.
    listened: Mutex<HashSet<u16>>,
    /// The first port that an unprivileged program of this host may bind.
    privileged_below: u16,
}

impl Core {
    /// Asks the oracle; `EACCES` when it refuses, or has the call wait.
    fn ask(&self, request: &Request, effect: Effect, target: Target<'_>) -> io::Result<()> {
        match self.judge.decide(&intent(request, effect, target)) {
            // Whose number it was when the oracle looked at who asks.
            Ruling::Permit if request.is_waiting() => return Ok(()),
            Ruling::Wait => request.wait(),
            Ruling::Permit | Ruling::Refuse | Ruling::Kill => {}
        }
        Err(Errno::ACCESS)
    }

    /// Whether the oracle would permit what nobody does yet.
    fn would_permit(&self, request: &Request, target: Target<'_>) -> bool {
        self.judge.oracle.would_permit(&intent(request, Effect::NetConnect, target))
    }

    /// Has another thread, in the host's mount namespace, answer.
    fn later(
        self: &Arc<Self>,
        request: &Request,
        work: impl FnOnce(&Self, &Request) -> io::Result<Reply> + Send + 'static,
    ) -> io::Result<Reply> {
        let (core, request) = (Arc::clone(self), request.clone());
        self.pool.submit(move || {
            let answer = catch_unwind(AssertUnwindSafe(|| work(&core, &request)));
            request.reply(answer.unwrap_or(Err(Errno::IO)).unwrap_or_else(Reply::Error));
        })?;
        Ok(Reply::Later)
    }

    /// Carries out a call that may block until the caller is interrupted or gone.
    fn block(
        &self,
        request: &Request,
        file: BorrowedFd<'_>,
        call: impl FnMut() -> io::Result<i64>,
    ) -> io::Result<Reply> {
        let caller = request.clone();
        match self.watch.guard(Box::new(move || Fate::of(&caller)), call) {
            Outcome::Done(result) => Ok(Reply::Value(result?)),
            Outcome::Interrupted => Err(connect::interruption(request, file)),
            Outcome::Gone => Ok(Reply::Later),
        }
    }
}

/// The ports of some ranges, each once; `EINVAL` when they are too many.
fn ports(ranges: &[(u16, u16)]) -> io::Result<Vec<u16>> {
    let mut ports = std::collections::BTreeSet::new();
    for (first, last) in ranges {
        ports.extend((*first..=*last).take(relay::PORTS_MAX + 1));
        if ports.len() > relay::PORTS_MAX {
            return Err(Errno::INVAL);
        }
    }
    Ok(ports.into_iter().collect())
}

/// The TCP or UDP destination `address` outside the run.
fn outside(transport: Transport, address: SocketAddr) -> Target<'static> {
    Target::Endpoint(Endpoint { transport, address, in_run: false })
}

/// The TCP address `address` within the run.
fn inside(address: SocketAddr) -> Target<'static> {
    Target::Endpoint(Endpoint { transport: Transport::Tcp, address, in_run: true })
}

fn intent<'a>(request: &Request, effect: Effect, target: Target<'a>) -> Intent<'a> {
    let pid = request.tid().as_raw_pid() as u32;
    Intent { pid, syscall: Some(request.syscall()), ..Intent::new(effect, target) }
}

/// Reads a socket address from the caller's memory as the kernel does.
fn read_address(request: &Request, pointer: u64, length: i32) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| Errno::INVAL)?;
    if length > LENGTH_MAX {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; length];
    if length > 0 {
        request.read(pointer, &mut bytes)?;
    }
    Ok(bytes)
}

/// The caller's open file behind its descriptor `number`, once it is sure that the caller
/// whose memory and descriptors were read is the one that asked.
fn fetch(request: &Request, number: i32) -> io::Result<OwnedFd> {
    let file = request.fetch(number)?;
    if request.is_waiting() { Ok(file) } else { Err(Errno::SRCH) }
}

/// Blocking calls at one time. A run has no more threads than its cgroup permits.
const CONNECTS_MAX: usize = 1024;
