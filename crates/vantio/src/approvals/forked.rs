//! What was denied to a fork of the run, for its original: that has yet to come to it.
//!
//! A fork asks ahead of its original, and is gone with what it did where that is denied; the original then comes to the same
//! calls. Who has denied one of them is not asked again. What was approved was approved of a world that is no more.

use std::{collections::BTreeSet, sync::Arc};

use super::{Answer, Reach, question::Said};

/// Denials that a fork was given, and whether one goes on.
#[derive(Debug, Default)]
pub struct Forked {
    /// The thread that it is a fork of, while it goes on.
    original: Option<u32>,
    /// Its threads that asked.
    asking: BTreeSet<u32>,
    denials: Vec<Denial>,
}

#[derive(Debug)]
struct Denial {
    answer: Arc<Answer>,
    /// Whether the fork that goes on has come to it: then it is for the original alone, or, if that is no more, for nobody.
    is_met: bool,
}

impl Forked {
    pub fn begins(&mut self, original: u32) {
        self.original = Some(original);
    }

    /// The fork has become the run, or is gone.
    pub fn ends(&mut self, is_run: bool) {
        self.original = None;
        self.asking.clear();
        self.denials.retain(|denial| !(is_run && denial.is_met));
        self.denials.iter_mut().for_each(|denial| denial.is_met = false);
    }

    /// A thread asks.
    pub fn asks(&mut self, tid: u32) {
        if self.original.is_some_and(|original| original != tid) {
            self.asking.insert(tid);
        }
    }

    /// These threads have an answer.
    pub fn answered(&mut self, tids: impl Iterator<Item = u32>, answer: &Arc<Answer>) {
        if answer.said != Said::Deny || answer.reach != Reach::Once {
            return;
        }
        let of_fork = tids.filter(|tid| self.asking.contains(tid)).count();
        let room = DENIALS_MAX.saturating_sub(self.denials.len());
        let denials = (0..of_fork.min(room)).map(|_| Denial { answer: Arc::clone(answer), is_met: true });
        self.denials.extend(denials);
    }

    /// A denial that settles what is asked, for one call.
    pub fn meets(&mut self, settles: impl Fn(&Arc<Answer>) -> bool) -> Option<Arc<Answer>> {
        let at = self.denials.iter().position(|denial| !denial.is_met && settles(&denial.answer))?;
        if self.original.is_some() {
            self.denials[at].is_met = true;
            return Some(Arc::clone(&self.denials[at].answer));
        }
        Some(self.denials.remove(at).answer)
    }
}

/// How many are kept. What is denied besides is asked again.
const DENIALS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use vantio_core::{Effect, Hash, Section, json::Value};

    use super::*;
    use crate::approvals::Asked;

    const ORIGINAL: u32 = 1;
    const FORK: u32 = 2;

    fn answer(said: Said) -> Arc<Answer> {
        let asked = Asked {
            effect: Effect::FsUnlink,
            request: Value::Null,
            names: Vec::new(),
            intent: Hash::ZERO,
            section: Section::Hold,
            rule: "fs.unlink".to_owned(),
            approvers: Vec::new(),
            timeout_ms: 5000,
            bytes: 0,
        };
        Answer::new("question", &asked, said).into()
    }

    /// A fork that was given an answer, as was its original.
    fn told(said: Said) -> Forked {
        let mut forked = Forked::default();
        forked.begins(ORIGINAL);
        forked.asks(ORIGINAL);
        forked.asks(FORK);
        forked.answered([ORIGINAL, FORK].into_iter(), &answer(said));
        forked
    }

    fn meets(forked: &mut Forked) -> bool {
        forked.meets(|_| true).is_some()
    }

    #[test]
    fn an_original_is_denied_once_what_its_fork_was_denied() {
        let mut forked = told(Said::Deny);
        assert!(!meets(&mut forked), "the fork was told itself");
        forked.ends(false);
        assert!(meets(&mut forked) && !meets(&mut forked));
    }

    #[test]
    fn another_fork_that_meets_it_leaves_it_to_the_original() {
        let mut forked = told(Said::Deny);
        forked.ends(false);
        for _ in 0..2 {
            forked.begins(ORIGINAL);
            assert!(meets(&mut forked) && !meets(&mut forked));
            forked.ends(false);
        }
        forked.begins(ORIGINAL);
        assert!(meets(&mut forked));
        forked.ends(true);
        assert!(!meets(&mut forked));
    }

    #[test]
    fn a_fork_that_becomes_the_run_leaves_nothing() {
        let mut forked = told(Said::Deny);
        forked.ends(true);
        assert!(!meets(&mut forked));
    }

    #[test]
    fn nothing_but_a_denial_by_somebody_is_left() {
        for said in [Said::Approve, Said::Nothing(5000), Said::TooMany] {
            let mut forked = told(said);
            forked.ends(false);
            assert!(!meets(&mut forked), "{said:?}");
        }
    }

    #[test]
    fn what_is_asked_when_no_fork_goes_on_is_of_none() {
        let mut forked = Forked::default();
        forked.asks(FORK);
        forked.answered([FORK].into_iter(), &answer(Said::Deny));
        assert!(!meets(&mut forked));
        forked.begins(ORIGINAL);
        forked.ends(false);
        forked.answered([FORK].into_iter(), &answer(Said::Deny));
        assert!(!meets(&mut forked));
    }
}
