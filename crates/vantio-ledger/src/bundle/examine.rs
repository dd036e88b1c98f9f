//! Checking what a bundle says against its checkpoint, entry by entry, in flat memory.

use std::{collections::BTreeMap, io::BufRead};

use jiff::Timestamp;
use vantio_core::{Hash, RunId};

use super::{
    names,
    open::{Bundle, OpenBundleError, member},
};
use crate::{
    Fault, Malformed, Signer, Terms, VerifyError,
    chain::{self, Chain},
    entry::{Line, Text},
    export::next_line,
    note::{SignedNote, TreeHead, VerifierKey, VerifyNoteError},
    prove::signers,
    seal::Seals,
    tree::{self, TILE_WIDTH, Tile, Tiles, decode_tile, leaf_hash, verify_inclusion},
    verify::Audit,
};

/// What was found in a bundle.
#[derive(Debug)]
pub struct Examined {
    /// The tree of its checkpoint.
    pub head: TreeHead,
    /// The log's key, by the bundle's own word.
    pub key: Option<VerifierKey>,
    /// Which of the given keys signed the checkpoint.
    pub given: Result<Vec<Signer>, VerifyNoteError>,
    /// Whether the bundle's own key signed it.
    pub own: Result<Vec<Signer>, VerifyNoteError>,
    /// How many entries hold before the first that does not, and which that is.
    pub broken: Option<VerifyError>,
    /// How many entries hold.
    pub entries: u64,
    /// How many of them follow from the entry before, which is here too.
    pub links: u64,
    /// How many have what was asked and answered with them, which their digests cover.
    pub details: u64,
    /// How many anomaly records are sealed by the key of the SVID in them.
    pub seals: u64,
    /// Every SVID in an anomaly record, by its certificate.
    pub svids: Vec<MetSvid>,
    /// Every policy that was in force.
    pub policies: Vec<MetPolicy>,
    /// Every run.
    pub runs: BTreeMap<RunId, RunSpan>,
}

/// An SVID in anomaly records.
#[derive(Clone, Debug)]
pub struct MetSvid {
    /// The agent that the records name.
    pub spiffe_id: String,
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    /// The first entry with it, and its time.
    pub first: (u64, Timestamp),
    /// The last.
    pub last: (u64, Timestamp),
}

/// A policy in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetPolicy {
    /// Its hash.
    pub hash: Hash,
    /// The first entry under it.
    pub seq: u64,
}

/// Which entries about its own course a run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSpan {
    /// There is one about its beginning.
    pub is_started: bool,
    /// There is one about its end.
    pub is_ended: bool,
}

impl Bundle {
    /// Checks every entry: by itself, against its neighbours, and against the checkpoint. Whether
    /// `keys`, and whether the bundle's own key, signed that checkpoint is told apart.
    pub fn examine(&self, keys: &[VerifierKey]) -> Result<Examined, OpenBundleError> {
        let note: SignedNote = self
            .text(names::CHECKPOINT)?
            .parse()
            .map_err(|error| member(names::CHECKPOINT, &format!("is not a signed note: {error}")))?;
        let head: TreeHead = note
            .text()
            .parse()
            .map_err(|error| member(names::CHECKPOINT, &format!("is not a checkpoint: {error}")))?;
        let key = self.key()?;
        let own: Vec<VerifierKey> = key.iter().cloned().collect();
        let mut walk = Walk {
            bundle: self,
            seals: Seals::default(),
            svids: Vec::new(),
            policies: BTreeMap::new(),
            runs: BTreeMap::new(),
            tile: None,
            entries: 0,
            links: 0,
            details: 0,
        };
        let mut lines = self.lines()?;
        let broken = match self.run() {
            None => walk.whole(&mut lines, &head),
            Some(run) => walk.part(&mut lines, run, &head),
        };
        Ok(Examined {
            given: signers(&note, keys),
            own: signers(&note, &own),
            head,
            key,
            broken: broken.err(),
            entries: walk.entries,
            links: walk.links,
            details: walk.details,
            seals: walk.seals.count(),
            svids: walk.svids,
            policies: walk.policies.into_iter().map(|(hash, seq)| MetPolicy { hash, seq }).collect(),
            runs: walk.runs,
        })
    }

    fn key(&self) -> Result<Option<VerifierKey>, OpenBundleError> {
        let Some(bytes) = self.member(names::KEY)? else { return Ok(None) };
        let text = String::from_utf8(bytes).unwrap_or_default();
        let key = text.trim_end_matches('\n').parse();
        key.map(Some).map_err(|error| member(names::KEY, &format!("is not a key: {error}")))
    }
}

/// What was met on the way along the entries.
struct Walk<'bundle> {
    bundle: &'bundle Bundle,
    seals: Seals,
    svids: Vec<MetSvid>,
    policies: BTreeMap<Hash, u64>,
    runs: BTreeMap<RunId, RunSpan>,
    /// The tile of level 0 that the last entry was in; it leads to the root.
    tile: Option<(u64, Vec<Hash>)>,
    entries: u64,
    links: u64,
    details: u64,
}

