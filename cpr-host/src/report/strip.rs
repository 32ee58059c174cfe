//! Dots of single seeds with interval and mean, one row a setting; and heat maps.

use super::{
    chart::{
        COLORS, GRID, INK, LINE, PALETTE_SLOT, SMALL, TEXT, TICK, WIDTH, cut, label, label_width,
    },
    figure::shown,
};
use crate::{
    plot::{
        Axis, Dash, Scale,
        ruler::{Fit, Ruler, is_drawable},
        svg::{Anchor, Canvas, Pen, text_width},
    },
    stats::Sample,
};

const MARGIN: f64 = 8.0;
/// Width of the column of what never happened.
const NEVER: f64 = 34.0;
/// Height of a row: label, then dots.
const ROW: f64 = 34.0;

/// A row: label, colour, values; +∞ is what never happened.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) color: usize,
    pub(crate) values: Vec<f64>,
}

/// Rows of dots over one axis.
#[derive(Clone, Debug)]
pub(crate) struct Strip {
    pub(crate) title: String,
    pub(crate) axis: Axis,
    pub(crate) rows: Vec<Row>,
}

impl Strip {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let finite = || {
            self.rows
                .iter()
                .flat_map(|row| &row.values)
                .copied()
                .filter(|value| is_drawable(self.axis.scale, *value))
        };
        let has_never =
            self.rows.iter().flat_map(|row| &row.values).any(|value| value.is_infinite());
        let intervals = self.rows.iter().filter_map(|row| Sample::of(&row.values).interval());
        let ends = intervals.flat_map(|interval| [interval.low(), interval.high()]);
        let ends = ends.filter(|value| is_drawable(self.axis.scale, *value));
        let extent = finite().chain(ends).fold(None, |extent, value| {
            Some(extent.map_or((value, value), |(low, high): (f64, f64)| {
                (low.min(value), high.max(value))
            }))
        });
        let ruler = Ruler::new(&self.axis, extent, Fit::Roomy, 4);
        let half = |tick: Option<&crate::plot::ruler::Tick>| {
            tick.map_or(0.0, |tick| label_width(&tick.label) / 2.0)
        };
        let left = MARGIN + half(ruler.ticks.first()).min(20.0);
        let right = WIDTH - MARGIN - if has_never { NEVER + 12.0 } else { 14.0 };
        let (top, bottom) = (MARGIN, MARGIN + self.rows.len() as f64 * ROW + 4.0);
        let x = |at: f64| left + at * (right - left);
        let never = WIDTH - MARGIN - NEVER / 2.0;

        let mut canvas = Canvas::inline(WIDTH, bottom + 40.0, &self.title, PALETTE_SLOT);
        for tick in &ruler.ticks {
            // Beside the dots alone: labels have no line through them.
            for row in 0..self.rows.len() {
                let middle = top + (row + 1) as f64 * ROW - 9.0;
                canvas.line(&[(x(tick.at), middle - 8.0), (x(tick.at), middle + 8.0)], GRID);
            }
            label(&mut canvas, (x(tick.at), bottom + 14.0), Anchor::Middle, &tick.label);
        }
        if has_never {
            canvas.text((never, bottom + 14.0), Anchor::Middle, SMALL, "never");
        }
        canvas.text((right, bottom + 31.0), Anchor::End, SMALL, &self.axis.label);
        for (index, row) in self.rows.iter().enumerate() {
            let base = top + index as f64 * ROW;
            let middle = base + ROW - 9.0;
            let color = COLORS[row.color % COLORS.len()];
            canvas.text(
                (MARGIN, base + 13.0),
                Anchor::Start,
                INK,
                &cut(&row.label, WIDTH - 2.0 * MARGIN),
            );
            canvas.line(&[(MARGIN, middle), (right, middle)], GRID);
            let sample = Sample::of(&row.values);
            let at = |value: f64| ruler.at(value).map(|at| x(at.clamp(0.0, 1.0)));
            if let Some(interval) = sample.interval()
                && let (Some(low), Some(high)) =
                    (at(interval.low()).or(Some(left)), at(interval.high()))
            {
                canvas.line(
                    &[(low, middle), (high, middle)],
                    Pen { color, width: 2.0, dash: Dash::Solid },
                );
            }
            for value in sample.sorted() {
                match at(*value) {
                    Some(at) => canvas.dot((at, middle), 3.2, color),
                    None if value.is_infinite() => canvas.dot((never, middle), 3.2, color),
                    None => {}
                }
            }
            // The mean, or the median where there is none.
            if let Some(center) = sample.mean().or_else(|| sample.median()).and_then(at) {
                canvas.line(
                    &[(center, middle - 7.0), (center, middle + 7.0)],
                    Pen { color, width: 2.5, dash: Dash::Solid },
                );
            }
            let missing = sample.sorted().iter().filter(|value| value.is_infinite()).count();
            if missing > 0 {
                canvas.text(
                    (WIDTH - MARGIN, base + 13.0),
                    Anchor::End,
                    SMALL,
                    &format!("{missing} of {}", sample.len()),
                );
            }
        }
        canvas.finish()
    }

    /// The scale that spreads the values.
    pub(crate) fn scale(rows: &[Row]) -> Scale {
        super::chart::scale_for(rows.iter().flat_map(|row| row.values.iter().copied()), 20.0)
    }
}

