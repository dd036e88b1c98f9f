//! Refusals that a mask answers before the policy is asked.
//!
//! What a policy denies by name is covered by an unreadable mount, and an ordinary user meets the
//! cover first. The attempt is judged all the same, so that it is on record.

use rustix::{
    fs::ResolveFlags,
    io::{self, Errno},
};
use vantio_core::{Access, Effect, Intent, Target};

use super::{
    Plane,
    beyond::is_of_init,
    request::Request,
    resolve::{Entry, Located, OUTSIDE, join, split},
};

impl Plane {
    /// As [`super::resolve::View::locate`]; an attempt that meets a mask is put on record.
    pub(super) fn locate(
        &self,
        request: &Request,
        directory: i32,
        path: &[u8],
        follow: bool,
        flags: ResolveFlags,
    ) -> io::Result<Located> {
        let located = self.view.locate(request, directory, path, follow, flags);
        if let Err(Errno::ACCESS) = located
            && !request.has_refusal()
        {
            self.record_masked(request, directory, path);
        }
        located
    }

    /// As [`super::resolve::View::locate_entry`]; an attempt that meets a mask is put on record.
    pub(super) fn locate_entry(&self, request: &Request, directory: i32, path: &[u8]) -> io::Result<Entry> {
        let entry = self.view.locate_entry(request, directory, path);
        if let Err(Errno::ACCESS) = entry
            && !request.has_refusal()
        {
            self.record_masked(request, directory, path);
        }
        entry
    }

    /// Judges the path as far as it can be followed, with the names that remain.
    fn record_masked(&self, request: &Request, directory: i32, path: &[u8]) {
        let Some(path) = self.reachable(request, directory, path) else { return };
        if is_of_init(&path) {
            // The kernel kept the supervisor itself from following a link there.
            let _ = self.refuse_path::<()>(request, Effect::FsOpen, OUTSIDE, &path, Access::Read);
            return;
        }
        let target = Target::Path { path: &path, access: Access::Read, subtree: false };
        let pid = request.tid().as_raw_pid().unsigned_abs();
        let intent = Intent { pid, syscall: Some(request.syscall()), ..Intent::new(Effect::FsOpen, target) };
        // The kernel alone refuses what the policy would permit: nothing to record.
        if !self.oracle.would_permit(&intent) {
            self.decide(request, Effect::FsOpen, target);
        }
    }

    fn reachable(&self, request: &Request, directory: i32, path: &[u8]) -> Option<Vec<u8>> {
        let (mut parent, mut names) = (path, Vec::new());
        for _ in 0..LEVELS_MAX {
            let (above, name) = split(parent).ok()?;
            if matches!(name, b"." | b"..") {
                return None;
            }
            names.push(name);
            parent = above;
            let none = ResolveFlags::empty();
            if let Ok(Located::Found(object)) = self.view.locate(request, directory, parent, true, none) {
                return Some(names.iter().rev().fold(object.path, |path, name| join(&path, name)));
            }
        }
        None
    }
}

/// Deeper than any store that a mask covers.
const LEVELS_MAX: usize = 16;
