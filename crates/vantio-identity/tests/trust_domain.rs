//! Issuing and verifying, through the public interface.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use proptest::prelude::*;
use tempfile::TempDir;
use vantio_core::RunId;
use vantio_identity::{IdentityError, SpiffeId, TrustDomain, TrustDomainName, Untrusted};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn domain(folder: &Path) -> TrustDomain {
    TrustDomain::open(&folder.join("identity"), "vantio.local").unwrap()
}

fn run() -> RunId {
    "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap()
}

const ID: &str = "spiffe://vantio.local/agent/claude/run/017f22e2-79b0-7cc3-98c4-dc0c0c07398f";

fn untrusted(domain: &TrustDomain, der: &[u8], now: SystemTime) -> Untrusted {
    match domain.verify(der, now) {
        Err(IdentityError::Untrusted(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_svid_names_its_agent_and_run_and_verifies() {
    let folder = folder();
    let domain = domain(folder.path());
    let svid = domain.issue("claude", run()).unwrap();
    assert_eq!(svid.spiffe_id().as_str(), ID);
    assert_eq!(&domain.verify(svid.certificate(), SystemTime::now()).unwrap(), svid.spiffe_id());
}

#[test]
fn a_certificate_has_the_shape_of_an_x509_svid() {
    let folder = folder();
    let domain = domain(folder.path());
    let svid = domain.issue("claude", run()).unwrap();
    let (rest, certificate) = X509Certificate::from_der(svid.certificate()).unwrap();
    assert!(rest.is_empty());

    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names[..], [GeneralName::URI(ID)]);
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(!constraints.value.ca && constraints.value.path_len_constraint.is_none());
    let usage = certificate.key_usage().unwrap().unwrap();
    assert_eq!((usage.critical, usage.value.flags), (true, 1), "digitalSignature alone");
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    let life = certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp();
    assert_eq!(life, 24 * 60 * 60 + 60);
    assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), svid.public_key());

    let (_, authority) = X509Certificate::from_der(domain.bundle()).unwrap();
    assert_eq!(certificate.issuer(), authority.subject());
    assert_eq!(authority_key_id(&certificate), subject_key_id(&authority));
    assert_ne!(subject_key_id(&certificate), subject_key_id(&authority));
}

fn authority_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    })
}

fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

#[test]
fn the_bundle_has_the_shape_of_a_signing_certificate() {
    let folder = folder();
    let domain = domain(folder.path());
    let (_, authority) = X509Certificate::from_der(domain.bundle()).unwrap();
    let names = &authority.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names[..], [GeneralName::URI("spiffe://vantio.local")]);
    let constraints = authority.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = authority.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());
}

