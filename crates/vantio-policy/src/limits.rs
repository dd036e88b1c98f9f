//! Limits on what a run may have at one time: what the kernel keeps, not [`decide`](crate::decide).

/// Limits of a run's resources. `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of all its processes together.
    pub memory: Option<u64>,
    /// Processes and threads alive at one time.
    pub processes: Option<u64>,
    /// Processor time, in percent of one processor.
    pub cpu: Option<u64>,
    /// Bytes that its changes take on disk.
    pub disk: Option<u64>,
    /// Descriptors that one process has open.
    pub open_files: Option<u64>,
    /// Whether a run goes on where one of these cannot be held. Without limits it is not set.
    pub best_effort: bool,
}

impl Limits {
    /// The names of the limits, in the order of [`Limits::values`].
    pub const NAMES: [&'static str; 5] = ["memory", "processes", "cpu", "disk", "open_files"];

    /// The limits, in the order of [`Limits::NAMES`].
    pub const fn values(&self) -> [Option<u64>; 5] {
        [self.memory, self.processes, self.cpu, self.disk, self.open_files]
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.values().iter().all(Option::is_none)
    }

    pub(crate) fn from_values(values: [Option<u64>; 5], best_effort: bool) -> Self {
        let [memory, processes, cpu, disk, open_files] = values;
        let limits = Self { memory, processes, cpu, disk, open_files, best_effort: false };
        Self { best_effort: best_effort && !limits.is_empty(), ..limits }
    }
}
