//! Ed25519 keys that leave no trace in memory.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use rcgen::{PKCS_ED25519, PublicKeyData, SignatureAlgorithm};
use zeroize::Zeroizing;

use crate::IdentityError;

/// A private key; its memory is wiped when it is dropped.
pub(crate) struct Key {
    signing: SigningKey,
    public: [u8; 32],
}

impl Key {
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        Ok(Self::from_seed(&seed))
    }

    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let public = signing.verifying_key().to_bytes();
        Self { signing, public }
    }

    pub fn seed(&self) -> &[u8; 32] {
        self.signing.as_bytes()
    }

    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key")
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.sign(message).into())
    }
}
