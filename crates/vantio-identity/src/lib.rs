//! The embedded trust domain: one X.509-SVID for every run.
//!
//! A [`TrustDomain`] is a certificate authority in a folder of its own. It
//! issues an [`Svid`] to an agent for one run, and verifies that a certificate
//! is one of its own, by the rules of the SPIFFE X.509-SVID specification.
//!
//! Runs, and where they are kept, are the business of others.

#![forbid(unsafe_code)]

mod certificate;
mod error;
mod files;
mod key;
mod spiffe;
mod svid;
mod trust_bundle;
mod trust_domain;

pub use error::{IdentityError, Untrusted};
pub use spiffe::{ParseSpiffeIdError, SpiffeId, TrustDomainName};
pub use svid::Svid;
pub use trust_bundle::TrustBundle;
pub use trust_domain::TrustDomain;
