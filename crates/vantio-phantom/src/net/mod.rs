//! Sockets, names and datagrams of a run.
//!
//! TCP sockets are made in the host's network namespace and connected here, on the
//! agent's behalf, after the oracle permitted it; what turns out to be the run's own
//! (bind, listen, loopback) is exchanged for a socket of the run's namespace. Local
//! sockets by path are connected and bound here as well. Names are resolved here, and
//! datagrams leave through a relay. Files and programs are the supervisor's.

mod address;

use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use rustix::io::{self, Errno};

use crate::{
    LaunchError, Oracle,
    supervisor::request::{Reply, Request},
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
    /// Ends the run: the oracle said so.
    pub(crate) kill: Box<dyn Fn() + Send + Sync>,
}

/// Resolves paths as the caller of a request would, in the run's mount namespace.
/// Only called on the thread that called [`Plane::handle`].
pub(crate) trait Paths: Send + Sync {
    /// What `path` names, following symlinks.
    fn existing(&self, request: &Request, path: &[u8]) -> io::Result<Found>;

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
pub(crate) struct Plane {
    config: Config,
    oracle: Arc<dyn Oracle>,
}

impl Plane {
    /// Starts the threads of the plane. Called in the host's mount and network
    /// namespaces, inside the run's user namespace, after the last fork.
    pub(crate) fn start(oracle: Arc<dyn Oracle>, config: Config) -> Result<Self, LaunchError> {
        Ok(Self { config, oracle })
    }

    /// Whether [`Plane::handle`] answers this system call.
    pub(crate) fn owns(number: i64) -> bool {
        matches!(
            number,
            libc::SYS_socket
                | libc::SYS_connect
                | libc::SYS_bind
                | libc::SYS_listen
                | libc::SYS_sendto
                | libc::SYS_sendmsg
                | libc::SYS_sendmmsg
        )
    }

    /// Answers a system call that the plane [owns](Plane::owns). The calling thread is
    /// in the run's mount namespace with a working directory and umask of its own.
    pub(crate) fn handle(&self, request: &Request) -> Reply {
        let _ = (&self.config, &self.oracle, request);
        Reply::Error(Errno::ACCESS)
    }
}
