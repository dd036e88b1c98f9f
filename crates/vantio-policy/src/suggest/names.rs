//! What names look like: random, or like those of secrets.

use alloc::{string::String, vec::Vec};

/// Of a name that is likely another one the next time (a hash, an id, a process number, a temporary
/// file's) what stays: its beginning. `None` for a name that does not look random.
pub(super) fn stem(name: &[u8]) -> Option<&[u8]> {
    stem_by(name, looks_random)
}

/// The same for a name that was there only for a while, on its way to `target` or to nothing:
/// such a name is taken for a random one more easily.
pub(super) fn passing_stem<'n>(name: &'n [u8], target: Option<&[u8]>) -> Option<&'n [u8]> {
    let after = |start: usize| {
        target.filter(|target| name[start..].starts_with(target)).map(|target| start + target.len())
    };
    let from_target = after(0).or_else(|| name.starts_with(b".").then(|| after(1)).flatten());
    if let Some(end) = from_target.filter(|end| *end < name.len()) {
        return Some(&name[..end]);
    }
    stem(name).or_else(|| {
        stem_by(name, |word| word.len() >= TEMPLATE && is_varied(&word.as_bytes()[word.len() - TEMPLATE..]))
    })
}

fn stem_by(name: &[u8], is_random: impl Fn(&str) -> bool) -> Option<&[u8]> {
    let text = core::str::from_utf8(name).ok()?;
    let mut start = 0;
    for word in text.split(['-', '_', '.', '@', '+', '~']) {
        if is_random(word) {
            return Some(&name[..start + template_prefix(word)]);
        }
        start += word.len() + 1;
    }
    None
}

/// How much of a random word a program chose: what stands before the six characters of
/// mkstemp(3), where that is a word in small letters.
fn template_prefix(word: &str) -> usize {
    let bytes = word.as_bytes();
    let length = bytes.len().saturating_sub(TEMPLATE);
    let (prefix, rest) = bytes.split_at(length);
    let is_word = length >= 2 && prefix.iter().all(u8::is_ascii_lowercase) && is_varied(rest);
    if is_word { length } else { 0 }
}

fn is_varied(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_alphanumeric) && !bytes.iter().all(u8::is_ascii_lowercase)
}

/// A word of a name that no person would have chosen.
fn looks_random(word: &str) -> bool {
    let bytes = word.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_number = digits == bytes.len() && digits >= 3;
    let is_hexadecimal = bytes.len() >= 8 && digits >= 2 && bytes.iter().all(u8::is_ascii_hexdigit);
    // mkstemp(3) and its kin: six or more letters and digits, of mixed kinds.
    let has_upper = bytes.iter().any(u8::is_ascii_uppercase);
    let has_lower = bytes.iter().any(u8::is_ascii_lowercase);
    let is_alphanumeric = bytes.iter().all(u8::is_ascii_alphanumeric);
    let changes = bytes.windows(2).filter(|pair| class(pair[0]) != class(pair[1])).count();
    let is_mixed = bytes.len() >= 6
        && is_alphanumeric
        && changes >= 3
        && (digits >= 1 && (has_upper || has_lower) || has_upper && has_lower && changes >= 4);
    let is_temporary =
        (word.starts_with("tmp") || word.starts_with("temp")) && word.len() >= 9 && changes >= 1;
    is_number || is_hexadecimal || is_mixed || is_temporary
}

const fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        b'a'..=b'z' => 2,
        _ => 3,
    }
}

/// The characters that mkstemp(3) chooses.
const TEMPLATE: usize = 6;

/// Whether the last component of a path is called as files with secrets are. Code about secrets
/// is none.
pub(super) fn is_secret(path: &[u8]) -> bool {
    let name: Vec<u8> = last(path).to_ascii_lowercase();
    let Ok(name) = core::str::from_utf8(&name) else { return false };
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    if CODE.contains(&extension) || PUBLIC.iter().any(|part| name.contains(part)) {
        return false;
    }
    name == ".env"
        || name.starts_with(".env.")
        || name.starts_with("id_") && !extension.starts_with("pub")
        || matches!(extension, "pem" | "key" | "p12" | "pfx" | "jks" | "keystore" | "kdbx")
        || ["credential", "secret", "token", "password", "passwd"].iter().any(|word| name.contains(word))
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The end of a program's path.
pub(super) fn base_name(path: &[u8]) -> String {
    String::from_utf8_lossy(last(path)).into_owned()
}

/// Extensions of files that hold code, or what was made of it.
const CODE: &[&str] = &[
    "py", "pyc", "pyi", "js", "mjs", "cjs", "ts", "mts", "cts", "jsx", "tsx", "map", "rs", "d", "rlib",
    "rmeta", "o", "a", "so", "c", "h", "cc", "cpp", "hpp", "go", "java", "class", "rb", "php", "pl", "pm",
    "sh", "md", "rst", "html", "css", "svg", "png", "lock", "toml", "bin", "wasm",
];

/// Parts of names that say that nothing is secret.
const PUBLIC: &[&str] =
    &["example", "sample", "template", "cacert", "ca-cert", "ca-bundle", "ca_bundle", "tokenizer", ".pub"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_are_told_from_names() {
        for name in [
            "tmpa8x3k2q1",
            ".tmpAbC12x",
            "x-3f2a9c1d0b",
            "1234",
            "0193a6c2-7e5b-7000-8000-0123456789ab",
            "build-script-9f86d081884c7d65",
            "2026-11-27T23_11_02",
            ".lock-Xy7Kq2",
        ] {
            assert!(stem(name.as_bytes()).is_some(), "{name}");
        }
        for name in [
            "src",
            "main.rs",
            "package-lock.json",
            "node_modules",
            "README.md",
            "python3.11",
            "x86_64-linux-gnu",
            "libc.so.6",
            "CACHEDIR.TAG",
            "_cacache",
            "index-v5",
            "content-v2",
            "ES2020",
            "v18",
            "is-number",
        ] {
            assert!(stem(name.as_bytes()).is_none(), "{name}");
        }
        assert_eq!(stem(b"build-9f86d081884c7d65"), Some(b"build-".as_slice()));
        assert_eq!(stem(b"1234"), Some(b"".as_slice()));
        assert_eq!(stem(b"sedAbC12x"), Some(b"sed".as_slice()));
        assert_eq!(passing_stem(b"sedqwertY", Some(b"file")), Some(b"sed".as_slice()));
        assert_eq!(
            passing_stem(b".settings.json.swap", Some(b"settings.json")),
            Some(b".settings.json".as_slice())
        );
        assert_eq!(passing_stem(b"settings.tmp", None), None);
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "/w/.env",
            "/w/.env.local",
            "/h/server.key",
            "/h/x.pem",
            "/h/id_rsa",
            "/w/credentials.json",
            "/h/api_token",
            "/w/secrets.yaml",
            "/h/passwords.txt",
        ] {
            assert!(is_secret(name.as_bytes()), "{name}");
        }
        for name in [
            "/w/.env.example",
            "/x/cacert.pem",
            "/usr/lib/python3/secrets.py",
            "/w/js-tokens/index.js",
            "/h/id_rsa.pub",
            "/w/tokenizer.json",
            "/w/src",
            "/w/environment",
        ] {
            assert!(!is_secret(name.as_bytes()), "{name}");
        }
    }
}
