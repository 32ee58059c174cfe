use super::*;
use crate::{observe::Row, summary::first_learned};
use ruler::{Fit, Label, Ruler};

/// Tags with their nesting and every attribute's quotes; panics where the text is no XML.
fn tags(svg: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    let mut all = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>'), "{text}");
        for entity in text.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)));
        }
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let (body, closed) = tag.strip_suffix('/').map_or((tag, false), |body| (body, true));
        let name = body.split(' ').next().unwrap();
        let pieces: Vec<_> = body[name.len()..].split('"').collect();
        assert_eq!(pieces.len() % 2, 1, "{tag}");
        let names = pieces.iter().step_by(2).filter(|piece| !piece.is_empty());
        assert!(names.clone().all(|piece| piece.starts_with(' ') && piece.ends_with('=')), "{tag}");
        assert!(!pieces.iter().skip(1).step_by(2).any(|value| value.contains("NaN")), "{tag}");
        let mut sorted: Vec<_> = names.collect();
        let count = sorted.len();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), count, "{tag}");
        if !closed {
            open.push(name.to_owned());
        }
        all.push(body.to_owned());
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(rest.trim(), "");
    all
}

fn panel(scale: Scale, points: Vec<(f64, f64)>) -> Panel {
    Panel::new(Axis::new("x", Scale::Linear), Axis::new("y", scale))
        .with(Series::new("curve", 0, points))
}

fn svg(panel: Panel) -> String {
    let mut figure = Figure::new("t");
    figure.panels.push(panel);
    figure.to_svg()
}

/// The paths and dots of the curves: what is in the window.
fn curves(svg: &str) -> Vec<String> {
    let window = svg.split("overflow=\"hidden\">").nth(1).unwrap();
    tags(window.split("</svg>").next().unwrap())
}

fn labels(scale: Scale, low: f64, high: f64) -> Vec<String> {
    let axis = Axis { range: Some((low, high)), ..Axis::new("", scale) };
    let ruler = Ruler::new(&axis, None, Fit::Tight, 5);
    assert!(ruler.ticks.iter().all(|tick| (-1e-9..=1.0 + 1e-9).contains(&tick.at)));
    let text = |label: &Label| match label {
        Label::Plain(text) => text.clone(),
        Label::Power { factor, exponent } => format!("{factor}10^{exponent}"),
    };
    ruler.ticks.iter().map(|tick| text(&tick.label)).collect()
}

#[test]
fn ticks_are_round_numbers() {
    let linear = |low, high| labels(Scale::Linear, low, high);
    assert_eq!(linear(0.0, 100.0), ["0", "20", "40", "60", "80", "100"]);
    assert_eq!(linear(0.03, 0.97), ["0.2", "0.4", "0.6", "0.8"]);
    assert_eq!(linear(-1.0, 1.0), ["\u{2212}1.0", "\u{2212}0.5", "0", "0.5", "1.0"]);
    assert_eq!(linear(0.0, 200_000.0), ["0", "50k", "100k", "150k", "200k"]);
    assert_eq!(linear(0.0, 3e6), ["0", "1M", "2M", "3M"]);
    assert_eq!(linear(0.0, 1.5e6), ["0", "0.5M", "1.0M", "1.5M"]);
    assert_eq!(linear(0.0, 4e-5), ["0", "1·10^-5", "2·10^-5", "3·10^-5", "4·10^-5"]);
    assert_eq!(linear(0.0, 4e12), ["0", "1·10^12", "2·10^12", "3·10^12", "4·10^12"]);
    assert_eq!(linear(1e6, 1e6 + 2.0).len(), 5);
}

