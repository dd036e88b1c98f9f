//! The certificate authority of this machine's runs.

use std::{fmt, path::Path, time::SystemTime};

use vantio_core::RunId;

use crate::{
    IdentityError, SpiffeId, Svid, TrustDomainName,
    certificate::{self, Authority},
    files,
    key::Key,
};

/// A trust domain with its key, kept in a folder.
pub struct TrustDomain {
    name: TrustDomainName,
    key: Key,
    certificate: Vec<u8>,
    authority: Authority,
}

impl TrustDomain {
    /// Opens the trust domain `name` in `folder`, creating both when they do not
    /// exist. Several processes may do so at once: all end with the same one.
    pub fn open(folder: &Path, name: &str) -> Result<Self, IdentityError> {
        let name: TrustDomainName = name.parse()?;
        files::prepare_folder(folder)?;
        let key = files::load_or_create_key(folder)?;
        let certificate = files::load_or_create_certificate(folder, || certificate::authority(&name, &key))?;
        let authority = Authority::from_der(&certificate)?;
        if authority.name != name {
            let (expected, found) = (name.to_string(), authority.name.to_string());
            return Err(IdentityError::OtherDomain { path: folder.into(), expected, found });
        }
        if authority.public_key.as_bytes() != key.public() {
            let reason = "the certificate is not that of the key beside it";
            return Err(IdentityError::Damaged { path: folder.join("bundle.pem"), reason });
        }
        Ok(Self { name, key, certificate, authority })
    }

    /// Its name.
    pub fn name(&self) -> &TrustDomainName {
        &self.name
    }

    /// The self-signed certificate that verifies every SVID of the domain, in DER.
    pub fn bundle(&self) -> &[u8] {
        &self.certificate
    }

    /// Issues an identity to the agent `agent_name` for one run; it is valid for
    /// 24 hours.
    pub fn issue(&self, agent_name: &str, run_id: RunId) -> Result<Svid, IdentityError> {
        if !self.authority.can_issue(SystemTime::now()) {
            return Err(IdentityError::Expired { name: self.name.to_string() });
        }
        let spiffe_id = SpiffeId::of_run(&self.name, agent_name, run_id);
        let key = Key::generate()?;
        let certificate = certificate::leaf(&spiffe_id, &key, &self.name, &self.key)?;
        Ok(Svid::new(spiffe_id, certificate, key))
    }

    /// Whom the certificate `svid`, in DER, names, if it is an SVID of this
    /// domain that is valid at `now`.
    pub fn verify(&self, svid: &[u8], now: SystemTime) -> Result<SpiffeId, IdentityError> {
        Ok(self.authority.verify(svid, now)?)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TrustDomain").field("name", &self.name).finish_non_exhaustive()
    }
}
