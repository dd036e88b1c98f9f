//! Who answers the planes.

use std::{net::IpAddr, os::unix::net::UnixStream, sync::Arc, time::Duration};

use vantio_core::{Channel, Intent};

use crate::{
    Account, Ending, LaunchError,
    census::Processes,
    checkpoint::{Checkpoint, Checkpoints},
    nested::{Mark, Marks},
    resources::{Holder, Resource},
};

/// What a plane does with an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Carry it out.
    Permit,
    /// Refuse it with the errno of its effect.
    Refuse,
    /// End the run.
    Kill,
    /// Somebody is asked. Nothing is carried out, and the call is judged again, from the beginning, once
    /// [`Oracle::is_settled`] says so. Only where [`crate::Spec::may_wait`] announced it.
    Wait,
}

/// What becomes of a fork that went on while somebody was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speculated<'a> {
    /// It is the run now.
    Adopted,
    /// It is gone with all that it did, for this reason.
    Dropped(&'a str),
}

impl Speculated<'_> {
    /// Why a fork is dropped whose call was not approved.
    pub const ANSWERED: &'static str = "the call was answered";
}

/// Which way data can go through what is opened, for the flow of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Content can be read through it.
    pub reads: bool,
    /// Content can be written through it.
    pub writes: bool,
    /// It comes into being by this, so that nobody can hold it open yet.
    pub is_new: bool,
}

