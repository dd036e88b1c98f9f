//! Columns that line up.

/// Rows of cells; the last column is not padded.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with its headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, two spaces between columns.
    pub fn render(&self) -> String {
        self.render_within(None)
    }

    /// The lines, each cut where the terminal ends.
    pub fn render_within(&self, terminal: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row: &Vec<String>| row.get(column)).map(|cell| length(cell)).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - length(cell) + 2));
            }
            let line = line.trim_end();
            match terminal.filter(|columns| length(line) > *columns) {
                Some(columns) => text.extend(line.chars().take(columns - 1).chain(['…'])),
                None => text.push_str(line),
            }
            text.push('\n');
        }
        text
    }
}

/// Characters, which is columns for what these tables hold.
fn length(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_spaces() {
        let mut table = Table::new(&["ID", "STATE", "COMMAND"]);
        table.row(["0193".into(), "ended".into(), "ls".into()]);
        table.row(["é".into(), String::new(), String::new()]);
        assert_eq!(table.render(), "ID    STATE  COMMAND\n0193  ended  ls\né\n");
        assert_eq!(table.render_within(Some(12)), "ID    STATE…\n0193  ended…\né\n");
    }
}
