//! Linking entries into a chain: where they wait, before they are written.
//!
//! The callers' threads link, each its own entry, onto the end that the chain will have when what is
//! before it is written. A store that finds another end, because another process has written
//! meanwhile, has the entries of the batch linked anew.

use jiff::Timestamp;
use uuid::Uuid;
use vantio_core::{ClockError, Decision, Hash};

use crate::{
    Interval, LedgerError, Receipt,
    chain::{Chain, hashes},
    clock::{Clock, Reading},
    entry::{self, Prepared, RecordStamp, Stamp, time_text},
    store::Row,
};

/// What every link of a writer's chain needs.
#[derive(Clone, Copy)]
pub(crate) struct Context {
    /// The chain, where the store has several.
    pub writer: Option<Uuid>,
    pub clock_error: fn() -> ClockError,
}

/// The end of a chain, growing.
pub(crate) struct Linker {
    pub chain: Chain,
    clock: Clock,
    context: Context,
}

/// Entries that are written together.
pub(crate) struct Links {
    entries: Vec<Entry>,
    context: Context,
    /// The ends of the chain before and after the entries, where they are linked.
    span: Option<(Chain, Chain)>,
}

struct Entry {
    prepared: Prepared,
    /// The wall clock when it was handed over.
    time: Timestamp,
    linked: Option<Linked>,
}

/// What an entry got with its place.
struct Linked {
    text: String,
    leaf: Hash,
    receipt: Receipt,
}

impl Linker {
    /// Links onto `chain`.
    pub fn after(chain: Chain, context: Context) -> Self {
        Self { chain, clock: Clock::after_chain(&chain), context }
    }

    fn link(&mut self, prepared: &Prepared, time: Timestamp) -> Result<Linked, LedgerError> {
        let stamp = self.stamp(prepared, time)?;
        let text = entry::text(prepared, &stamp);
        let [this_hash, leaf] = hashes(&stamp.prev_hash, &text);
        let record_id = stamp.record.as_ref().map(|record| record.id);
        self.chain.advance(this_hash, stamp.time, record_id);
        Ok(Linked { text, leaf, receipt: Receipt { seq: stamp.seq, this_hash, record_id } })
    }

    fn stamp(&mut self, prepared: &Prepared, handed_over: Timestamp) -> Result<Stamp, LedgerError> {
        let time = self.clock.stamp(handed_over);
        let record = match prepared.anomaly {
            Some(_) => {
                let reading = Reading { time: handed_over, error: (self.context.clock_error)() };
                let Interval { earliest, latest, is_synchronized } = reading.interval(time);
                Some(RecordStamp {
                    id: self.clock.record_id(time)?,
                    earliest: format!("{earliest:.9}"),
                    latest: format!("{latest:.9}"),
                    is_synchronized,
                })
            }
            None => None,
        };
        let Chain { next, head, .. } = self.chain;
        Ok(Stamp { seq: next, prev_hash: head, writer: self.context.writer, time: time_text(time), record })
    }
}

impl Links {
    /// No entries yet, on the way to be linked by `linker` where there is one.
    pub fn new(context: Context, linker: Option<&Linker>, capacity: usize) -> Self {
        let span = linker.map(|linker| (linker.chain, linker.chain));
        Self { entries: Vec::with_capacity(capacity), context, span }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry, linked to `end` where that is known; returns its place among the entries.
    pub fn push(&mut self, prepared: Prepared, end: Option<&mut Linker>) -> Result<usize, LedgerError> {
        let time = Timestamp::now();
        let linked = match end {
            Some(end) => {
                let linked = end.link(&prepared, time)?;
                self.span = self.span.map(|(first, _)| (first, end.chain));
                Some(linked)
            }
            None => None,
        };
        self.entries.push(Entry { prepared, time, linked });
        Ok(self.entries.len() - 1)
    }

    /// Says that `linker` did not link all of them, or not to where they will be.
    pub fn cut(&mut self) {
        self.span = None;
    }

    /// Has the entries follow `chain`. Returns the end that the chain has with them.
    pub fn follow(&mut self, chain: &Chain) -> Result<Chain, LedgerError> {
        if let Some((first, last)) = self.span
            && first == *chain
        {
            return Ok(last);
        }
        let mut linker = Linker::after(*chain, self.context);
        for entry in &mut self.entries {
            entry.linked = Some(linker.link(&entry.prepared, entry.time)?);
        }
        self.span = Some((*chain, linker.chain));
        Ok(linker.chain)
    }

    /// The end of the chain behind the entries, where they are linked.
    pub fn end(&self) -> Option<Chain> {
        self.span.map(|(_, end)| end)
    }

    /// The entries as rows, once they are linked.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.entries.iter().filter_map(|entry| {
            let (prepared, linked) = (&entry.prepared, entry.linked.as_ref()?);
            Some(Row {
                seq: linked.receipt.seq,
                run_id: prepared.run_id,
                op: &prepared.op,
                decision: prepared.decision.map(Decision::name),
                record_id: linked.receipt.record_id,
                this_hash: linked.receipt.this_hash,
                text: &linked.text,
                detail: prepared.detail.as_deref(),
                leaf: linked.leaf,
            })
        })
    }

    /// Roughly the bytes of the rows.
    pub fn bytes(&self) -> u64 {
        self.rows().map(|row| (row.text.len() + row.detail.map_or(0, str::len) + 128) as u64).sum()
    }

    /// The receipts of the entries, in their order.
    pub fn receipts(&self) -> Box<[Receipt]> {
        self.entries.iter().filter_map(|entry| Some(entry.linked.as_ref()?.receipt)).collect()
    }
}
