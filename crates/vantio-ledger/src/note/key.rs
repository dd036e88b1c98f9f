//! Keys that signatures are verified with (C2SP signed-note, "Verifier keys").

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::VerifyingKey;
use vantio_core::Hash;

use super::{error::KeyError, signed::Verified};

/// What a key's signatures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Algorithm {
    /// Ed25519 over the text (C2SP signed-note, type 0x01).
    Ed25519 = 1,
    /// A witness's Ed25519 over a time and the text (C2SP tlog-cosignature, type 0x04).
    CosignatureV1 = 4,
}

/// A public key with the name that it signs under.
///
/// The text is `NAME+ID+KEY`: the id in hexadecimal digits, then algorithm and key in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    algorithm: Algorithm,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The key of these 32 bytes (RFC 8032, section 5.1.5).
    pub fn new(name: &str, algorithm: Algorithm, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| KeyError::PublicKey)?;
        if key.is_weak() {
            return Err(KeyError::PublicKey);
        }
        Ok(Self::of(name, algorithm, key))
    }

    /// INVARIANT: the name is one, and the key is sound.
    pub(super) fn of(name: &str, algorithm: Algorithm, key: VerifyingKey) -> Self {
        Self { name: name.to_owned(), id: key_id(name, algorithm, key.as_bytes()), algorithm, key }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first 32 bits of SHA-256 over name, algorithm and key.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What its signatures are.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The Ed25519 public key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// This key with the time of its cosignature, when `signature`, as it stands in a note after
    /// the id, is this key's over `text`.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> Option<Verified<'_>> {
        let (time, signature) = match self.algorithm {
            Algorithm::Ed25519 => (None, signature),
            Algorithm::CosignatureV1 => {
                let (time, signature) = signature.split_first_chunk()?;
                (Some(u64::from_be_bytes(*time)), signature)
            }
        };
        // The bound of C2SP tlog-cosignature.
        if time.is_some_and(|time| i64::try_from(time).is_err()) {
            return None;
        }
        let signature = ed25519_dalek::Signature::from_bytes(signature.try_into().ok()?);
        let verified = match time {
            None => self.key.verify_strict(text.as_bytes(), &signature),
            Some(time) => self.key.verify_strict(cosigned(text, time).as_bytes(), &signature),
        };
        verified.ok().map(|()| Verified { key: self, time })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [self.algorithm as u8; 33];
        bytes[1..].copy_from_slice(self.key.as_bytes());
        write!(formatter, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Shape)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Shape)?;
        let id = parse_id(id).ok_or(KeyError::Shape)?;
        let bytes = STANDARD.decode(key).map_err(|_| KeyError::Shape)?;
        let (algorithm, key) = bytes.split_first().ok_or(KeyError::Shape)?;
        let algorithm = match algorithm {
            1 => Algorithm::Ed25519,
            4 => Algorithm::CosignatureV1,
            other => return Err(KeyError::Algorithm(*other)),
        };
        let key = Self::new(name, algorithm, key.try_into().map_err(|_| KeyError::Shape)?)?;
        if key.id == id { Ok(key) } else { Err(KeyError::Id) }
    }
}

/// True for the name of a key: not empty, and without Unicode spaces, `+` or control characters.
pub fn is_name(name: &str) -> bool {
    let is_excluded = |letter: char| letter.is_whitespace() || letter == '+' || letter < ' ';
    !name.is_empty() && !name.contains(is_excluded)
}

/// The id of a key (C2SP signed-note, "Signatures").
pub fn key_id(name: &str, algorithm: Algorithm, public_key: &[u8; 32]) -> u32 {
    let Hash([first, second, third, fourth, ..]) =
        Hash::of_parts(&[name.as_bytes(), b"\n", &[algorithm as u8], public_key]);
    u32::from_be_bytes([first, second, third, fourth])
}

/// Eight lower-case hexadecimal digits.
pub fn parse_id(text: &str) -> Option<u32> {
    let is_id = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_id { u32::from_str_radix(text, 16).ok() } else { None }
}

/// What a witness signs (C2SP tlog-cosignature, "Ed25519 signed message").
pub fn cosigned(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}
