//! What somebody elsewhere needs to judge the SVIDs of a trust domain.

use std::time::SystemTime;

use crate::{
    IdentityError, SpiffeId, TrustDomain, TrustDomainName, Untrusted,
    certificate::Authority,
    files::{CERTIFICATE, from_pem, to_pem},
};

/// The certificate of a trust domain's authority, without its key.
pub struct TrustBundle {
    authority: Authority,
    certificate: Vec<u8>,
}

impl TrustBundle {
    /// Reads the self-signed certificate of an authority, in PEM (RFC 7468).
    pub fn from_pem(text: &str) -> Result<Self, IdentityError> {
        let certificate = from_pem(CERTIFICATE, text).ok_or(Untrusted::Encoding)?.to_vec();
        Ok(Self { authority: Authority::from_der(&certificate)?, certificate })
    }

    /// The certificate in PEM.
    pub fn to_pem(&self) -> String {
        to_pem(CERTIFICATE, &self.certificate).to_string()
    }

    /// The trust domain.
    pub fn name(&self) -> &TrustDomainName {
        &self.authority.name
    }

    /// Whom the certificate `svid`, in DER, names, if it is an SVID of this domain that was valid
    /// at `time`.
    pub fn verify(&self, svid: &[u8], time: SystemTime) -> Result<SpiffeId, Untrusted> {
        self.authority.verify(svid, time)
    }
}

impl TrustDomain {
    /// What others need to judge this domain's SVIDs.
    pub fn trust_bundle(&self) -> Result<TrustBundle, IdentityError> {
        let certificate = self.bundle().to_vec();
        Ok(TrustBundle { authority: Authority::from_der(&certificate)?, certificate })
    }
}
