//! The few elements of SVG that a plot needs.

use std::fmt::Write;

use super::Dash;

/// Where a text stands relative to its point.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Pen {
    pub(crate) color: &'static str,
    pub(crate) width: f64,
    pub(crate) dash: Dash,
}

/// How a text is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Type {
    pub(crate) color: &'static str,
    /// Height in units.
    pub(crate) size: f64,
    pub(crate) bold: bool,
}

/// The text of an SVG file, from top to bottom.
pub(crate) struct Canvas {
    text: String,
}

impl Canvas {
    /// A file of this size; `title` is what screen readers say.
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        let mut text = String::new();
        let (w, h) = (width.round(), height.round());
        let _ = writeln!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" \
             viewBox=\"0 0 {w} {h}\" font-family=\"sans-serif\" role=\"img\">"
        );
        let _ = writeln!(text, "<title>{}</title>", escaped(title));
        Self { text }
    }

    /// As [`new`](Self::new), to stand in a page: as wide as its place, but no narrower than `width` pixels where that is
    /// more than a phone has; `style` stands behind the title.
    #[cfg(feature = "cli")]
    pub(crate) fn inline(width: f64, height: f64, title: &str, style: &str) -> Self {
        let mut text = String::new();
        let (w, h) = (width.round(), height.round());
        let least = if w > 360.0 { format!(" style=\"min-width:{w}px\"") } else { String::new() };
        let _ = writeln!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" font-family=\"system-ui, sans-serif\" \
             role=\"img\"{least}>"
        );
        let _ = writeln!(text, "<title>{}</title>{style}", escaped(title));
        Self { text }
    }

    /// The finished file.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    /// Begins a window, outside of which nothing is drawn until [`Canvas::close`].
    pub(crate) fn open_window(&mut self, x: f64, y: f64, width: f64, height: f64) {
        let [x, y, width, height] = [x, y, width, height].map(number);
        let _ = writeln!(
            self.text,
            "<svg x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"{x} {y} {width} {height}\" overflow=\"hidden\">"
        );
    }

    /// Ends a window.
    pub(crate) fn close(&mut self) {
        self.text.push_str("</svg>\n");
    }

    /// A filled rectangle with round corners and a thin border.
    pub(crate) fn card(&mut self, width: f64, height: f64, fill: &str, border: &str) {
        let [width, height] = [width - 1.0, height - 1.0].map(number);
        let _ = writeln!(
            self.text,
            "<rect x=\"0.5\" y=\"0.5\" width=\"{width}\" height=\"{height}\" rx=\"8\" \
             fill=\"{fill}\" stroke=\"{border}\"/>"
        );
    }

    /// A filled rectangle; `style` is what CSS says of it.
    #[cfg(feature = "cli")]
    pub(crate) fn cell(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), style: &str) {
        let [x, y, width, height] = [x, y, width, height].map(number);
        let _ = writeln!(
            self.text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" style=\"{style}\"/>"
        );
    }

    /// The area between the points, in a colour that lets what lies below shine through.
    #[cfg(feature = "cli")]
    pub(crate) fn area(&mut self, points: &[(f64, f64)], color: &str) {
        self.text.push_str("<path d=\"");
        for (index, (x, y)) in points.iter().enumerate() {
            let command = if index == 0 { "M" } else { "L" };
            let _ = write!(self.text, "{command}{} {}", number(*x), number(*y));
        }
        let _ = writeln!(self.text, "Z\" fill=\"{color}\" fill-opacity=\"0.18\"/>");
    }

    /// A small disc.
    #[cfg(feature = "cli")]
    pub(crate) fn dot(&mut self, (x, y): (f64, f64), radius: f64, color: &str) {
        let [x, y, radius] = [x, y, radius].map(number);
        let _ = writeln!(
            self.text,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{color}\" fill-opacity=\"0.75\"/>"
        );
    }

    /// A line through the points; a single point is a dot.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], pen: Pen) {
        if let [(x, y)] = points {
            let [x, y, r] = [*x, *y, pen.width].map(number);
            let color = pen.color;
            let _ =
                writeln!(self.text, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" fill=\"{color}\"/>");
            return;
        }
        self.text.push_str("<path d=\"");
        for (index, (x, y)) in points.iter().enumerate() {
            let command = if index == 0 { "M" } else { "L" };
            let _ = write!(self.text, "{command}{} {}", number(*x), number(*y));
        }
        let (dash, cap) = match pen.dash {
            Dash::Solid => ("", "round"),
            Dash::Dashed => (" stroke-dasharray=\"7 4\"", "butt"),
            Dash::Dotted => (" stroke-dasharray=\"2 3\"", "butt"),
        };
        let _ = writeln!(
            self.text,
            "\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\" \
             stroke-linecap=\"{cap}\"{dash}/>",
            pen.color,
            number(pen.width),
        );
    }

    /// A text whose base line goes through the point.
    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, style: Type, text: &str) {
        self.raw_text((x, y), anchor, style, "", &escaped(text));
    }

    /// A text that is read from bottom to top, centred on the point.
    pub(crate) fn upright(&mut self, (x, y): (f64, f64), style: Type, text: &str) {
        let turn = format!(" transform=\"rotate(-90 {} {})\"", number(x), number(y));
        self.raw_text((x, y), Anchor::Middle, style, &turn, &escaped(text));
    }

    /// `<factor>10^<exponent>`.
    pub(crate) fn power(
        &mut self,
        point: (f64, f64),
        anchor: Anchor,
        style: Type,
        (factor, exponent): (&str, i32),
    ) {
        let content = format!(
            "{}10<tspan dy=\"{}\" font-size=\"{}\">{}</tspan>",
            escaped(factor),
            number(-0.4 * style.size),
            number(EXPONENT * style.size),
            exponent.to_string().replace('-', "\u{2212}"),
        );
        self.raw_text(point, anchor, style, "", &content);
    }

    fn raw_text(
        &mut self,
        (x, y): (f64, f64),
        anchor: Anchor,
        style: Type,
        attributes: &str,
        content: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if style.bold { " font-weight=\"bold\"" } else { "" };
        let [x, y, size] = [x, y, style.size].map(number);
        let _ = writeln!(
            self.text,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{}\" \
             text-anchor=\"{anchor}\"{weight}{attributes}>{content}</text>",
            style.color,
        );
    }
}

/// Size of an exponent as a part of that of its base.
pub(crate) const EXPONENT: f64 = 0.75;

/// A coordinate with two decimals; zero has no sign.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    if text == "-0.00" { "0.00".to_owned() } else { text }
}

/// A text for use between tags and in attributes. Characters that XML 1.0 cannot hold are replaced.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Width of a text of this size in units: an upper estimate over the usual sans-serif fonts, as
/// the viewer's is not known.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.33,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '-' => 0.43,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.98,
        '=' | '+' | '<' | '>' | '~' => 0.84,
        '_' => 0.52,
        c if c.is_ascii_uppercase() => 0.74,
        _ => 0.64,
    };
    text.chars().map(em).sum::<f64>() * size
}
