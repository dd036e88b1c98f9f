//! `vantio diff --from --to`: between checkpoints.

use std::os::fd::AsFd as _;

use vantio_phantom::{
    changes::{RunFolder, between, scan},
    checkpoint::{Shadow, find},
};

use super::{print_document, print_tree, print_written, short};
use crate::{
    arguments::Diff,
    checkpoints::Hold,
    commands::changes::{checkpoint_failure, claim_kept, host_root, scan_failure},
    failure::Failure,
    store::{Claim, Record, State, Store},
};

/// Shows what changed between the run's start, its checkpoints, and now.
pub fn diff(store: &Store, record: &Record, arguments: &Diff, json: bool) -> Result<u8, Failure> {
    let world = store.world(record);
    let looking = Looking::begin(store, record)?;
    let first = arguments.from.as_deref().map(|name| shadow(store, &world, Some(name))).transpose()?;
    let second = shadow(store, &world, arguments.to.as_deref())?;
    let looking = looking.end()?;
    let root = host_root()?;
    match first {
        None => {
            let changes = scan(second.run(), root.as_fd()).map_err(|error| scan_failure(&error))?;
            if json {
                print_document(record, changes.to_json())?;
            } else if arguments.patch {
                print_written(|out| changes.write_patch(second.run(), root.as_fd(), out))?;
            } else {
                print_tree(&changes)?;
                if !arguments.tree {
                    short::print(&changes, |is_shown, out| {
                        changes.filtered(is_shown).write_patch(second.run(), root.as_fd(), out)
                    })?;
                }
            }
        }
        Some(first) => {
            let between = between(first.run(), second.run(), root.as_fd());
            let between = between.map_err(|error| scan_failure(&error))?;
            if json {
                print_document(record, between.changes().to_json())?;
            } else if arguments.patch {
                print_written(|out| between.write_patch(out))?;
            } else {
                print_tree(between.changes())?;
                if !arguments.tree {
                    short::print(between.changes(), |is_shown, out| between.write_patch_of(is_shown, out))?;
                }
            }
        }
    }
    if let Some(claim) = looking {
        claim.release()?;
    }
    Ok(0)
}

/// While this lives, nothing changes in the run.
enum Looking {
    /// It lives, and waits.
    Held(Hold),
    /// It ended, and no other command changes it.
    Claimed(Box<Claim>),
}

impl Looking {
    fn begin(store: &Store, record: &Record) -> Result<Self, Failure> {
        if record.state == State::Running && store.is_held(record.id)? {
            return Hold::new(&store.folder(record.id)).map(Self::Held);
        }
        claim_kept(store, record.id).map(Box::new).map(Self::Claimed)
    }

    /// A run that lives goes on; one that ended stays claimed, so that a command that is killed is swept up after.
    fn end(self) -> Result<Option<Claim>, Failure> {
        match self {
            Self::Held(hold) => hold.end().map(|()| None),
            Self::Claimed(claim) => Ok(Some(*claim)),
        }
    }
}

fn shadow(store: &Store, world: &RunFolder, name: Option<&str>) -> Result<Shadow, Failure> {
    let failed = |error| checkpoint_failure(store, world, &error);
    let id = name.map(|name| find(world, name)).transpose().map_err(failed)?.map(|checkpoint| checkpoint.id);
    Shadow::new(world, id).map_err(failed)
}
