//! The nested runs of a run, and who is in which.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use vantio_core::json::Value;
use vantio_ledger::LedgerError;
use vantio_phantom::nested::{Mark, Marks, Square};
use vantio_policy::{Bindings, CommitMode, Details, Export, PolicyProgram, State, Viewing, flow::Flow};

/// The nested runs of one run.
pub struct Nests {
    layers: RwLock<Vec<Arc<Layer>>>,
    marks: OnceLock<Arc<dyn Marks>>,
    /// How many are nested in the run itself.
    children: AtomicU64,
    /// How many bytes their policies have.
    bytes: AtomicUsize,
    /// How many ask at this moment.
    pub(super) asking: AtomicUsize,
    outer: Outer,
}

/// What is to be known of the outer run.
pub struct Outer {
    /// Whether it keeps what was asked and answered.
    pub details: Details,
    /// When its changes reach the host.
    pub commit: CommitMode,
    /// How that may leave the machine.
    pub export: Export,
    /// Writes an entry about a nested run.
    pub record: Box<dyn Fn(Value) -> Result<(), LedgerError> + Send + Sync>,
}

/// A nested run.
pub struct Layer {
    /// Its number, from 1.
    pub number: u64,
    /// What it is called.
    pub name: String,
    /// Its policy.
    pub program: PolicyProgram,
    /// When it began.
    pub started: Instant,
    square: Square,
    children: AtomicU64,
    state: Mutex<State>,
}

/// Why there is no nested run.
#[derive(Debug, thiserror::Error)]
pub enum NestError {
    #[error("the policy of a nested run cannot have {0}")]
    Policy(&'static str),
    #[error("whoever asks has a limit of its own on resident memory or locks")]
    Limits,
    #[error("runs are nested {DEPTH} deep, or {MOST} in one run, or have {ROOM} bytes of policies already")]
    TooMany,
    #[error("the nested run cannot be written down: {0}")]
    Ledger(#[from] LedgerError),
}

impl NestError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Policy(_) => "E_NESTED_POLICY",
            Self::Limits => "E_NESTED_LIMITS",
            Self::TooMany => "E_NESTED_TOO_MANY",
            Self::Ledger(_) => "E_NESTED_LEDGER",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Policy(_) => {
                "leave it out, or say it in the outer run's policy, which holds for all within"
            }
            Self::Limits => "run without `ulimit -m` and `ulimit -x`",
            Self::TooMany => "start it from the outer run, or as a run of its own",
            Self::Ledger(_) => "the state folder must be writable and have room",
        }
    }
}

impl Nests {
    pub fn new(outer: Outer) -> Self {
        Self {
            layers: RwLock::default(),
            marks: OnceLock::new(),
            children: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            asking: AtomicUsize::new(0),
            outer,
        }
    }

    pub fn attach(&self, marks: Arc<dyn Marks>) {
        // There is one supervisor.
        drop(self.marks.set(marks));
    }

    /// The nested runs that the thread is in, from the outermost; `None` where that cannot be told.
    pub fn of(&self, tid: u32) -> Option<Vec<Arc<Layer>>> {
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        // What comes without a call comes from nobody that could be told.
        if layers.is_empty() || tid == 0 {
            return Some(Vec::new());
        }
        let limits = self.marks.get()?.mark_of(tid)?;
        Some(layers.iter().filter(|layer| layer.square.mark.governs(limits)).map(Arc::clone).collect())
    }

    /// Whether there is one.
    pub fn is_any(&self) -> bool {
        !self.layers.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether every nested run that the thread is in has the processes of this mark in it too.
    pub fn hold(&self, tid: u32, mark: Mark) -> bool {
        self.of(tid).is_some_and(|layers| layers.iter().all(|layer| layer.square.mark.governs(mark)))
    }

    /// Every nested run.
    pub fn all(&self) -> Vec<Arc<Layer>> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in a policy for whoever takes its mark, within the run of the mark `under`; it is on disk when this
    /// returns. `told` is what its entry says besides.
    pub fn add(
        &self,
        (name, program, bindings): (String, PolicyProgram, Bindings),
        under: Mark,
        told: Vec<(&'static str, Value)>,
    ) -> Result<(u64, Mark), NestError> {
        self.check(&program)?;
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = self.bytes.load(Ordering::Relaxed) + program.encode().len();
        if layers.len() >= MOST || bytes > ROOM {
            return Err(NestError::TooMany);
        }
        let parent = layers.iter().find(|layer| layer.square.mark == under);
        let (whole, children) = match parent {
            Some(parent) => (parent.square, &parent.children),
            None if under == Mark::NONE => (Square::WHOLE, &self.children),
            None => return Err(NestError::Limits),
        };
        let square = whole.child(children.load(Ordering::Relaxed)).ok_or(NestError::TooMany)?;
        children.fetch_add(1, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        let number = layers.len() as u64 + 1;
        let mut entry = told;
        entry.extend([
            ("mode", Value::from(program.mode().name())),
            ("name", name.as_str().into()),
            ("number", whole_number(number)),
            ("policy_hash", program.hash().to_string().into()),
            ("within", parent.map_or(Value::Null, |parent| whole_number(parent.number))),
        ]);
        (self.outer.record)(Value::object(entry))?;
        let state = Mutex::new(State::new(&program, bindings));
        let (children, started) = (AtomicU64::new(0), Instant::now());
        layers.push(Arc::new(Layer { number, name, program, started, square, children, state }));
        Ok((number, square.mark))
    }

    /// What the outer run's supervisor does not do for a part of it.
    fn check(&self, program: &PolicyProgram) -> Result<(), NestError> {
        let limits = program.limits();
        let wrong = if Flow::is_needed(program) {
            "labels or order rules"
        } else if !limits.is_empty() && !limits.best_effort {
            "limits of its own"
        } else if program.is_kill_switch_set() {
            "its kill switch set"
        } else if program.viewing() == Viewing::Snapshot {
            "a snapshot of its own"
        } else if program.commit_mode() == CommitMode::Never && self.outer.commit != CommitMode::Never {
            "`phantom.commit: never` where the outer run may be committed"
        } else if program.details() == Details::Drop && self.outer.details == Details::Keep {
            "`ledger.details: drop` where the outer run keeps them"
        } else if program.export() == Export::Shape && self.outer.export == Export::Full {
            "less to export than the outer run"
        } else {
            return Ok(());
        };
        Err(NestError::Policy(wrong))
    }
}

impl Layer {
    /// What it remembers. Locks are taken from the outermost nested run inwards, and before the outer run's.
    pub fn state(&self) -> Option<MutexGuard<'_, State>> {
        // A writer that panicked may have left half a change behind.
        self.state.lock().ok()
    }
}

fn whole_number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// How many nested runs a run may have.
const MOST: usize = 256;
/// How much their policies may be together.
const ROOM: usize = 8 << 20;
/// How deep marks reach.
const DEPTH: usize = 4;
