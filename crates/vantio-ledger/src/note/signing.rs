//! Keys that sign.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::Signer as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    error::KeyError,
    key::{Algorithm, VerifierKey, cosigned, is_name, key_id, parse_id},
    signed::Signature,
};

/// A secret Ed25519 key with the name that it signs under; wiped from memory when dropped.
pub struct SigningKey {
    name: String,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// The key that this seed makes (RFC 8032, section 5.1.5).
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        Ok(Self { name: name.to_owned(), key: ed25519_dalek::SigningKey::from_bytes(seed) })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What verifies [`SigningKey::sign`].
    pub fn verifier(&self) -> VerifierKey {
        self.verifier_of(Algorithm::Ed25519)
    }

    /// What verifies [`SigningKey::cosign`].
    pub fn cosigner(&self) -> VerifierKey {
        self.verifier_of(Algorithm::CosignatureV1)
    }

    /// The signature over `text` (C2SP signed-note, "Ed25519 signatures").
    pub fn sign(&self, text: &str) -> Signature {
        let bytes = self.key.sign(text.as_bytes()).to_bytes().to_vec();
        Signature::made(&self.name, self.id(Algorithm::Ed25519), bytes)
    }

    /// A witness's signature over the text of a checkpoint, at a time in seconds since 1970
    /// (C2SP tlog-cosignature, "Ed25519 signed message"). A witness's key signs nothing else.
    pub fn cosign(&self, text: &str, time: u64) -> Signature {
        let signature = self.key.sign(cosigned(text, time).as_bytes());
        let bytes = [&time.to_be_bytes()[..], &signature.to_bytes()].concat();
        Signature::made(&self.name, self.id(Algorithm::CosignatureV1), bytes)
    }

    /// `PRIVATE+KEY+NAME+ID+SEED`, as golang.org/x/mod/sumdb/note writes it: to be stored where
    /// only the log can read it.
    pub fn secret_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([Algorithm::Ed25519 as u8; 33]);
        bytes[1..].copy_from_slice(self.key.as_bytes());
        let seed = Zeroizing::new(STANDARD.encode(*bytes));
        let id = self.id(Algorithm::Ed25519);
        Zeroizing::new(format!("PRIVATE+KEY+{}+{id:08x}+{}", self.name, *seed))
    }

    fn id(&self, algorithm: Algorithm) -> u32 {
        key_id(&self.name, algorithm, self.key.as_ref().as_bytes())
    }

    fn verifier_of(&self, algorithm: Algorithm) -> VerifierKey {
        VerifierKey::of(&self.name, algorithm, self.key.verifying_key())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix("PRIVATE+KEY+").ok_or(KeyError::Shape)?;
        let (name, rest) = rest.split_once('+').ok_or(KeyError::Shape)?;
        let (id, seed) = rest.split_once('+').ok_or(KeyError::Shape)?;
        let id = parse_id(id).ok_or(KeyError::Shape)?;
        let bytes = Zeroizing::new(STANDARD.decode(seed).map_err(|_| KeyError::Shape)?);
        let (algorithm, seed) = bytes.split_first().ok_or(KeyError::Shape)?;
        if *algorithm != Algorithm::Ed25519 as u8 {
            return Err(KeyError::Algorithm(*algorithm));
        }
        let mut seed: [u8; 32] = seed.try_into().map_err(|_| KeyError::Shape)?;
        let key = Self::new(name, &seed);
        seed.zeroize();
        let key = key?;
        if key.id(Algorithm::Ed25519) == id { Ok(key) } else { Err(KeyError::Id) }
    }
}
