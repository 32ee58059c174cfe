//! From a layout to SVG.

use super::{
    Dash, Figure, Series, Side,
    layout::{self, Entry, Frame, Key, Layout, Placed},
    ruler::{Label, Ruler},
    svg::{Anchor, Canvas, Pen, Type},
    trace,
};

/// Okabe and Ito's colours without yellow, which white swallows.
const COLORS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444"];
/// The same, dark enough for text.
const TEXT_COLORS: [&str; 7] =
    ["#005a8f", "#a34700", "#00715a", "#96487a", "#8a5f00", "#1f6d99", "#24292f"];

const INK: &str = "#24292f";
const MUTED: &str = "#57606a";
const SPINE: &str = "#6e7781";
const GRID: &str = "#e7eaee";

const TICK_TYPE: Type = Type { color: INK, size: layout::TICK, bold: false };
const TEXT_TYPE: Type = Type { color: INK, size: layout::TEXT, bold: false };
const GRID_PEN: Pen = Pen { color: GRID, width: 1.0, dash: Dash::Solid };
const SPINE_PEN: Pen = Pen { color: SPINE, width: 1.0, dash: Dash::Solid };
const REFERENCE_PEN: Pen = Pen { color: MUTED, width: 1.2, dash: Dash::Dotted };

/// Room around the frame in which curves are still drawn, for the width of their lines.
const OVERHANG: f64 = 2.0;

pub(super) fn figure(figure: &Figure) -> String {
    let layout = Layout::new(figure);
    let mut canvas = Canvas::new(layout::WIDTH, layout.height, &figure.title);
    canvas.card(layout::WIDTH, layout.height.round(), "#ffffff", "#d0d7de");
    for (y, text) in &layout.title {
        let style = Type { color: INK, size: layout::TITLE, bold: true };
        canvas.text((layout::MARGIN, *y), Anchor::Start, style, text);
    }
    for (y, text) in &layout.subtitle {
        let style = Type { color: MUTED, size: layout::SUBTITLE, bold: false };
        canvas.text((layout::MARGIN, *y), Anchor::Start, style, text);
    }
    for placed in &layout.panels {
        panel(&mut canvas, placed);
    }
    canvas.finish()
}

fn panel(canvas: &mut Canvas, placed: &Placed<'_>) {
    let frame = &placed.frame;
    grid(canvas, placed);
    for entry in &placed.legend {
        legend_entry(canvas, entry);
    }
    for mark in &placed.marks {
        let ends = [(mark.x, frame.top), (mark.x, frame.bottom())];
        canvas.line(&ends, mark_pen(mark.color));
    }
    axes(canvas, placed);
    if !placed.has_data {
        let centre = (frame.x(0.5), frame.y(0.5));
        canvas.text(centre, Anchor::Middle, Type { color: MUTED, ..TEXT_TYPE }, "no data");
        return;
    }
    canvas.open_window(
        frame.left - OVERHANG,
        frame.top - OVERHANG,
        frame.width + 2.0 * OVERHANG,
        frame.height + 2.0 * OVERHANG,
    );
    for reference in &placed.panel.references {
        if let Some(at) = placed.ruler(reference.side).at(reference.y) {
            let y = frame.y(at);
            canvas.line(&[(frame.left, y), (frame.right(), y)], REFERENCE_PEN);
        }
    }
    for series in &placed.panel.series {
        let ruler = placed.ruler(series.side);
        for line in trace::lines(&series.points, &placed.x, ruler, frame) {
            canvas.line(&line, curve_pen(series.color, series.dash));
        }
    }
    canvas.close();
}

fn curve_pen(color: usize, dash: Dash) -> Pen {
    Pen { color: COLORS[color % COLORS.len()], width: 2.0, dash }
}

fn mark_pen(color: usize) -> Pen {
    Pen { color: COLORS[color % COLORS.len()], width: 1.2, dash: Dash::Dashed }
}

fn grid(canvas: &mut Canvas, placed: &Placed<'_>) {
    let frame = &placed.frame;
    for tick in &placed.left.ticks {
        let y = frame.y(tick.at);
        canvas.line(&[(frame.left, y), (frame.right(), y)], GRID_PEN);
    }
    for tick in &placed.x.ticks {
        let x = frame.x(tick.at);
        canvas.line(&[(x, frame.top), (x, frame.bottom())], GRID_PEN);
    }
}

