//! Tables of text, as Markdown, CSV and HTML.

use std::fmt::Write as _;

use crate::sweep::results::cell;

/// A head and rows of as many cells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// As RFC 4180 has it, lines ended by a line feed.
    pub(crate) fn csv(&self) -> String {
        let mut text = String::new();
        for row in std::iter::once(&self.head).chain(&self.rows) {
            text.push_str(&row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(","));
            text.push('\n');
        }
        text
    }

    /// As GitHub has it; the first column to the left, the others to the right.
    pub(crate) fn markdown(&self) -> String {
        let line = |row: &[String]| {
            let cells: Vec<_> = row.iter().map(|text| text.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = line(&self.head);
        let rules = (0..self.head.len()).map(|column| if column == 0 { "---" } else { "---:" });
        let _ = writeln!(text, "|{}|", rules.collect::<Vec<_>>().join("|"));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }

    /// A `<table>` in a box that scrolls where the window is narrower.
    pub(crate) fn html(&self) -> String {
        let mut text = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
        for name in &self.head {
            let _ = write!(text, "<th>{}</th>", escaped(name));
        }
        text.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            text.push_str("<tr>");
            for (column, value) in row.iter().enumerate() {
                let tag = if column == 0 { "th" } else { "td" };
                let _ = write!(text, "<{tag}>{}</{tag}>", escaped(value));
            }
            text.push_str("</tr>\n");
        }
        text.push_str("</tbody>\n</table></div>\n");
        text
    }
}

/// A text between tags or in an attribute.
pub(crate) fn escaped(text: &str) -> String {
    crate::plot::svg::escaped(text)
}
