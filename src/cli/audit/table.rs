//! Rows whose columns stand one below the other.

use crate::text::for_terminal;

/// The widest a cell may be, in characters; what is longer is cut.
const WIDEST: usize = 60;

/// Rows of cells, some with lines of their own below them.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<(Vec<String>, Vec<String>)>,
}

impl Table {
    /// A table with these names above its columns.
    pub(super) fn with_names(names: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(names.iter().map(ToString::to_string).collect());
        table
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push((cells, Vec::new()));
    }

    /// Adds a line below the last row.
    pub(super) fn below(&mut self, line: String) {
        if let Some((_, below)) = self.rows.last_mut() {
            below.push(line);
        }
    }

    /// The text. The last column is neither filled up nor cut.
    pub(super) fn in_lines(&self) -> String {
        let shown: Vec<Vec<String>> = self.rows.iter().map(|(row, _)| shown(row)).collect();
        let columns = shown.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = shown.iter().filter_map(|row| row.get(column));
                cells
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let mut text = String::new();
        for (row, (_, below)) in shown.iter().zip(&self.rows) {
            let mut line = String::new();
            for (cell, &width) in row.iter().zip(&widths) {
                line.push_str(cell);
                let missing = width.saturating_sub(cell.chars().count());
                line.extend(std::iter::repeat_n(' ', missing + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
            for line in below {
                text.push_str("    ");
                text.push_str(&for_terminal(line));
                text.push('\n');
            }
        }
        text
    }
}

fn shown(row: &[String]) -> Vec<String> {
    let last = row.len().saturating_sub(1);
    let cells = row.iter().enumerate();
    cells
        .map(|(at, cell)| {
            let cell = for_terminal(cell);
            if at == last || cell.chars().count() <= WIDEST {
                return cell;
            }
            let kept: String = cell.chars().take(WIDEST - 1).collect();
            format!("{kept}…")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_one_below_the_other_and_nothing_steers_the_terminal() {
        let mut table = Table::with_names(&["WHO", "WHAT"]);
        table.row(vec!["octo\u{1b}[31m".into(), "a\nb".into()]);
        table.below("below\u{7}".into());
        table.row(vec!["é".into(), "x".into()]);
        let expected = "WHO        WHAT\nocto?[31m  a?b\n    below?\né          x\n";
        assert_eq!(table.in_lines(), expected);
    }

    #[test]
    fn a_long_cell_is_cut_and_the_last_is_not() {
        let mut table = Table::default();
        table.row(vec!["x".repeat(100), "y".repeat(100)]);
        let text = table.in_lines();
        assert_eq!(text.chars().filter(|c| *c == 'x').count(), WIDEST - 1);
        assert_eq!(text.chars().filter(|c| *c == 'y').count(), 100);
    }
}
