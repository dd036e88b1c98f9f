//! The draft of a suggestion: what was seen, sorted; rules for it; and the proof that they suffice.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use vantio_core::{Access, Effect, Intent, Section, Target};

use super::{
    Evidence, Host, LeftOut, Lesson, Observation, Rules, SuggestedRule, Suggestion,
    complete::Denied,
    names::{base_name, is_secret, passing_stem, stem},
    network::Reached,
    places::Places,
    tree::{Gardener, Shape, Use, Uses},
    write::{self, Document},
};
use crate::{
    Bindings, State, decide,
    explain::Subject,
    path::{Kind, Matcher, PathPattern, absolute, is_within},
};

/// What is known while a suggestion is being made.
pub(super) struct Draft<'a> {
    pub(super) lessons: &'a [Lesson<'a>],
    pub(super) host: &'a dyn Host,
    /// What the variables of the suggestion stand for: those of the first lesson.
    pub(super) bindings: Bindings,
    pub(super) places: Places,
    /// The policies of the lessons, on these bindings.
    pub(super) learned: Vec<State>,
    /// What was seen, with the paths of every lesson as the first one's.
    pub(super) seen: Vec<Observation>,
    pub(super) folders: BTreeSet<Vec<u8>>,
    pub(super) rules: BTreeMap<Section, Rules>,
    pub(super) left_out: BTreeSet<LeftOut>,
    /// Denies that had to give way.
    pub(super) opened: BTreeSet<String>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(lessons: &'a [Lesson<'a>], host: &'a dyn Host) -> Self {
        let bindings = lessons.first().map(|lesson| lesson.bindings.clone()).unwrap_or_default();
        let mut draft = Self {
            lessons,
            host,
            places: Places::new(&bindings),
            learned: Vec::new(),
            seen: Vec::new(),
            folders: BTreeSet::new(),
            rules: BTreeMap::new(),
            left_out: BTreeSet::new(),
            opened: BTreeSet::new(),
            bindings,
        };
        for lesson in lessons {
            let own = draft.on_first(&lesson.bindings);
            draft.learned.push(State::new(lesson.program, own));
            let translate = |path: &[u8]| draft.translated(path, &lesson.bindings);
            let seen: Vec<Observation> =
                lesson.observations.iter().map(|observation| moved(observation, &translate)).collect();
            draft.seen.extend(seen);
        }
        draft.folders = folders(&draft.seen);
        draft
    }

    /// Bindings with the folders of the first lesson.
    fn on_first(&self, own: &Bindings) -> Bindings {
        Bindings {
            workspace: self.bindings.workspace.clone(),
            home: self.bindings.home.clone(),
            tmp: self.bindings.tmp.clone(),
            ..own.clone()
        }
    }

    /// A path of another lesson, where the first one has its like.
    fn translated(&self, path: &[u8], from: &Bindings) -> Vec<u8> {
        let pairs = [
            (&from.workspace, &self.bindings.workspace),
            (&from.tmp, &self.bindings.tmp),
            (&from.home, &self.bindings.home),
        ];
        let inside = pairs.into_iter().filter_map(|(from, to)| Some((absolute(from)?, absolute(to)?)));
        let nearest = inside.filter(|(from, _)| is_within(path, from)).max_by_key(|(from, _)| from.len());
        match nearest {
            Some((from, to)) if from != to => [to.as_slice(), &path[from.len()..]].concat(),
            _ => path.to_vec(),
        }
    }

    pub(super) fn finish(mut self, heading: &[String]) -> Suggestion {
        self.leave_out_secrets();
        self.ground();
        self.write_files();
        self.read_files();
        self.execute();
        self.reach();
        self.name();
        let denied = self.denied();
        self.read_itself(&denied);
        let denied = self.complete(denied);
        let document = write::document(&Document {
            heading,
            rules: &self.rules,
            denied: &denied,
            left_out: &self.left_out,
            opened: &self.opened,
            program: self.lessons.first().map(|lesson| lesson.program),
        });
        let rules = self.rules.iter().flat_map(|(section, rules)| {
            rules.iter().map(|(text, evidence)| SuggestedRule {
                section: *section,
                text: text.clone(),
                evidence: write::evidence(*section, evidence),
            })
        });
        Suggestion {
            document,
            rules: rules.collect(),
            left_out: self.left_out.into_iter().collect(),
            opened: self.opened.into_iter().collect(),
        }
    }

    /// Takes what looks like a secret out of what was seen.
    fn leave_out_secrets(&mut self) {
        let written: BTreeSet<Vec<u8>> = self
            .seen
            .iter()
            .flat_map(|seen| paths(&seen.subject).into_iter().map(move |path| (seen, path)))
            .filter(|(seen, _)| is_write(seen))
            .map(|(_, path)| path.to_vec())
            .collect();
        let seen = core::mem::take(&mut self.seen);
        for observation in seen {
            let secret = paths(&observation.subject).into_iter().find(|path| {
                is_secret(path)
                    && observation.effect != Effect::ProcExec
                    && self.places.system(path).is_none()
                    && !self.is_folder(path)
                    // What the run itself made is no secret of the host's.
                    && (!written.contains(*path) || self.host.is_file(path))
            });
            match secret {
                Some(path) => {
                    let what = format!("{} {}", observation.effect, String::from_utf8_lossy(path));
                    self.left_out.insert(LeftOut { what, why: SECRET });
                    if let Some(text) = self.places.whole(path) {
                        self.add(Section::FsDeny, text, &Evidence::of(&observation));
                    }
                }
                None => self.seen.push(observation),
            }
        }
    }

    pub(super) fn is_folder(&self, path: &[u8]) -> bool {
        self.folders.contains(path) || self.host.is_directory(path)
    }

    pub(super) fn add(&mut self, section: Section, text: String, evidence: &Evidence) {
        self.rules.entry(section).or_default().entry(text).or_default().add(evidence);
    }

    /// What any program may ask of the kernel at any time: whether it does so differs from run
    /// to run.
    fn ground(&mut self) {
        for (section, access, paths) in
            [(Section::FsRead, Access::Read, GROUND_READ), (Section::FsWrite, Access::Write, GROUND_WRITTEN)]
        {
            for path in paths {
                let target = Target::Path { path: path.as_bytes(), access, subtree: false };
                let intent = Intent::new(Effect::FsOpen, target);
                let mut pairs = self.lessons.iter().zip(&self.learned);
                if pairs.any(|(lesson, state)| decide(lesson.program, state, &intent).is_permit()) {
                    self.add(section, (*path).to_string(), &Evidence::default());
                }
            }
        }
    }

    fn write_files(&mut self) {
        let mut uses = Uses::new();
        let mut rules: Vec<(String, Evidence)> = Vec::new();
        for seen in self.seen.iter().filter(|seen| is_write(seen)) {
            let is_whole = matches!(
                seen.subject,
                Subject::Path { subtree: true, .. } | Subject::Paths { subtree: true, .. }
            );
            for path in paths(&seen.subject) {
                let evidence = Evidence::of(seen);
                if let Some(rule) = self.special(path) {
                    rules.push((rule, evidence));
                    continue;
                }
                let one: &mut Use = uses.entry(without_slash(path)).or_default();
                one.evidence.add(&evidence);
                one.is_made |= seen.effect == Effect::FsMkdir;
                one.is_whole |= is_whole && seen.effect != Effect::FsRmdir;
            }
        }
        self.note_passing(&mut uses);
        let may_open = |folder: &[u8]| self.would_permit(folder, Access::Write);
        let gardener = Gardener { places: &self.places, host: self.host, may_open: &may_open };
        let shapes = gardener.rules(&uses);
        rules.extend(shapes.into_iter().filter_map(|(shape, evidence)| Some((self.text(&shape)?, evidence))));
        for (text, evidence) in rules {
            self.add(Section::FsWrite, text, &evidence);
        }
    }

    /// Marks what was there only for a while: made by the run, and renamed or removed by it.
    fn note_passing(&self, uses: &mut Uses) {
        for seen in &self.seen {
            let (path, target) = match &seen.subject {
                Subject::Paths { from, to, .. } if seen.effect == Effect::FsRename => (from, Some(to)),
                Subject::Path { path, .. } if seen.effect == Effect::FsUnlink => (path, None),
                _ => continue,
            };
            if self.host.is_file(path) || self.host.is_directory(path) {
                continue;
            }
            if let Some(one) = uses.get_mut(path) {
                let name = |path: &[u8]| base_name(path).into_bytes();
                let target = target.map(|target| name(target));
                one.stem = passing_stem(&name(path), target.as_deref()).map(<[u8]>::len).or(one.stem);
            }
        }
    }

    /// The rule for writing where every run has its own, or what lies there is no file.
    fn special(&self, path: &[u8]) -> Option<String> {
        if self.places.is_in_tmp(path) {
            return self.places.tmp().and_then(|tmp| self.places.whole(tmp));
        }
        for folder in [b"/dev/shm".as_slice(), b"/dev/pts"] {
            if is_within(path, folder) {
                return self.places.whole(folder);
            }
        }
        if is_within(path, b"/proc") {
            let is_number = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_digit);
            return self.places.wild(path, |name| is_number(name).then_some(b"".as_slice()));
        }
        None
    }

    fn read_files(&mut self) {
        let written: Vec<Vec<u8>> = self.written_whole();
        let mut system: BTreeMap<&'static [u8], Uses> = BTreeMap::new();
        let mut grounded: Vec<(String, Evidence)> = Vec::new();
        let mut uses = Uses::new();
        for seen in self.seen.iter().filter(|seen| is_read(seen)) {
            for path in paths(&seen.subject) {
                let path = without_slash(path);
                if written.iter().any(|folder| is_within(&path, folder)) {
                    continue;
                }
                if let Some(ground) = GROUND_READ.iter().find(|ground| is_within(&path, ground.as_bytes())) {
                    grounded.push(((*ground).to_string(), Evidence::of(seen)));
                    continue;
                }
                let into = match self.places.system(&path) {
                    Some(folder) if self.would_permit(folder, Access::Read) => {
                        system.entry(folder).or_default()
                    }
                    _ => &mut uses,
                };
                into.entry(path).or_default().evidence.add(&Evidence::of(seen));
            }
        }
        for (text, evidence) in grounded {
            if self.rules.get(&Section::FsRead).is_some_and(|rules| rules.contains_key(&text)) {
                self.add(Section::FsRead, text, &evidence);
            }
        }
        for (folder, own) in system {
            // One file of /etc is no reason for all of it.
            if folder == b"/etc" && own.len() < 3 || folder == b"/dev" {
                uses.extend(own);
                continue;
            }
            let mut evidence = Evidence::default();
            for used in own.values() {
                evidence.add(&used.evidence);
            }
            if let Some(text) = self.places.whole(folder) {
                self.add(Section::FsRead, text, &evidence);
            }
        }
        let may_open = |folder: &[u8]| self.would_permit(folder, Access::Read);
        let gardener = Gardener { places: &self.places, host: self.host, may_open: &may_open };
        let shapes = gardener.rules(&uses);
        for (shape, evidence) in shapes {
            match self.text(&shape) {
                Some(text) => self.add(Section::FsRead, text, &evidence),
                None => self.leave_out_listing(&shape),
            }
        }
    }

    fn leave_out_listing(&mut self, shape: &Shape) {
        let (Shape::Whole(path) | Shape::Entry(path) | Shape::Wild(path, _)) = shape;
        let path = if path.is_empty() { "/".into() } else { String::from_utf8_lossy(path) };
        self.left_out.insert(LeftOut { what: format!("fs.open {path}"), why: UNWRITABLE });
    }

    /// The folders that rules of `fs.write` open whole.
    fn written_whole(&self) -> Vec<Vec<u8>> {
        let texts = self.rules.get(&Section::FsWrite).into_iter().flat_map(BTreeMap::keys);
        let patterns = texts.filter_map(|text| PathPattern::parse(text).ok());
        let matchers = patterns.flat_map(|pattern| pattern.matchers(&self.bindings, Kind::Allow));
        matchers.filter(Matcher::is_literal).map(|matcher| matcher.prefix().to_vec()).collect()
    }

    pub(super) fn text(&self, shape: &Shape) -> Option<String> {
        match shape {
            Shape::Whole(path) if path.is_empty() => None,
            Shape::Whole(path) => self.places.whole(path),
            Shape::Entry(path) if path.is_empty() => None,
            Shape::Entry(path) => self.places.entry(path),
            Shape::Wild(path, stem) => self.places.beginning(path, *stem),
        }
    }

    fn execute(&mut self) {
        let programs: Vec<(Vec<u8>, Evidence)> = self
            .seen
            .iter()
            .filter(|seen| seen.effect == Effect::ProcExec)
            .filter_map(|seen| match &seen.subject {
                Subject::Path { path, .. } => {
                    Some((path.clone(), Evidence { count: seen.count, ..Evidence::default() }))
                }
                _ => None,
            })
            .collect();
        for (path, evidence) in programs {
            let text = match self.host.bare_name(&path) {
                Some(name) => {
                    self.bind(&name, &path);
                    Some(name)
                }
                None => self.places.wild(&path, stem),
            };
            if let Some(text) = text {
                self.add(Section::ExecAllow, text, &evidence);
            } else {
                let what = format!("proc.exec {}", String::from_utf8_lossy(&path));
                self.left_out.insert(LeftOut { what, why: UNWRITABLE });
            }
        }
    }

    /// Remembers what a bare name stands for.
    fn bind(&mut self, name: &str, path: &[u8]) {
        match self.bindings.programs.iter_mut().find(|(bound, _)| bound == name) {
            Some((_, paths)) if paths.iter().any(|known| known == path) => {}
            Some((_, paths)) => paths.push(path.to_vec()),
            None => self.bindings.programs.push((name.to_string(), alloc::vec![path.to_vec()])),
        }
    }

    fn reach(&mut self) {
        let mut reached = Reached::new(&self.bindings.host_addresses);
        for seen in &self.seen {
            reached.see(seen);
        }
        let may_open = |name: &str, endpoint| {
            let pairs = self.lessons.iter().zip(&self.learned);
            pairs
                .into_iter()
                .any(|(lesson, state)| super::network::permits(lesson.program, state, name, endpoint))
        };
        for (text, evidence) in reached.rules(&may_open) {
            self.add(Section::NetAllow, text, &evidence);
        }
        let sockets: Vec<(String, Evidence)> = self
            .seen
            .iter()
            .filter_map(|seen| match &seen.subject {
                Subject::Unix(path) => {
                    Some((format!("unix:{}", self.places.whole(path)?), Evidence::of(seen)))
                }
                _ => None,
            })
            .collect();
        for (text, evidence) in sockets {
            self.add(Section::NetAllow, text, &evidence);
        }
    }

    /// Tools and models, each by its own name.
    fn name(&mut self) {
        for seen in self.seen.clone() {
            let section = match seen.effect {
                Effect::ToolCall => Section::ToolsAllow,
                Effect::Infer => Section::InferModels,
                _ => continue,
            };
            if let Subject::Named(name) = &seen.subject {
                self.add(section, name.clone(), &Evidence::of(&seen));
            }
        }
    }

    /// The suggestion is a new file of the workspace: what takes up all of that, as `git add` does, reads it.
    fn read_itself(&mut self, denied: &Denied) {
        let own = self.host.own_file().filter(|file| self.places.is_in_workspace(file));
        if let Some(file) = own.filter(|file| !self.permits_reading(file, denied))
            && let Some(text) = self.places.whole(&file)
        {
            self.add(Section::FsRead, text, &Evidence::default());
        }
    }

    fn permits_reading(&self, path: &[u8], denied: &Denied) -> bool {
        let program = self.program(denied);
        let state = State::new(&program, self.bindings.clone());
        let target = Target::Path { path, access: Access::Read, subtree: false };
        decide(&program, &state, &Intent::new(Effect::FsOpen, target)).is_permit()
    }

    /// Whether a learning policy would have permitted whatever lies below a folder.
    fn would_permit(&self, folder: &[u8], access: Access) -> bool {
        let probes = PROBES.map(|probe| [folder, probe].concat());
        let pairs = self.lessons.iter().zip(&self.learned);
        pairs.into_iter().any(|(lesson, state)| {
            probes.iter().all(|path| {
                let target = Target::Path { path, access, subtree: false };
                decide(lesson.program, state, &Intent::new(Effect::FsOpen, target)).is_permit()
            })
        })
    }
}

