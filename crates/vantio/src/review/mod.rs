//! `vantio review`: a run's changes, one by one, with who made each.

mod list;
mod prompt;
mod story;
mod terminal;
mod view;

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
};

use ratatui::crossterm::event::KeyCode;
use serde_json::json;
use vantio_ledger::Reader;
use vantio_phantom::{
    changes::{Change, ChangeSet, Hunks},
    commit::{Conflict, Offer, foresee},
};

use crate::{
    commands::{
        Bounded, Pick, Settled, commit_failure, commit_pick, host_root, marked, may_be_committed, offered,
        pending, scan_failure,
    },
    failure::Failure,
    present::{has_colour, note, plural, print_json},
    store::{Record, Store},
};
use list::{Decision, List};
use story::Story;
use terminal::{Input, Screen};
use view::{Page, Popup, View};

/// Lets a person accept and reject changes, and commits what was accepted.
pub fn review(store: &Store, reference: &str, json: bool) -> Result<u8, Failure> {
    let record = store.read(store.resolve(reference)?)?;
    let short = store.short(record.id);
    let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !json && !has_terminal {
        return Err(Failure::misuse("E_NO_TERMINAL", "a review needs a terminal")
            .help(format!("without one: `vantio diff {short}`, `vantio diff {short} --patch`, `vantio review {short} --json`")));
    }
    let set = if json { marked(store, &record)? } else { pending(store, &record)? };
    if set.is_empty() && !json {
        note(format!("run {short}: nothing pending\n"));
        return Ok(0);
    }
    let past = Story::of(Reader::open_at(&store.ledger()), record.id, record.workspace.as_bytes())?;
    if json {
        return print_json(to_json(store, &record, &set, &past)?).map(|()| 0);
    }
    let picked = Review::new(store, &record, &set, past)?.run(&short);
    let failed = |cause| Failure::new("E_TERMINAL", "the terminal cannot be used").because(cause);
    if let Some((pick, settled)) = picked.map_err(failed)? {
        return commit_pick(store, record.id, pick, &settled);
    }
    note(format!("run {short}: nothing was committed\n"));
    Ok(0)
}

/// Asks about each change, line by line, and commits what was said yes to.
pub fn interactive(store: &Store, reference: &str) -> Result<u8, Failure> {
    let record = store.read(store.resolve(reference)?)?;
    let short = store.short(record.id);
    let set = pending(store, &record)?;
    if set.is_empty() {
        note(format!("run {short}: nothing pending\n"));
        return Ok(0);
    }
    may_be_committed(&record)?;
    let review = Review::new(store, &record, &set, Story::default())?;
    let mut list = List::new(&set);
    if !prompt::ask(&review, &mut list)? {
        note(format!("run {short}: the input ended before the last answer: nothing was committed\n"));
        return Ok(4);
    }
    if list.accepted() > 0 {
        let (pick, settled) = list.pick();
        return commit_pick(store, record.id, pick, &settled);
    }
    note(format!("run {short}: nothing was committed\n"));
    Ok(0)
}

/// The changes as `vantio diff --json` has them, each with `reasons` and `intents`.
fn to_json(
    store: &Store,
    record: &Record,
    set: &ChangeSet,
    past: &Story,
) -> Result<serde_json::Value, Failure> {
    let document = set.to_json_with_hunks(&store.world(record), host_root()?.as_fd());
    let mut document = document.map_err(|error| scan_failure(&error))?;
    if let Some(list) = document.get_mut("changes").and_then(serde_json::Value::as_array_mut) {
        for (json, change) in list.iter_mut().zip(set.changes()) {
            let reasons: Vec<_> = change.hazards.iter().map(|hazard| hazard.reason()).collect();
            let intents: Vec<_> = past.deeds(change).iter().map(story::Deed::to_json).collect();
            json["reasons"] = json!(reasons);
            json["intents"] = json!(intents);
        }
    }
    document["run"] = json!(record.id.to_string());
    document["intents_cut"] = json!(past.is_cut());
    Ok(document)
}

struct Review<'a> {
    store: &'a Store,
    record: &'a Record,
    set: &'a ChangeSet,
    past: Story,
    /// What the host changed too, by path.
    conflicts: HashMap<Vec<u8>, Conflict>,
}

impl<'a> Review<'a> {
    fn new(store: &'a Store, record: &'a Record, set: &'a ChangeSet, past: Story) -> Result<Self, Failure> {
        let foreseen = foresee(&store.world(record), host_root()?.as_fd());
        let conflicts = foreseen.map_err(|error| commit_failure(&error))?.conflicts;
        let conflicts = conflicts.into_iter().map(|conflict| (conflict.path.clone(), conflict)).collect();
        Ok(Self { store, record, set, past, conflicts })
    }

    fn conflict(&self, change: &Change) -> Option<&Conflict> {
        self.conflicts.get(&change.path)
    }

