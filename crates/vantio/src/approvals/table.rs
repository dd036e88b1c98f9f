//! Who waits for which answer. Nothing here asks anybody, or the time.
//!
//! A question is open while somebody waits for it, or its time lasts. A thread that has a signal to handle steps aside
//! and may be back with the same call at once: it keeps its place for a moment. An answer is for one call of whoever
//! waited: it is kept until a call that was judged by it is answered for good, because that may be held by another rule yet.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use vantio_core::Hash;

use super::{Answer, Asked};

/// The questions that are open, and who waits.
#[derive(Debug, Default)]
pub struct Table {
    questions: Vec<Open>,
    waiters: Vec<Waiter>,
    names: Names,
}

/// Names of questions: none comes twice within a run, and an agent, which knows what it asks and how often, can tell none
/// before it is given. Otherwise it could have somebody who was shown one question answer another.
#[derive(Debug, Default)]
struct Names {
    given: u32,
    secret: RandomState,
}

/// A question that is open.
#[derive(Clone, Debug)]
pub struct Open {
    pub id: String,
    pub asked: Arc<Asked>,
    pub deadline: Instant,
    /// When it was asked first, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How often it was asked.
    pub count: u64,
    key: Hash,
    /// Whether somebody is writing it down, or its answer.
    is_claimed: bool,
    /// Whether it was asked by nobody who waits, such as a datagram.
    is_detached: bool,
}

#[derive(Debug)]
struct Waiter {
    tid: u32,
    key: Hash,
    state: State,
}

#[derive(Debug)]
enum State {
    Waits,
    /// It stepped aside then.
    Away(Instant),
    Answered {
        answer: Arc<Answer>,
        at: Instant,
        /// Whether a call of the thread was judged by it, and has not been answered yet.
        is_used: bool,
    },
}

/// What becomes of a call that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the first, and its question has this name. It is claimed: [`Table::open`] opens it.
    First(String),
    /// The question is open already.
    Alike,
    /// Too many wait.
    None,
}

/// What is over.
#[derive(Debug)]
pub enum Due {
    /// Its time has run out. It is claimed: [`Table::settle`] ends it.
    TimedOut(Open),
    /// Nobody waits for it any more.
    Withdrawn(Open),
}

impl Table {
    /// The thread asks; nobody, where no call waits with the question.
    pub fn ask(&mut self, tid: Option<u32>, asked: Asked, now: Instant, now_ms: u64) -> Place {
        let key = asked.key();
        if let Some(waiter) = tid.and_then(|tid| self.waiter(tid, key)) {
            waiter.state = State::Waits;
            return Place::Alike;
        }
        if tid.is_some_and(|tid| self.is_told(tid, key)) {
            // It was away, and is answered since it was judged: it has only to be judged again.
            return Place::Alike;
        }
        if self.waiters.iter().filter(|waiter| waiter.is_waiting()).count() >= WAITERS_MAX {
            return Place::None;
        }
        let place = if let Some(open) = self.questions.iter_mut().find(|open| open.key == key) {
            open.count += 1;
            open.is_detached |= tid.is_none();
            Place::Alike
        } else if self.questions.len() < WAITERS_MAX {
            Place::First(self.add(asked, tid.is_none(), now, now_ms))
        } else {
            return Place::None;
        };
        self.waiters.extend(tid.map(|tid| Waiter { tid, key, state: State::Waits }));
        place
    }

    fn add(&mut self, asked: Asked, is_detached: bool, now: Instant, since_ms: u64) -> String {
        let (key, id) = (asked.key(), self.names.next());
        let deadline = now + Duration::from_millis(asked.timeout_ms.min(TIMEOUT_MAX_MS));
        let asked = Arc::new(asked);
        let open =
            Open { id: id.clone(), asked, deadline, since_ms, count: 1, key, is_claimed: true, is_detached };
        self.questions.push(open);
        id
    }

    /// The question has been written down.
    pub fn open(&mut self, id: &str) {
        if let Some(open) = self.questions.iter_mut().find(|open| open.id == id) {
            open.is_claimed = false;
        }
    }

    /// The questions that can be answered, the oldest first, each with how many wait and the first few of them.
    pub fn list(&self) -> impl Iterator<Item = (&Open, u64, Vec<u32>)> {
        self.questions.iter().filter(|open| !open.is_claimed).map(|open| {
            let waiting =
                || self.waiters.iter().filter(|waiter| waiter.key == open.key && waiter.is_waiting());
            let tids = waiting().map(|waiter| waiter.tid).take(TIDS_SHOWN).collect();
            (open, waiting().count() as u64, tids)
        })
    }

