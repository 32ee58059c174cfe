//! Where everything of a figure goes, settled before anything is drawn.

use super::{
    Axis, Dash, Figure, Panel, Scale, Side,
    ruler::{Fit, Label, Ruler, is_drawable},
    svg::{EXPONENT, text_width},
};

/// Width of a figure in units.
pub(super) const WIDTH: f64 = 800.0;
/// Free space along the card's edge.
pub(super) const MARGIN: f64 = 22.0;
/// Height of a panel's frame.
const FRAME: f64 = 226.0;
/// Text sizes.
pub(super) const TITLE: f64 = 18.0;
pub(super) const SUBTITLE: f64 = 13.0;
pub(super) const TEXT: f64 = 13.0;
pub(super) const TICK: f64 = 12.0;
/// Length of a tick.
pub(super) const TICK_LENGTH: f64 = 5.0;
/// Line heights.
const TITLE_LINE: f64 = 24.0;
const SUBTITLE_LINE: f64 = 18.0;
pub(super) const LEGEND_LINE: f64 = 20.0;
/// Spaces behind a legend's line sample and behind an entry.
pub(super) const SAMPLE_GAP: f64 = 7.0;
const ENTRY_GAP: f64 = 20.0;

/// The rectangle that the data lie in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Frame {
    pub(super) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Coordinate of a place on the x axis.
    pub(super) fn x(&self, at: f64) -> f64 {
        self.left + at * self.width
    }

    /// Coordinate of a place on a y axis.
    pub(super) fn y(&self, at: f64) -> f64 {
        self.bottom() - at * self.height
    }
}

/// What stands before the text of a legend's entry.
#[derive(Clone, Copy)]
pub(super) enum Key {
    /// A curve.
    Curve { color: usize, dash: Dash },
    /// A horizontal reference line.
    Reference,
    /// A vertical mark.
    Mark { color: usize },
}

impl Key {
    /// Width in units.
    pub(super) fn width(self) -> f64 {
        match self {
            Self::Curve { .. } | Self::Reference => 24.0,
            Self::Mark { .. } => 4.0,
        }
    }
}

/// An entry of the legend: left end and base line.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) text: String,
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A vertical mark inside the frame.
pub(super) struct PlacedMark {
    pub(super) x: f64,
    pub(super) color: usize,
}

/// A panel with everything in its place.
pub(super) struct Placed<'a> {
    pub(super) panel: &'a Panel,
    pub(super) frame: Frame,
    pub(super) x: Ruler,
    pub(super) left: Ruler,
    pub(super) right: Option<Ruler>,
    pub(super) legend: Vec<Entry>,
    pub(super) marks: Vec<PlacedMark>,
    /// Whether numbers and label stand below the x axis.
    pub(super) x_labelled: bool,
    /// Whether any point can be drawn.
    pub(super) has_data: bool,
}

impl Placed<'_> {
    /// The ruler of a side; the left one where there is no right one.
    pub(super) fn ruler(&self, side: Side) -> &Ruler {
        match (side, &self.right) {
            (Side::Right, Some(right)) => right,
            _ => &self.left,
        }
    }
}

/// A figure with everything in its place.
pub(super) struct Layout<'a> {
    pub(super) height: f64,
    pub(super) title: Vec<(f64, String)>,
    pub(super) subtitle: Vec<(f64, String)>,
    pub(super) panels: Vec<Placed<'a>>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(figure: &'a Figure) -> Self {
        let mut y = MARGIN - 6.0;
        let mut lines = |text: &str, size: f64, line: f64| {
            wrapped(text, size)
                .into_iter()
                .map(|text| {
                    y += line;
                    (y - 0.2 * line, text)
                })
                .collect::<Vec<_>>()
        };
        let title = lines(&figure.title, TITLE, TITLE_LINE);
        let subtitle = lines(&figure.subtitle, SUBTITLE, SUBTITLE_LINE);
        y += 8.0;

        // Frames are aligned, so the widest labels of all panels set the margins.
        let rulers: Vec<_> = figure.panels.iter().map(|panel| rulers(figure, panel)).collect();
        let left_margin = rulers.iter().map(|(_, left, _)| labels_width(left)).fold(0.0, f64::max);
        let right_margin = rulers
            .iter()
            .filter_map(|(_, _, right)| right.as_ref())
            .map(|right| labels_width(right) + TICK_LENGTH + 4.0 + LABEL)
            .fold(0.0, f64::max);
        let left = MARGIN + LABEL + left_margin + TICK_LENGTH + 4.0;
        let width =
            WIDTH - MARGIN - right_margin - left - if right_margin > 0.0 { 0.0 } else { 8.0 };

        let mut panels = Vec::new();
        for (index, (panel, (x, y_left, y_right))) in figure.panels.iter().zip(rulers).enumerate() {
            let mut frame = Frame { left, top: y, width, height: FRAME };
            let legend = legend(panel, &mut frame);
            frame.top += 8.0;
            let marks = marks(panel, &x, &frame);
            let next = figure.panels.get(index + 1);
            let x_labelled = next.is_none_or(|next| next.x != panel.x);
            y = frame.bottom() + if x_labelled { 44.0 } else { 0.0 } + 18.0;
            let has_data = extent(panel, panel.x.scale, |point| point.0, None).is_some();
            panels.push(Placed {
                panel,
                frame,
                x,
                left: y_left,
                right: y_right,
                legend,
                marks,
                x_labelled,
                has_data,
            });
        }
        Self { height: y + 2.0, title, subtitle, panels }
    }
}

