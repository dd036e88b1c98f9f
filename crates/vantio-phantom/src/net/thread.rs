//! Threads that work for the plane.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use rustix::io::{self, Errno};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that has entered a place, a namespace, and carries out what has to be done there.
pub(crate) struct Room {
    jobs: mpsc::Sender<Job>,
}

impl Room {
    /// Starts the thread where the calling one is, with a stack for whatever it is asked to do.
    pub(crate) fn here(name: &str) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let work = move || queue.into_iter().for_each(|job| job());
        thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { jobs })
    }

    /// Starts the thread; `enter` brings it to its place.
    pub(crate) fn open(
        name: &str,
        enter: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (entered, is_entered) = mpsc::channel();
        spawn(name, move || {
            let result = enter();
            let has_entered = result.is_ok();
            if entered.send(result).is_err() || !has_entered {
                return;
            }
            for job in queue {
                job();
            }
        })?;
        is_entered.recv().map_err(|_| std::io::ErrorKind::BrokenPipe)??;
        Ok(Self { jobs })
    }

    /// Carries `work` out there and waits for its result; `EIO` when the thread is gone.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = mpsc::sync_channel(1);
        self.tell(move || drop(done.send(work())))?;
        result.recv().map_err(|_| Errno::IO)?
    }

    /// As [`Room::call`], without waiting.
    pub(crate) fn tell(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.jobs.send(Box::new(work)).map_err(|_| Errno::IO)
    }
}

/// Threads for work that may block, started when there is work for them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// Where the threads are born; else they are children of whoever brings work, and share
    /// the namespaces, working directory and identity that it has then.
    birthplace: Option<Arc<Room>>,
}

struct Shared {
    name: &'static str,
    limit: usize,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    idle: usize,
    threads: usize,
}

impl Pool {
    /// A pool of at most `limit` threads, none of which runs yet.
    pub(crate) fn new(name: &'static str, limit: usize) -> Self {
        let (state, arrived) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { name, limit, state, arrived }), birthplace: None }
    }

    /// A pool whose threads are where the thread of `room` is, whoever brings work.
    pub(crate) fn within(room: Arc<Room>, name: &'static str, limit: usize) -> Self {
        Self { birthplace: Some(room), ..Self::new(name, limit) }
    }

    /// Has a thread do `job` now; `EAGAIN` when every thread is busy and no other may start.
    pub(crate) fn submit(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.idle == state.queue.len() {
            if state.threads == self.shared.limit {
                return Err(Errno::AGAIN);
            }
            let shared = Arc::clone(&self.shared);
            let start = move || spawn(shared.name, move || shared.work()).map_err(|_| Errno::AGAIN);
            match &self.birthplace {
                Some(room) => room.call(start)?,
                None => start()?,
            }
            state.threads += 1;
            // The thread counts as idle from its birth: it will take a job from the queue.
            state.idle += 1;
        }
        state.queue.push_back(Box::new(job));
        drop(state);
        self.shared.arrived.notify_one();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn wait_for_idle(&self, threads: usize) {
        while {
            let state = self.lock();
            state.idle - state.queue.len() < threads
        } {
            thread::yield_now();
        }
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            while let Some(job) = state.queue.pop_front() {
                state.idle -= 1;
                drop(state);
                // Whoever waits for the job's result sees that it is gone.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                state = self.lock();
                state.idle += 1;
            }
            if state.idle > IDLE_MAX {
                state.idle -= 1;
                state.threads -= 1;
                return;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Starts a thread with a small stack.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work).map(drop)
}

/// Threads that stay when there is nothing to do.
const IDLE_MAX: usize = 8;
const STACK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_room_does_one_thing_after_another_on_one_thread() {
        let room = Room::open("test", || Ok(())).unwrap();
        let first = room.call(|| Ok(thread::current().id())).unwrap();
        assert_eq!(room.call(|| Ok(thread::current().id())), Ok(first));
        assert_ne!(first, thread::current().id());
    }

    #[test]
    fn a_room_that_cannot_be_entered_does_not_open() {
        assert!(Room::open("test", || Err(Errno::PERM)).is_err());
    }

    #[test]
    fn a_room_survives_no_panic_but_says_so() {
        let room = Room::open("test", || Ok(())).unwrap();
        assert_eq!(room.call::<()>(|| panic!("on purpose")), Err(Errno::IO));
        assert_eq!(room.call(|| Ok(())), Err(Errno::IO));
    }

    #[test]
    fn every_job_of_a_pool_has_a_thread_up_to_the_limit() {
        let pool = Pool::new("test", 3);
        let (started, starts) = channel();
        let (release, releases): (Vec<_>, Vec<_>) = (0..3).map(|_| channel::<()>()).unzip();
        for gate in releases {
            let started = started.clone();
            pool.submit(move || {
                started.send(()).unwrap();
                let _ = gate.recv();
            })
            .unwrap();
        }
        (0..3).for_each(|_| starts.recv().unwrap());
        assert_eq!(pool.submit(|| ()), Err(Errno::AGAIN));
        drop(release);
        pool.shared.wait_for_idle(3);
        let (done, result) = channel();
        pool.submit(move || done.send(7).unwrap()).unwrap();
        assert_eq!(result.recv(), Ok(7));
    }

    #[test]
    fn the_threads_of_a_room_s_pool_are_where_the_room_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let place = path.clone();
        let enter = move || {
            crate::sys::process::unshare(libc::CLONE_FS)?;
            rustix::process::chdir(place)
        };
        let pool = Pool::within(Arc::new(Room::open("test", enter).unwrap()), "test", 1);
        let (done, result) = channel();
        pool.submit(move || done.send(std::env::current_dir().unwrap()).unwrap()).unwrap();
        assert_eq!(result.recv().unwrap(), path);
    }

    #[test]
    fn a_pool_outlives_a_job_that_panics() {
        let pool = Pool::new("test", 1);
        pool.submit(|| panic!("on purpose")).unwrap();
        pool.shared.wait_for_idle(1);
        let (done, result) = channel();
        pool.submit(move || done.send(7).unwrap()).unwrap();
        assert_eq!(result.recv(), Ok(7));
    }
}
