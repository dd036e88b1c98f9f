//! What is on the screen.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Clear, Paragraph, Wrap},
};
use vantio_phantom::changes::{Change, ChangeKind, Escaped, EscapedText, Hunks};

use super::{
    chosen,
    list::{Decision, List, title},
};

/// The right-hand side.
#[derive(Default)]
pub struct Page {
    /// Why the change is a hazard, and who made it: in brief, or all of it.
    pub head: Vec<String>,
    /// The other of the two.
    pub other_head: Vec<String>,
    /// Whether all of it is shown.
    pub is_unfolded: bool,
    /// Its patch, line by line, as it is.
    pub patch: Vec<Vec<u8>>,
    /// The first line that is shown.
    pub top: usize,
    /// Its hunks, where some of them can be committed.
    pub hunks: Option<Hunks>,
    /// The hunk that is looked at.
    pub at: Option<usize>,
}

impl Page {
    /// Tells all of who made the change, or only the most needed.
    pub fn fold_or_unfold(&mut self) {
        std::mem::swap(&mut self.head, &mut self.other_head);
        (self.is_unfolded, self.top) = (!self.is_unfolded, 0);
    }

    /// Looks at another hunk, so many further on; at none beyond the first and the last.
    pub fn look_at_hunk(&mut self, by: isize) {
        let count = self.hunks.as_ref().map_or(0, |hunks| hunks.hunks().len());
        let next = match self.at {
            None if by > 0 => Some(0),
            None => count.checked_sub(1),
            Some(at) => at.checked_add_signed(by),
        };
        self.at = next.filter(|at| *at < count);
        let headers = self.patch.iter().enumerate().filter(|(_, line)| is_header(line));
        let line = self.at.and_then(|at| headers.map(|(line, _)| line).nth(at));
        self.top = line.map_or(0, |line| self.head.len() + line);
    }
}

/// Whether a hunk begins with this line of a patch.
fn is_header(line: &[u8]) -> bool {
    line.starts_with(b"@@ ")
}

/// What waits for a key.
pub enum Popup {
    /// A question, or what is to be known.
    Question(String),
    /// Whether to leave although something is accepted.
    Leaving(String),
    /// The keys.
    Keys,
}

/// How it all looks.
pub struct View<'a> {
    /// The changes.
    pub list: &'a List<'a>,
    /// About the one that is looked at.
    pub page: &'a Page,
    /// The run, for the title.
    pub run: &'a str,
    /// What lies over it until a key is pressed.
    pub popup: Option<&'a Popup>,
    /// Whether there is colour.
    pub has_colour: bool,
}