/// A cell of a heat map: its values over seeds; +∞ is what never happened.
pub(crate) type Cell = Option<Sample>;

/// A heat map: a measure over two keys.
#[derive(Clone, Debug)]
pub(crate) struct Heat {
    pub(crate) title: String,
    /// What goes down.
    pub(crate) rows: (String, Vec<String>),
    /// What goes across.
    pub(crate) columns: (String, Vec<String>),
    /// Row by row.
    pub(crate) cells: Vec<Vec<Cell>>,
}

impl Heat {
    /// The picture: mean ± standard deviation in each cell, coloured by the mean.
    pub(crate) fn svg(&self) -> String {
        let level = |cell: &Cell| {
            cell.as_ref()
                .and_then(|sample| sample.mean().or_else(|| sample.median()))
                .filter(|value| value.is_finite())
        };
        let levels: Vec<f64> = self.cells.iter().flatten().filter_map(level).collect();
        let (low, high) =
            levels.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &level| {
                (low.min(level), high.max(level))
            });
        let left = MARGIN
            + 6.0
            + self.rows.1.iter().map(|name| text_width(name, TICK)).fold(0.0, f64::max);
        let count = self.columns.1.len().max(1) as f64;
        // Cells keep the width that their text needs: a wide map is as many units wide, and scrolls in the page.
        let widest = self
            .cells
            .iter()
            .flatten()
            .flat_map(texts)
            .map(|text| text_width(&text, TEXT))
            .fold(30.0, f64::max);
        let names = self.columns.1.iter().map(|name| text_width(name, TICK)).fold(0.0, f64::max);
        let wide = ((WIDTH - left - MARGIN) / count).max(widest + 8.0).max(names + 8.0).min(110.0);
        let tall = 38.0;
        let top = MARGIN + 2.0 * LINE + 4.0;
        let width = (left + wide * count + MARGIN).max(WIDTH);
        let mut canvas = Canvas::inline(
            width,
            top + tall * self.rows.1.len() as f64 + MARGIN,
            &self.title,
            PALETTE_SLOT,
        );
        canvas.text(
            (MARGIN, MARGIN + 0.7 * LINE),
            Anchor::Start,
            SMALL,
            &format!("{} ↓", self.rows.0),
        );
        canvas.text(
            (left + wide * count, MARGIN + 0.7 * LINE),
            Anchor::End,
            SMALL,
            &format!("{} →", self.columns.0),
        );
        for (column, name) in self.columns.1.iter().enumerate() {
            let at = left + (column as f64 + 0.5) * wide;
            canvas.text((at, top - 6.0), Anchor::Middle, SMALL, name);
        }
        for (row, (name, cells)) in self.rows.1.iter().zip(&self.cells).enumerate() {
            let y = top + row as f64 * tall;
            canvas.text((left - 6.0, y + tall / 2.0 + 4.0), Anchor::End, SMALL, name);
            for (column, cell) in cells.iter().enumerate() {
                let x = left + column as f64 * wide;
                // Up to 60 %: the text stays readable on the darkest.
                let share = level(cell)
                    .map(|level| if high > low { (level - low) / (high - low) } else { 0.5 });
                let fill = share.map_or_else(
                    || "fill:none;stroke:var(--grid)".to_owned(),
                    |share| {
                        format!(
                            "fill:color-mix(in srgb,var(--heat) {:.0}%,var(--card))",
                            8.0 + 52.0 * share
                        )
                    },
                );
                canvas.cell((x + 1.0, y + 1.0), (wide - 2.0, tall - 2.0), &fill);
                let [first, second] = texts(cell);
                let middle = x + wide / 2.0;
                canvas.text((middle, y + tall / 2.0 - 2.0), Anchor::Middle, INK, &first);
                canvas.text((middle, y + tall / 2.0 + 12.0), Anchor::Middle, SMALL, &second);
            }
        }
        canvas.finish()
    }
}

/// The two lines of a cell.
fn texts(cell: &Cell) -> [String; 2] {
    let Some(sample) = cell.as_ref().filter(|sample| !sample.is_empty()) else {
        return ["–".to_owned(), String::new()];
    };
    match sample.mean() {
        Some(mean) => [
            shown(mean),
            sample
                .deviation()
                .map_or_else(String::new, |deviation| format!("± {}", shown(deviation))),
        ],
        None => {
            let never = sample.sorted().iter().filter(|value| value.is_infinite()).count();
            let median = sample.median().unwrap_or(f64::NAN);
            let first = if median.is_infinite() {
                "never".to_owned()
            } else {
                format!("~{}", shown(median))
            };
            [first, format!("{never}/{} never", sample.len())]
        }
    }
}
