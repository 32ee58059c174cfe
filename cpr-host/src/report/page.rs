//! The report as one page that needs nothing else, and as Markdown.

use std::fmt::Write as _;

use super::{
    chart::{PALETTE, PALETTE_SLOT, Plot},
    figure::Section,
    table::{Table, escaped},
    tables::Titled,
};

const STYLE: &str = include_str!("page.css");

/// What a page says.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) title: String,
    /// What it is about: one line each.
    pub(crate) lead: Vec<String>,
    /// How it is made again.
    pub(crate) commands: Vec<String>,
    pub(crate) tables: Vec<Titled>,
    pub(crate) sections: Vec<Section>,
}

impl Page {
    /// The page: no script, no font, no picture from elsewhere; every plot has its data in a link.
    pub(crate) fn html(&self) -> String {
        let mut text = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
             <title>{0}</title>\n<style>\n{PALETTE}{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
            escaped(&self.title)
        );
        for line in &self.lead {
            let _ = writeln!(text, "<p class=\"lead\">{}</p>", escaped(line));
        }
        let _ = writeln!(text, "<p class=\"lead\">Made by {}</p>", self.made());
        text.push_str("<nav>\n");
        let tables = self.tables.iter().map(|table| (table.id, table.title.as_str()));
        let (first, others): (Vec<&Section>, Vec<_>) =
            self.sections.iter().partition(|section| section.id == "overview");
        let named = |section: &&Section| (section.id, section.title);
        let links = first.iter().map(named).chain(tables).chain(others.iter().map(named));
        for (id, title) in links {
            let _ = writeln!(text, "<a href=\"#{id}\">{}</a>", escaped(title));
        }
        text.push_str("</nav>\n");
        // What a person looks for first.
        first.into_iter().for_each(|section| self.section(&mut text, section));
        for table in &self.tables {
            let _ = writeln!(text, "<h2 id=\"{}\">{}</h2>", table.id, escaped(&table.title));
            let _ = writeln!(
                text,
                "<p class=\"note\">{} {}</p>",
                escaped(&table.note),
                link(table.id, &table.data)
            );
            text.push_str(&table.table.html());
        }
        others.into_iter().for_each(|section| self.section(&mut text, section));
        let _ = writeln!(
            text,
            "<footer><p>cpr {}</p></footer>\n</main>\n</body>\n</html>",
            env!("CARGO_PKG_VERSION")
        );
        text
    }

    fn section(&self, text: &mut String, section: &Section) {
        let (title, note) = (escaped(section.title), escaped(&section.note));
        let _ = writeln!(text, "<section id=\"{}\">\n<h2>{title}</h2>", section.id);
        let _ = writeln!(text, "<p class=\"note\">{note}</p>\n<div class=\"grid\">");
        section.plots.iter().for_each(|plot| text.push_str(&self.figure(plot)));
        text.push_str("</div>\n</section>\n");
    }

    fn made(&self) -> String {
        let commands: Vec<_> = self
            .commands
            .iter()
            .map(|command| format!("<code>{}</code>", escaped(command)))
            .collect();
        commands.join(" and ")
    }

    fn figure(&self, plot: &Plot) -> String {
        let note = match plot.note.is_empty() {
            true => String::new(),
            false => format!("<p class=\"note\">{}</p>\n", escaped(&plot.note)),
        };
        format!(
            "<figure id=\"plot-{}\">\n<figcaption>{}</figcaption>\n<div class=\"plot\">{}</div>\n{note}<p class=\"made\">{} · {}</p>\n</figure>\n",
            escaped(&plot.id),
            escaped(&plot.title),
            plot.svg.replace(PALETTE_SLOT, "").trim_end(),
            link(&plot.id, &plot.data),
            self.made(),
        )
    }

    /// The tables, and the names of the plots.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n", self.title);
        for line in &self.lead {
            let _ = writeln!(text, "{line}\n");
        }
        let commands: Vec<_> = self.commands.iter().map(|command| format!("`{command}`")).collect();
        let _ = writeln!(text, "Made by {}\n", commands.join(" and "));
        for table in &self.tables {
            let _ = writeln!(
                text,
                "## {}\n\n{}\n\n{}",
                table.title,
                table.note,
                table.table.markdown()
            );
        }
        for section in &self.sections {
            let _ = writeln!(text, "## {}\n\n{}\n", section.title, section.note);
            for plot in &section.plots {
                let _ = writeln!(text, "![{}](figures/{}.svg)\n", plot.title, plot.id);
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// A plot as a file of its own.
pub(crate) fn alone(plot: &Plot) -> String {
    let style = format!("<style>{PALETTE}svg{{background:var(--card)}}</style>");
    plot.svg.replace(PALETTE_SLOT, &style)
}

/// A link that holds the table itself.
fn link(name: &str, data: &Table) -> String {
    let mut encoded = String::new();
    for c in data.csv().chars() {
        match c {
            // What an attribute or an address cannot hold, and what browsers would drop.
            '\n' => encoded.push_str("%0A"),
            '%' | '"' | '#' | '<' | '>' | '&' | ' ' | '\'' => {
                let _ = write!(encoded, "%{:02X}", u32::from(c));
            }
            c if c.is_control() => {}
            c => encoded.push(c),
        }
    }
    format!(
        "<a download=\"{}.csv\" href=\"data:text/csv;charset=utf-8,{encoded}\">CSV</a>",
        escaped(name)
    )
}
