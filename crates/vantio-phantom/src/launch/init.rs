//! Process 1 of a run: builds the world, starts the agent, reaps what is left over.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    process::{
        DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, set_dumpable_behavior,
        set_parent_process_death_signal, wait,
    },
};

use super::{
    agent,
    link::{Link, Topic},
    stay::Stay,
    supervise::NAMESPACE_HELP,
};
use crate::{
    LaunchError, Spec,
    error::Context as _,
    sys::process::{Fork, exit, fork, unshare},
    terminal::{self, session},
    world::{network, root::Folders},
};

/// Everything init is given.
pub(super) struct Init<'a> {
    pub(super) spec: &'a Spec,
    pub(super) folders: &'a Folders,
    pub(super) terminal: &'a terminal::Plan,
    /// To the supervisor.
    pub(super) link: Link,
}

/// Makes a network namespace for this process, and opens it.
fn own_network() -> rustix::io::Result<OwnedFd> {
    unshare(libc::CLONE_NEWNET)?;
    open("/proc/self/ns/net", OFlags::CLOEXEC, Mode::empty())
}

impl Init<'_> {
    /// Never returns: the run ends with this process. `agent_link` is the agent's way to the supervisor.
    pub(super) fn main(self, agent_link: Link) -> ! {
        if let Err(error) = self.serve(agent_link) {
            let number = error.cause.raw_os_error().unwrap_or(0);
            let text = format!("{}\0{}\0{}", error.code, error.what, error.help);
            let _ = self.link.send(Topic::Failed, number, &text, None);
            exit(1);
        }
        exit(0)
    }

    fn serve(&self, agent_link: Link) -> Result<(), LaunchError> {
        let step = |what: &'static str| move || format!("could not {what}");
        set_parent_process_death_signal(Some(Signal::KILL)).context(
            "E_NAMESPACE",
            step("tie the run to its supervisor"),
            "",
        )?;
        // The longest step of all, which the supervisor need not wait for.
        let network =
            own_network().context("E_NAMESPACE", step("make a network namespace"), NAMESPACE_HELP)?;
        self.link.send(Topic::Network, 0, "", Some(network.as_fd())).context(
            "E_NAMESPACE",
            step("report"),
            "",
        )?;
        drop(network);
        // Until the identities are mapped nothing here has an owner. A dead supervisor closes the link.
        self.link.wait().context("E_NAMESPACE", step("enter the user namespace"), "")?;
        network::configure().context("E_NETWORK", step("configure the network of the run"), "")?;
        self.folders.enter(self.spec)?;
        let pair = self.open_terminal().context("E_TERMINAL", step("open a terminal for the run"), "")?;
        session::lead(pair.as_ref().map(|pair| pair.slave.as_fd())).context(
            "E_TERMINAL",
            step("lead a session"),
            "",
        )?;
        let master = pair.as_ref().map(|pair| pair.master.as_fd());
        self.link.send(Topic::Built, 0, "", master).context("E_NAMESPACE", step("report"), "")?;
        let slave = pair.map(|pair| pair.slave);
        let slave = slave.as_ref().map(std::os::fd::AsFd::as_fd);
        // The agent can neither read this memory nor take these descriptors, from its first moment on.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).context(
            "E_NAMESPACE",
            step("close init"),
            "",
        )?;
        // It confines itself, and then waits until the supervisor is ready to answer it.
        let stay = Stay::here();
        let agent = match fork(0).context("E_FORK", step("start the agent"), "")? {
            Fork::Child => {
                drop(stay);
                agent::main(self.spec, self.terminal, slave, &agent_link)
            }
            Fork::Parent(agent) => agent,
        };
        drop(stay);
        // The agent's own end closes when its program starts, and that is how the supervisor knows.
        drop(agent_link);
        self.reap(agent, slave).context("E_FORK", step("wait for the agent"), "")
    }

    fn open_terminal(&self) -> rustix::io::Result<Option<session::Pair>> {
        if !self.terminal.needs_terminal() {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let instance = open("/dev/pts", flags, Mode::empty())?;
        session::open_pair(instance.as_fd(), self.terminal.modes.as_ref(), self.terminal.size).map(Some)
    }

    /// Reaps until the agent itself is gone; the kernel ends the rest with this process.
    fn reap(&self, agent: Pid, slave: Option<BorrowedFd<'_>>) -> rustix::io::Result<()> {
        loop {
            let (pid, status) = match wait(WaitOptions::UNTRACED) {
                Ok(Some(found)) => found,
                Ok(None) | Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            if pid != agent {
                continue;
            }
            if !status.stopped() {
                return self.report_end(status);
            }
            let signal = status.stopping_signal().unwrap_or(libc::SIGSTOP);
            if let Some(slave) = slave
                && matches!(signal, libc::SIGTTIN | libc::SIGTTOU)
            {
                session::hand_over(slave, agent)?;
            }
            self.link.tell(Topic::Stopped, signal)?;
        }
    }

    fn report_end(&self, status: WaitStatus) -> rustix::io::Result<()> {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => self.link.tell(Topic::Exited, code),
            (None, signal) => self.link.tell(Topic::Signaled, signal.unwrap_or(libc::SIGKILL)),
        }
    }
}