    fn hunks(&self, change: &Change) -> Result<Option<Hunks>, Failure> {
        let hunks = self.set.hunks(change, &self.store.world(self.record), host_root()?.as_fd());
        hunks.map_err(|error| scan_failure(&error))
    }

    /// Shows the changes until the person is done; `None` when nothing is to be committed.
    fn run(&self, short: &str) -> io::Result<Option<(Pick, Settled)>> {
        let mut list = List::new(self.set);
        let mut page = self.page(list.current());
        let mut popup: Option<Popup> = None;
        let mut screen = Screen::open()?;
        loop {
            let has_colour = has_colour(&io::stdout());
            let view = View { list: &list, page: &page, run: short, popup: popup.as_ref(), has_colour };
            screen.draw(|frame| view.draw(frame))?;
            let key = match screen.wait()? {
                Input::End => return Ok(None),
                Input::Redraw => continue,
                Input::Key(key) => key.code,
            };
            let before = list.selected;
            match (popup.take(), key) {
                (Some(Popup::Question(_)), KeyCode::Char('y')) if list.accepted() > 0 => {
                    return Ok(Some(list.pick()));
                }
                (Some(Popup::Leaving(_)), KeyCode::Char('q' | 'y')) => return Ok(None),
                (Some(_), _) => {}
                (None, KeyCode::Char('q') | KeyCode::Esc) if list.accepted() == 0 => return Ok(None),
                (None, KeyCode::Char('q') | KeyCode::Esc) => {
                    let accepted = plural(list.accepted(), "accepted change");
                    popup = Some(Popup::Leaving(format!(
                        "Leave without committing {accepted}? q: yes, any other key: no"
                    )));
                }
                (None, KeyCode::Char('c') | KeyCode::Enter) => {
                    popup = Some(Popup::Question(self.question(&list)));
                }
                (None, KeyCode::Char('?')) => popup = Some(Popup::Keys),
                (None, key) => self.act(&mut list, &mut page, key),
            }
            if list.selected != before {
                let is_unfolded = page.is_unfolded;
                page = self.page(list.current());
                if is_unfolded {
                    page.fold_or_unfold();
                }
            }
        }
    }

    /// What is asked before what was accepted is committed.
    fn question(&self, list: &List<'_>) -> String {
        if list.accepted() == 0 {
            return "Nothing is accepted yet. Any key goes on.".into();
        }
        let stays = |(change, decision): &&(&Change, Decision)| {
            *decision == Decision::Accepted && self.conflict(change).is_some()
        };
        let conflicts = match list.rows().iter().filter(stays).count() {
            0 => String::new(),
            count => format!(" The host changed {count} of them too: that stays."),
        };
        let accepted = plural(list.accepted(), "accepted change");
        format!("Commit {accepted}?{conflicts} y: yes, any other key: no")
    }

    /// What there is to say about a change.
    fn page(&self, change: Option<&Change>) -> Page {
        let Some(change) = change else { return Page::default() };
        let mut head: Vec<String> =
            change.hazards.iter().map(|hazard| format!("! {}", hazard.reason())).collect();
        head.extend(change.blocked.map(|blocked| format!("! {}", blocked.reason())));
        if let Some(conflict) = self.conflict(change) {
            let key = match conflict.offer {
                Offer::Clean => ": m merges",
                Offer::Overlapping(_) => ": M merges with markers",
                Offer::Impossible(_) => "",
            };
            head.push(format!("! {}{key}", conflict.reason.text()));
            head.extend(offered(conflict));
        }
        let mut whole_head = head.clone();
        let deeds = self.past.deeds(change);
        whole_head.extend(deeds.iter().flat_map(story::Deed::lines));
        match deeds.as_slice() {
            [] => head.push("the ledger has no entry about how this came about".into()),
            [one] => head.extend(one.brief()),
            [earlier @ .., last] => {
                head.extend(last.brief());
                head.push(format!("and {} (p)", plural(earlier.len(), "earlier step")));
            }
        }
        if self.past.is_cut() {
            let cut = "the run did more than is told here";
            head.push(cut.into());
            whole_head.push(cut.into());
        }
        if deeds.is_empty() {
            whole_head.clone_from(&head);
        }
        let patch = match self.patch(change) {
            Ok(patch) => patch.split(|byte| *byte == b'\n').flat_map(pieces).collect(),
            Err(failure) => vec![failure.to_string().into_bytes()],
        };
        // Of a conflict no part is committed.
        let hunks = if self.conflict(change).is_some() { None } else { self.hunks(change).ok().flatten() };
        Page { head, other_head: whole_head, patch, hunks, ..Page::default() }
    }

