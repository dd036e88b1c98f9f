//! The state folder: where runs, the ledger and the trust domain are kept.
//!
//!     runs/RUN_ID/run.json   what is known about a run
//!     runs/RUN_ID/supervisor the process whose death is the run's
//!     runs/RUN_ID/output/    what a detached run wrote
//!     runs/RUN_ID/…sock      where a live run can be reached
//!     runs/RUN_ID/…          upper layers and journals, the mechanism's own
//!     runs/.next             the folder that the next run will have
//!     held/RUN_ID            exists while a command works on the run; locked while it lives
//!     policies/HASH          the policies that runs had, compiled
//!     ledger.db              the ledger, unless a server keeps it
//!     LOG_ID.key             the key of a ledger that a server keeps
//!     identity/              the trust domain
//!     reserve                room for a discard on a full disk

mod error;
mod folder;
mod ledger;
mod lock;
mod process;
mod program;
mod record;
mod reference;
mod reserve;

use std::{
    env, fs, io,
    path::{self, Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, SystemTime},
};

use rustix::fs::Mode;
use serde::de::Error as _;
use vantio_core::{Hash, RunId};
use vantio_ledger::Location;
use vantio_phantom::changes::{RunFolder, Surroundings};
use vantio_policy::PolicyProgram;

pub use error::StoreError;
pub use folder::lay_ahead;
pub use ledger::{appendable, open_ledger, options};
pub use lock::Lock;
pub use process::{Process, is_supervisor};
pub use record::{LayerSource, Outcome, PolicySource, Record, State};

/// The state folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    ledger: Location,
    /// The runs that there were when one was first looked for.
    known: Arc<OnceLock<Vec<RunId>>>,
}

/// A run whose folder this command holds: no other command changes it.
#[derive(Debug)]
pub struct Claim {
    /// What is known about the run.
    pub record: Record,
    store: Store,
    lock: Lock,
}

impl Store {
    /// Opens the state folder of this user; creates it when there is none. The ledger is in it, or
    /// where `ledger` says: a server, or a file that is only read.
    pub fn open(ledger: Option<&str>) -> Result<Self, StoreError> {
        let store = Self::at(&folder::locate()?)?;
        // The keys of logs on servers are kept in the state folder.
        match ledger
            .filter(|address| !address.is_empty())
            .map(|address| Location::parse(address, &store.root))
        {
            None => Ok(store),
            Some(Location::File(path)) if !path.to_string_lossy().contains("://") => {
                let ledger = Location::File(path::absolute(&path).unwrap_or(path));
                Ok(Self { ledger, ..store })
            }
            Some(Location::File(_)) => Err(StoreError::NoStore),
            Some(ledger) => Ok(Self { ledger, ..store }),
        }
    }

    /// The file of the ledger in the state folder.
    pub fn own_ledger(&self) -> PathBuf {
        self.root.join("ledger.db")
    }

    /// Opens `root` as the state folder; creates it when there is none.
    pub fn at(root: &Path) -> Result<Self, StoreError> {
        let root = folder::prepare(root)?;
        let store = Self { ledger: Location::File(root.join("ledger.db")), root, known: Arc::default() };
        folder::create(&store.runs())?;
        folder::spread(&store.runs());
        folder::create(&store.held())?;
        Ok(store)
    }

    /// The folder itself, canonical.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What no run may see: this folder, and the one that would be used without
    /// `VANTIO_STATE`.
    pub fn hidden(&self) -> Vec<PathBuf> {
        let usual = folder::usual().and_then(|path| path.canonicalize().ok());
        match usual {
            Some(usual) if self.root.starts_with(&usual) => vec![usual],
            Some(usual) if !usual.starts_with(&self.root) => vec![self.root.clone(), usual],
            _ => vec![self.root.clone()],
        }
    }

    /// Where the ledger is.
    pub fn ledger(&self) -> Location {
        self.ledger.clone()
    }

    /// The file that names the witnesses of the ledger.
    pub fn witnesses(&self) -> PathBuf {
        self.root.join("ledger.witnesses")
    }

    /// The trust domain's folder.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The folder that holds every run's.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The folder that holds a lock of every run that a command holds. What concerns these alone looks here, however
    /// many others are kept.
    fn held(&self) -> PathBuf {
        held_beside(&self.runs())
    }