    /// What a question that can be answered is about.
    pub fn asked(&self, id: &str) -> Option<Arc<Asked>> {
        let open = self.questions.iter().find(|open| open.id == id && !open.is_claimed)?;
        Some(Arc::clone(&open.asked))
    }

    /// Takes a question to answer it: nobody else can, and it does not run out.
    pub fn claim(&mut self, id: &str) -> Option<Open> {
        let open = self.questions.iter_mut().find(|open| open.id == id && !open.is_claimed)?;
        open.is_claimed = true;
        Some(open.clone())
    }

    /// How many wait for an answer to the question.
    pub fn waiting(&self, open: &Open) -> u64 {
        self.waiters_of(open).count() as u64
    }

    /// The threads that wait for an answer to the question.
    pub fn waiters_of(&self, open: &Open) -> impl Iterator<Item = u32> {
        let waiting = |waiter: &&Waiter| waiter.key == open.key && waiter.is_waiting();
        self.waiters.iter().filter(waiting).map(|waiter| waiter.tid)
    }

    /// Gives a thread an answer for the call that it makes now.
    pub fn tell(&mut self, tid: u32, key: Hash, answer: Arc<Answer>, now: Instant) {
        self.waiters.push(Waiter { tid, key, state: State::Answered { answer, at: now, is_used: true } });
    }

    /// Gives everybody who waits the answer, and ends the question.
    pub fn settle(&mut self, id: &str, answer: &Arc<Answer>, now: Instant) {
        let Some(at) = self.questions.iter().position(|open| open.id == id) else { return };
        let key = self.questions.remove(at).key;
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.key == key && waiter.is_waiting()) {
            waiter.state = State::Answered { answer: Arc::clone(answer), at: now, is_used: false };
        }
    }

    /// What a thread was told about the intent and rule of this key, for the call that it makes now.
    pub fn answer_of(&mut self, tid: u32, key: Hash) -> Option<Arc<Answer>> {
        let mut own = self.waiters.iter_mut().filter(|waiter| waiter.tid == tid && waiter.key == key);
        own.find_map(|waiter| match &mut waiter.state {
            State::Answered { answer, is_used, .. } => {
                *is_used = true;
                Some(Arc::clone(answer))
            }
            State::Waits | State::Away(_) => None,
        })
    }

    /// Whether a thread was denied anything, and has not gone on since.
    pub fn is_denied(&self, tid: u32) -> bool {
        let is_denial =
            |waiter: &Waiter| matches!(&waiter.state, State::Answered { answer, .. } if !answer.approves());
        self.waiters.iter().any(|waiter| waiter.tid == tid && is_denial(waiter))
    }

    /// That a thread was denied the intent with this hash, for the call that it makes now.
    pub fn denial_of(&mut self, tid: u32, intent: Hash) -> Option<Arc<Answer>> {
        let mut own = self.waiters.iter_mut().filter(|waiter| waiter.tid == tid);
        own.find_map(|waiter| match &mut waiter.state {
            State::Answered { answer, is_used, .. } if answer.denies(intent) => {
                *is_used = true;
                Some(Arc::clone(answer))
            }
            _ => None,
        })
    }

    /// What the thread waits to hear about this key.
    pub fn question_of(&self, tid: u32, key: Option<Hash>) -> Option<&Open> {
        let is_its = |waiter: &&Waiter| {
            waiter.tid == tid && waiter.is_waiting() && key.is_none_or(|key| waiter.key == key)
        };
        let waiter = self.waiters.iter().find(is_its)?;
        self.questions.iter().find(|open| open.key == waiter.key)
    }

    /// Whether all that the thread was told is that it may.
    pub fn is_approved(&self, tid: u32) -> bool {
        let mut own = self.waiters.iter().filter(|waiter| waiter.tid == tid).peekable();
        own.peek().is_some()
            && own.all(|waiter| matches!(&waiter.state, State::Answered { answer, .. } if answer.approves()))
    }

    /// Whether the thread waits for nothing.
    pub fn is_settled(&self, tid: u32) -> bool {
        !self.waiters.iter().any(|waiter| waiter.tid == tid && matches!(waiter.state, State::Waits))
    }

    /// The thread has a signal to handle: its call was not carried out.
    pub fn step_aside(&mut self, tid: u32, now: Instant) {
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.tid == tid) {
            match &mut waiter.state {
                State::Waits => waiter.state = State::Away(now),
                State::Away(_) => {}
                State::Answered { at, is_used, .. } => (*at, *is_used) = (now, false),
            }
        }
    }

    /// A call of the thread is answered for good: what it was judged by is used up.
    pub fn use_up(&mut self, tid: u32) {
        self.waiters.retain(|waiter| {
            waiter.tid != tid || !matches!(waiter.state, State::Waits | State::Answered { is_used: true, .. })
        });
    }

    /// The thread is gone.
    pub fn leave(&mut self, tid: u32) {
        self.waiters.retain(|waiter| waiter.tid != tid);
    }

    /// Whether nobody waits, and no answer is kept.
    pub const fn is_idle(&self) -> bool {
        self.waiters.is_empty()
    }

    /// What is over by now.
    pub fn due(&mut self, now: Instant) -> Vec<Due> {
        let waiting: Vec<u32> =
            self.waiters.iter().filter(|waiter| waiter.is_waiting()).map(|waiter| waiter.tid).collect();
        self.waiters.retain(|waiter| match waiter.state {
            State::Waits => true,
            State::Away(since) => now.saturating_duration_since(since) < GRACE,
            // Of a thread that never came back for it.
            State::Answered { at, .. } => {
                waiting.contains(&waiter.tid) || now.saturating_duration_since(at) < KEPT_FOR
            }
        });
        let mut due = Vec::new();
        let waiters = &self.waiters;
        self.questions.retain_mut(|open| {
            let is_left = !open.is_detached
                && !waiters.iter().any(|waiter| waiter.key == open.key && waiter.is_waiting());
            if open.is_claimed {
                return true;
            }
            if open.deadline <= now {
                open.is_claimed = true;
                due.push(Due::TimedOut(open.clone()));
            } else if is_left {
                due.push(Due::Withdrawn(open.clone()));
                return false;
            }
            true
        });
        due
    }

    /// Whether an answer is kept for the thread.
    #[cfg(test)]
    pub fn keeps_for(&self, tid: u32, key: Hash) -> bool {
        let is_it = |waiter: &&Waiter| waiter.tid == tid && waiter.key == key && !waiter.is_waiting();
        self.waiters.iter().any(|waiter| is_it(&waiter))
    }

    /// Ends every question: the run is over.
    pub fn close(&mut self) -> Vec<Open> {
        self.waiters.clear();
        std::mem::take(&mut self.questions)
    }

    /// Whether an answer is kept for the thread that no call was judged by.
    fn is_told(&self, tid: u32, key: Hash) -> bool {
        self.waiters.iter().any(|waiter| {
            waiter.tid == tid
                && waiter.key == key
                && matches!(waiter.state, State::Answered { is_used: false, .. })
        })
    }

    fn waiter(&mut self, tid: u32, key: Hash) -> Option<&mut Waiter> {
        self.waiters.iter_mut().find(|waiter| waiter.tid == tid && waiter.key == key && waiter.is_waiting())
    }
}