/// Decides intents and remembers them.
///
/// A refusal is durable in the ledger before `decide` returns. When the ledger
/// or the policy fails, the answer is [`Ruling::Kill`] or [`Ruling::Refuse`],
/// never [`Ruling::Permit`].
///
/// What is said about flows is only told where [`crate::Spec::tracks_flows`] asks for it.
pub trait Oracle: Send + Sync {
    /// Decides one intent.
    fn decide(&self, intent: &Intent<'_>) -> Ruling;

    /// As [`Oracle::decide`], for an open of which the plane knows more than the intent says.
    fn decide_open(&self, intent: &Intent<'_>, ways: Ways) -> Ruling {
        let _ = ways;
        self.decide(intent)
    }

    /// What has failed since which everything is ruled with [`Ruling::Kill`], where something has.
    fn failure(&self) -> Option<LaunchError> {
        None
    }

    /// Whether nothing is left to wait for of what the call of thread `tid` was told to: it was answered, or its
    /// time has run out. Asked often.
    fn is_settled(&self, tid: u32) -> bool {
        let _ = tid;
        true
    }

    /// The call of thread `tid` that waited ends without an answer, for the thread has a signal to handle. It may
    /// make the same call at once again.
    fn steps_aside(&self, tid: u32) {
        let _ = tid;
    }

    /// A call of thread `tid` is about to be answered for good. Told of every call where [`crate::Spec::may_wait`] is
    /// set: what was said of one is not for the next.
    fn answers(&self, tid: u32) {
        let _ = tid;
    }

    /// The thread `tid`, whose call waited, is gone.
    fn leaves(&self, tid: u32) {
        let _ = tid;
    }

    /// Decides an intent of a fork of the thread `original`, which waits for an answer, as if it were approved. Recorded as
    /// an assumption, not as a verdict.
    fn assume(&self, intent: &Intent<'_>, original: u32) -> Ruling {
        let _ = (intent, original);
        Ruling::Refuse
    }

    /// Whether all that the thread `tid` waited for was approved.
    fn is_approved(&self, tid: u32) -> bool {
        let _ = tid;
        false
    }

    /// While the thread `original` waits, the run goes on as a fork of it, the process `fork`. Until
    /// [`Oracle::speculated`] every intent is the fork's. False where that cannot be written down.
    fn speculates(&self, original: u32, fork: u32) -> bool {
        let _ = (original, fork);
        false
    }

    /// What became of the fork. False where that cannot be written down.
    fn speculated(&self, original: u32, outcome: Speculated<'_>) -> bool {
        let _ = (original, outcome);
        true
    }

    /// Why nothing goes on while the thread `tid` waits.
    fn waits_because(&self, tid: u32, why: &str) {
        let _ = (tid, why);
    }

    /// Decides without a record: for a question that a plane asks about an
    /// alternative it may not take, such as whether a host socket is open to the run.
    fn would_permit(&self, intent: &Intent<'_>) -> bool;

    /// A permitted name was answered with these addresses, valid for `ttl`.
    fn learn(&self, name: &str, addresses: &[IpAddr], ttl: Duration);

    /// Names that gave `address` within this run and whose time has run out:
    /// the plane asks again before it lets a connect through.
    fn stale_names(&self, address: IpAddr) -> Vec<String>;

    /// `name` no longer has the addresses it had.
    fn forget(&self, name: &str);

    /// Who the processes of the run are, and what they hold, for as long as the run lasts. Told before the
    /// program starts.
    fn attach(&self, processes: Arc<dyn Processes>) {
        let _ = processes;
    }

    /// The thread `tid`, as the host numbers it, makes a call that is about to be judged.
    fn begin(&self, tid: u32) {
        let _ = tid;
    }

    /// The thread `tid` is about to get an end of a channel for which no intent is asked.
    fn join(&self, tid: u32, channel: Channel, ways: Ways) -> Ruling {
        let _ = (tid, channel, ways);
        Ruling::Permit
    }

    /// As [`Oracle::join`], of a channel that others made without a word, and that the thread finds among their
    /// descriptors.
    fn find(&self, tid: u32, channel: Channel, ways: Ways) -> Ruling {
        self.join(tid, channel, ways)
    }

    /// The thread `tid` starts a script, the one judged last, by a path with symbolic links: its interpreter may
    /// find another there.
    fn astray(&self, tid: u32) {
        let _ = tid;
    }

    /// The name is no more: what was there has been removed or renamed, with everything below it.
    fn gone(&self, path: &[u8]) {
        let _ = path;
    }

    /// The process of the thread `tid` is about to end with this status.
    fn exited(&self, tid: u32, status: u8) {
        let _ = (tid, status);
    }

    /// Who takes checkpoints of the run, for as long as it lives. Told before the program starts.
    fn attach_checkpoints(&self, checkpoints: Arc<dyn Checkpoints>) {
        let _ = checkpoints;
    }

    /// What ends the run: called once something has failed, as [`Oracle::failure`] tells, whether or not anything is
    /// asked then. Told before the program starts.
    fn attach_alarm(&self, alarm: Box<dyn FnOnce() + Send>) {
        let _ = alarm;
    }

    /// How processes of nested runs are known. Told before the program starts.
    fn attach_marks(&self, marks: Arc<dyn Marks>) {
        let _ = marks;
    }

    /// Whether there are nested runs, or were.
    fn has_nested(&self) -> bool {
        false
    }

    /// Whether every nested run that the thread `tid` is in has the processes of this mark in it too. Told of a caller
    /// whose call may be over, it says nothing.
    fn nests_hold(&self, tid: u32, mark: Mark) -> bool {
        let _ = (tid, mark);
        true
    }

    /// A process of the run asks, at the other end, for a nested run; false where nobody answers.
    fn nests(&self, asking: UnixStream) -> bool {
        drop(asking);
        false
    }

    /// A checkpoint was taken.
    fn checkpointed(&self, checkpoint: &Checkpoint) {
        let _ = checkpoint;
    }

    /// Who holds the run to its limits. Told before the program starts, where there are limits.
    fn limited(&self, holders: &[(Resource, Holder)]) {
        let _ = holders;
    }

    /// The run has used up a resource: the kernel, or the plane, refuses it more.
    fn ran_out(&self, resource: Resource) -> Ruling {
        let _ = resource;
        Ruling::Refuse
    }

    /// The program is about to be released: returns once that is written down durably.
    ///
    /// # Errors
    ///
    /// When it cannot be; the program never starts then.
    fn begins(&self) -> Result<(), LaunchError> {
        Ok(())
    }

    /// The run is over: everything still waiting is written down.
    fn end(&self, ending: Ending) -> Account;

    /// Whoever waited for the run knows that it is over: what helps the next one is done now.
    fn leave(&self) {}
}