impl Walk<'_> {
    /// All entries of a log: the tree over them is built anew.
    fn whole(&mut self, lines: &mut dyn BufRead, head: &TreeHead) -> Result<(), VerifyError> {
        let terms = Terms { checkpoint: Some(head.clone()), ..Terms::default() };
        let mut audit = Audit::new(Vec::new(), &terms);
        let mut line = Vec::new();
        while next_line(lines, &mut line, audit.seq())? {
            let seq = audit.seq();
            if seq >= head.size() {
                return Err(VerifyError::Beyond { seq, size: head.size() });
            }
            audit.step(
                |chain, _| {
                    let Line { text, this_hash, detail } = Line::read(&line)?;
                    let (entry, leaf) = chain.step(&text, this_hash)?;
                    self.meet(&entry, detail.as_deref())?;
                    Ok(leaf)
                },
                |_| None,
            )?;
            self.entries += 1;
            self.links += u64::from(seq > 0);
        }
        audit.finish().map(drop)
    }

    /// The entries of one run: the tiles above them lead to the root.
    fn part(&mut self, lines: &mut dyn BufRead, run: RunId, head: &TreeHead) -> Result<(), VerifyError> {
        let mut before: Option<Chain> = None;
        let mut line = Vec::new();
        loop {
            let next = before.as_ref().map_or(0, |chain| chain.next);
            if !next_line(lines, &mut line, next)? {
                return Ok(());
            }
            let at = |seq| move |fault: Fault| VerifyError::Entry { seq, fault };
            let malformed = |fault: Malformed| at(next)(fault.into());
            let Line { text, this_hash, detail } = Line::read(&line).map_err(malformed)?;
            let entry = chain::read(&text, this_hash).map_err(malformed)?;
            let seq = entry.seq;
            if seq < next {
                return Err(at(next)(Fault::Misplaced { found: seq }));
            }
            if seq >= head.size() {
                return Err(VerifyError::Beyond { seq, size: head.size() });
            }
            if entry.run_id != run {
                return Err(at(seq)(Malformed::Field("run_id").into()));
            }
            // Of a neighbour everything is known that a chain needs; of another only what it was.
            let mut chain = match before {
                Some(chain) if chain.next == seq => {
                    self.links += 1;
                    chain
                }
                other => Chain { next: seq, head: entry.prev_hash, ..other.unwrap_or(Chain::GENESIS) },
            };
            chain.follow(&entry, this_hash).map_err(at(seq))?;
            self.place(&text, seq, head)?;
            self.meet(&entry, detail.as_deref()).map_err(at(seq))?;
            before = Some(chain);
            self.entries += 1;
        }
    }

    /// That the entry is in the tree.
    fn place(&mut self, text: &str, seq: u64, head: &TreeHead) -> Result<(), VerifyError> {
        let width = u64::from(TILE_WIDTH);
        let (index, offset) = (seq / width, (seq % width) as usize);
        let wrong = |tile: String| VerifyError::Tile { seq, tile };
        if self.tile.as_ref().is_none_or(|(known, _)| *known != index) {
            let tile = Tile::in_tree(0, index, head.size()).ok_or_else(|| wrong("the checkpoint".into()))?;
            let hashes = self.bundle.tile(tile).map_err(|()| wrong(tile.to_string()))?;
            let first = index * width;
            let proof = tree::inclusion(first, head.size(), self.bundle);
            let proof = proof.map_err(|_| wrong(format!("a tile above `{tile}`")))?;
            let leaf = hashes.first().copied().unwrap_or(Hash::ZERO);
            // The way up is over all hashes of the tile: it binds every one of them.
            verify_inclusion(leaf, first, head.size(), &proof, head.root())
                .map_err(|_| wrong(format!("`{tile}` with those above it")))?;
            self.tile = Some((index, hashes));
        }
        let hashes = self.tile.as_ref().map(|(_, hashes)| hashes.as_slice()).unwrap_or_default();
        if hashes.get(offset) == Some(&leaf_hash(text.as_bytes())) {
            return Ok(());
        }
        Err(wrong(Tile::in_tree(0, index, head.size()).map_or_else(String::new, |tile| tile.to_string())))
    }

    /// What an entry says by itself, and what it names.
    fn meet(&mut self, entry: &Text<'_>, detail: Option<&str>) -> Result<(), Fault> {
        self.seals.check(entry)?;
        if let Some(detail) = detail {
            entry.check_detail(detail)?;
            self.details += 1;
        }
        self.policies.entry(entry.policy_hash).or_insert(entry.seq);
        let span = self.runs.entry(entry.run_id).or_default();
        span.is_started |= entry.op == "run.start";
        span.is_ended |= entry.op == "run.end";
        if let Some(record) = &entry.record {
            let time = entry.time.parse().map_err(|_| Malformed::Field("time"))?;
            let here = (entry.seq, time);
            let (certificate, spiffe_id) = (record.certificate(), record.spiffe_id());
            // A run seals all its records with one.
            match self.svids.iter_mut().rev().find(|svid| svid.certificate == certificate) {
                Some(svid) => svid.last = here,
                None => self.svids.push(MetSvid { spiffe_id, certificate, first: here, last: here }),
            }
        }
        Ok(())
    }
}

impl Tiles for Bundle {
    type Error = ();

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, ()> {
        let bytes = self.member(&tile.to_string()).ok().flatten().ok_or(())?;
        decode_tile(&bytes).map_err(|_| ())
    }
}