/// Width that the label of a y axis takes.
pub(super) const LABEL: f64 = 22.0;

/// Widest tick label of a ruler.
pub(super) fn labels_width(ruler: &Ruler) -> f64 {
    let width = |label: &Label| match label {
        Label::Plain(text) => text_width(text, TICK),
        Label::Power { factor, exponent } => {
            text_width(factor, TICK)
                + text_width("10", TICK)
                + text_width(&exponent.to_string(), EXPONENT * TICK)
        }
    };
    ruler.ticks.iter().map(|tick| width(&tick.label)).fold(0.0, f64::max)
}

/// Smallest and largest of a coordinate over the points of a panel that its axes can show.
fn extent(
    panel: &Panel,
    scale: Scale,
    coordinate: impl Fn(&(f64, f64)) -> f64,
    side: Option<Side>,
) -> Option<(f64, f64)> {
    panel
        .series
        .iter()
        .filter(|series| side.is_none_or(|side| drawn_on(panel, series.side) == side))
        .flat_map(|series| series.points.iter().map(move |point| (series, point)))
        .filter(|(series, point)| {
            let axis = axis(panel, series.side);
            is_drawable(panel.x.scale, point.0) && is_drawable(axis.scale, point.1)
        })
        .map(|(_, point)| coordinate(point))
        .filter(|value| is_drawable(scale, *value))
        .fold(None, |extent, value| Some(joined(extent, value)))
}

fn joined(extent: Option<(f64, f64)>, value: f64) -> (f64, f64) {
    extent.map_or((value, value), |(low, high): (f64, f64)| (low.min(value), high.max(value)))
}

/// The side that something meant for `side` is drawn on.
fn drawn_on(panel: &Panel, side: Side) -> Side {
    if panel.y_right.is_some() { side } else { Side::Left }
}

fn axis(panel: &Panel, side: Side) -> &Axis {
    match (side, &panel.y_right) {
        (Side::Right, Some(right)) => right,
        _ => &panel.y_left,
    }
}

fn rulers(figure: &Figure, panel: &Panel) -> (Ruler, Ruler, Option<Ruler>) {
    let shared = figure
        .panels
        .iter()
        .filter(|other| other.x == panel.x)
        .filter_map(|other| extent(other, other.x.scale, |point| point.0, None))
        .fold(None, |extent, (low, high)| Some(joined(Some(joined(extent, low)), high)));
    let x = Ruler::new(&panel.x, shared, Fit::Tight, 8);
    let y = |axis: &Axis, side: Side| {
        let data = extent(panel, axis.scale, |point| point.1, Some(side));
        let data = panel
            .references
            .iter()
            .filter(|reference| drawn_on(panel, reference.side) == side)
            .filter(|reference| is_drawable(axis.scale, reference.y))
            .fold(data, |data, reference| Some(joined(data, reference.y)));
        Ruler::new(axis, data, Fit::Roomy, 5)
    };
    let right = panel.y_right.as_ref().map(|axis| y(axis, Side::Right));
    (x, y(&panel.y_left, Side::Left), right)
}

/// Places the legend from `frame.top` on and moves the top below it.
fn legend(panel: &Panel, frame: &mut Frame) -> Vec<Entry> {
    let with_side = |label: &str, side: Side| match (side, &panel.y_right) {
        (Side::Right, Some(_)) => format!("{label} (right axis)"),
        _ => label.to_owned(),
    };
    let curves = panel.series.iter().map(|series| {
        let key = Key::Curve { color: series.color, dash: series.dash };
        (key, series.label.as_str(), series.side)
    });
    let references = panel
        .references
        .iter()
        .map(|reference| (Key::Reference, reference.label.as_str(), reference.side));
    let marks = panel
        .marks
        .iter()
        .map(|mark| (Key::Mark { color: mark.color }, mark.label.as_str(), Side::Left));
    let mut entries: Vec<Entry> = Vec::new();
    let mut x = frame.left;
    for (key, label, side) in curves.chain(references).chain(marks) {
        if label.is_empty() {
            continue;
        }
        let text = with_side(label, side);
        let width = key.width() + SAMPLE_GAP + text_width(&text, TEXT);
        if x > frame.left && x + width > WIDTH - MARGIN {
            x = frame.left;
            frame.top += LEGEND_LINE;
        }
        entries.push(Entry { key, text, x, y: frame.top + 0.7 * LEGEND_LINE });
        x += width + ENTRY_GAP;
    }
    if !entries.is_empty() {
        frame.top += LEGEND_LINE;
    }
    entries
}

/// The marks that stand inside the frame, from left to right.
fn marks(panel: &Panel, x: &Ruler, frame: &Frame) -> Vec<PlacedMark> {
    let mut marks: Vec<_> = panel
        .marks
        .iter()
        .filter_map(|mark| Some((x.at(mark.x)?, mark)))
        .filter(|(at, _)| (0.0..=1.0).contains(at))
        .map(|(at, mark)| PlacedMark { x: frame.x(at), color: mark.color })
        .collect();
    marks.sort_by(|a, b| a.x.total_cmp(&b.x));
    marks
}

/// The lines of a text that fit beside each other's margins; none for an empty text.
fn wrapped(text: &str, size: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() {
                if text_width(&line, size) + text_width(word, size) > WIDTH - 2.0 * MARGIN - size {
                    lines.push(std::mem::take(&mut line));
                } else {
                    line.push(' ');
                }
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}
