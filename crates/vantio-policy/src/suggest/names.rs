//! What names look like: random, or like those of secrets.

use alloc::{string::String, vec::Vec};

/// Whether a name is likely another one the next time: a hash, an id, a process number, a
/// temporary file's.
pub(super) fn is_random(name: &[u8]) -> bool {
    stem(name).is_some()
}

/// The beginning of a random name that stays, up to the random part; `None` for a name that
/// does not look random.
pub(super) fn stem(name: &[u8]) -> Option<&[u8]> {
    let text = core::str::from_utf8(name).ok()?;
    let mut start = 0;
    for word in text.split(['-', '_', '.', '@', '+', '~']) {
        if looks_random(word) {
            return Some(&name[..start]);
        }
        start += word.len() + 1;
    }
    None
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
            assert!(is_random(name.as_bytes()), "{name}");
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
            assert!(!is_random(name.as_bytes()), "{name}");
        }
        assert_eq!(stem(b"build-9f86d081884c7d65"), Some(b"build-".as_slice()));
        assert_eq!(stem(b"1234"), Some(b"".as_slice()));
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
