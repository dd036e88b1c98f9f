//! What deserves a look before it reaches the host: what a commit brings can
//! make the host run something later, or widen a privilege.
//!
//! The list is in `table.rs`. This room looks every change up in it; what
//! cannot be read or understood counts as a hazard.

mod access;
mod aliases;
mod index;
mod names;
mod places;
mod predicates;
mod root;
mod says;
mod table;
mod text;

use std::{
    fmt,
    io::{self, Read as _},
};

use rustix::fd::{AsFd as _, BorrowedFd};
use serde::{Serialize, Serializer};

use super::{
    Change, ChangeKind, ChangeSet, FileType, Node, Shared, Surroundings, beneath::join, sides::Sides,
};
use index::Index;
use names::folded;
use places::Places;
use table::{ROWS, Row, Says, Test};

/// A property of a change by which a commit can harm more than its file.
#[derive(Clone, Copy)]
pub struct Hazard(&'static Row);

impl Hazard {
    /// Every hazard there is; where several rows have one name, it comes once.
    pub fn all() -> impl Iterator<Item = Self> {
        let is_first =
            |(index, row): &(usize, &'static Row)| ROWS[..*index].iter().all(|other| other.name != row.name);
        ROWS.iter().enumerate().filter(is_first).map(|(_, row)| Self(row)).chain([Self(&UNREAD)])
    }

    /// The stable name.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// What it is, in a few words.
    pub const fn reason(self) -> &'static str {
        self.0.reason
    }
}

impl PartialEq for Hazard {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Hazard {}

impl fmt::Debug for Hazard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for Hazard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A folder with more in it than is looked through.
static UNREAD: Row = Row {
    name: "unread",
    reason: "holds more than could be looked through",
    paths: &[],
    except: &[],
    test: Test::Place,
};

/// Marks every change of `set` that is a hazard.
pub(super) fn mark(
    set: &mut ChangeSet,
    sides: &Sides<'_>,
    surroundings: &Surroundings,
    host_root: BorrowedFd<'_>,
) {
    // The host need not be asked about nothing, which is what most runs leave.
    if set.changes.is_empty() {
        return;
    }
    let index = Index::new();
    let places = Places::new(surroundings, host_root, &index);
    let look = Look { sides, places, index, set, shared: Shared::new(set) };
    let found: Vec<Vec<Hazard>> = set.changes.iter().map(|change| look.hazards(change)).collect();
    for (change, hazards) in set.changes.iter_mut().zip(found) {
        change.hazards = hazards;
    }
}

struct Look<'a> {
    sides: &'a Sides<'a>,
    places: Places,
    index: Index,
    set: &'a ChangeSet,
    shared: Shared<'a>,
}

/// What a row is asked about.
pub(in crate::changes) struct Subject<'a> {
    look: &'a Look<'a>,
    change: &'a Change,
    node: &'a Node,
    /// Where it will be: the change's own path, or another name of it.
    path: &'a [u8],
    names: Vec<String>,
}