#[test]
fn openssl_agrees() {
    let folder = folder();
    let domain = domain(folder.path());
    let svid = domain.issue("claude", run()).unwrap();
    let leaf = folder.path().join("leaf.pem");
    let body = STANDARD.encode(svid.certificate());
    fs::write(&leaf, format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")).unwrap();
    let bundle = folder.path().join("identity/bundle.pem");
    let verify = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"];
    let output = Command::new("openssl").args(verify).args([&bundle, &leaf]).output();
    let Ok(output) = output else {
        eprintln!("skipped: openssl is not installed");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let key = folder.path().join("identity/authority.key");
    let output = Command::new("openssl").args(["pkey", "-noout", "-in"]).arg(key).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_svid_signs_with_the_key_it_certifies() {
    let folder = folder();
    let svid = domain(folder.path()).issue("claude", run()).unwrap();
    let signature = Signature::from_bytes(&svid.sign(b"record"));
    let key = VerifyingKey::from_bytes(svid.public_key()).unwrap();
    assert!(key.verify_strict(b"record", &signature).is_ok());
    assert!(key.verify_strict(b"recorD", &signature).is_err());
}

#[test]
fn every_svid_has_its_own_key_and_serial_number() {
    let folder = folder();
    let domain = domain(folder.path());
    let [first, second] = [(); 2].map(|()| domain.issue("claude", run()).unwrap());
    assert_ne!(first.public_key(), second.public_key());
    let serial = |der| X509Certificate::from_der(der).unwrap().1.raw_serial().to_vec();
    assert_ne!(serial(first.certificate()), serial(second.certificate()));
}

#[test]
fn an_svid_is_trusted_in_its_time_only() {
    let folder = folder();
    let domain = domain(folder.path());
    let svid = domain.issue("claude", run()).unwrap();
    let now = SystemTime::now();
    assert!(domain.verify(svid.certificate(), now + Duration::from_hours(23)).is_ok());
    for other in [now + Duration::from_hours(25), now - Duration::from_mins(10), SystemTime::UNIX_EPOCH] {
        assert_eq!(untrusted(&domain, svid.certificate(), other), Untrusted::Time);
    }
    let before_the_epoch = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(untrusted(&domain, svid.certificate(), before_the_epoch), Untrusted::Time);
}

#[test]
fn another_domain_of_the_same_name_is_not_trusted() {
    let (here, there) = (folder(), folder());
    let (domain, other) = (domain(here.path()), domain(there.path()));
    let svid = other.issue("claude", run()).unwrap();
    assert_eq!(untrusted(&domain, svid.certificate(), SystemTime::now()), Untrusted::Signature);
}

#[test]
fn a_signing_certificate_is_no_svid() {
    let folder = folder();
    let domain = domain(folder.path());
    assert_eq!(untrusted(&domain, domain.bundle(), SystemTime::now()), Untrusted::Usage);
}

#[test]
fn any_changed_bit_is_refused() {
    let folder = folder();
    let domain = domain(folder.path());
    let svid = domain.issue("claude", run()).unwrap();
    let now = SystemTime::now();
    for bit in 0..svid.certificate().len() * 8 {
        let mut der = svid.certificate().to_vec();
        der[bit / 8] ^= 1 << (bit % 8);
        assert!(domain.verify(&der, now).is_err(), "bit {bit}");
    }
    let longer = [svid.certificate(), &[0]].concat();
    assert_eq!(untrusted(&domain, &longer, now), Untrusted::Encoding);
    assert_eq!(untrusted(&domain, &svid.certificate()[..100], now), Untrusted::Encoding);
}

#[test]
fn opening_again_gives_the_same_authority() {
    let folder = folder();
    let first = domain(folder.path());
    let svid = first.issue("claude", run()).unwrap();
    let second = domain(folder.path());
    assert_eq!(first.bundle(), second.bundle());
    assert!(second.verify(svid.certificate(), SystemTime::now()).is_ok());
}

#[test]
fn many_creators_at_once_end_with_one_authority() {
    for _ in 0..20 {
        let folder = folder();
        let bundles: Vec<_> = std::thread::scope(|scope| {
            let openers = [(); 8].map(|()| scope.spawn(|| domain(folder.path()).bundle().to_vec()));
            openers.map(|opener| opener.join().unwrap()).into()
        });
        assert!(bundles.iter().all(|bundle| *bundle == bundles[0]));
        let names = fs::read_dir(folder.path().join("identity")).unwrap().count();
        assert_eq!(names, 2, "only the key and the bundle are left");
    }
}

#[test]
fn a_key_without_its_certificate_is_completed() {
    let folder = folder();
    let svid = domain(folder.path()).issue("claude", run()).unwrap();
    fs::remove_file(folder.path().join("identity/bundle.pem")).unwrap();
    assert!(domain(folder.path()).verify(svid.certificate(), SystemTime::now()).is_ok());
}

#[test]
fn files_are_the_owners_alone_and_others_are_refused() {
    let folder = folder();
    domain(folder.path());
    let mode = |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("identity"), mode("identity/authority.key")), (0o700, 0o600));
    let key = folder.path().join("identity/authority.key");
    for exposed in [0o640, 0o604, 0o620, 0o602] {
        fs::set_permissions(&key, PermissionsExt::from_mode(exposed)).unwrap();
        assert_eq!(code(folder.path(), "vantio.local"), "E_IDENTITY_EXPOSED", "{exposed:o}");
    }
    fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let bundle = folder.path().join("identity/bundle.pem");
    fs::set_permissions(&bundle, PermissionsExt::from_mode(0o620)).unwrap();
    assert_eq!(code(folder.path(), "vantio.local"), "E_IDENTITY_EXPOSED");
    fs::set_permissions(&bundle, PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(code(folder.path(), "vantio.local"), "opened");
    fs::set_permissions(folder.path().join("identity"), PermissionsExt::from_mode(0o770)).unwrap();
    assert_eq!(code(folder.path(), "vantio.local"), "E_IDENTITY_EXPOSED");
    fs::set_permissions(folder.path().join("identity"), PermissionsExt::from_mode(0o700)).unwrap();
    let moved = folder.path().join("moved");
    fs::rename(&key, &moved).unwrap();
    symlink(&moved, &key).unwrap();
    assert_eq!(code(folder.path(), "vantio.local"), "E_IDENTITY_EXPOSED");
}

fn code(folder: &Path, name: &str) -> &'static str {
    TrustDomain::open(&folder.join("identity"), name).err().map_or("opened", |error| error.code())
}

#[test]
fn damaged_files_are_refused_and_never_replaced() {
    let folder = folder();
    domain(folder.path());
    for name in ["authority.key", "bundle.pem"] {
        let path = folder.path().join("identity").join(name);
        let whole = fs::read(&path).unwrap();
        for bytes in [&b""[..], b"\xff", &whole[..whole.len() / 2], &[b'A'; 10_000]] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(code(folder.path(), "vantio.local"), "E_IDENTITY_DAMAGED", "{name}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(code(folder.path(), "vantio.local"), "opened");
}

#[test]
fn a_bundle_of_another_key_is_refused() {
    let (here, there) = (folder(), folder());
    domain(here.path());
    domain(there.path());
    let bundle = "identity/bundle.pem";
    fs::copy(there.path().join(bundle), here.path().join(bundle)).unwrap();
    assert_eq!(code(here.path(), "vantio.local"), "E_IDENTITY_DAMAGED");
}

#[test]
fn another_name_is_refused() {
    let folder = folder();
    domain(folder.path());
    assert_eq!(code(folder.path(), "other.local"), "E_IDENTITY_DOMAIN");
    assert_eq!(code(folder.path(), "Vantio.Local"), "E_IDENTITY_NAME");
    assert_eq!(code(folder.path(), ""), "E_IDENTITY_NAME");
}

#[test]
fn secrets_stay_out_of_debug_texts() {
    let folder = folder();
    let domain = domain(folder.path());
    let svid = domain.issue("claude", run()).unwrap();
    assert_eq!(format!("{domain:?}"), "TrustDomain { name: TrustDomainName(\"vantio.local\"), .. }");
    assert!(format!("{svid:?}").ends_with("key: Key }"), "{svid:?}");
}

proptest! {
    #[test]
    fn every_agent_name_gives_a_valid_identity_of_its_own(first in any::<String>(), second in any::<String>()) {
        let domain: TrustDomainName = "vantio.local".parse().unwrap();
        let ids = [&first, &second].map(|name| SpiffeId::of_run(&domain, name, run()));
        for id in &ids {
            prop_assert_eq!(&id.as_str().parse::<SpiffeId>().unwrap(), id);
            prop_assert_eq!(id.trust_domain(), "vantio.local");
            prop_assert_eq!(id.path().split('/').count(), 5);
        }
        prop_assert_eq!(ids[0] == ids[1], first == second);
    }

    #[test]
    fn parsing_never_panics(text in "(spiffe://)?[a-z./%A-Z ]{0,40}") {
        if let Ok(id) = text.parse::<SpiffeId>() {
            prop_assert_eq!(id.as_str(), text);
        }
    }
}

#[test]
fn spiffe_ids_follow_the_specification() {
    for good in ["spiffe://a", "spiffe://a.b-c_d/e", "spiffe://1.2.3.4/A/..."] {
        assert_eq!(good.parse::<SpiffeId>().map(|id| id.to_string()), Ok(good.to_owned()));
    }
    let long = format!("spiffe://a/{}", "b".repeat(2048));
    for bad in [
        "",
        "spiffe://",
        "spiffe:///a",
        "https://a/b",
        "SPIFFE://a",
        "spiffe://A",
        "spiffe://a:80/b",
        "spiffe://u@a/b",
        "spiffe://a/",
        "spiffe://a//b",
        "spiffe://a/./b",
        "spiffe://a/../b",
        "spiffe://a/b/",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        "spiffe://a/%41",
        "spiffe://a/\u{e9}",
        "spiffe://a?b",
        &long,
    ] {
        assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
    }
}

#[test]
fn names_that_only_look_alike_stay_apart() {
    let domain: TrustDomainName = "vantio.local".parse().unwrap();
    let path = |name: &str| SpiffeId::of_run(&domain, name, run()).path().to_owned();
    assert_eq!(path("my-agent_1.0").split('/').nth(2), Some("my-agent_1.0"));
    let names = ["a b", "a-b", "a/b", "a\0b", "..", ".", "", "-", "a\u{e9}b"];
    let paths: std::collections::BTreeSet<String> = names.iter().map(|name| path(name)).collect();
    assert_eq!(paths.len(), names.len(), "{paths:?}");
}
