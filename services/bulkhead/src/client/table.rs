//! Tables and lists of fields, with everything in them harmless.

use anstyle::Style;
use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table as Layout, presets};

use super::text::harmless;

/// Rows under a heading, for people and for `grep`.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    headings: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(headings: [&'static str; N]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Fits `columns`, or, without a terminal, puts each row on one line. The first column is what other
    /// commands take and is never broken.
    pub(crate) fn render(&self, columns: Option<u16>) -> String {
        let mut table = Layout::new();
        table.load_style(presets::NOTHING);
        match columns {
            Some(columns) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table.set_header(self.headings.map(Cell::new));
        for row in &self.rows {
            table.add_row(row.each_ref().map(|cell| Cell::new(harmless(cell))));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if index == 0 {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let mut text = String::new();
        for line in table.lines() {
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// `name   value` lines; fields without a value are left out.
pub(crate) fn fields(pairs: &[(&str, String)]) -> String {
    let shown = pairs.iter().filter(|(_, value)| !value.is_empty());
    let width = shown.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    let bold = Style::new().bold();
    shown.map(|(name, value)| format!("{bold}{name:width$}{bold:#}  {}\n", harmless(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<3> {
        let mut table = Table::new(["ID", "STATE", "WHAT"]);
        table.row(["0123456789".into(), "pending".into(), "fs.delete notes/a long name of a file.md".into()]);
        table.row(["1".into(), "denied".into(), "fs.write \u{1b}[2Jb\nc".into()]);
        table
    }

    #[test]
    fn without_a_terminal_each_row_is_one_line() {
        let expected = "\
ID          STATE    WHAT
0123456789  pending  fs.delete notes/a long name of a file.md
1           denied   fs.write <U+001B>[2Jb<U+000A>c
";
        assert_eq!(table().render(None), expected);
    }

    #[test]
    fn a_narrow_terminal_breaks_the_text_and_never_the_id() {
        let text = table().render(Some(44));
        assert!(text.lines().all(|line| line.chars().count() <= 44), "{text}");
        assert!(text.contains("0123456789  pending"), "{text}");
    }

    #[test]
    fn fields_line_up_and_empty_ones_are_left_out() {
        let text = fields(&[("id", "1".into()), ("session", String::new()), ("state", "a\rb".into())]);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "id     1\nstate  a<U+000D>b\n");
    }
}
