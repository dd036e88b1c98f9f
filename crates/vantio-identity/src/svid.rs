//! An agent's identity for one run.

use crate::{SpiffeId, key::Key};

/// An X.509-SVID with its private key.
#[derive(Debug)]
pub struct Svid {
    spiffe_id: SpiffeId,
    certificate: Vec<u8>,
    key: Key,
}

impl Svid {
    pub(crate) fn new(spiffe_id: SpiffeId, certificate: Vec<u8>, key: Key) -> Self {
        Self { spiffe_id, certificate, key }
    }

    /// Whom the certificate names.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The certificate, in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The Ed25519 public key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.public()
    }

    /// Signs `message` with Ed25519 (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message)
    }
}
