//! Verifying the seals of anomaly records.

use ed25519_dalek::{Signature, VerifyingKey};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, oid_registry::OID_SIG_ED25519, prelude::FromDer,
};

use crate::{Fault, entry::Text};

/// The SVID that was met last: a run seals all its records with one.
#[derive(Clone, Default)]
pub(crate) struct Seals {
    certificate: Vec<u8>,
    identity: Option<(String, VerifyingKey)>,
    count: u64,
}

impl Seals {
    /// Checks that the record of `entry`, where there is one, is sealed by the
    /// key of the SVID in it. Whether that SVID can be trusted is another question.
    pub fn check(&mut self, entry: &Text<'_>) -> Result<(), Fault> {
        let Some((record, sealed, seal)) = entry.sealed() else { return Ok(()) };
        let certificate = record.certificate();
        if self.certificate != certificate {
            self.identity = identity(&certificate);
            self.certificate = certificate;
        }
        let Some((id, key)) = &self.identity else { return Err(Fault::Seal("names no key")) };
        if *id != record.spiffe_id() {
            return Err(Fault::Seal("is of another agent"));
        }
        let signature = Signature::from_bytes(seal);
        let is_valid = key.verify_strict(sealed.message().as_bytes(), &signature).is_ok();
        self.count += 1;
        if is_valid { Ok(()) } else { Err(Fault::Seal("did not sign it")) }
    }

    /// How many seals were checked.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// The SPIFFE ID and the key that a certificate joins.
fn identity(certificate: &[u8]) -> Option<(String, VerifyingKey)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(id)] = names.value.general_names[..] else { return None };
    let key = certificate.public_key();
    if key.algorithm.algorithm != OID_SIG_ED25519 {
        return None;
    }
    let key = key.subject_public_key.data.as_ref().try_into().ok()?;
    Some((id.to_owned(), VerifyingKey::from_bytes(key).ok()?))
}
