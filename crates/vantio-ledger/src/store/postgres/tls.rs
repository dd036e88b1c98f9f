//! TLS to the server: whoever is not who the address names gets nothing.

use std::{env, net::IpAddr, path::Path, sync::Arc};

use postgres::{
    Config,
    config::{Host, SslMode},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::LedgerError;

/// Names a file with the certificates to trust instead of the public ones, as for libpq.
const ROOTS: &str = "PGSSLROOTCERT";

/// Demands TLS of a server on a network, unless the address says otherwise.
pub(super) fn demand(url: &str, config: &mut Config) {
    let is_remote = |host: &Host| match host {
        Host::Tcp(name) => {
            name != "localhost" && !name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        Host::Unix(_) => false,
    };
    if !url.contains("sslmode=") && config.get_hosts().iter().any(is_remote) {
        config.ssl_mode(SslMode::Require);
    }
}

/// Connects with TLS; the server's certificate must name the host and lead to a root.
pub(super) fn connector(name: &Path) -> Result<MakeRustlsConnect, LedgerError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| LedgerError::Trust { path: name.into(), reason: error.to_string() })?;
    Ok(MakeRustlsConnect::new(config.with_root_certificates(roots()?).with_no_client_auth()))
}

fn roots() -> Result<RootCertStore, LedgerError> {
    let Some(path) = env::var_os(ROOTS).filter(|path| !path.is_empty()) else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    let path = Path::new(&path);
    let unusable = |reason: String| LedgerError::Trust { path: path.into(), reason };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("there are none in it".into())) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_trusted_only_where_the_address_says_so() {
        let mode = |url: &str| {
            let mut config: Config = url.parse().unwrap();
            demand(url, &mut config);
            config.get_ssl_mode()
        };
        for url in
            ["postgres://a@db.example/x", "postgres://a@10.0.0.1/x", "postgres://a@localhost,db.example/x"]
        {
            assert_eq!(mode(url), SslMode::Require, "{url}");
        }
        for url in ["postgres://a@localhost/x", "postgres://a@[::1]/x", "postgres://a@%2Frun%2Fpostgresql/x"]
        {
            assert_eq!(mode(url), SslMode::Prefer, "{url}");
        }
        assert_eq!(mode("postgres://a@db.example/x?sslmode=disable"), SslMode::Disable);
    }
}
