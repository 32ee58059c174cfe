//! Line plots as self-contained SVG.
//!
//! A [`Figure`] is data; [`Figure::to_svg`] is its picture: 800 units wide, on a white card that
//! keeps it readable in dark viewers, in colours that colour-blind readers tell apart, with no font
//! but the viewer's `sans-serif`. The same figure gives the same bytes everywhere: numbers have a
//! fixed count of decimals, and logarithms come from libm, not from the system.
//!
//! [`grokking`] makes the figure of the modular-addition experiment from a run's rows, [`curves`] that
//! of the others.
//!
//! ```
//! use cpr_host::plot::{Axis, Figure, Panel, Scale, Series};
//!
//! let loss = Series::new("train", 0, vec![(1.0, 4.7), (10.0, 2.1), (100.0, 0.3)]);
//! let panel = Panel::new(Axis::new("step", Scale::Log), Axis::new("loss", Scale::Log));
//! let mut figure = Figure::new("Loss over steps");
//! figure.panels.push(panel.with(loss));
//! assert!(figure.to_svg().starts_with("<svg "));
//! ```

pub mod curves;
mod draw;
pub mod grokking;
mod layout;
pub(crate) mod ruler;
pub(crate) mod svg;
mod trace;

/// A title over panels that stand one below the other.
///
/// Panels whose x axes are equal share their range, and only the last of them in a row is labelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// First line; may be empty.
    pub title: String,
    /// Smaller lines below the title; may be empty.
    pub subtitle: String,
    /// From top to bottom.
    pub panels: Vec<Panel>,
}

impl Figure {
    /// A figure without panels.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), subtitle: String::new(), panels: Vec::new() }
    }

    /// The picture as the text of an SVG file.
    ///
    /// A panel without a drawable point says so. Longer texts than the figure is wide are wrapped
    /// (titles, legends) or run over its edge (axis labels).
    #[must_use]
    pub fn to_svg(&self) -> String {
        draw::figure(self)
    }
}

/// Curves over one x axis, with one or two y axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// The axis at the bottom.
    pub x: Axis,
    /// The axis of the series on [`Side::Left`].
    pub y_left: Axis,
    /// The axis of the series on [`Side::Right`]; without it they are drawn on the left one.
    pub y_right: Option<Axis>,
    /// The curves; later ones lie on top.
    pub series: Vec<Series>,
    /// Vertical lines.
    pub marks: Vec<Mark>,
    /// Horizontal lines.
    pub references: Vec<Reference>,
}

impl Panel {
    /// A panel without curves.
    #[must_use]
    pub fn new(x: Axis, y_left: Axis) -> Self {
        Self {
            x,
            y_left,
            y_right: None,
            series: Vec::new(),
            marks: Vec::new(),
            references: Vec::new(),
        }
    }

    /// The panel with one more curve on top.
    #[must_use]
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }
}

/// What an axis measures, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Quantity and unit.
    pub label: String,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// First and last value; `None` fits the data. A range that is empty or too narrow for ticks,
    /// not finite (1e300 at most), or not above 0 on a logarithmic axis counts as `None`.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// An axis that fits its data.
    #[must_use]
    pub fn new(label: impl Into<String>, scale: Scale) -> Self {
        Self { label: label.into(), scale, range: None }
    }
}

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal distances for equal differences.
    Linear,
    /// Equal distances for equal ratios; values that are not above 0 are left out.
    Log,
}

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend; an empty one stays out of it.
    pub label: String,
    /// Index into the colours, of which there are seven; higher ones start over.
    pub color: usize,
    /// The y axis it belongs to.
    pub side: Side,
    /// How the line is broken up.
    pub dash: Dash,
    /// x and y, in the order of the line. A point with a value that is not finite interrupts it.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A solid curve on the left axis.
    #[must_use]
    pub fn new(label: impl Into<String>, color: usize, points: Vec<(f64, f64)>) -> Self {
        Self { label: label.into(), color, side: Side::Left, dash: Dash::Solid, points }
    }
}

/// One of a panel's two y axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The axis on the left.
    Left,
    /// The axis on the right.
    Right,
}

/// How a line is broken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dash {
    /// Not at all.
    Solid,
    /// Into dashes.
    Dashed,
    /// Into dots.
    Dotted,
}

/// A vertical line, named in the legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Where it stands. Values off the axis are left out.
    pub x: f64,
    /// What happens there; an empty one stays out of the legend.
    pub label: String,
    /// Index into the colours.
    pub color: usize,
}

/// A thin horizontal line, named in the legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Where it lies; the axis reaches this far. Values off the axis are left out.
    pub y: f64,
    /// What it means; an empty one stays out of the legend.
    pub label: String,
    /// The y axis that measures it.
    pub side: Side,
}

#[cfg(test)]
mod tests;
