//! Whose turn it is to receive the agent's calls.
//!
//! The kernel wakes everybody who waits for a call. So one worker waits at a time, and answers what it received
//! before it waits again: a call costs one switch to a worker and one back. The others stand by. One of them goes on
//! where more calls wait than one, and where a call takes long to be answered.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process::Pid;

/// The turn of a run's workers.
#[derive(Debug, Default)]
pub(super) struct Turn {
    state: Mutex<State>,
    changed: Condvar,
    /// The number of who has it.
    holder: AtomicU64,
    /// The call that the holder answers; 0 while it waits for one.
    call: AtomicU64,
    /// Nobody watches the holder, because no call came for a while.
    is_unwatched: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    is_taken: bool,
    /// Whether one of those who stand by watches the holder.
    is_watched: bool,
}

/// The turn, until it is dropped or somebody takes it over.
pub(super) struct Held<'a> {
    turn: &'a Turn,
    number: u64,
    /// The call that is answered, or the last one.
    call: u64,
    /// Who made it, and how many more before it in a row.
    caller: (Option<Pid>, u32),
}

impl Turn {
    /// Stands by until the turn is free.
    pub(super) fn take(&self) -> Held<'_> {
        let mut state = self.lock();
        let mut has_watched = false;
        while state.is_taken {
            has_watched = !state.is_watched;
            state = if has_watched { self.watch(state) } else { self.wait(state) };
        }
        state.is_taken = true;
        if has_watched {
            // Another one of those who stand by watches from now on.
            self.changed.notify_one();
        }
        self.call.store(0, Ordering::SeqCst);
        Held {
            turn: self,
            number: self.holder.fetch_add(1, Ordering::Relaxed) + 1,
            call: 0,
            caller: (None, 0),
        }
    }

    /// Stands by for a moment, and frees the turn where its holder answered the same call all the while.
    fn watch<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.is_watched = true;
        let call = self.call.load(Ordering::SeqCst);
        let (mut state, moment) =
            self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
        let is_over = moment.timed_out() && self.call.load(Ordering::SeqCst) == call;
        if is_over && call != 0 {
            state.is_taken = false;
        } else if is_over {
            // No call: whoever receives the next one says so.
            self.is_unwatched.store(true, Ordering::SeqCst);
            if self.call.load(Ordering::SeqCst) == 0 {
                state = self.wait(state);
            }
            self.is_unwatched.store(false, Ordering::SeqCst);
        }
        state.is_watched = false;
        state
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held<'_> {
    /// The holder answers `call`, which is not 0; whether `caller` made many before it and nobody else made one.
    pub(super) fn answers(&mut self, call: u64, caller: Pid) -> bool {
        self.call = call;
        let in_a_row = if self.caller.0 == Some(caller) { self.caller.1.saturating_add(1) } else { 0 };
        self.caller = (Some(caller), in_a_row);
        self.turn.call.store(call, Ordering::SeqCst);
        if self.turn.is_unwatched.load(Ordering::SeqCst) {
            let _state = self.turn.lock();
            self.turn.changed.notify_all();
        }
        in_a_row >= MANY
    }

    /// Whether nobody took it over meanwhile, so that the holder may receive again.
    pub(super) fn goes_on(&self) -> bool {
        // Somebody else's call is not touched.
        let _ = self.turn.call.compare_exchange(self.call, 0, Ordering::SeqCst, Ordering::SeqCst);
        self.is_held()
    }

    fn is_held(&self) -> bool {
        self.turn.holder.load(Ordering::Relaxed) == self.number
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.turn.lock();
        if self.is_held() {
            state.is_taken = false;
            self.turn.changed.notify_one();
        }
    }
}

/// How long a call may take before somebody else receives the next.
const PATIENCE: Duration = Duration::from_millis(4);

/// Calls in a row of one caller, after which it counts as alone.
const MANY: u32 = 100;

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread};

    use super::*;

    const CALLER: Pid = Pid::INIT;

    #[test]
    fn the_turn_passes_when_it_is_dropped() {
        let turn = Turn::default();
        let held = turn.take();
        thread::scope(|scope| {
            let (says, said) = channel();
            let turn = &turn;
            for _ in 0..3 {
                let says = says.clone();
                scope.spawn(move || {
                    let held = turn.take();
                    says.send(held.number).unwrap();
                });
            }
            // A holder that waits for calls keeps it for as long as none comes.
            assert!(said.recv_timeout(10 * PATIENCE).is_err());
            drop(held);
            let mut numbers: Vec<_> = (0..3).map(|_| said.recv().unwrap()).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, [2, 3, 4]);
        });
    }

    #[test]
    fn a_call_that_takes_long_loses_the_turn_even_after_a_quiet_time() {
        let turn = Turn::default();
        for quiet in [Duration::ZERO, 10 * PATIENCE] {
            let mut held = turn.take();
            thread::scope(|scope| {
                let stands_by = scope.spawn(|| turn.take().number);
                thread::sleep(quiet);
                held.answers(7, CALLER);
                // It returns although nothing was dropped.
                assert_eq!(stands_by.join().unwrap(), held.number + 1);
            });
            assert!(!held.goes_on());
            let next = turn.take();
            // Who lost it frees nothing that is another's.
            drop(held);
            thread::scope(|scope| {
                let stands_by = scope.spawn(|| turn.take().number);
                thread::sleep(3 * PATIENCE);
                assert!(!stands_by.is_finished());
                drop(next);
                stands_by.join().unwrap();
            });
        }
    }

    #[test]
    fn one_slow_call_after_another_is_relieved() {
        let turn = Turn::default();
        let mut first = turn.take();
        thread::scope(|scope| {
            let (says, said) = channel();
            let turn = &turn;
            for _ in 0..2 {
                let says = says.clone();
                scope.spawn(move || {
                    let mut held = turn.take();
                    held.answers(held.number, CALLER);
                    says.send(held.number).unwrap();
                    // None of them is ever done with its call.
                    std::mem::forget(held);
                });
            }
            // Both stand by before the first call comes.
            thread::sleep(3 * PATIENCE);
            first.answers(1, CALLER);
            assert_eq!([said.recv().unwrap(), said.recv().unwrap()], [2, 3]);
        });
    }

    #[test]
    fn calls_that_are_answered_in_time_keep_the_turn() {
        let turn = Turn::default();
        let mut held = turn.take();
        thread::scope(|scope| {
            let stands_by = scope.spawn(|| drop(turn.take()));
            for call in 1..2000 {
                held.answers(call, CALLER);
                if !held.goes_on() {
                    // A busy machine let this thread wait in the middle of a call.
                    stands_by.join().unwrap();
                    return;
                }
                thread::sleep(PATIENCE / 100);
            }
            assert!(!stands_by.is_finished());
            drop(held);
        });
    }

    #[test]
    fn a_caller_is_alone_after_many_calls_in_a_row() {
        let turn = Turn::default();
        let mut held = turn.take();
        let other = Pid::from_raw(2).unwrap();
        assert!((0..u64::from(MANY)).all(|call| !held.answers(call + 1, CALLER)));
        assert!(held.answers(1000, CALLER));
        assert!(!held.answers(1001, other));
        assert!(!held.answers(1002, CALLER));
    }
}
