//! What a store on Spanner is called: `spanner://projects/P/instances/I/databases/D`.

use std::{net::SocketAddr, path::PathBuf};

use crate::LedgerError;

/// The role that a session takes on where the address names none: it may append and read.
pub(super) const WRITER: &str = "vantio_writer";

/// Which database, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `projects/P/instances/I/databases/D`
    pub database: String,
    /// The database role that every session takes on.
    pub role: String,
    /// Google's emulator, a fake that keeps everything in memory; only on this host. Its REST
    /// server has the port ten above, as the emulator itself has it.
    pub emulator: Option<SocketAddr>,
}

impl Address {
    /// Reads `spanner://projects/P/instances/I/databases/D`, and after a `?` the parameters `role`
    /// and `emulator`, joined by `&`.
    pub fn parse(text: &str) -> Result<Self, LedgerError> {
        let refused = |reason| LedgerError::Address { path: name(text), reason };
        let rest = text.strip_prefix("spanner://").ok_or_else(|| refused(NOT_A_DATABASE))?;
        let (database, parameters) =
            rest.split_once('?').map_or((rest, None), |(database, rest)| (database, Some(rest)));
        let segments: Vec<&str> = database.split('/').collect();
        let ["projects", project, "instances", instance, "databases", database_id] = segments[..] else {
            return Err(refused(NOT_A_DATABASE));
        };
        if ![project, instance, database_id].iter().all(|id| is_id(id)) {
            return Err(refused(NOT_A_DATABASE));
        }
        let (mut role, mut emulator) = (None, None);
        for parameter in parameters.into_iter().flat_map(|parameters| parameters.split('&')) {
            match parameter.split_once('=') {
                Some(("role", value)) if role.is_none() && is_role(value) => role = Some(value.to_owned()),
                Some(("emulator", value)) if emulator.is_none() => {
                    let host: Option<SocketAddr> = value.parse().ok();
                    let host = host.filter(|host| host.ip().is_loopback() && host.port() < u16::MAX - 10);
                    emulator = Some(host.ok_or_else(|| refused("`emulator` is not a port of this host"))?);
                }
                _ => return Err(refused("it has a parameter that is not `role` or `emulator`, each once")),
            }
        }
        Ok(Self { database: database.into(), role: role.unwrap_or_else(|| WRITER.into()), emulator })
    }
}

/// What the database is called, without parameters.
pub(crate) fn name(text: &str) -> PathBuf {
    text.split('?').next().unwrap_or_default().into()
}

const NOT_A_DATABASE: &str = "it does not name a database";

/// A domain's projects have a colon and dots in their names.
fn is_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !id.is_empty() && id.bytes().all(is_allowed) && !id.starts_with('.')
}

fn is_role(role: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !role.is_empty() && role.len() <= 128 && role.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &str = "projects/p-1/instances/vantio-ledger/databases/anomaly-vault";

    #[test]
    fn an_address_names_a_database_and_a_role() {
        let address = Address::parse(&format!("spanner://{DATABASE}")).unwrap();
        let wanted = Address { database: DATABASE.into(), role: WRITER.into(), emulator: None };
        assert_eq!(address, wanted);
        let text = format!("spanner://{DATABASE}?role=vantio_reader&emulator=127.0.0.1:9010");
        let emulator = Some(SocketAddr::from(([127, 0, 0, 1], 9010)));
        let wanted = Address { role: "vantio_reader".into(), emulator, ..wanted };
        assert_eq!(Address::parse(&text).unwrap(), wanted);
        assert_eq!(name(&text).to_str(), Some(&*format!("spanner://{DATABASE}")));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "spanner://",
            "spanner:///projects/p/instances/i/databases/d",
            "spanner://projects/p/instances/i/databases/d/sessions/s",
            "spanner://projects/p/instances//databases/d",
            "spanner://projects/../instances/i/databases/d",
            "spanner://projects/p/instances/i/databases/d?",
            "spanner://projects/p/instances/i/databases/d?role=",
            "spanner://projects/p/instances/i/databases/d?role=a&role=b",
            "spanner://projects/p/instances/i/databases/d?role=a`b",
            "spanner://projects/p/instances/i/databases/d?emulator=10.0.0.1:9010",
            "spanner://projects/p/instances/i/databases/d?emulator=localhost:9010",
            "spanner://projects/p/instances/i/databases/d?token=secret",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert_eq!(error.code(), "E_LEDGER_ADDRESS", "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
