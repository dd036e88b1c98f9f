//! Entries as JSON lines, and their verification without a database.

use std::io::{self, BufRead, Write};

use vantio_core::{
    Hash,
    json::{Key, Value},
};

use crate::{
    Entry, Fault, Filter, LedgerError, Malformed, Reader, Verified, VerifyError,
    chain::{self, Chain},
};

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger does not verify; what was written before that point does.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The destination could not be written.
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
}

impl Entry {
    /// The canonical text of the whole entry, without a line feed.
    pub fn to_line(&self) -> String {
        self.to_json().to_canonical()
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

/// Verifies the lines that [`Reader::export`] wrote, in flat memory.
pub fn verify_export(reader: &mut dyn BufRead) -> Result<Verified, VerifyError> {
    let mut chain = Chain::GENESIS;
    let mut line = Vec::new();
    loop {
        line.clear();
        let seq = chain.next;
        let _ = reader.read_until(b'\n', &mut line);
        if line.is_empty() {
            return Ok(Verified { size: chain.next, head: chain.head });
        }
        step(&mut chain, &line).map_err(|fault| VerifyError::Entry { seq, fault })?;
    }
}

fn step(chain: &mut Chain, line: &[u8]) -> Result<(), Fault> {
    let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    let mut value = chain::parse_canonical(text.ok_or(Malformed::NotCanonical)?)?;
    let this_hash = take_hash(&mut value).ok_or(Malformed::Field("this_hash"))?;
    chain.step(&value.to_canonical(), this_hash)?;
    Ok(())
}

fn take_hash(value: &mut Value) -> Option<Hash> {
    let Value::Object(members) = value else { return None };
    match members.remove(&Key("this_hash".into()))? {
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
