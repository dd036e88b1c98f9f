//! SPIFFE identities (SPIFFE-ID specification, section 2).

use std::{fmt, str::FromStr};

use vantio_core::{Hash, RunId};

/// The name of a trust domain: lower-case letters, digits, `.`, `-`, `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrustDomainName(String);

/// A SPIFFE ID: a trust domain, and the path of a workload in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    text: String,
    domain_end: usize,
}

impl SpiffeId {
    /// `spiffe://DOMAIN/agent/NAME/run/RUN_ID`.
    ///
    /// A name that is no path segment is made one: what may not stand in it
    /// becomes `-`, and a part of the name's hash is appended, so that two
    /// names never share an identity.
    pub fn of_run(domain: &TrustDomainName, agent_name: &str, run_id: RunId) -> Self {
        let text = format!("{SCHEME}{domain}/agent/{}/run/{run_id}", segment(agent_name));
        Self { text, domain_end: SCHEME.len() + domain.0.len() }
    }

    /// The identity of the trust domain itself.
    pub fn of_domain(domain: &TrustDomainName) -> Self {
        let text = format!("{SCHEME}{domain}");
        Self { domain_end: text.len(), text }
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.domain_end]
    }

    /// The path of the workload, with its leading slash; empty for the trust
    /// domain itself.
    pub fn path(&self) -> &str {
        &self.text[self.domain_end..]
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Display for TrustDomainName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a text is not a SPIFFE ID or the name of a trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSpiffeIdError {
    /// It does not begin with `spiffe://`.
    #[error("a SPIFFE ID begins with `spiffe://`")]
    Scheme,
    /// The trust domain is empty, too long, or has a character that may not be there.
    #[error("a trust domain is 1 to 255 lower-case letters, digits, `.`, `-` or `_`")]
    TrustDomain,
    /// A path segment is empty, a dot segment, or has a character that may not be there.
    #[error("a path segment is letters, digits, `.`, `-` or `_`, and neither empty nor `.` nor `..`")]
    Segment,
    /// It is longer than 2,048 bytes.
    #[error("a SPIFFE ID has at most 2,048 bytes")]
    Length,
}

impl FromStr for TrustDomainName {
    type Err = ParseSpiffeIdError;

    fn from_str(text: &str) -> Result<Self, ParseSpiffeIdError> {
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > 255 || !text.bytes().all(is_allowed) {
            return Err(ParseSpiffeIdError::TrustDomain);
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for SpiffeId {
    type Err = ParseSpiffeIdError;

    fn from_str(text: &str) -> Result<Self, ParseSpiffeIdError> {
        if text.len() > 2048 {
            return Err(ParseSpiffeIdError::Length);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(ParseSpiffeIdError::Scheme)?;
        let domain = rest.split('/').next().unwrap_or_default();
        let _: TrustDomainName = domain.parse()?;
        let mut segments = rest.split('/').skip(1);
        if !segments.all(is_segment) {
            return Err(ParseSpiffeIdError::Segment);
        }
        Ok(Self { text: text.into(), domain_end: SCHEME.len() + domain.len() })
    }
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.bytes().all(is_segment_byte)
}

fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

fn segment(name: &str) -> String {
    if is_segment(name) && name.len() <= MAX_NAME {
        return name.into();
    }
    let readable =
        name.bytes().take(MAX_NAME).map(|byte| if is_segment_byte(byte) { byte.into() } else { '-' });
    let hash = Hash::of(name.as_bytes()).to_string();
    format!("{}-{}", readable.collect::<String>(), &hash[..16])
}

const SCHEME: &str = "spiffe://";
const MAX_NAME: usize = 128;
