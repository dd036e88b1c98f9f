//! What can go wrong, with stable codes and a way out.

use std::{io, path::PathBuf};

use crate::ParseSpiffeIdError;

/// Why a trust domain could not be opened or an SVID not be issued or trusted.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file or the folder can be read or changed by other users, or is of another type.
    #[error("`{}` is exposed: {reason}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// How.
        reason: &'static str,
    },
    /// The key file or the certificate file is not what this program writes.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The folder holds the authority of another trust domain.
    #[error("`{}` belongs to the trust domain `{found}`, not to `{expected}`", path.display())]
    OtherDomain {
        /// The folder.
        path: PathBuf,
        /// The domain that was asked for.
        expected: String,
        /// The domain of the folder.
        found: String,
    },
    /// The authority's certificate does not cover the life of what it would issue.
    #[error("the certificate of the trust domain `{name}` is expired, or not valid yet")]
    Expired {
        /// The trust domain.
        name: String,
    },
    /// A name does not fit the SPIFFE ID specification.
    #[error(transparent)]
    Name(#[from] ParseSpiffeIdError),
    /// A certificate is not a valid SVID of this trust domain.
    #[error("the certificate is not trusted: {0}")]
    Untrusted(#[from] Untrusted),
    /// A certificate could not be built.
    #[error("cannot build a certificate: {0}")]
    Build(#[from] rcgen::Error),
    /// The operating system's random number generator failed.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// Why a certificate is not a valid SVID of a trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// The bytes are not one X.509 certificate in DER.
    #[error("it is not an X.509 certificate")]
    Encoding,
    /// Its issuer or its signature is another's.
    #[error("it was not signed by this trust domain")]
    Signature,
    /// It is expired, or not valid yet.
    #[error("it is not valid at this time")]
    Time,
    /// It could sign other certificates, or may not sign messages.
    #[error("it is not a leaf certificate for digital signatures")]
    Usage,
    /// It has a critical extension that is not understood.
    #[error("it has an unknown critical extension")]
    Extension,
    /// It has no URI, several, or one that is not the SPIFFE ID of a workload
    /// of this trust domain.
    #[error("it does not name exactly one workload of this trust domain")]
    Name,
}

impl IdentityError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "E_IDENTITY_IO",
            Self::Exposed { .. } => "E_IDENTITY_EXPOSED",
            Self::Damaged { .. } => "E_IDENTITY_DAMAGED",
            Self::OtherDomain { .. } => "E_IDENTITY_DOMAIN",
            Self::Expired { .. } => "E_IDENTITY_EXPIRED",
            Self::Name(_) => "E_IDENTITY_NAME",
            Self::Untrusted(_) => "E_IDENTITY_UNTRUSTED",
            Self::Build(_) => "E_IDENTITY_BUILD",
            Self::Randomness(_) => "E_IDENTITY_RANDOMNESS",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the state folder, its owner and the disk beneath it",
            Self::Exposed { .. } => {
                "others may have copied the key: move the folder away, and a new trust domain is created"
            }
            Self::Damaged { .. } => {
                "restore the folder from a copy, or move it away so that a new one is created"
            }
            Self::OtherDomain { .. } => "ask for the folder's own trust domain, or name another state folder",
            Self::Expired { .. } => {
                "check the clock; when it is right, move the folder away, and a new trust domain is created"
            }
            Self::Name(_) => "use lower-case letters, digits, `.`, `-` and `_`",
            Self::Untrusted(_) => {
                "verify with the bundle of the trust domain that issued it, at a time when it was valid"
            }
            Self::Build(_) => "this is a defect: report it",
            Self::Randomness(_) => "the kernel must provide getrandom(2)",
        }
    }
}
