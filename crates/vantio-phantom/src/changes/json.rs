//! Changes as JSON, for programs.

use serde::Serialize;

use super::{Blocked, Change, ChangeKind, ChangeSet, FileType, Hazard, Node, PathBytes, Stamp};

impl ChangeSet {
    /// The changes in schema version 1:
    ///
    /// ```json
    /// {"version": 1, "changes": [{
    ///   "path": "/absolute", "kind": "added|modified|deleted|renamed|retyped|metadata",
    ///   "from": "/old or null", "before": NODE or null, "after": NODE or null,
    ///   "links": ["/up to 100 other names of the same file"], "hazards": ["setuid", …],
    ///   "conflict": true where the host changed it too, "never_committed": "socket" or null}]}
    /// ```
    ///
    /// A NODE has `type size mode uid gid mtime target sparse xattrs`; `mode` is octal text,
    /// `mtime` seconds and nanoseconds. Bytes that are not UTF-8 stand as `{"base64": "…"}`.
    pub fn to_json(&self) -> serde_json::Value {
        let document =
            Document { version: SCHEMA_VERSION, changes: self.changes().iter().map(Entry::of).collect() };
        // INVARIANT: every key is a string and no number is a float.
        serde_json::to_value(document).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Document {
    version: u32,
    changes: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    path: PathBytes,
    kind: ChangeKind,
    from: Option<PathBytes>,
    before: Option<Described>,
    after: Option<Described>,
    links: Vec<PathBytes>,
    hazards: Vec<Hazard>,
    conflict: bool,
    never_committed: Option<Blocked>,
}

impl Entry {
    fn of(change: &Change) -> Self {
        Self {
            path: change.path.clone().into(),
            kind: change.kind,
            from: change.from.clone().map(PathBytes),
            before: change.before.as_ref().map(Described::of),
            after: change.after.as_ref().map(Described::of),
            links: others(change),
            hazards: change.hazards.clone(),
            conflict: change.origin.is_conflict,
            never_committed: change.blocked,
        }
    }
}

fn others(change: &Change) -> Vec<PathBytes> {
    let others = change.links.iter().filter(|name| **name != change.path);
    others.take(MOST_LINKS).cloned().map(PathBytes).collect()
}

#[derive(Serialize)]
struct Described {
    r#type: FileType,
    size: u64,
    mode: String,
    uid: u32,
    gid: u32,
    mtime: Stamp,
    target: Option<PathBytes>,
    sparse: bool,
    xattrs: Vec<PathBytes>,
}

impl Described {
    fn of(node: &Node) -> Self {
        Self {
            r#type: node.file_type,
            size: node.size,
            mode: format!("{:04o}", node.mode),
            uid: node.uid,
            gid: node.gid,
            mtime: node.modified,
            target: node.target.clone().map(PathBytes),
            sparse: node.is_sparse(),
            xattrs: node.xattrs.keys().cloned().map(PathBytes).collect(),
        }
    }
}

/// Of a file with more names, only so many are listed with each.
const MOST_LINKS: usize = 100;
const SCHEMA_VERSION: u32 = 1;
