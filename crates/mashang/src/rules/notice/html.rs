//! HTML as it is written: every text is escaped here, and elements are closed.

use std::fmt::Write;

/// A growing page.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup that this program wrote itself.
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Adds an element with a text. `tag` may have attributes.
    pub(super) fn element(&mut self, tag: &'static str, text: &str) {
        let name = tag.split(' ').next().unwrap_or(tag);
        let _ = write!(self.0, "<{tag}>{}</{name}>", escaped(text));
    }

    /// Adds an element around others.
    pub(super) fn around(&mut self, tag: &'static str, inner: impl FnOnce(&mut Self)) {
        let name = tag.split(' ').next().unwrap_or(tag);
        let _ = write!(self.0, "<{tag}>");
        inner(self);
        let _ = writeln!(self.0, "</{name}>");
    }

    /// Adds a cell that reaches over rows.
    pub(super) fn tall_cell(&mut self, rows: usize, text: &str) {
        let _ = write!(self.0, "<td rowspan=\"{rows}\">{}</td>", escaped(text));
    }

    /// Adds a table with a head.
    pub(super) fn table(&mut self, head: &[&str], rows: impl FnOnce(&mut Self)) {
        self.around("table", |html| {
            html.head(head);
            html.around("tbody", rows);
        });
    }

    /// Adds the head of a table.
    pub(super) fn head(&mut self, cells: &[&str]) {
        self.around("thead", |html| html.around("tr", |html| cells.iter().for_each(|cell| html.element("th", cell))));
    }

    /// Adds a label with a text for it; several texts are paragraphs.
    pub(super) fn pair(&mut self, label: &str, texts: &[String]) {
        self.element("dt", label);
        self.around("dd", |html| texts.iter().for_each(|text| html.element("p", text)));
    }

    pub(super) fn end(self) -> String {
        self.0
    }
}

/// A text that means only itself, between tags and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