#[test]
fn ticks_of_a_logarithmic_axis_are_decades_or_what_fits_between() {
    let log = |low, high| labels(Scale::Log, low, high);
    assert_eq!(log(8.0, 8000.0), ["10", "100", "1000"]);
    assert_eq!(log(1.0, 1e6), ["1", "10", "100", "1k", "10k", "100k", "1M"]);
    assert_eq!(log(0.001, 10.0), ["0.001", "0.01", "0.1", "1", "10"]);
    assert_eq!(log(1e-7, 1e-4), ["10^-7", "10^-6", "10^-5", "10^-4"]);
    assert_eq!(log(3.0, 150.0), ["5", "10", "20", "50", "100"]);
    assert_eq!(log(3.0, 4.0), ["3.0", "3.2", "3.4", "3.6", "3.8", "4.0"]);
    assert!((3..=8).contains(&log(1e-300, 1e300).len()));
    assert!((3..=8).contains(&log(5e-324, 1e-300).len()));
    let ruler = Ruler::new(&Axis::new("", Scale::Log), Some((1.0, 1000.0)), Fit::Tight, 5);
    assert_eq!(ruler.minor.len(), 24);
    assert!((ruler.at(10.0).unwrap() - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(ruler.at(0.0), None);
    assert_eq!(ruler.at(f64::NAN), None);
}

#[test]
fn every_range_gets_a_few_ticks() {
    for scale in [Scale::Linear, Scale::Log] {
        for exponent in -300..300 {
            for factor in [1.0, 1.7, 2.5, 9.99] {
                let low = 3.3 * 10.0_f64.powi(exponent);
                let high = low * (1.0 + factor);
                if high <= 1e300 {
                    let count = labels(scale, low, high).len();
                    assert!((2..=10).contains(&count), "{scale:?} {low:e}..{high:e}: {count}");
                }
            }
        }
    }
}

#[test]
fn hostile_input_is_still_a_picture() {
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e308, 5e-324, 1.0];
    for scale in [Scale::Linear, Scale::Log] {
        tags(&svg(panel(scale, vec![])));
        for a in values {
            tags(&svg(panel(scale, vec![(1.0, a)])));
            for b in values {
                let mut panel = panel(scale, vec![(a, b), (1.0, 1.0), (b, a)]);
                panel.y_left.range = Some((a, b));
                panel.references.push(Reference { y: a, label: "r".into(), side: Side::Left });
                panel.marks.push(Mark { x: b, label: "m".into(), color: usize::MAX });
                tags(&svg(panel));
            }
        }
    }
    let mut figure = Figure::new("<a & \"b\"> \u{0} \u{ffff}");
    figure.subtitle = "word ".repeat(100);
    let texts = tags(&figure.to_svg());
    assert!(texts.len() > 5, "a long subtitle is wrapped: {texts:?}");
    assert!(svg(panel(Scale::Log, vec![(0.0, -1.0)])).contains(">no data<"));
    assert!(!svg(panel(Scale::Linear, vec![(0.0, -1.0)])).contains(">no data<"));
}

#[test]
fn gaps_break_a_line_and_what_a_scale_cannot_show_does_not() {
    let points = |middle| vec![(0.0, 1.0), (1.0, 2.0), (2.0, middle), (3.0, 4.0), (4.0, 9.0)];
    assert_eq!(curves(&svg(panel(Scale::Log, points(3.0)))).len(), 1);
    assert_eq!(curves(&svg(panel(Scale::Log, points(f64::NAN)))).len(), 2);
    let dropped = curves(&svg(panel(Scale::Log, points(0.0))));
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].matches('L').count(), 3, "{dropped:?}");
    let lonely = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (3.0, f64::NAN), (4.0, 1.0)];
    assert!(curves(&svg(panel(Scale::Linear, lonely))).iter().all(|c| c.starts_with("circle")));
}