fn legend_entry(canvas: &mut Canvas, entry: &Entry) {
    let middle = entry.y - 0.35 * layout::TEXT;
    let (start, end) = (entry.x, entry.x + entry.key.width());
    match entry.key {
        Key::Curve { color, dash } => {
            canvas.line(&[(start, middle), (end, middle)], curve_pen(color, dash));
        }
        Key::Reference => canvas.line(&[(start, middle), (end, middle)], REFERENCE_PEN),
        Key::Mark { color } => {
            let x = (start + end) / 2.0;
            canvas.line(&[(x, middle - 8.0), (x, middle + 8.0)], mark_pen(color));
        }
    }
    canvas.text((end + layout::SAMPLE_GAP, entry.y), Anchor::Start, TEXT_TYPE, &entry.text);
}

fn axes(canvas: &mut Canvas, placed: &Placed<'_>) {
    let frame = &placed.frame;
    canvas.line(&[(frame.left, frame.bottom()), (frame.right(), frame.bottom())], SPINE_PEN);
    for (places, length) in [
        (placed.x.ticks.iter().map(|tick| tick.at).collect(), layout::TICK_LENGTH),
        (placed.x.minor.clone(), 0.5 * layout::TICK_LENGTH),
    ] as [(Vec<f64>, f64); 2]
    {
        for at in places {
            let x = frame.x(at);
            canvas.line(&[(x, frame.bottom()), (x, frame.bottom() + length)], SPINE_PEN);
        }
    }
    if placed.x_labelled {
        for tick in &placed.x.ticks {
            let below = (frame.x(tick.at), frame.bottom() + layout::TICK_LENGTH + 13.0);
            tick_label(canvas, below, Anchor::Middle, &tick.label);
        }
        let below = (frame.x(0.5), frame.bottom() + 38.0);
        canvas.text(below, Anchor::Middle, TEXT_TYPE, &placed.panel.x.label);
    }
    let center = frame.y(0.5);
    y_axis(canvas, frame, &placed.left, Side::Left);
    let style = axis_type(placed, Side::Left);
    canvas.upright((layout::MARGIN + 11.0, center), style, &placed.panel.y_left.label);
    if let (Some(ruler), Some(axis)) = (&placed.right, &placed.panel.y_right) {
        y_axis(canvas, frame, ruler, Side::Right);
        let style = axis_type(placed, Side::Right);
        canvas.upright((layout::WIDTH - layout::MARGIN + 2.0, center), style, &axis.label);
    }
}

fn y_axis(canvas: &mut Canvas, frame: &Frame, ruler: &Ruler, side: Side) {
    let (x, outwards, anchor) = match side {
        Side::Left => (frame.left, -1.0, Anchor::End),
        Side::Right => (frame.right(), 1.0, Anchor::Start),
    };
    canvas.line(&[(x, frame.top), (x, frame.bottom())], SPINE_PEN);
    for at in &ruler.minor {
        let y = frame.y(*at);
        canvas.line(&[(x, y), (x + outwards * 0.5 * layout::TICK_LENGTH, y)], SPINE_PEN);
    }
    for tick in &ruler.ticks {
        let y = frame.y(tick.at);
        canvas.line(&[(x, y), (x + outwards * layout::TICK_LENGTH, y)], SPINE_PEN);
        let beside = (x + outwards * (layout::TICK_LENGTH + 4.0), y + 0.35 * layout::TICK);
        tick_label(canvas, beside, anchor, &tick.label);
    }
}

fn tick_label(canvas: &mut Canvas, point: (f64, f64), anchor: Anchor, label: &Label) {
    match label {
        Label::Plain(text) => canvas.text(point, anchor, TICK_TYPE, text),
        Label::Power { factor, exponent } => {
            canvas.power(point, anchor, TICK_TYPE, (factor, *exponent));
        }
    }
}

/// The type of a y axis' label: where there are two axes, one that measures curves of a single
/// colour has that colour.
fn axis_type(placed: &Placed<'_>, side: Side) -> Type {
    let on_side = |series: &&Series| series.side == side;
    let mut colors = placed.panel.series.iter().filter(on_side).map(|series| series.color);
    let first = colors.next();
    match first {
        Some(color) if placed.right.is_some() && colors.all(|other| other == color) => {
            Type { color: TEXT_COLORS[color % TEXT_COLORS.len()], ..TEXT_TYPE }
        }
        _ => TEXT_TYPE,
    }
}