    fn lock(&self, id: RunId) -> PathBuf {
        self.held().join(id.to_string())
    }

    /// The folder of a run.
    pub fn folder(&self, id: RunId) -> PathBuf {
        self.runs().join(id.to_string())
    }

    /// The folder of a run, as the mechanism names it.
    pub fn world(&self, record: &Record) -> RunFolder {
        RunFolder::new(self.folder(record.id), record.started_ns).among(surroundings(record))
    }

    /// Keeps room for a discard, should the disk be full by then.
    pub fn keep_reserve(&self) {
        reserve::keep(&self.root);
    }

    /// Gives that room back.
    pub fn spend_reserve(&self) {
        reserve::spend(&self.root);
    }

    /// Adds a run and holds it.
    pub fn create(&self, record: Record) -> Result<Claim, StoreError> {
        let lock = self.take(record.id)?;
        self.keep_reserve();
        folder::create_run(&self.folder(record.id))?;
        let claim = Claim { record, store: self.clone(), lock };
        claim.save()?;
        Ok(claim)
    }

    /// Holds a run. [`StoreError::Busy`] when it lives or another command holds it.
    pub fn claim(&self, id: RunId) -> Result<Claim, StoreError> {
        let lock = self.take(id)?;
        match self.read(id) {
            Ok(record) => Ok(Claim { record, store: self.clone(), lock }),
            Err(error) => lock.remove().and(Err(error)),
        }
    }

    fn take(&self, id: RunId) -> Result<Lock, StoreError> {
        for _ in 0..CLAIM_TRIES {
            if let Some(lock) = Lock::take(&self.lock(id))? {
                return Ok(lock);
            }
            // Who only asks whether the run lives, or took it for one that had died while it was made, has the lock for a
            // moment.
            thread::sleep(Duration::from_millis(5));
        }
        Err(StoreError::Busy { id })
    }

    /// The process whose death is the death of everything in the run.
    pub fn supervisor(&self, id: RunId) -> Result<Option<Process>, StoreError> {
        Process::read(&self.supervisor_file(id))
    }

    /// Where [`Store::supervisor`] is written down.
    pub fn supervisor_file(&self, id: RunId) -> PathBuf {
        Self::supervisor_in(&self.folder(id))
    }

    /// The same, in the folder of a run.
    pub fn supervisor_in(folder: &Path) -> PathBuf {
        folder.join("supervisor")
    }

    /// What is known about a run.
    pub fn read(&self, id: RunId) -> Result<Record, StoreError> {
        let folder = self.folder(id);
        match record::read(&folder.join("run.json"), id) {
            // A run that is only being made is held.
            Err(StoreError::Unknown { .. }) if folder.exists() && !self.is_held(id)? => {
                let cause = serde_json::Error::custom("it is gone");
                Err(StoreError::Damaged { id, cause })
            }
            other => other,
        }
    }

    /// When something was last done with a run: it ended, was committed, or anything else that its record tells.
    pub fn touched(&self, id: RunId) -> Result<SystemTime, StoreError> {
        let file = self.folder(id).join("run.json");
        let time = fs::metadata(&file).and_then(|metadata| metadata.modified());
        time.map_err(|cause| error::folder(&file, cause))
    }

    /// The policy that a run had; `None` where it is not known any more.
    pub fn program(&self, record: &Record) -> Option<PolicyProgram> {
        self.program_of(record.policy_hash.parse().ok()?)
    }

    /// The policy with this hash; `None` where no run had it.
    pub fn program_of(&self, hash: Hash) -> Option<PolicyProgram> {
        program::read(&self.root, hash)
    }

    /// Where that is kept.
    pub fn program_file(&self, hash: Hash) -> PathBuf {
        program::file(&self.root, hash)
    }

    /// Whether a command holds the run: it lives, or is being committed or discarded.
    pub fn is_held(&self, id: RunId) -> Result<bool, StoreError> {
        Lock::is_held(&self.lock(id))
    }

    /// Runs that a command held when it died. They are held now, but for those whose record cannot be read.
    pub fn abandoned(&self) -> Result<Vec<Result<Claim, StoreError>>, StoreError> {
        let claims = ids_in(&self.held())?.into_iter().map(|id| self.claim_abandoned(id));
        Ok(claims.filter_map(Result::transpose).collect())
    }

