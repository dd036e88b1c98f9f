//! Sees what ran out, and says so.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Meters, Resource, disk::Room, groups::Group};
use crate::{Oracle, Ruling};

/// A watch over one run.
#[derive(Debug)]
pub(crate) struct Watch {
    groups: Vec<(Group, u64)>,
    meters: Arc<Meters>,
    /// Whether the kernel ended a process for want of memory.
    ended_some: bool,
    /// How often descriptors ran out, as far as it was told; `None` where they are not limited.
    descriptors: Option<u64>,
}

/// A watch that goes on, until it is ended or dropped.
pub(crate) struct Watching {
    ends: Sender<()>,
    thread: thread::JoinHandle<bool>,
}

impl Watch {
    pub(super) fn new(groups: Vec<Group>, meters: Arc<Meters>, limits_descriptors: bool) -> Self {
        let groups = groups.into_iter().map(|group| (group, 0)).collect();
        Self { groups, meters, ended_some: false, descriptors: limits_descriptors.then_some(0) }
    }

    /// Watches from a thread of its own; `kill` ends the run.
    pub(crate) fn start(
        mut self,
        oracle: Arc<dyn Oracle>,
        kill: impl Fn() + Send + 'static,
    ) -> io::Result<Watching> {
        let (ends, ended) = channel();
        let thread = thread::Builder::new().name("vantio-limits".into()).spawn(move || {
            let mut pause = SHORTEST;
            loop {
                let is_over = ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
                let begun = Instant::now();
                if self.look(&*oracle) == Ruling::Kill {
                    kill();
                }
                if is_over {
                    return self.ended_some;
                }
                // A tree that takes long to look at is looked at less often.
                pause = (begun.elapsed() * 10).max(SHORTEST);
            }
        })?;
        Ok(Watching { ends, thread })
    }

    fn look(&mut self, oracle: &dyn Oracle) -> Ruling {
        let mut ruling = Ruling::Permit;
        for (group, known) in &mut self.groups {
            let now = group.exhausted();
            if now > *known {
                *known = now;
                self.ended_some |= group.resource == Resource::Memory;
                ruling = worst(ruling, oracle.ran_out(group.resource));
            }
        }
        if let Some(known) = &mut self.descriptors {
            let now = self.meters.descriptors.load(Ordering::Relaxed);
            if now > *known {
                *known = now;
                ruling = worst(ruling, oracle.ran_out(Resource::OpenFiles));
            }
        }
        match self.meters.disk.look() {
            Room::Left => ruling,
            Room::JustFull => worst(ruling, oracle.ran_out(Resource::Disk)),
            Room::Overrun => {
                oracle.ran_out(Resource::Disk);
                Ruling::Kill
            }
        }
    }
}

impl Watching {
    /// Looks once more, and ends. Whether the kernel ended a process for want of memory.
    pub(crate) fn end(self) -> bool {
        drop(self.ends);
        // A thread that panicked has nothing more to say.
        self.thread.join().unwrap_or_default()
    }
}

fn worst(one: Ruling, other: Ruling) -> Ruling {
    if one == Ruling::Kill || other == Ruling::Kill { Ruling::Kill } else { Ruling::Permit }
}

/// Between two looks, at least.
const SHORTEST: Duration = Duration::from_millis(100);
