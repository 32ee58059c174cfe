//! Small plots in the colours of the page: curves with bands, dots with intervals, heat maps.
//!
//! They are 360 units wide, so that on a phone a unit is about a pixel and texts stay readable; a wide window shows
//! several side by side. Colours are CSS variables, which the page sets for light and dark.

use super::table::Table;
use crate::plot::{
    Axis, Dash, Scale,
    ruler::{Fit, Label, Ruler, is_drawable},
    svg::{Anchor, Canvas, Pen, Type, text_width},
};

/// Width of a plot in units.
pub(crate) const WIDTH: f64 = 360.0;
const FRAME: f64 = 190.0;
const MARGIN: f64 = 8.0;
pub(crate) const TEXT: f64 = 11.5;
pub(crate) const TICK: f64 = 11.0;
/// Height of a line of text.
pub(crate) const LINE: f64 = 17.0;
/// Colours of curves; higher ones start over.
pub(crate) const COLORS: [&str; 7] =
    ["var(--c0)", "var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)"];

pub(crate) const INK: Type = Type { color: "var(--ink)", size: TEXT, bold: false };
pub(crate) const SMALL: Type = Type { color: "var(--muted)", size: TICK, bold: false };
pub(crate) const GRID: Pen = Pen { color: "var(--grid)", width: 1.0, dash: Dash::Solid };
const SPINE: Pen = Pen { color: "var(--muted)", width: 1.0, dash: Dash::Solid };

/// What the colours are where a plot stands alone, in a file of its own.
pub(crate) const PALETTE: &str = include_str!("palette.css");

/// A plot with its data.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Name of its files, and its place in the page.
    pub(crate) id: String,
    /// What it shows.
    pub(crate) title: String,
    /// How to read it; may be empty.
    pub(crate) note: String,
    /// The picture.
    pub(crate) svg: String,
    /// Every number that it shows.
    pub(crate) data: Table,
}

/// A point of a curve, with the band around it; the band is empty where low = high.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Point {
    /// A point without a band.
    pub(crate) fn bare(x: f64, y: f64) -> Self {
        Self { x, y, low: y, high: y }
    }
}

/// A curve of a [`Curves`].
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    /// Its name in the legend; an empty one stays out of it.
    pub(crate) label: String,
    pub(crate) color: usize,
    pub(crate) dash: Dash,
    /// Shown as bars in place of an area, and the points as dots.
    pub(crate) bars: bool,
    pub(crate) points: Vec<Point>,
}

/// Curves over one x axis.
#[derive(Clone, Debug)]
pub(crate) struct Curves {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) curves: Vec<Curve>,
}

impl Curves {
    /// Whether there is a point that the axes can show.
    pub(crate) fn has_data(&self) -> bool {
        self.points().next().is_some()
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        self.curves.iter().flat_map(|curve| &curve.points).filter(|point| self.shows(point))
    }

    fn shows(&self, point: &Point) -> bool {
        is_drawable(self.x.scale, point.x) && is_drawable(self.y.scale, point.y)
    }

    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let join = |extent: Option<(f64, f64)>, value: f64| {
            Some(extent.map_or((value, value), |(low, high): (f64, f64)| {
                (low.min(value), high.max(value))
            }))
        };
        let xs = self.points().map(|point| point.x).fold(None, join);
        // The curves set the range; of their bands what is not far off counts too, the rest is cut at the frame.
        let shown = |values: &mut dyn Iterator<Item = f64>| {
            values.filter(|value| is_drawable(self.y.scale, *value)).fold(None, join)
        };
        let has_bars = self.curves.iter().any(|curve| curve.bars);
        let middle = shown(&mut self.points().map(|point| point.y));
        let reach = middle.map_or((0.0, 0.0), |(low, high)| {
            let room = if has_bars { f64::INFINITY } else { 0.6 * (high - low) };
            (low - room, high + room)
        });
        let bands = self.points().flat_map(|point| [point.low, point.high]);
        let bands = shown(&mut bands.map(|value| value.clamp(reach.0, reach.1)));
        let ys = bands.into_iter().flat_map(|(low, high)| [low, high]).fold(middle, join);
        let x = Ruler::new(&self.x, xs, Fit::Tight, 4);
        let y = Ruler::new(&self.y, ys, Fit::Roomy, 4);
        let left =
            MARGIN + y.ticks.iter().map(|tick| label_width(&tick.label)).fold(0.0, f64::max) + 6.0;
        // Room for half a label at the end of the axis.
        let right = WIDTH - MARGIN - 10.0;
        let legend = legend(&self.curves);
        let legend_lines = legend.last().map_or(0, |entry| entry.line + 1);
        let top = MARGIN + LINE + 8.0;
        let bottom = top + FRAME;
        let height = bottom + 36.0 + legend_lines as f64 * LINE + MARGIN;
        // Bars at the ends of the axis have room beside them.
        let inset = if has_bars { 16.0 } else { 0.0 };
        let across = |x: f64| left + inset + x * (right - left - 2.0 * inset);
        let to = |x: f64, y: f64| (across(x), bottom - y * (bottom - top));
        let wide = |y: f64| [(left, to(0.0, y).1), (right, to(0.0, y).1)];