#[test]
fn a_long_series_is_thinned_to_what_is_seen() {
    let mut points: Vec<_> = (0..1_000_000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
    points[500_001].1 = 100.0;
    let long = svg(panel(Scale::Linear, points));
    assert!(long.len() < 150_000, "{}", long.len());
    // The one high point reaches the top of the frame (y = 100 at the first tick from above).
    let path = &curves(&long)[0];
    let lowest = path
        .split(['M', 'L', '"'])
        .filter_map(|point| point.split_once(' ')?.1.parse::<f64>().ok())
        .fold(f64::INFINITY, f64::min);
    let frame_top = long.split("overflow").next().unwrap().rsplit("y=\"").next().unwrap();
    let frame_top: f64 = frame_top.split('"').next().unwrap().parse().unwrap();
    // The window begins two units above the frame.
    assert!((lowest - frame_top - 2.0).abs() < 0.02, "{lowest} {frame_top}");
}

#[test]
fn the_same_figure_gives_the_same_bytes_and_equal_axes_share_their_range() {
    let mut figure = Figure::new("two");
    figure.panels.push(panel(Scale::Linear, vec![(0.0, 0.0), (10.0, 1.0)]));
    figure.panels.push(panel(Scale::Linear, vec![(5.0, 0.0), (20.0, 1.0)]));
    let svg = figure.to_svg();
    assert_eq!(svg, figure.clone().to_svg());
    // Numbers stand below the lower panel alone, and end at its 20.
    assert_eq!(svg.matches(">20<").count(), 1);
    assert_eq!(svg.matches(">x</text>").count(), 1);
    figure.panels[1].x.label = "other".to_owned();
    assert_eq!(figure.to_svg().matches(">x</text>").count(), 1);
    assert_eq!(figure.to_svg().matches(">10</text>").count(), 2);
}

#[test]
fn legends_stay_on_the_card_and_do_not_touch() {
    let mut panel = panel(Scale::Linear, vec![(0.0, 0.0), (10.0, 1.0)]);
    for index in 0..20 {
        panel.series.push(Series::new(format!("a rather long name {index}"), index, vec![]));
        panel.marks.push(Mark { x: 5.0, label: format!("mark {index}"), color: index });
    }
    let mut figure = Figure::new("t");
    figure.panels.push(panel);
    let layout = layout::Layout::new(&figure);
    let placed = &layout.panels[0];
    assert_eq!(placed.legend.len(), 41);
    for pair in placed.legend.windows(2) {
        let text = svg::text_width(&pair[0].text, layout::TEXT);
        let end = pair[0].x + pair[0].key.width() + layout::SAMPLE_GAP + text;
        assert!(end <= layout::WIDTH);
        let below = pair[1].y >= pair[0].y + layout::LEGEND_LINE;
        assert!(below || pair[1].x > end);
    }
    let last = placed.legend.last().unwrap();
    assert!(last.y < placed.frame.top, "the legend ends above the data");
}

#[test]
fn the_grokking_figure_marks_when_each_set_is_learned() {
    let name = "layers.0.attn.in_proj_weight";
    let row = |step, train, validation, kappa: Option<f64>| {
        Row::new(step)
            .with("train/accuracy", train)
            .with("validation/accuracy", validation)
            .with(format!("r/{name}"), 0.5)
            .with(format!("kappa/{name}"), kappa)
            .with(format!("lambda/{name}"), 0.0)
    };
    let rows = [
        row(0, 0.01, 0.01, None),
        row(8, 0.5, 0.01, None),
        row(80, 0.99, 0.2, Some(0.4)),
        row(800, 0.98, 0.9899, Some(0.4)),
        row(8000, 1.0, 0.995, Some(0.4)),
    ];
    let figure = grokking::figure(&rows, Some(name)).unwrap();
    let marks: Vec<_> = figure.panels[0].marks.iter().map(|mark| mark.x).collect();
    assert_eq!(marks, [80.0, 8000.0]);
    assert_eq!(figure.panels[0].series[1].points[2], (80.0, 20.0));
    assert!(figure.panels[1].series[1].points[1].1.is_nan());
    let text = figure.to_svg();
    tags(&text);
    assert!(text.contains(">λ (right axis)<") && text.contains(">multiplier λ<"));
    assert!(text.contains(">validation 99 %: step 8000<"));
    assert_eq!(grokking::figure(&rows, None).unwrap().panels.len(), 1);
    let error = grokking::figure(&rows, Some("head.weight")).unwrap_err();
    assert!(error.to_string().contains("kappa/head.weight"), "{error}");
    assert!(grokking::figure(&[], None).is_err());
    assert_eq!(first_learned(&rows[..2], "train/accuracy"), None);
}
