//! Entries as JSON lines, and their verification without a database.

use std::{
    io::{self, BufRead, Read, Write},
    sync::Arc,
};

use vantio_core::Hash;

use crate::{
    Entry, Fault, Filter, LedgerError, Malformed, Reader, Terms, Verified, VerifyError,
    chain::{self, Chains},
    entry::{self, Line},
    seal::Seals,
    tree::FullTile,
    verify::Audit,
};

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger cannot be read on, or an entry is not what was written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The destination could not be written.
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
}

impl ExportError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.code(),
            Self::Write(_) => "E_LEDGER_EXPORT",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.help(),
            Self::Write(_) => "check the destination and the space on it",
        }
    }
}

impl Reader {
    /// Writes every entry as a line of canonical JSON; returns how many.
    pub fn export(&self, writer: &mut dyn Write) -> Result<u64, ExportError> {
        let mut count = 0;
        for entry in self.entries(&Filter::default()) {
            writeln!(writer, "{}", entry?.to_line())?;
            count += 1;
        }
        writer.flush()?;
        Ok(count)
    }
}

impl Entry {
    /// The entry that [`Entry::to_line`] gave this line for.
    ///
    /// # Errors
    ///
    /// The line is no entry in canonical form, its hash is not that of its text, or its digests are
    /// not those of its detail.
    pub fn from_line(line: &str) -> Result<Self, Malformed> {
        let Line { text, this_hash, detail } = Line::scan(line)?;
        let text = chain::read(&text, this_hash)?;
        let detail = detail.map(|detail| entry::detail(&text, &detail)).transpose()?;
        entry::entry(&text, this_hash, detail)
    }
}

/// Verifies the lines that [`Reader::export`] wrote, in flat memory, and holds
/// them against the terms' checkpoint when there is one.
pub fn verify_export(reader: &mut dyn BufRead, terms: &Terms) -> Result<Verified, VerifyError> {
    walk(reader, Audit::new(Vec::new(), terms), |_| None)
}

/// Walks on from where `audit` is.
pub(crate) fn walk(
    reader: &mut dyn BufRead,
    mut audit: Audit,
    tile_fault: impl Fn(&FullTile<'_>) -> Option<VerifyError>,
) -> Result<Verified, VerifyError> {
    let mut line = Vec::new();
    while next_line(reader, &mut line, audit.seq())? {
        audit.step(|chains, seals| step(chains, seals, &line), &tile_fault)?;
    }
    audit.finish()
}

/// Reads the next line, that of the entry `seq`; false where there is none.
pub(crate) fn next_line(reader: &mut dyn BufRead, line: &mut Vec<u8>, seq: u64) -> Result<bool, VerifyError> {
    line.clear();
    let read = reader.take(MAX_LINE).read_until(b'\n', line);
    read.map_err(|source| VerifyError::Read { seq, source: Arc::new(source) })?;
    Ok(!line.is_empty())
}

pub(crate) fn step(chains: &mut Chains, seals: &mut Seals, line: &[u8]) -> Result<Hash, Fault> {
    let Line { text, this_hash, detail } = Line::read(line)?;
    let (entry, leaf) = chains.step(&text, this_hash)?;
    seals.check(&entry)?;
    if let Some(detail) = detail {
        entry.check_detail(&detail)?;
    }
    Ok(leaf)
}

/// No entry's line is longer (bytes); what is does not fill the memory.
pub const MAX_LINE: u64 = 32 << 20;