    fn claim_abandoned(&self, id: RunId) -> Result<Option<Claim>, StoreError> {
        let Some(lock) = Lock::take(&self.lock(id))? else { return Ok(None) };
        match self.read(id) {
            Ok(record) => Ok(Some(Claim { record, store: self.clone(), lock })),
            // It died before its record was written: nothing ran.
            Err(StoreError::Unknown { .. }) => self.remove(id).and_then(|()| lock.remove()).map(|()| None),
            Err(other) => Err(other),
        }
    }

    /// Removes a run whose record cannot be read, with all that it left, once `clean` has cleaned up after it.
    pub fn erase<E: From<StoreError>>(
        &self,
        id: RunId,
        clean: impl FnOnce(RunFolder) -> Result<(), E>,
    ) -> Result<(), E> {
        let lock = self.take(id)?;
        clean(RunFolder::new(self.folder(id), 0))?;
        Ok(self.remove(id).and_then(|()| lock.remove())?)
    }

    fn remove(&self, id: RunId) -> Result<(), StoreError> {
        let folder = self.folder(id);
        match fs::remove_dir_all(&folder) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(error::folder(&folder, cause)),
            _ => Ok(()),
        }
    }

    /// The ids of all runs, oldest first.
    pub fn ids(&self) -> Result<Vec<RunId>, StoreError> {
        ids_in(&self.runs())
    }

    /// The run that `reference` names: an id, the beginning of one, or `last`.
    pub fn resolve(&self, reference: &str) -> Result<RunId, StoreError> {
        let ids = self.ids()?;
        let id = reference::resolve(reference, &ids);
        // Said once.
        let _ = self.known.set(ids);
        id
    }

    /// The run that `reference` names in a ledger, which may be of another host, or gone from here.
    pub fn resolve_recorded(&self, reference: &str) -> Result<RunId, StoreError> {
        reference.parse().or_else(|_| self.resolve(reference))
    }

    /// The shortest beginning of `id` that names no other run, and stays so: at least the
    /// millisecond of its creation, which none shares that is made later.
    pub fn short(&self, id: RunId) -> String {
        reference::shorten(id, self.known.get_or_init(|| self.ids().unwrap_or_default()))
    }
}

impl Claim {
    /// Writes the record, all of it or nothing.
    pub fn save(&self) -> Result<(), StoreError> {
        record::write(&self.store.folder(self.record.id), &self.record)
    }

    /// Keeps the policy that the run has.
    pub fn keep(&self, program: &PolicyProgram) -> Result<(), StoreError> {
        program::write(&self.store.root, &self.store.folder(self.record.id), program)
    }

    /// The run's folder, as the mechanism names it.
    pub fn world(&self) -> RunFolder {
        self.store.world(&self.record)
    }

    /// Whether whoever held it before died, and left what [`Store::abandoned`] finds.
    pub const fn was_abandoned(&self) -> bool {
        self.lock.was_left()
    }

    /// Lets go of the run: what follows needs no recovery.
    pub fn release(self) -> Result<(), StoreError> {
        self.lock.remove()
    }
}

/// The folder of locks beside the folder of all runs.
fn held_beside(runs: &Path) -> PathBuf {
    runs.with_file_name("held")
}

/// What in `folder` has the name of a run, oldest first.
fn ids_in(folder: &Path) -> Result<Vec<RunId>, StoreError> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|cause| error::folder(folder, cause))?;
    let mut ids: Vec<RunId> =
        entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// What of this host, as the caller sees it, decides whether a change is a hazard.
fn surroundings(record: &Record) -> Surroundings {
    let home = env::var_os("HOME").and_then(|home| PathBuf::from(home).canonicalize().ok());
    let search_path = env::var_os("PATH").unwrap_or_default();
    let search_path = env::split_paths(&search_path).filter(|folder| folder.is_absolute());
    Surroundings {
        workspace: record.workspace.as_bytes().to_vec(),
        home: home.map(|home| home.into_os_string().into_encoded_bytes()).unwrap_or_default(),
        search_path: search_path.map(|folder| folder.into_os_string().into_encoded_bytes()).collect(),
        policies: record.policy_files(),
        is_glance: false,
    }
}

const CLAIM_TRIES: u32 = 10;

/// What the files of the state folder permit: their owner only.
const PRIVATE: Mode = Mode::from_raw_mode(0o600);

#[cfg(test)]
mod tests;