impl Look<'_> {
    fn hazards(&self, change: &Change) -> Vec<Hazard> {
        let Some(node) = &change.after else { return self.of_deletion(change) };
        let mut found = Vec::new();
        let aliases = self.aliases(&change.path, node);
        for path in std::iter::once(change.path.as_slice()).chain(aliases.iter().map(Vec::as_slice)) {
            let subject = Subject { look: self, change, node, path, names: folded(path) };
            let rows = self.index.rows(&subject.names, node);
            rows.filter(|row| subject.is(row)).for_each(|row| add(&mut found, row));
        }
        if change.kind == ChangeKind::Renamed && !change.lost_its_source() {
            self.below(change, &mut found);
        }
        found
    }

    /// The names of the table by which the host reaches what will be at `path`.
    fn aliases(&self, path: &[u8], node: &Node) -> Vec<Vec<u8>> {
        let mut aliases = self.places.aliases(path);
        if node.file_type == FileType::Symlink {
            aliases.extend(self.places.aliases_through(path));
        }
        aliases
    }

    /// Nothing runs that is gone, but a policy that is gone permits more.
    fn of_deletion(&self, change: &Change) -> Vec<Hazard> {
        let row = ROWS.iter().find(|row| row.name == "policy");
        let is_one = predicates::removes_policy(&self.places, change);
        row.filter(|_| is_one).map(Hazard).into_iter().collect()
    }

    /// What a renamed directory brings to a place where it means something.
    fn below(&self, change: &Change, found: &mut Vec<Hazard>) {
        let mut waiting = vec![(change.host_path().to_vec(), change.path.clone())];
        let mut left = MOST_LOOKED_THROUGH;
        while let Some((from, to)) = waiting.pop() {
            let Ok((dir, names)) = self.sides.host_dir(&from) else { return add(found, &UNREAD) };
            for name in names {
                let Some(rest) = left.checked_sub(1) else { return add(found, &UNREAD) };
                left = rest;
                let (old, new) = (join(&from, &name), join(&to, &name));
                match Node::at(dir.as_fd(), &name) {
                    Ok(Some(node)) if node.is_dir() => waiting.push((old, new)),
                    Ok(Some(node)) => self.moved(change, &node, &old, &new, found),
                    Ok(None) => {}
                    Err(_) => return add(found, &UNREAD),
                }
            }
        }
    }

    /// A file that changes only its place: a hazard by that alone.
    fn moved(&self, change: &Change, node: &Node, old: &[u8], new: &[u8], found: &mut Vec<Hazard>) {
        self.moved_to(change, node, old, new, found);
        for alias in self.aliases(new, node) {
            self.moved_to(change, node, old, &alias, found);
        }
        let leads_out = |path| predicates::leads_out_of_workspace(&self.places, path, node);
        if leads_out(new) && !leads_out(old) {
            add_called("leaving-symlink", found);
        }
    }

    /// The same at one name of the new place, as of a copy there: where it was, nothing may have obeyed it, whatever
    /// its name (`vendor`, `node_modules`).
    fn moved_to(&self, change: &Change, node: &Node, old: &[u8], new: &[u8], found: &mut Vec<Hazard>) {
        let names = folded(new);
        for row in self.index.rows(&names, node).filter(|row| !row.paths.is_empty()) {
            let is_one = match row.test {
                Test::Place => true,
                Test::Says(says) => {
                    let content = self.sides.host_file(old, node).and_then(read);
                    content.ok().and_then(|after| comparison(row, says, &names)(&after, b"")) != Some(false)
                }
                // What makes a repository's configuration of it, the `HEAD` beside it, is a hazard of its own.
                Test::Is(_) => false,
            };
            if is_one {
                add(found, row);
            }
        }
        let subject = Subject { look: self, change, node, path: new, names };
        if predicates::shadows_program(&subject) {
            add_called("shadows-program", found);
        }
        if self.places.is_policy(new) {
            add_called("policy", found);
        }
    }
}

fn add_called(name: &str, found: &mut Vec<Hazard>) {
    ROWS.iter().filter(|row| row.name == name).for_each(|row| add(found, row));
}

fn add(found: &mut Vec<Hazard>, row: &'static Row) {
    if !found.contains(&Hazard(row)) {
        found.push(Hazard(row));
    }
}

impl Subject<'_> {
    fn is(&self, row: &'static Row) -> bool {
        match row.test {
            Test::Place => true,
            Test::Is(is) => is(self),
            Test::Says(says) => self.says(row, says).unwrap_or(true),
        }
    }

    /// Compares what the file says with what the host's says; `None` where
    /// that cannot be told.
    fn says(&self, row: &Row, says: Says) -> Option<bool> {
        if self.node.file_type != FileType::File {
            return None;
        }
        let says = comparison(row, says, &self.names);
        // What only changed its mode says what it said.
        let after = self.look.sides.run_file(self.change, self.node).and_then(read).ok()?;
        let before = match self.change.before.as_ref().filter(|before| before.file_type == FileType::File) {
            // What stood elsewhere was not obeyed there.
            Some(before) if self.look.index.covers(row, &folded(self.change.host_path()), before) => {
                self.look.sides.host_file(self.change.host_path(), before).and_then(read).ok()?
            }
            _ => Vec::new(),
        };
        says(&after, &before)
    }
}

/// How a row compares what a file at these names says.
fn comparison(row: &Row, says: Says, names: &[String]) -> Says {
    let is_installed = row.name == "package-script" && names.iter().any(|name| name == "node_modules");
    if is_installed { says::changes_installed_scripts } else { says }
}

/// Reads a file of the sort that people write; a larger one is an error.
fn read(file: std::fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file.take(LARGEST_READ + 1).read_to_end(&mut bytes)? as u64 > LARGEST_READ {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

const LARGEST_READ: u64 = 1 << 20;
const MOST_LOOKED_THROUGH: usize = 100_000;
/// After so many symlinks the kernel gives up, and so do we.
const MOST_SYMLINKS: u32 = 40;
