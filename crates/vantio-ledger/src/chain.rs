//! One step along the chain: the checks every entry must pass.

use vantio_core::{Hash, json::Value};

use crate::{Entry, entry, store::FORMAT};

/// A field of an entry is missing, of another type, or one that the format does
/// not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The text is not JSON, or not the canonical text of its value.
    #[error("it is not canonical JSON")]
    NotCanonical,
    /// A field is missing or has a value of the wrong kind.
    #[error("field `{0}` is missing or has no valid value")]
    Field(&'static str),
    /// There is a field that the format does not have.
    #[error("{0} has an unknown field")]
    Unknown(&'static str),
    /// The entry declares another format.
    #[error("it has format {0}; this program knows format {FORMAT}")]
    Version(i64),
    /// The hash does not match.
    #[error("its hash does not match its content and the entry before it")]
    Hash,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not a valid entry by itself.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Another entry stands in its place: it was removed, or entries were swapped.
    #[error("entry {found} stands in its place")]
    Misplaced {
        /// The sequence number found instead.
        found: u64,
    },
    /// `prev_hash` is not the hash of the entry before.
    #[error("it does not follow from the entry before it")]
    Unlinked,
    /// `req_hash` or `res_hash` does not match the payload.
    #[error("`{0}` does not match its payload")]
    Payload(&'static str),
    /// A column of the store contradicts the entry's text.
    #[error("column `{0}` contradicts its text")]
    Column(&'static str),
}

/// A position in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The sequence number that comes next; the number of entries so far.
    pub next: u64,
    /// `this_hash` of the last entry.
    pub head: Hash,
}

impl Chain {
    pub const GENESIS: Self = Self { next: 0, head: Hash::ZERO };

    /// Steps over the entry whose text without `this_hash` is `body`.
    pub fn step(&mut self, body: &str, this_hash: Hash) -> Result<Entry, Fault> {
        let entry = decode(body, this_hash)?;
        self.check(&entry)?;
        self.next += 1;
        self.head = this_hash;
        Ok(entry)
    }

    fn check(&self, entry: &Entry) -> Result<(), Fault> {
        if entry.seq != self.next {
            return Err(Fault::Misplaced { found: entry.seq });
        }
        if entry.prev_hash != self.head {
            return Err(Fault::Unlinked);
        }
        if Hash::of(entry.request.to_canonical().as_bytes()) != entry.req_hash {
            return Err(Fault::Payload("req_hash"));
        }
        if Hash::of(entry.response.to_canonical().as_bytes()) != entry.res_hash {
            return Err(Fault::Payload("res_hash"));
        }
        Ok(())
    }
}

/// Reads an entry from its canonical text, and checks its hash.
pub(crate) fn decode(body: &str, this_hash: Hash) -> Result<Entry, Malformed> {
    let entry = entry::from_body(parse_canonical(body)?, this_hash)?;
    if Hash::of_parts(&[&entry.prev_hash.0, body.as_bytes()]) != this_hash {
        return Err(Malformed::Hash);
    }
    Ok(entry)
}

/// The value whose canonical text is `text`.
pub(crate) fn parse_canonical(text: &str) -> Result<Value, Malformed> {
    let parsed: serde_json::Value = serde_json::from_str(text).map_err(|_| Malformed::NotCanonical)?;
    let value = to_value(parsed)?;
    if value.to_canonical() == text { Ok(value) } else { Err(Malformed::NotCanonical) }
}

// serde_json refuses what nests deeper than 128 levels, which bounds the recursion.
fn to_value(parsed: serde_json::Value) -> Result<Value, Malformed> {
    Ok(match parsed {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => Value::Integer(number.as_i64().ok_or(Malformed::NotCanonical)?),
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Array(items) => {
            Value::Array(items.into_iter().map(to_value).collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(members) => {
            let members = members.into_iter().map(|(key, value)| Ok((key, to_value(value)?)));
            Value::object(members.collect::<Result<Vec<_>, Malformed>>()?)
        }
    })
}