    fn patch(&self, change: &Change) -> Result<Vec<u8>, Failure> {
        let mut patch = Bounded::to(LARGEST_PATCH);
        let (world, root) = (self.store.world(self.record), host_root()?);
        let written = self.set.write_patch_of(change, &world, root.as_fd(), &mut patch);
        if patch.is_full {
            let short = self.store.short(self.record.id);
            patch.text.extend(format!("\n# cut here; the whole: vantio diff {short} --patch\n").into_bytes());
        } else {
            written.map_err(|error| scan_failure(&error))?;
        }
        Ok(patch.text)
    }
}

/// A line in parts that a screen can show, so that nothing hides at the end of a long one. Each begins
/// with the line's sign.
fn pieces(line: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while rest.len() > LONGEST_PIECE {
        let is_inside = |at: &usize| rest.get(*at).is_some_and(|byte| matches!(byte, 0x80..=0xbf));
        let cut =
            (LONGEST_PIECE - 3..=LONGEST_PIECE).rev().find(|at| !is_inside(at)).unwrap_or(LONGEST_PIECE);
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    let sign = line.first().copied().unwrap_or(b' ');
    for piece in pieces.iter_mut().skip(1) {
        piece.splice(0..0, [&[sign][..], " … ".as_bytes()].concat());
    }
    pieces
}

impl Review<'_> {
    fn act(&self, list: &mut List<'_>, page: &mut Page, key: KeyCode) {
        let offer = list.current().and_then(|change| self.conflict(change)).map(|conflict| &conflict.offer);
        match (key, offer) {
            (KeyCode::Char('m'), Some(Offer::Clean)) => list.set(Decision::Merged),
            (KeyCode::Char('M'), Some(Offer::Overlapping(_))) => list.set(Decision::Marked),
            (KeyCode::Char('p'), _) => page.fold_or_unfold(),
            (KeyCode::Tab, _) => page.look_at_hunk(1),
            (KeyCode::BackTab, _) => page.look_at_hunk(-1),
            (KeyCode::Char('a'), _) if page.at.is_some() => decide_hunk(list, page, true),
            (KeyCode::Char('r'), _) if page.at.is_some() => decide_hunk(list, page, false),
            (key, _) => act(list, page, key),
        }
    }
}

/// Takes or leaves the hunk that is looked at, and looks at the next.
fn decide_hunk(list: &mut List<'_>, page: &mut Page, is_taken: bool) {
    let (Some(hunks), Some(at)) = (&page.hunks, page.at) else { return };
    let Some(pieces) = hunks.hunks().get(at).cloned() else { return };
    let mut chosen = chosen(&list.decision(), hunks);
    for piece in pieces {
        if is_taken {
            chosen.insert(piece);
        } else {
            chosen.remove(&piece);
        }
    }
    let has_more = list.current().is_some_and(|change| !change.metadata().is_empty());
    list.set(part(chosen, hunks, has_more));
    if at + 1 < hunks.hunks().len() {
        page.look_at_hunk(1);
    }
}

/// The decision that takes these pieces of a change, and nothing else that there is `more` of.
fn part(chosen: BTreeSet<usize>, hunks: &Hunks, has_more: bool) -> Decision {
    match chosen.len() {
        0 => Decision::Rejected,
        count if count == hunks.pieces() && !has_more => Decision::Accepted,
        _ => Decision::Part(chosen, hunks.digest()),
    }
}

/// The pieces that a decision takes.
fn chosen(decision: &Decision, hunks: &Hunks) -> BTreeSet<usize> {
    match decision {
        Decision::Accepted => (0..hunks.pieces()).collect(),
        Decision::Part(pieces, _) => pieces.clone(),
        _ => BTreeSet::new(),
    }
}

fn act(list: &mut List<'_>, page: &mut Page, key: KeyCode) {
    let bottom = (page.head.len() + page.patch.len()).saturating_sub(1);
    match key {
        KeyCode::Char('j') | KeyCode::Down => list.step(1),
        KeyCode::Char('k') | KeyCode::Up => list.step(-1),
        KeyCode::Char('g') | KeyCode::Home => list.step(isize::MIN),
        KeyCode::Char('G') | KeyCode::End => list.step(isize::MAX),
        KeyCode::Char('J') => page.top = page.top.saturating_add(1).min(bottom),
        KeyCode::Char('K') => page.top = page.top.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ') => page.top = page.top.saturating_add(PAGE).min(bottom),
        KeyCode::PageUp => page.top = page.top.saturating_sub(PAGE),
        KeyCode::Char('a') => {
            list.decide(&Decision::Accepted);
            list.step(1);
        }
        KeyCode::Char('r') => {
            list.decide(&Decision::Rejected);
            list.step(1);
        }
        KeyCode::Char('u') => list.decide(&Decision::Open),
        KeyCode::Char('A') => list.accept_rest(),
        _ => {}
    }
}

/// How far a page key scrolls.
const PAGE: usize = 10;
const LONGEST_PIECE: usize = 400;
/// So much of a patch is looked at.
const LARGEST_PATCH: usize = 16 << 20;
