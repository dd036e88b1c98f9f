//! What holds credentials: the one list of files and folders that
//! `${credentials}` stands for in `fs.deny`, and of the variables that do not
//! pass into a run by themselves.
//!
//! Not in it: what an agent keeps its own login in (`~/.claude/.credentials.json`,
//! `~/.codex/auth.json`, `~/.gemini`, `~/.local/share/opencode/auth.json`), since
//! an agent that cannot read it cannot work. A policy for an agent that needs
//! none of them should deny them.

use alloc::vec::Vec;

use crate::{
    glob::{self, Parsed},
    path::PathPattern,
};

/// A pattern and why it is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// A path pattern.
    pub pattern: &'static str,
    /// What is kept there.
    pub reason: &'static str,
}

/// Whether a rule of `fs.deny` names a store of the list, or something in one.
pub fn guards(rule: &str) -> bool {
    let Ok(pattern) = PathPattern::parse(rule) else { return false };
    let canonical = pattern.canonical();
    STORES.iter().any(|store| {
        canonical.strip_prefix(store.pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Whether a variable's name looks like that of a credential. Case does not matter.
pub fn is_credential_variable(name: &[u8]) -> bool {
    CredentialNames::new().have(name)
}

/// How the names of variables look that hold credentials.
pub(crate) struct CredentialNames(Vec<Parsed>);

impl CredentialNames {
    pub(crate) fn new() -> Self {
        Self(VARIABLES.iter().filter_map(|(pattern, _)| glob::parse(pattern).ok()).collect())
    }

    /// As [`is_credential_variable`].
    pub(crate) fn have(&self, name: &[u8]) -> bool {
        let upper = name.to_ascii_uppercase();
        self.0.iter().any(|pattern| match pattern {
            Parsed::Literal(literal) => *literal == upper,
            Parsed::Glob(glob) => glob.matches(&upper),
        })
    }
}

/// The element of `fs.deny` that stands for the whole list.
pub const ELEMENT: &str = "${credentials}";

/// Files and folders that hold credentials.
pub const STORES: &[Store] = &[
    // Keys and passwords of the system and its user.
    store("~/.ssh", "SSH private keys, agents' sockets, known hosts"),
    store("~/.gnupg", "OpenPGP private keys"),
    store("~/.pki", "NSS key database"),
    store("~/.netrc", "passwords of curl, git and ftp"),
    store("~/.authinfo", "passwords of Emacs and mail programs"),
    store("~/.authinfo.gpg", "passwords of Emacs and mail programs"),
    store("~/.password-store", "passwords of pass"),
    store("~/.local/share/keyrings", "GNOME keyrings"),
    store("~/.local/share/kwalletd", "KDE wallets"),
    store("~/.config/op", "1Password sessions"),
    store("~/.op", "1Password sessions"),
    store("~/.config/1Password", "1Password data"),
    store("~/.config/Bitwarden", "Bitwarden vault"),
    store("~/.config/Bitwarden CLI", "Bitwarden session and vault"),
    store("~/.config/keepassxc", "KeePassXC settings and key files"),
    store("~/.lastpass", "LastPass vault"),
    store("~/.local/share/lpass", "LastPass vault"),
    store("~/.config/sops", "age keys of sops"),
    store("~/.config/age", "age keys"),
    store("~/.kerberos", "Kerberos tickets"),
    store("/tmp/krb5cc*", "Kerberos tickets"),
    store("/etc/shadow", "password hashes"),
    store("/etc/shadow-", "password hashes, previous"),
    store("/etc/gshadow", "group password hashes"),
    store("/etc/gshadow-", "group password hashes, previous"),
    store("/etc/ssh/ssh_host_*_key", "the host's private keys"),
    store("/etc/ssl/private", "private keys of certificates"),
    store("/etc/sudoers", "who may become root"),
    store("/etc/sudoers.d", "who may become root"),
    store("/etc/krb5.keytab", "the host's Kerberos keys"),
    store("/etc/NetworkManager/system-connections", "passwords of networks"),
    store("/etc/wireguard", "WireGuard private keys"),
    store("/var/lib/docker", "layers and secrets of every container"),
    store("/var/run/secrets", "tokens of a Kubernetes service account"),
    store("/run/secrets", "secrets of a container"),
    // Source control.
    store("~/.git-credentials", "passwords of git"),
    store("~/.config/git/credentials", "passwords of git"),
    store("~/.config/gh", "GitHub tokens"),
    store("~/.config/hub", "GitHub tokens"),
    store("~/.config/glab-cli", "GitLab tokens"),
    store("~/.subversion/auth", "passwords of Subversion"),
    // Clouds and clusters.
    store("~/.aws", "AWS keys and sessions"),
    store("~/.azure", "Azure tokens"),
    store("~/.config/gcloud", "Google Cloud tokens"),
    store("~/.boto", "Google Cloud storage keys"),
    store("~/.oci", "Oracle Cloud keys"),
    store("~/.config/doctl", "DigitalOcean tokens"),
    store("~/.config/hcloud", "Hetzner Cloud tokens"),
    store("~/.config/scw", "Scaleway keys"),
    store("~/.aliyun", "Alibaba Cloud keys"),
    store("~/.bluemix", "IBM Cloud tokens"),
    store("~/.kube", "Kubernetes credentials"),
    store("~/.config/helm/registry", "passwords of chart registries"),
    store("~/.docker", "passwords of container registries"),
    store("~/.config/containers/auth.json", "passwords of container registries"),
    store("~/.vault-token", "HashiCorp Vault token"),
    store("~/.terraform.d/credentials.tfrc.json", "Terraform tokens"),
    store("~/.terraformrc", "Terraform tokens"),
    store("~/.pulumi/credentials.json", "Pulumi tokens"),
    store("~/.config/heroku", "Heroku tokens"),
    store("~/.fly", "Fly tokens"),
    store("~/.config/netlify", "Netlify tokens"),
    store("~/.netlify", "Netlify tokens"),
    store("~/.vercel", "Vercel tokens"),
    store("~/.config/vercel", "Vercel tokens"),
    store("~/.local/share/com.vercel.cli", "Vercel tokens"),
    store("~/.wrangler", "Cloudflare tokens"),
    store("~/.config/.wrangler", "Cloudflare tokens"),
    store("~/.config/stripe", "Stripe keys"),
    store("~/.config/rclone", "passwords of remote storage"),
    store("~/.s3cfg", "S3 keys"),
    store("~/.config/ngrok", "ngrok token"),
    // Package registries.
    store("~/.npmrc", "npm tokens"),
    store("~/.yarnrc", "npm tokens"),
    store("~/.yarnrc.yml", "npm tokens"),
    store("~/.pypirc", "PyPI tokens"),
    store("~/.cargo/credentials", "crates.io tokens"),
    store("~/.cargo/credentials.toml", "crates.io tokens"),
    store("~/.gem/credentials", "RubyGems tokens"),
    store("~/.local/share/gem/credentials", "RubyGems tokens"),
    store("~/.composer/auth.json", "Packagist tokens"),
    store("~/.config/composer/auth.json", "Packagist tokens"),
    store("~/.nuget/NuGet/NuGet.Config", "NuGet keys"),
    store("~/.m2/settings.xml", "passwords of Maven repositories"),
    store("~/.m2/settings-security.xml", "the master password of Maven"),
    store("~/.gradle/gradle.properties", "passwords of Maven repositories"),
    store("~/.cache/huggingface/token", "Hugging Face token"),
    store("~/.cache/huggingface/stored_tokens", "Hugging Face tokens"),
    store("~/.huggingface", "Hugging Face token"),
    store("~/.kaggle", "Kaggle key"),
    // Databases.
    store("~/.pgpass", "passwords of PostgreSQL"),
    store("~/.my.cnf", "passwords of MySQL"),
    store("~/.mylogin.cnf", "passwords of MySQL"),
    store("~/.mongorc.js", "passwords of MongoDB"),
    store("~/.snowflake", "Snowflake keys"),
    store("~/.databrickscfg", "Databricks tokens"),
    // Browsers: cookies are sessions.
    store("~/.config/google-chrome", "Chrome profiles"),
    store("~/.config/google-chrome-beta", "Chrome profiles"),
    store("~/.config/google-chrome-unstable", "Chrome profiles"),
    store("~/.config/chromium", "Chromium profiles"),
    store("~/.config/BraveSoftware", "Brave profiles"),
    store("~/.config/microsoft-edge", "Edge profiles"),
    store("~/.config/vivaldi", "Vivaldi profiles"),
    store("~/.config/opera", "Opera profiles"),
    store("~/.mozilla", "Firefox profiles"),
    store("~/.config/mozilla", "Firefox profiles"),
    store("~/.librewolf", "LibreWolf profiles"),
    store("~/.thunderbird", "mail and its passwords"),
    store("~/snap/firefox", "Firefox profiles"),
    store("~/snap/chromium", "Chromium profiles"),
    store("~/.var/app/org.mozilla.firefox", "Firefox profiles"),
    store("~/.var/app/com.google.Chrome", "Chrome profiles"),
    store("~/.var/app/org.chromium.Chromium", "Chromium profiles"),
    store("~/.var/app/com.brave.Browser", "Brave profiles"),
    store("~/.var/app/com.microsoft.Edge", "Edge profiles"),
    // Messengers and remote desktops: sessions.
    store("~/.config/Signal", "Signal messages and keys"),
    store("~/.config/Slack", "Slack sessions"),
    store("~/.config/discord", "Discord sessions"),
    store("~/.local/share/TelegramDesktop", "Telegram sessions"),
    store("~/.config/remmina", "passwords of remote desktops"),
    store("~/.local/share/remmina", "passwords of remote desktops"),
    store("~/.config/filezilla", "passwords of servers"),
    // Wallets.
    store("~/.bitcoin", "Bitcoin wallet"),
    store("~/.ethereum", "Ethereum keys"),
    store("~/.config/solana", "Solana keys"),
    store("~/.electrum", "Bitcoin wallet"),
    // Histories: passwords get typed into prompts.
    store("~/.bash_history", "commands typed, with what was typed into them"),
    store("~/.zsh_history", "commands typed"),
    store("~/.zhistory", "commands typed"),
    store("~/.histfile", "commands typed"),
    store("~/.sh_history", "commands typed"),
    store("~/.ash_history", "commands typed"),
    store("~/.ksh_history", "commands typed"),
    store("~/.local/share/fish/fish_history", "commands typed"),
    store("~/.local/share/atuin", "commands typed"),
    store("~/.python_history", "statements typed"),
    store("~/.node_repl_history", "statements typed"),
    store("~/.irb_history", "statements typed"),
    store("~/.psql_history", "statements typed, `ALTER ROLE` among them"),
    store("~/.mysql_history", "statements typed"),
    store("~/.sqlite_history", "statements typed"),
    store("~/.rediscli_history", "statements typed, `AUTH` among them"),
    store("~/.mongodb", "statements typed"),
    store("~/.lesshst", "searches typed"),
    store("~/.wget-hsts", "hosts visited"),
];

/// Patterns over variables' names, in upper case, and why.
const VARIABLES: &[(&str, &str)] = &[
    ("*TOKEN", "access tokens"),
    ("*_TOKEN_*", "access tokens"),
    ("*SECRET", "secrets"),
    ("*_SECRET_*", "secrets"),
    ("*_SECRETS", "secrets"),
    ("SECRET_*", "secrets"),
    ("*_KEY", "keys of interfaces, signing keys"),
    ("*_KEYS", "keys"),
    ("*APIKEY", "keys of interfaces"),
    ("*API_KEY*", "keys of interfaces"),
    ("*PRIVATE_KEY*", "private keys"),
    ("*_KEY_BASE64", "keys"),
    ("*PASSWORD", "passwords"),
    ("*PASSWORD_*", "passwords"),
    ("*PASSWD", "passwords"),
    ("*PASSPHRASE", "passphrases"),
    ("*_PASS", "passwords"),
    ("*_PWD", "passwords; `PWD` and `OLDPWD` are none"),
    ("*CREDENTIAL", "credentials"),
    ("*CREDENTIALS", "credentials"),
    ("*CREDENTIALS_*", "credentials"),
    ("*_AUTH", "authentication, as npm's `_auth`"),
    ("*_PAT", "personal access tokens"),
    ("*_DSN", "connection strings with passwords"),
    ("*_CONNECTION_STRING", "connection strings with passwords"),
    ("*DATABASE_URL", "connection strings with passwords"),
    ("VANTIO_STORE", "the address of the ledger, with its password"),
    ("*_DB_URL", "connection strings with passwords"),
    ("REDIS_URL", "connection strings with passwords"),
    ("MONGO*_UR?", "connection strings with passwords"),
    ("AMQP_URL", "connection strings with passwords"),
    ("*_WEBHOOK_URL", "whoever has it may post"),
    ("*COOKIE", "sessions"),
    ("*SESSION_ID", "sessions"),
    ("*_JWT", "access tokens"),
    ("AWS_*", "AWS keys and where they are"),
    ("AZURE_*", "Azure credentials"),
    ("ARM_*", "Azure credentials for Terraform"),
    ("GOOGLE_*", "Google Cloud credentials"),
    ("GCP_*", "Google Cloud credentials"),
    ("CLOUDSDK_*", "Google Cloud credentials"),
    ("TF_VAR_*", "variables of Terraform, secrets among them"),
    ("VAULT_*", "HashiCorp Vault"),
    ("KUBECONFIG", "where the cluster's credentials are"),
    ("DOCKER_AUTH_CONFIG", "passwords of container registries"),
    ("NPM_CONFIG_*AUTH*", "npm tokens"),
    ("CARGO_REGISTRIES_*", "crates.io tokens"),
    ("TWINE_*", "PyPI credentials"),
    ("UV_PUBLISH_*", "PyPI credentials"),
    ("PGPASSFILE", "where PostgreSQL's passwords are"),
    ("MYSQL_PWD", "a password of MySQL"),
    ("SSHPASS", "a password of SSH"),
    ("SSH_AUTH_SOCK", "a socket that signs with the user's keys"),
    ("SSH_AGENT_PID", "the process behind that socket"),
    ("GPG_AGENT_INFO", "a socket that signs with the user's keys"),
    ("GIT_ASKPASS", "a program that hands out passwords"),
    ("SSH_ASKPASS", "a program that hands out passwords"),
    ("SUDO_ASKPASS", "a program that hands out passwords"),
    ("KRB5CCNAME", "where Kerberos tickets are"),
    ("XAUTHORITY", "where the display's cookie is"),
    ("DBUS_SESSION_BUS_ADDRESS", "the bus that the keyring answers on"),
    ("GNOME_KEYRING_CONTROL", "the keyring's socket"),
    ("OP_SESSION_*", "1Password sessions"),
    ("BW_SESSION", "Bitwarden session"),
];

const fn store(pattern: &'static str, reason: &'static str) -> Store {
    Store { pattern, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_store_is_a_canonical_pattern_with_a_reason() {
        for store in STORES {
            assert_eq!(PathPattern::parse(store.pattern).unwrap().canonical(), store.pattern);
            assert!(!store.reason.is_empty());
        }
    }

    #[test]
    fn every_variable_pattern_parses() {
        for (pattern, reason) in VARIABLES {
            glob::parse(pattern).unwrap();
            assert!(!reason.is_empty());
        }
        assert!(!is_credential_variable(b"PWD"));
        assert!(!is_credential_variable(b"OLDPWD"));
        assert!(is_credential_variable(b"ANTHROPIC_API_KEY"));
    }
}