        let mut canvas = Canvas::inline(WIDTH, height, &self.title, PALETTE_SLOT);
        canvas.text((MARGIN, MARGIN + 0.6 * LINE), Anchor::Start, SMALL, &self.y.label);
        for tick in &y.ticks {
            canvas.line(&wide(tick.at), GRID);
            let [(at, middle), _] = wide(tick.at);
            label(&mut canvas, (at - 5.0, middle + 0.35 * TICK), Anchor::End, &tick.label);
        }
        for tick in &x.ticks {
            canvas.line(&[to(tick.at, 0.0), to(tick.at, 1.0)], GRID);
            let (at, below) = to(tick.at, 0.0);
            label(&mut canvas, (at, below + 15.0), Anchor::Middle, &tick.label);
        }
        canvas.line(&wide(0.0), SPINE);
        canvas.text((right, bottom + 31.0), Anchor::End, SMALL, &self.x.label);
        canvas.open_window(left - 4.0, top - 4.0, right - left + 8.0, bottom - top + 8.0);
        let middle = (self.curves.len() as f64 - 1.0) / 2.0;
        for (index, curve) in self.curves.iter().enumerate() {
            // Bars of several curves at one x stand beside each other.
            let aside = if curve.bars { 4.0 * (index as f64 - middle) } else { 0.0 };
            self.draw(&mut canvas, curve, (&x, &y), &|x, y| (to(x, y).0 + aside, to(x, y).1));
        }
        canvas.close();
        for entry in legend {
            let (at, line) = (entry.x, bottom + 36.0 + (entry.line as f64 + 0.75) * LINE);
            let pen =
                Pen { color: COLORS[entry.color % COLORS.len()], width: 2.5, dash: entry.dash };
            canvas.line(&[(at, line - 4.0), (at + 18.0, line - 4.0)], pen);
            canvas.text((at + 23.0, line), Anchor::Start, INK, &entry.label);
        }
        canvas.finish()
    }

    fn draw(
        &self,
        canvas: &mut Canvas,
        curve: &Curve,
        (x, y): (&Ruler, &Ruler),
        to: &impl Fn(f64, f64) -> (f64, f64),
    ) {
        let color = COLORS[curve.color % COLORS.len()];
        let shown: Vec<&Point> = curve.points.iter().filter(|point| self.shows(point)).collect();
        // Below a logarithmic axis is its lower edge.
        let place = |at: f64, value: f64| {
            x.at(at).map(|at| to(at, y.at(value).unwrap_or(0.0).clamp(-1.0, 2.0)))
        };
        let line = |of: fn(&Point) -> f64| -> Vec<(f64, f64)> {
            shown.iter().filter_map(|point| place(point.x, of(point))).collect()
        };
        if shown.iter().any(|point| point.low < point.high) {
            let (low, high) = (line(|point| point.low), line(|point| point.high));
            if curve.bars {
                let pen = Pen { color, width: 1.2, dash: Dash::Solid };
                for (low, high) in low.into_iter().zip(high) {
                    canvas.line(&[low, high], pen);
                    for end in [low, high] {
                        canvas.line(&[(end.0 - 3.0, end.1), (end.0 + 3.0, end.1)], pen);
                    }
                }
            } else {
                let edge: Vec<_> = low.into_iter().chain(high.into_iter().rev()).collect();
                canvas.area(&edge, color);
            }
        }
        let middle = line(|point| point.y);
        if curve.bars {
            middle.iter().for_each(|&at| canvas.dot(at, 3.0, color));
        }
        if !middle.is_empty() {
            canvas.line(&middle, Pen { color, width: 1.8, dash: curve.dash });
        }
    }
}

/// Where the colours of a plot that stands alone go; the page has them once for all.
pub(crate) const PALETTE_SLOT: &str = "<!--palette-->";

struct Entry {
    label: String,
    color: usize,
    dash: Dash,
    x: f64,
    line: usize,
}

fn legend(curves: &[Curve]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let (mut x, mut line) = (MARGIN, 0);
    for curve in curves.iter().filter(|curve| !curve.label.is_empty()) {
        let label = cut(&curve.label, WIDTH - 2.0 * MARGIN - 23.0);
        let width = 23.0 + text_width(&label, TEXT);
        if x > MARGIN && x + width > WIDTH - MARGIN {
            (x, line) = (MARGIN, line + 1);
        }
        entries.push(Entry { label, color: curve.color, dash: curve.dash, x, line });
        x += width + 14.0;
    }
    entries
}

/// The text, or as much of it as fits with an ellipsis.
pub(crate) fn cut(text: &str, width: f64) -> String {
    if text_width(text, TEXT) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if text_width(&kept, TEXT) + TEXT > width {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

pub(crate) fn label_width(label: &Label) -> f64 {
    match label {
        Label::Plain(text) => text_width(text, TICK),
        Label::Power { factor, exponent } => {
            text_width(factor, TICK)
                + text_width("10", TICK)
                + 0.8 * text_width(&exponent.to_string(), TICK)
        }
    }
}

pub(crate) fn label(canvas: &mut Canvas, point: (f64, f64), anchor: Anchor, label: &Label) {
    match label {
        Label::Plain(text) => canvas.text(point, anchor, SMALL, text),
        Label::Power { factor, exponent } => {
            canvas.power(point, anchor, SMALL, (factor, *exponent))
        }
    }
}

/// The scale that spreads these values: logarithmic where all are above 0 and the largest is `ratio` times the
/// smallest.
pub(crate) fn scale_for(values: impl Iterator<Item = f64>, ratio: f64) -> Scale {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    if low > 0.0 && high >= ratio * low { Scale::Log } else { Scale::Linear }
}