impl View<'_> {
    /// Draws the screen, whatever its size.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let [main, foot] = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(area);
        let [left, right] = if area.width >= WIDE {
            Layout::horizontal([Constraint::Length(self.list_width(area.width)), Constraint::Min(1)])
                .areas(main)
        } else {
            Layout::vertical([Constraint::Percentage(45), Constraint::Percentage(55)]).areas(main)
        };
        self.draw_list(frame, left);
        self.draw_page(frame, right);
        let help = Paragraph::new(footer(foot.width.into()));
        frame.render_widget(help.style(Style::new().add_modifier(Modifier::DIM)), foot);
        match self.popup {
            Some(Popup::Question(question) | Popup::Leaving(question)) => draw_over(frame, "", question),
            Some(Popup::Keys) => draw_over(frame, " keys ", &keys(area)),
            None => {}
        }
    }

    /// What the list needs: up to half of a wide screen, and two fifths of one where a patch would not have its 80 columns.
    fn list_width(&self, all: u16) -> u16 {
        let needed = self.list.widest().max(self.list_title(usize::MAX).chars().count()) + 2;
        let most = (all / 2).min(all.saturating_sub(80)).max(all * 2 / 5);
        u16::try_from(needed).unwrap_or(u16::MAX).min(most)
    }

    /// How far the review is, and of which run, as it fits.
    fn list_title(&self, width: usize) -> String {
        let (accepted, all) = (self.list.accepted(), self.list.rows().len());
        let title = format!(" {accepted}/{all} accepted, run {} ", self.run);
        let is_short = title.chars().count() <= width;
        if is_short { title } else { format!(" {accepted}/{all}, run {} ", self.run) }
    }

    fn draw_list(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = self.block(&self.list_title(usize::from(area.width).saturating_sub(2)));
        let height = usize::from(block.inner(area).height);
        let first =
            self.list.selected.saturating_sub(height / 2).min(self.list.rows().len().saturating_sub(height));
        let rows = self.list.rows().iter().enumerate().skip(first).take(height);
        let width = usize::from(block.inner(area).width);
        let lines: Vec<Line<'_>> =
            rows.map(|(index, (change, decision))| self.row(index, change, decision, width)).collect();
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    fn row(&self, index: usize, change: &Change, decision: &Decision, width: usize) -> Line<'static> {
        let mut style = match (change.kind, change.hazards.is_empty()) {
            (ChangeKind::Deleted, _) | (_, false) => self.colour(Color::Red),
            (ChangeKind::Added, _) => self.colour(Color::Green),
            _ => self.colour(Color::Yellow),
        };
        if index == self.list.selected {
            style = style.add_modifier(Modifier::REVERSED);
        }
        Line::from(Span::styled(shortened(&title(change, decision, self.list.folder()), width), style))
    }

    fn draw_page(&self, frame: &mut Frame<'_>, area: Rect) {
        let name = self.list.current().map(|change| Escaped(&change.path).to_string()).unwrap_or_default();
        let block = self.block(&format!(" {name} "));
        let height = usize::from(block.inner(area).height);
        let head = self
            .page
            .head
            .iter()
            .map(|line| Line::from(Span::styled(line.clone(), self.colour(Color::Cyan))));
        let mut hunk = 0;
        let patch = self.page.patch.iter().map(|line| {
            let own = is_header(line).then_some(hunk);
            hunk += usize::from(own.is_some());
            own.map_or_else(|| self.patch_line(line), |hunk| self.hunk_line(hunk, line))
        });
        // Only what is on the screen is made ready for it.
        let lines: Vec<Line<'_>> = head.chain(patch).skip(self.page.top).take(height).collect();
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(block), area);
    }

    /// The header of a hunk, with what was decided about it.
    fn hunk_line(&self, hunk: usize, line: &[u8]) -> Line<'static> {
        let Some(hunks) = &self.page.hunks else { return self.patch_line(line) };
        let decision = self.list.decision();
        let chosen = chosen(&decision, hunks);
        let is_taken =
            hunks.hunks().get(hunk).is_some_and(|pieces| pieces.clone().all(|piece| chosen.contains(&piece)));
        let sign = match decision {
            Decision::Open => ' ',
            _ if is_taken => '✓',
            _ => '✗',
        };
        let mut line = self.patch_line(&[format!("{sign} ").as_bytes(), line].concat());
        line.style = self.colour(Color::Cyan);
        if self.page.at == Some(hunk) {
            line.style = line.style.add_modifier(Modifier::REVERSED);
        }
        line
    }

    fn patch_line(&self, line: &[u8]) -> Line<'static> {
        let text = EscapedText(line).to_string().replace('\t', "    ");
        let style = match line.first() {
            Some(b'+') => self.colour(Color::Green),
            Some(b'-') => self.colour(Color::Red),
            Some(b'@') => self.colour(Color::Cyan),
            _ => Style::new(),
        };
        Line::from(Span::styled(text, style))
    }

    fn block(&self, title: &str) -> Block<'static> {
        Block::new().borders(Borders::ALL).title(title.to_owned()).border_style(self.colour(Color::DarkGray))
    }

    fn colour(&self, colour: Color) -> Style {
        if self.has_colour { Style::new().fg(colour) } else { Style::new() }
    }
}

/// Draws a text in the middle of the screen, as large as it has to be.
fn draw_over(frame: &mut Frame<'_>, title: &str, text: &str) {
    let area = frame.area();
    let width = area.width.min(60);
    let height = area.height.min(text_height(text, width) + 2);
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    frame.render_widget(Clear, place);
    let block = Block::new().borders(Borders::ALL).title(title.to_owned());
    let text = Paragraph::new(text.to_owned()).wrap(Wrap { trim: true });
    frame.render_widget(text.block(block), place);
}

/// The lines that a text takes in a frame of this width.
fn text_height(text: &str, width: u16) -> u16 {
    let inner = usize::from(width.saturating_sub(2)).max(1);
    let lines = text.lines().map(|line| {
        let ends = |(lines, column): (usize, usize), word: &str| match column + 1 + word.len() {
            _ if column == 0 => (lines, word.len()),
            end if end <= inner => (lines, end),
            _ => (lines + 1, word.len()),
        };
        line.split(' ').fold((1, 0), ends).0
    });
    u16::try_from(lines.sum::<usize>()).unwrap_or(u16::MAX)
}

/// As many keys as fit, the most needed first.
fn footer(width: usize) -> String {
    let mut text = String::new();
    for (key, what) in KEYS {
        let next = format!("{text} {key} {what} ");
        if next.trim_end().len() > width {
            break;
        }
        text = next;
    }
    text
}