impl Waiter {
    const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waits | State::Away(_))
    }
}

impl Names {
    /// A permutation of how many were given: a Feistel network (Luby and Rackoff, 1988) over what only this process knows.
    fn next(&mut self) -> String {
        self.given = self.given.wrapping_add(1);
        let (mut left, mut right) = ((self.given >> 16) as u16, self.given as u16);
        for round in 0..ROUNDS {
            let mixed = self.secret.hash_one((round, right)) as u16;
            (left, right) = (right, left ^ mixed);
        }
        format!("{left:04x}{right:04x}")
    }
}

/// How many may wait at once.
pub const WAITERS_MAX: usize = 256;
/// How long a thread that handles a signal keeps its place.
pub const GRACE: Duration = Duration::from_secs(2);
/// How long an answer is kept for a thread that waits for nothing else.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// Four rounds make it as good as random to whoever sees both sides.
const ROUNDS: u8 = 4;
/// A year: an instant has room for it.
const TIMEOUT_MAX_MS: u64 = 365 * 24 * 60 * 60 * 1000;
const TIDS_SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Names;

    #[test]
    fn names_come_once_and_are_another_in_each_run() {
        let (mut one, mut other) = (Names::default(), Names::default());
        let names: HashSet<String> = (0..100_000).map(|_| one.next()).collect();
        assert_eq!(names.len(), 100_000);
        assert!(names.iter().all(|name| name.len() == 8));
        assert!((0..4).any(|_| !names.contains(&other.next())), "the same run after run");
    }
}
