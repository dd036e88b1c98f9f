//! Building and judging certificates (RFC 5280; SPIFFE X.509-SVID).

use std::{
    ops::RangeInclusive,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::{Signature, VerifyingKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};
use vantio_core::Hash;
use x509_parser::{
    asn1_rs::oid,
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

use crate::{IdentityError, SpiffeId, TrustDomainName, Untrusted, key::Key};

/// The self-signed certificate of a trust domain.
pub(crate) fn authority(name: &TrustDomainName, key: &Key) -> Result<Vec<u8>, IdentityError> {
    let mut parameters = parameters(&SpiffeId::of_domain(name), key, AUTHORITY_LIFE)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters.self_signed(key)?.der().to_vec())
}

/// The certificate of a workload.
pub(crate) fn leaf(
    id: &SpiffeId,
    key: &Key,
    domain: &TrustDomainName,
    authority_key: &Key,
) -> Result<Vec<u8>, IdentityError> {
    let issuer = parameters(&SpiffeId::of_domain(domain), authority_key, AUTHORITY_LIFE)?;
    let issuer = Issuer::from_params(&issuer, authority_key);
    let mut parameters = parameters(id, key, LEAF_LIFE)?;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters.signed_by(key, &issuer)?.der().to_vec())
}

fn parameters(id: &SpiffeId, key: &Key, life: Duration) -> Result<CertificateParams, IdentityError> {
    let uri = SanType::URI(id.as_str().try_into()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = vec![uri];
    parameters.not_before = epoch + now.saturating_sub(BACKDATED);
    parameters.not_after = epoch + now + life;
    parameters.serial_number = Some(serial_number()?);
    parameters.key_identifier_method = KeyIdMethod::PreSpecified(Hash::of(key.public()).0[..20].to_vec());
    parameters.distinguished_name = subject(id);
    Ok(parameters)
}

fn subject(id: &SpiffeId) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Vantio");
    if id.path().is_empty() {
        name.push(DnType::CommonName, id.trust_domain());
    }
    name
}

/// 127 random bits: positive, and of the same length in every certificate.
fn serial_number() -> Result<SerialNumber, IdentityError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// What the certificate `der` of a trust domain says about itself.
pub(crate) struct Authority {
    pub name: TrustDomainName,
    pub public_key: VerifyingKey,
    validity: RangeInclusive<i64>,
}

impl Authority {
    /// Reads a self-signed certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, Untrusted> {
        let certificate = parse(der)?;
        let id = spiffe_id(&certificate)?;
        let public_key = public_key(&certificate)?;
        check_signature(&certificate, &public_key)?;
        let is_authority = certificate.basic_constraints().ok().flatten().is_some_and(|value| value.value.ca);
        if !is_authority || !id.path().is_empty() {
            return Err(Untrusted::Usage);
        }
        let name = id.trust_domain().parse().map_err(|_| Untrusted::Name)?;
        Ok(Self { name, public_key, validity: validity(&certificate) })
    }

    /// True when what is issued at `now` will be trusted for its whole life.
    pub fn can_issue(&self, now: SystemTime) -> bool {
        [now, now + LEAF_LIFE].into_iter().all(|time| contains(&self.validity, time))
    }

    /// Judges an SVID.
    pub fn verify(&self, der: &[u8], now: SystemTime) -> Result<SpiffeId, Untrusted> {
        let certificate = parse(der)?;
        check_signature(&certificate, &self.public_key)?;
        if !contains(&self.validity, now) || !contains(&validity(&certificate), now) {
            return Err(Untrusted::Time);
        }
        check_usage(&certificate)?;
        let id = spiffe_id(&certificate)?;
        let is_ours = id.trust_domain() == self.name.to_string() && !id.path().is_empty();
        if is_ours { Ok(id) } else { Err(Untrusted::Name) }
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Untrusted> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) if is_der(der, &certificate) => Ok(certificate),
        _ => Err(Untrusted::Encoding),
    }
}

fn public_key(certificate: &X509Certificate<'_>) -> Result<VerifyingKey, Untrusted> {
    let info = certificate.public_key();
    if info.algorithm.algorithm != ED25519 {
        return Err(Untrusted::Signature);
    }
    let bytes = info.subject_public_key.data.as_ref().try_into().map_err(|_| Untrusted::Encoding)?;
    VerifyingKey::from_bytes(bytes).map_err(|_| Untrusted::Encoding)
}

fn check_signature(certificate: &X509Certificate<'_>, key: &VerifyingKey) -> Result<(), Untrusted> {
    if certificate.tbs_certificate.signature.algorithm != ED25519 {
        return Err(Untrusted::Signature);
    }
    let signature =
        Signature::from_slice(&certificate.signature_value.data).map_err(|_| Untrusted::Signature)?;
    key.verify_strict(certificate.tbs_certificate.as_ref(), &signature).map_err(|_| Untrusted::Signature)
}

/// True when what no signature covers (the outer headers and the name of the
/// algorithm) has its only encoding, so that a certificate has no second form.
fn is_der(der: &[u8], certificate: &X509Certificate<'_>) -> bool {
    let signed = certificate.tbs_certificate.as_ref();
    let length = signed.len() + SIGNATURE_HEAD.len() + certificate.signature_value.data.len();
    let [high, low] = (length as u16).to_be_bytes();
    let head = [0x30, 0x82, high, low];
    length >= 256 && der == [&head, signed, &SIGNATURE_HEAD, &certificate.signature_value.data].concat()
}

/// When a certificate is valid, in seconds since the Unix epoch.
fn validity(certificate: &X509Certificate<'_>) -> RangeInclusive<i64> {
    let validity = certificate.validity();
    validity.not_before.timestamp()..=validity.not_after.timestamp()
}

fn contains(validity: &RangeInclusive<i64>, time: SystemTime) -> bool {
    let since_epoch = time.duration_since(UNIX_EPOCH);
    since_epoch.is_ok_and(|since_epoch| validity.contains(&since_epoch.as_secs().cast_signed()))
}

fn check_usage(certificate: &X509Certificate<'_>) -> Result<(), Untrusted> {
    let mut may_sign = false;
    for extension in certificate.extensions() {
        let is_leaf = match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => !constraints.ca,
            ParsedExtension::KeyUsage(usage) => {
                may_sign = usage.digital_signature();
                !usage.key_cert_sign() && !usage.crl_sign()
            }
            ParsedExtension::SubjectAlternativeName(_) | ParsedExtension::ExtendedKeyUsage(_) => true,
            _ if extension.critical => return Err(Untrusted::Extension),
            _ => true,
        };
        if !is_leaf {
            return Err(Untrusted::Usage);
        }
    }
    if may_sign { Ok(()) } else { Err(Untrusted::Usage) }
}

fn spiffe_id(certificate: &X509Certificate<'_>) -> Result<SpiffeId, Untrusted> {
    let names =
        certificate.subject_alternative_name().map_err(|_| Untrusted::Encoding)?.ok_or(Untrusted::Name)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => uri.parse().map_err(|_| Untrusted::Name),
        _ => Err(Untrusted::Name),
    }
}

const ED25519: x509_parser::asn1_rs::Oid<'static> = oid!(1.3.101.112);
/// `AlgorithmIdentifier` of Ed25519 (RFC 8410, section 3), and the head of a bit
/// string of 64 bytes.
const SIGNATURE_HEAD: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x41, 0x00];
const LEAF_LIFE: Duration = Duration::from_hours(24);
const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// Clocks of verifiers may run behind.
const BACKDATED: Duration = Duration::from_mins(1);
