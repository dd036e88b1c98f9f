//! How things look on a terminal: colour, escapes, ages, tables.

mod folding;
mod progress;
mod table;
mod time;

use std::{
    io::{self, IsTerminal, Write as _},
    os::{fd::AsFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use vantio_phantom::changes::{Escaped, EscapedText};

use crate::{failure::Failure, output::is_full};

pub use folding::folded;
pub use progress::{Progress, waited};
pub use table::Table;
pub use time::{age, clock, duration, now_ms, on_clock, span};

/// Writes to standard output. A reader that went away is no failure: `vantio … | head`.
pub fn print(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output.write_all(bytes.as_ref()).and_then(|()| output.flush()).or_else(unprintable)
}

/// Standard output could not be written.
pub fn unprintable(cause: io::Error) -> Result<(), Failure> {
    if cause.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    let help = if is_full(&cause) { "free space where it is written to" } else { "" };
    Err(Failure::new("E_OUTPUT", "standard output cannot be written").because(cause).help(help))
}

/// Writes a note to standard error; lost when nobody can read it.
pub fn note(text: impl AsRef<str>) {
    drop(io::stderr().lock().write_all(text.as_ref().as_bytes()));
}

/// A path as a terminal may show it: nothing in it moves the cursor or hides.
pub fn shown_path(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

/// Text as a terminal may show it.
pub fn shown(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

/// Text in which a backslash means something, as in a rule, as a terminal may show it: pasted, it says what it said.
pub fn shown_rule(text: &str) -> String {
    EscapedText(text.as_bytes()).to_string()
}

/// A word that a shell reads as these bytes, and a terminal may show.
pub fn for_shell(word: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(byte);
    if !word.is_empty() && word.iter().all(is_plain) {
        return Escaped(word).to_string();
    }
    let text = String::from_utf8_lossy(word);
    if text.as_bytes() == word && Escaped(word).to_string().replace("\\\\", "\\") == text {
        return format!("'{}'", text.replace('\'', "'\\''"));
    }
    // What `$'…'` means is in POSIX.1-2024, Shell Command Language, 2.2.4.
    let escaped = word.iter().map(|byte| match byte {
        b' '..=b'~' if !b"\\'".contains(byte) => char::from(*byte).to_string(),
        other => format!("\\{other:03o}"),
    });
    format!("$'{}'", escaped.collect::<String>())
}

/// `1 word`, `2 words`.
pub fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// `1 entry`, `2 entries`.
pub fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// Prints an object as one line of JSON, with the version of its form.
pub fn print_json(mut object: serde_json::Value) -> Result<(), Failure> {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("version".into(), 1.into());
    }
    print(format!("{object}\n"))
}

/// Whether `stream` shows colour: a terminal that can, and nobody asked for none.
pub fn has_colour(stream: &impl IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// Columns of the terminal that `stream` is; `None` when it is none.
pub fn width(stream: impl AsFd) -> Option<usize> {
    let columns = rustix::termios::tcgetwinsize(stream).ok()?.ws_col;
    (columns > 0).then_some(columns.into())
}

/// Colours words, or leaves them plain.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// For text that goes to `stream`.
    pub fn for_stream(stream: &impl IsTerminal) -> Self {
        Self { is_on: has_colour(stream) }
    }

    /// Never colours.
    pub const fn plain() -> Self {
        Self { is_on: false }
    }

    /// Always colours.
    pub const fn coloured() -> Self {
        Self { is_on: true }
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Something of less weight.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Something refused or lost.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// Something new or well.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Something to type.
    pub fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_word_as_what_it_stands_for() {
        for word in [
            &b""[..],
            b"plain/a.b",
            b"a b",
            b"it's",
            b"a\\d",
            b"h;touch X;#",
            b"\xff\n\x1b'",
            "\u{202e}é".as_bytes(),
        ] {
            let script = format!("printf %s {}", for_shell(word));
            let said = std::process::Command::new("/bin/bash").args(["-c", &script]).output().unwrap();
            assert_eq!(said.stdout, word, "{script}");
        }
    }
}
