//! Columns, with two spaces between them. Widths count characters, not bytes or colour codes.

use crate::style::{Style, Tone};

/// A text, and what its colour means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// Returns a cell with a colour.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Rows below a head.
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(head: Vec<&'static str>) -> Self {
        Self { head, rows: Vec::new() }
    }

    /// Adds a row; cells that it lacks are empty.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Fills cells of the last row, by column.
    pub(crate) fn complete(&mut self, cells: &[(usize, String)]) {
        let Some(row) = self.rows.last_mut() else { return };
        for (column, text) in cells {
            if let Some(cell) = row.get_mut(*column) {
                *cell = text.clone().into();
            }
        }
    }

    /// Returns the width of each column.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let width = |text: &str| text.chars().count();
        let column = |i: usize| {
            let cells = self.rows.iter().filter_map(move |row| row.get(i));
            cells.map(|cell| width(&cell.text)).max().unwrap_or(0).max(width(self.head[i]))
        };
        (0..self.head.len()).map(column).collect()
    }

    /// Returns the width of the widest line.
    pub(crate) fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
    }

    /// Leaves out a column.
    pub(crate) fn remove(&mut self, name: &str) {
        let Some(place) = self.head.iter().position(|head| *head == name) else { return };
        self.head.remove(place);
        for row in self.rows.iter_mut().filter(|row| row.len() > place) {
            row.remove(place);
        }
    }

    /// Draws head and rows.
    pub(crate) fn draw(&self, style: Style) -> String {
        let widths = self.widths();
        let head: Vec<Cell> = self.head.iter().map(|text| (*text).into()).collect();
        std::iter::once(&head).chain(&self.rows).map(|row| line(row, &widths, style)).collect()
    }
}

/// Draws one row; a cell that is wider than its column moves the rest of its line.
pub(crate) fn line(cells: &[Cell], widths: &[usize], style: Style) -> String {
    let mut text = String::new();
    for (i, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let is_last = cells[i + 1..].iter().all(|cell| cell.text.is_empty());
        match cell.tone {
            Some(tone) => text.push_str(&style.paint(tone, &cell.text)),
            None => text.push_str(&cell.text),
        }
        if is_last {
            break;
        }
        let missing = width.saturating_sub(cell.text.chars().count());
        text.push_str(&" ".repeat(missing + 2));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_colours_have_no_width() {
        let mut table = Table::new(vec!["NAME", "STATUS", "INFO"]);
        table.row(vec!["├──a".into(), Cell::toned("✔ Healthy", Tone::Good), "x".into()]);
        table.row(vec!["b".into(), "".into(), "".into()]);
        let plain = Style { color: false, ascii: false };
        assert_eq!(table.draw(plain), "NAME  STATUS     INFO\n├──a  ✔ Healthy  x\nb\n");
        assert_eq!(table.width(), 21);
        let colored = table.draw(Style { color: true, ..plain });
        assert!(colored.contains("├──a  \x1b[32m✔ Healthy\x1b[0m  x\n"), "{colored:?}");
        table.remove("STATUS");
        assert_eq!(table.draw(plain), "NAME  INFO\n├──a  x\nb\n");
    }
}