/// Every key: a line for each, or where the window is too low for that, one after the other.
fn keys(area: Rect) -> String {
    let in_lines = KEYS.len() + 4 <= area.height.into();
    let named = KEYS
        .iter()
        .skip(1)
        .map(|(key, what)| if in_lines { format!("{key:5} {what}\n") } else { format!("{key}: {what}  ") });
    let named: String = named.collect();
    let end = "any key goes back";
    let gap = if in_lines { "" } else { "\n" };
    let text = format!("{named}{gap}{REJECTED}\n{end}");
    if text_height(&text, area.width.min(60)) + 2 <= area.height { text } else { named + end }
}

/// The end of a path tells more than its beginning.
fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width || width < 8 {
        return text.to_owned();
    }
    let (head, tail) = (4, width - 5);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).collect()
}

const REJECTED: &str =
    "Rejected: not committed now. It stays pending in the run until it is committed or discarded.";

/// The keys, those that are needed most first.
const KEYS: [(&str, &str); 15] = [
    ("?", "keys"),
    ("a", "accept"),
    ("r", "reject"),
    ("c", "commit"),
    ("q", "quit"),
    ("j k", "move"),
    ("J K", "scroll"),
    ("Tab", "hunk"),
    ("p", "who made it: all"),
    ("u", "undecide"),
    ("m", "merge"),
    ("M", "merge with markers"),
    ("A", "all but hazards"),
    ("g G", "first, last"),
    ("Space", "scroll far"),
];
const WIDE: u16 = 80;

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use vantio_phantom::changes::ChangeSet;

    use super::*;

    #[test]
    fn any_size_of_screen_is_drawn_and_nothing_obeys_the_content() {
        let set = ChangeSet::default();
        let list = List::new(&set);
        let page = Page {
            head: vec!["head".into()],
            patch: vec![
                b"+\tx\x1b]0;owned\x07".to_vec(),
                "-\u{202e}".as_bytes().to_vec(),
                vec![b'x'; 100_000],
            ],
            ..Page::default()
        };
        for popup in [Popup::Question("commit? y/n".into()), Popup::Keys] {
            let view = View { list: &list, page: &page, run: "r", popup: Some(&popup), has_colour: true };
            for (width, height) in [(1, 1), (2, 2), (5, 1), (20, 5), (80, 24), (300, 100)] {
                let drawn = drawn(&view, width, height);
                assert!(!drawn.contains(['\x1b', '\x07', '\u{202e}']), "{width}x{height}\n{drawn}");
            }
        }
    }

    #[test]
    fn what_rejected_means_is_told_with_the_keys() {
        let set = ChangeSet::default();
        let (list, page) = (List::new(&set), Page::default());
        let view = View { list: &list, page: &page, run: "r", popup: Some(&Popup::Keys), has_colour: false };
        let drawn = drawn(&view, 80, 24);
        for part in
            ["Rejected: not committed now.", "pending in the run", "any key goes back", "Space scroll far"]
        {
            assert!(drawn.contains(part), "{part}\n{drawn}");
        }
    }

    #[test]
    fn the_title_keeps_the_run_and_the_list_takes_what_it_needs() {
        let set = ChangeSet::default();
        let (list, page) = (List::new(&set), Page::default());
        let view = View { list: &list, page: &page, run: "01a22df7-3edc", popup: None, has_colour: false };
        assert!(drawn(&view, 80, 24).contains(" 0/0, run 01a22df7-3edc ─"), "{}", drawn(&view, 80, 24));
        let wide = drawn(&view, 200, 24);
        assert!(wide.contains(" 0/0 accepted, run 01a22df7-3edc ┐"), "{wide}");
        assert_eq!(view.list_width(200), 35);
    }

    fn drawn(view: &View<'_>, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_narrow_window_names_whole_keys_and_shows_all_that_there_are() {
        let set = ChangeSet::default();
        let (list, page) = (List::new(&set), Page::default());
        let mut view = View { list: &list, page: &page, run: "r", popup: None, has_colour: false };
        for (width, foot) in [(20, "? keys  a accept"), (40, "? keys  a accept  r reject  c commit")] {
            let drawn = drawn(&view, width, 24);
            assert_eq!(drawn.lines().last().unwrap().trim_matches(['"', ' ']), foot);
        }
        view.popup = Some(&Popup::Keys);
        for (width, height) in [(20, 24), (40, 24), (40, 12), (80, 10), (200, 60)] {
            let drawn = drawn(&view, width, height);
            for (key, what) in &KEYS[1..] {
                let word = what.split(' ').next_back().unwrap();
                assert!(drawn.contains(key) && drawn.contains(word), "{width}x{height}: {key}\n{drawn}");
            }
        }
    }

    #[test]
    fn a_long_path_keeps_its_end() {
        assert_eq!(shortened("+ /a/very/long/path/name.rs", 16), "+ /a…ath/name.rs");
        assert_eq!(shortened("short", 16), "short");
    }
}
