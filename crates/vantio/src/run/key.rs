//! The key of a run's identity.

use vantio_core::RunId;
use vantio_identity::{IdentityError, Svid, TrustDomain};
use vantio_ledger::{AgentSvid, Seal};

/// The run's SVID, whose key seals its anomaly records and nothing else.
pub struct RunKey(Svid);

impl RunKey {
    /// Issues the identity of `agent` in the run `id`.
    pub fn issue(domain: &TrustDomain, agent: &str, id: RunId) -> Result<Self, IdentityError> {
        Ok(Self(domain.issue(agent, id)?))
    }

    /// What others may know of it.
    pub fn svid(&self) -> AgentSvid {
        AgentSvid::new(self.0.spiffe_id().as_str(), self.0.certificate())
    }
}

impl Seal for RunKey {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}