fn moved(observation: &Observation, translate: &dyn Fn(&[u8]) -> Vec<u8>) -> Observation {
    let mut moved = observation.clone();
    match &mut moved.subject {
        Subject::Path { path, .. } | Subject::Unix(path) => *path = translate(path),
        Subject::Paths { from, to, .. } => {
            *from = translate(from);
            *to = translate(to);
        }
        _ => {}
    }
    moved
}

/// Every folder that something was done below, or that was made.
fn folders(seen: &[Observation]) -> BTreeSet<Vec<u8>> {
    let mut folders = BTreeSet::new();
    for observation in seen {
        for path in paths(&observation.subject) {
            if observation.effect == Effect::FsMkdir {
                folders.insert(path.to_vec());
            }
            for (at, _) in path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
                folders.insert(path[..at].to_vec());
            }
        }
    }
    folders
}

pub(super) fn paths(subject: &Subject) -> Vec<&[u8]> {
    match subject {
        Subject::Path { path, .. } => alloc::vec![path],
        Subject::Paths { from, to, .. } => alloc::vec![from, to],
        _ => Vec::new(),
    }
}

fn is_read(seen: &Observation) -> bool {
    seen.effect == Effect::FsOpen
        && matches!(seen.subject, Subject::Path { access: Access::Read, subtree: false, .. })
}

fn is_write(seen: &Observation) -> bool {
    !is_read(seen)
        && !matches!(seen.effect, Effect::FsStat | Effect::ProcExec)
        && matches!(seen.subject, Subject::Path { .. } | Subject::Paths { .. })
}

/// A path whose root is empty.
pub(super) fn without_slash(path: &[u8]) -> Vec<u8> {
    absolute(path).unwrap_or_default()
}

const GROUND_READ: &[&str] = &[
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/proc",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
];
const GROUND_WRITTEN: &[&str] = &["/dev/null"];

/// Names that nobody has.
const PROBES: [&[u8]; 2] = [b"/qjx7-vantio-probe", b"/qjx7-vantio-probe/qjx7-vantio-probe"];

const SECRET: &str = "it is called like a file with secrets";
pub(super) const UNWRITABLE: &str = "no rule names just this";
