//! Lines that break at words where a terminal is narrow.

/// The text, each line broken between words where it is wider than the terminal; what follows is set in. Colours take no
/// columns.
pub fn folded(text: &str, terminal: Option<usize>) -> String {
    let Some(columns) = terminal else { return text.to_owned() };
    text.split_inclusive('\n').map(|line| folded_line(line, columns)).collect()
}

fn folded_line(line: &str, columns: usize) -> String {
    if length(line) <= columns {
        return line.to_owned();
    }
    let lead = line.len() - line.trim_start_matches(' ').len();
    let indent = " ".repeat((lead + 4).min(columns / 2));
    let (mut text, mut column, mut pending) = (String::new(), 0, String::new());
    for part in line[lead..].trim_end_matches('\n').split_inclusive(' ') {
        let word = part.trim_end_matches(' ');
        if text.is_empty() {
            text.extend(std::iter::repeat_n(' ', lead));
            column = lead;
        } else if column + length(&pending) + length(word) > columns && !word.is_empty() {
            text.push('\n');
            text.push_str(&indent);
            column = indent.len();
            pending.clear();
        }
        text.push_str(&pending);
        text.push_str(word);
        column += length(&pending) + length(word);
        part[word.len()..].clone_into(&mut pending);
    }
    text + if line.ends_with('\n') { "\n" } else { "" }
}

/// Columns of a text in which only colours are escapes.
fn length(text: &str) -> usize {
    let mut is_escape = false;
    let is_shown = |c: &char| {
        let was_escape = is_escape;
        is_escape = *c == '\u{1b}' || is_escape && *c != 'm';
        !was_escape && !is_escape && *c != '\n'
    };
    text.chars().filter(is_shown).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let text = "  not passed to it: ONE_KEY, OTHER_KEY\nshort\n";
        assert_eq!(folded(text, Some(24)), "  not passed to it:\n      ONE_KEY, OTHER_KEY\nshort\n");
        assert_eq!(folded(text, Some(38)), text);
        assert_eq!(folded(text, None), text);
        let painted = "next: \u{1b}[36mvantio why 1\u{1b}[0m  \u{1b}[2mwhat was refused\u{1b}[0m\n";
        assert_eq!(folded(painted, Some(36)), painted);
        assert_eq!(
            folded(painted, Some(30)),
            "next: \u{1b}[36mvantio why 1\u{1b}[0m  \u{1b}[2mwhat was\n    refused\u{1b}[0m\n"
        );
        assert_eq!(folded("aaaaaaaaaaaa b\n", Some(6)), "aaaaaaaaaaaa\n   b\n");
    }
}
