//! Texts with signatures (C2SP signed-note, "Format").

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    error::{NoteError, VerifyNoteError},
    key::{VerifierKey, is_name},
    signing::SigningKey,
};

/// The longest note that is read.
pub const MAX_NOTE_BYTES: usize = 1 << 20;

/// The most signatures that a note may have.
pub const MAX_SIGNATURES: usize = 100;

/// An em dash and a space.
const MARK: &str = "\u{2014} ";

/// A text that keys have signed, or are about to.
///
/// Nothing is verified until [`SignedNote::verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

/// A signature as it stands in a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    name: String,
    id: u32,
    bytes: Vec<u8>,
}

/// A known key's signature that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'key> {
    /// The key.
    pub key: &'key VerifierKey,
    /// When a witness cosigned, in seconds since 1970; by the witness's clock.
    pub time: Option<u64>,
}

impl Signature {
    pub(super) fn made(name: &str, id: u32, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), id, bytes }
    }

    /// The name of the key that it claims.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key that it claims.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The signature itself; with a time before it, when it is a cosignature.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the signature claims to be this key's.
    pub fn claims(&self, key: &VerifierKey) -> bool {
        self.id == key.id() && self.name == key.name()
    }
}

impl SignedNote {
    /// The text, not signed yet. It ends with a line feed and has no other control characters.
    pub fn new(text: &str) -> Result<Self, NoteError> {
        check_letters(text)?;
        if text.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(text.len()));
        }
        if !text.ends_with('\n') {
            return Err(NoteError::Text);
        }
        Ok(Self { text: text.to_owned(), signatures: Vec::new() })
    }

    /// Reads a note from the bytes of a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoteError> {
        // Before a pass over what may be very long.
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(bytes.len()));
        }
        std::str::from_utf8(bytes).map_err(|_| NoteError::Encoding)?.parse()
    }

    /// What was signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, in their order.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature over the text after the others; an earlier one of the same key goes.
    pub fn add(&mut self, signature: Signature) -> Result<(), NoteError> {
        let is_other = |known: &Signature| known.id != signature.id || known.name != signature.name;
        if self.signatures.iter().filter(|known| is_other(known)).count() >= MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.retain(is_other);
        self.signatures.push(signature);
        Ok(())
    }

    /// Signs the text.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), NoteError> {
        self.add(key.sign(&self.text))
    }

    /// Which of the known keys signed, in the order of the signatures, each once.
    ///
    /// Signatures of unknown keys are ignored. It is an error when a signature that claims a known
    /// key does not verify, and when no known key signed.
    pub fn verify<'key>(&self, known: &'key [VerifierKey]) -> Result<Vec<Verified<'key>>, VerifyNoteError> {
        let mut verified: Vec<Verified<'key>> = Vec::new();
        for signature in &self.signatures {
            let mut claimed = known.iter().filter(|key| signature.claims(key));
            let Some(key) = claimed.next() else { continue };
            if claimed.any(|other| other != key) {
                return Err(VerifyNoteError::Ambiguous { name: key.name().to_owned(), id: key.id() });
            }
            let Some(signed) = key.verify(&self.text, &signature.bytes) else {
                return Err(VerifyNoteError::Signature { name: key.name().to_owned() });
            };
            if !verified.iter().any(|verified| verified.key == key) {
                verified.push(signed);
            }
        }
        if verified.is_empty() { Err(VerifyNoteError::Unknown) } else { Ok(verified) }
    }
}

/// The line of a note, as a witness answers it.
impl fmt::Display for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.to_be_bytes()[..], &self.bytes].concat();
        writeln!(formatter, "{MARK}{} {}", self.name, STANDARD.encode(bytes))
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| signature.fmt(formatter))
    }
}

/// Reads one line of a note, with its line feed.
impl FromStr for Signature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        line.strip_suffix('\n').and_then(parse_signature).ok_or(NoteError::Signature(1))
    }
}

impl FromStr for SignedNote {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(note.len()));
        }
        check_letters(note)?;
        let end = note.rfind("\n\n").ok_or(NoteError::Unsigned)?;
        let (text, lines) = note.split_at(end + 1);
        let lines = lines.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let mut signatures = Vec::new();
        for (place, line) in lines.ok_or(NoteError::Unsigned)?.split('\n').enumerate() {
            if place >= MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(parse_signature(line).ok_or(NoteError::Signature(place + 1))?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }
}

fn parse_signature(line: &str) -> Option<Signature> {
    let (name, signature) = line.strip_prefix(MARK)?.split_once(' ')?;
    let bytes = STANDARD.decode(signature).ok()?;
    let (id, bytes) = bytes.split_first_chunk()?;
    let is_signature = is_name(name) && !bytes.is_empty();
    is_signature.then(|| Signature::made(name, u32::from_be_bytes(*id), bytes.to_vec()))
}

fn check_letters(text: &str) -> Result<(), NoteError> {
    let has_control = text.bytes().any(|byte| byte < b' ' && byte != b'\n');
    if has_control { Err(NoteError::Control) } else { Ok(()) }
}
