//! Calls that block on behalf of a caller who may be interrupted or die meanwhile.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    io::{self, Errno},
    thread::gettid,
};

use super::thread::spawn;
use crate::{supervisor::request::Request, sys::socket};

/// What has become of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits for its answer.
    Waits,
    /// A signal waits for it.
    Interrupted,
    /// It needs no answer any more.
    Gone,
}

impl Fate {
    /// What has become of the caller of `request`.
    pub(crate) fn of(request: &Request) -> Self {
        match (request.is_waiting(), request.is_interrupted()) {
            (false, _) => Self::Gone,
            (true, true) => Self::Interrupted,
            (true, false) => Self::Waits,
        }
    }
}

/// How a watched call ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    /// By itself.
    Done(io::Result<T>),
    /// Early, for its caller has a signal to handle.
    Interrupted,
    /// Early, for nobody waits for it.
    Gone,
}

type Probe = Box<dyn Fn() -> Fate + Send + Sync>;

/// Looks after blocking calls and ends those whose callers cannot wait any longer.
pub(crate) struct Watch {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    flights: Mutex<Vec<Arc<Flight>>>,
    taken_off: Condvar,
    /// Whether the thread that looks runs: few runs have a call to look after.
    is_started: Mutex<bool>,
}

/// One call that may block.
struct Flight {
    thread: i32,
    probe: Probe,
    /// How often in a row the caller was seen to have a signal waiting.
    interruptions: AtomicU8,
    end: AtomicU8,
}

impl Watch {
    /// Prepares the calling thread, and those that it starts from here on, for being watched.
    pub(crate) fn prepare() -> std::io::Result<Self> {
        socket::prepare_wake()?;
        Ok(Self { shared: Arc::default() })
    }

    /// Carries out `call`, which may block in the kernel, until it ends or `probe` says that
    /// its caller cannot wait. `EINTR` from `call` for any other reason starts it again.
    pub(crate) fn guard<T>(&self, probe: Probe, mut call: impl FnMut() -> io::Result<T>) -> Outcome<T> {
        if self.shared.start().is_err() {
            return Outcome::Done(Err(Errno::AGAIN));
        }
        let flight = Arc::new(Flight {
            thread: gettid().as_raw_pid(),
            probe,
            interruptions: AtomicU8::new(0),
            end: AtomicU8::new(RUNS),
        });
        self.shared.lock().push(Arc::clone(&flight));
        self.shared.taken_off.notify_one();
        let outcome = loop {
            let result = call();
            match (result, flight.end.load(Ordering::Acquire)) {
                (Err(Errno::INTR), RUNS) => {}
                (Err(Errno::INTR), INTERRUPTED) => break Outcome::Interrupted,
                (Err(Errno::INTR), _) => break Outcome::Gone,
                (result, _) => break Outcome::Done(result),
            }
        };
        self.shared.lock().retain(|other| !Arc::ptr_eq(other, &flight));
        outcome
    }
}

impl Shared {
    /// Starts the thread that looks, the first time.
    fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let mut is_started = self.is_started.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_started {
            let shared = Arc::clone(self);
            spawn("net-watch", move || shared.look())?;
            *is_started = true;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        loop {
            let flights = self.lock();
            drop(self.taken_off.wait_while(flights, |flights| flights.is_empty()));
            thread::sleep(INTERVAL);
            let flights = self.lock().clone();
            for flight in flights {
                if flight.must_end() {
                    self.end(&flight);
                }
            }
        }
    }

    /// Wakes the thread of a flight, again and again until it has landed: a signal that
    /// arrives just before the thread blocks is lost.
    fn end(&self, flight: &Arc<Flight>) {
        let flights = self.lock();
        if flights.iter().any(|other| Arc::ptr_eq(other, flight)) {
            socket::wake(flight.thread);
        }
    }
}

impl Flight {
    fn must_end(&self) -> bool {
        match (self.probe)() {
            Fate::Waits => self.interruptions.store(0, Ordering::Relaxed),
            Fate::Gone => self.end.store(GONE, Ordering::Release),
            // Another thread of the caller's process may be about to take the signal: look twice.
            Fate::Interrupted if self.interruptions.fetch_add(1, Ordering::Relaxed) == 0 => {}
            Fate::Interrupted => {
                self.interruptions.store(1, Ordering::Relaxed);
                self.end.store(INTERRUPTED, Ordering::Release);
            }
        }
        self.end.load(Ordering::Acquire) != RUNS
    }
}

const RUNS: u8 = 0;
const INTERRUPTED: u8 = 1;
const GONE: u8 = 2;
const INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, UdpSocket},
        os::fd::AsFd,
    };

    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;
    use crate::net::address;

    /// A TCP socket and an address whose listener accepts no more: connecting blocks.
    fn stuck() -> (TcpListener, Vec<std::os::fd::OwnedFd>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = address::encode(listener.local_addr().unwrap());
        let fill = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        socket::connect(fill.as_fd(), &address).unwrap();
        (listener, vec![fill], address)
    }

    fn connect_with(fate: Fate) -> Outcome<()> {
        let watch = Watch::prepare().unwrap();
        let (_listener, _filled, address) = stuck();
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        watch.guard(Box::new(move || fate), || socket::connect(socket.as_fd(), &address))
    }

    #[test]
    fn a_blocking_connect_ends_when_a_signal_waits() {
        assert_eq!(connect_with(Fate::Interrupted), Outcome::Interrupted);
    }

    #[test]
    fn a_blocking_connect_ends_when_its_caller_is_gone() {
        assert_eq!(connect_with(Fate::Gone), Outcome::Gone);
    }

    #[test]
    fn other_calls_end_by_themselves() {
        let watch = Watch::prepare().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let result = watch.guard(Box::new(|| Fate::Waits), || Ok(socket.local_addr().is_ok()));
        assert_eq!(result, Outcome::Done(Ok(true)));
    }
}
