//! The names that rules and requests are made of.

use crate::random::Random;

const ROOTS: &[&str] =
    &["/home/dev/src", "/home/dev/work", "/srv", "/opt", "/var/lib", "/usr/share", "/usr/lib", "/data/sets"];
const PROJECTS: &[&str] = &[
    "billing", "catalog", "gateway", "ledger", "search", "mobile", "reports", "identity", "payments", "media",
];
const PARTS: &[&str] =
    &["src", "tests", "docs", "api", "core", "assets", "scripts", "config", "models", "build"];
const FILES: &[&str] = &[
    "main.rs",
    "lib.rs",
    "index.ts",
    "README.md",
    "data.json",
    "notes.txt",
    "Makefile",
    "app.py",
    "style.css",
];
const PROGRAMS: &[&str] =
    &["cc", "make", "node", "python3", "rustc", "tar", "rsync", "lint", "format", "deploy"];
const HOSTS: &[&str] =
    &["api", "www", "cdn", "registry", "packages", "auth", "files", "git", "hooks", "eu.api"];
const DOMAINS: &[&str] = &["example.com", "example.net", "example.org", "corp.example", "cloud.example"];
const SERVERS: &[&str] = &["github", "jira", "slack", "postgres", "browser", "calendar"];
const VERBS: &[&str] = &["read", "search", "list", "create", "update", "comment", "merge", "export"];
/// Names of files that hold secrets, wherever they lie.
const SECRETS: &[&str] = &[
    ".env",
    ".netrc",
    ".npmrc",
    "id_rsa",
    "id_ed25519",
    ".git-credentials",
    "credentials.json",
    "secrets.yaml",
    ".pgpass",
    ".htpasswd",
];
const SECRET_SUFFIXES: &[&str] = &[".key", ".pem", ".p12", ".pfx", ".kdbx", ".jks", ".ppk", ".keytab"];

/// A directory of three to six components.
pub fn directory(random: &mut Random) -> String {
    let mut path = format!("{}/{}-{}", random.of(ROOTS), random.of(PROJECTS), random.below(200));
    for _ in 0..random.below(4) {
        path = format!("{path}/{}", part(random));
    }
    path
}

/// One component of a path.
pub fn part(random: &mut Random) -> String {
    if random.happens(60) {
        random.of(PARTS).to_owned()
    } else {
        format!("{}{}", random.of(PARTS), random.below(20))
    }
}

/// The name of an ordinary file.
pub fn file(random: &mut Random) -> &'static str {
    random.of(FILES)
}

/// The path of a program.
pub fn program(random: &mut Random) -> String {
    let directory = random.of(&["/usr/bin", "/usr/local/bin", "/opt/tools/bin"]);
    format!("{directory}/{}-{}", random.of(PROGRAMS), random.below(2_000))
}

/// A domain name of three to five labels.
pub fn domain(random: &mut Random) -> String {
    format!("{}.{}", random.of(HOSTS), zone(random))
}

/// A domain that has names below it.
pub fn zone(random: &mut Random) -> String {
    format!("{}-{}.{}", random.of(PROJECTS), random.below(2_000), random.of(DOMAINS))
}

/// The name of a tool.
pub fn tool(random: &mut Random) -> String {
    format!("{}{}/{}", random.of(SERVERS), random.below(500), random.of(VERBS))
}

/// The beginning that the tools of one server share.
pub fn tool_server(random: &mut Random) -> String {
    format!("{}{}/", random.of(SERVERS), random.below(2_000))
}

/// The `index`th name of a secret.
pub fn secret(index: usize) -> String {
    SECRETS.get(index).map_or_else(|| format!("secret-{index}.json"), |name| (*name).to_owned())
}

/// The `index`th ending of a secret.
pub fn secret_suffix(index: usize) -> String {
    SECRET_SUFFIXES.get(index).map_or_else(|| format!(".s{index}"), |suffix| (*suffix).to_owned())
}
