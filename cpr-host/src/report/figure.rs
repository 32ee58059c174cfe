//! Which plots a report has: each where its data are, and nowhere else.

mod learning;
mod matrices;
mod swept;

use self::{
    learning::learning_curves,
    matrices::{constraints, kappa_set},
    swept::{heat_maps, sensitivity},
};
use super::{
    chart::{Curve, Plot, scale_for},
    curve::last_step,
    outcome::Outcome,
    setting::{Setting, groups},
    strip::{Row, Strip},
    table::Table,
};
use crate::{
    plot::{Axis, Scale},
    stats::Sample,
};

/// Curves of one plot; more go to another.
const TOGETHER: usize = 7;
/// Step axes are logarithmic where the last step is this many times the first.
const LONG: f64 = 50.0;

/// Plots under one heading.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What all of its plots have in common.
    pub(crate) note: String,
    pub(crate) plots: Vec<Plot>,
}

/// All plots of these settings about this outcome.
pub(crate) fn sections(
    settings: &[Setting<'_>],
    metric: &Outcome,
    outcomes: &[Outcome],
) -> Vec<Section> {
    let seeds = "Bands and bars are 95 % t-intervals over seeds.";
    let section =
        |id, title, note: &str, plots| Section { id, title, note: note.to_owned(), plots };
    let all = vec![
        section(
            "overview",
            "Overview",
            "A dot is a seed, the thick mark the mean (the median where a seed never got there), the line its 95 % t-interval.",
            overview(settings, metric, outcomes),
        ),
        section(
            "heat",
            "Heat maps",
            "Mean ± standard deviation over seeds; ~ is a median, where some seeds never got there.",
            heat_maps(settings, metric),
        ),
        section("sensitivity", "Sensitivity", seeds, sensitivity(settings, metric)),
        section(
            "curves",
            "Learning curves",
            &format!(
                "{seeds} Solid: validation, dashed: training. A run that has ended keeps its last value."
            ),
            learning_curves(settings),
        ),
        section(
            "constraints",
            "R, κ and λ of each matrix",
            "Means over seeds, of the setting of each group that does best. Left R (solid) and κ (dashed), right λ.",
            constraints(settings, metric),
        ),
        section(
            "kappa",
            "Where κ was set",
            "The step at which each matrix got its bound; a dot is a seed.",
            kappa_set(settings),
        ),
        section(
            "sparsity",
            "Sparsity",
            "Share of the weights that are exactly 0 at the end.",
            sparsity(settings),
        ),
        section(
            "overhead",
            "Time",
            "Milliseconds a step by the clock, evaluations and files included: the median pace of each run. Runs side by side share the machine.",
            overhead(settings),
        ),
    ];
    all.into_iter().filter(|section| !section.plots.is_empty()).collect()
}

/// A number for people: four digits, whole numbers without a point.
pub(crate) fn shown(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "never".to_owned() } else { "-never".to_owned() };
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    if value.fract() == 0.0 || size >= 1000.0 {
        return format!("{value:.0}");
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 8) as usize;
    format!("{value:.decimals$}")
}

/// A number for programs, to six digits; empty where it is not defined.
pub(crate) fn exact(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.is_infinite() => "inf".to_owned(),
        Some(value) => {
            let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
            rounded.to_string()
        }
    }
}

/// The longest name of a plot: with what stands before and after it, no system finds its file's name too long.
const LONGEST_SLUG: usize = 100;

/// A name made of a text; those of long texts may be alike ([`name_apart`]).
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '=') {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    // All of it is ASCII.
    slug.truncate(LONGEST_SLUG);
    slug.trim_matches('-').to_owned()
}

/// Numbers names of plots that came out the same.
pub(crate) fn name_apart(sections: &mut [Section]) {
    let mut seen: Vec<String> = Vec::new();
    for plot in sections.iter_mut().flat_map(|section| &mut section.plots) {
        let base = plot.id.clone();
        let mut count = 1;
        while seen.contains(&plot.id) {
            count += 1;
            plot.id = format!("{base}-{count}");
        }
        seen.push(plot.id.clone());
    }
}

fn strip_plot(
    id: String,
    title: String,
    axis: (&str, Scale),
    rows: Vec<Row>,
    column: &str,
) -> Plot {
    let mut data = Table::new(["row", column]);
    for row in &rows {
        data.rows
            .extend(row.values.iter().map(|value| vec![row.label.clone(), exact(Some(*value))]));
    }
    let axis = Axis::new(axis.0, axis.1);
    let svg = Strip { title: title.clone(), axis, rows }.svg();
    Plot { id, title, note: String::new(), svg, data }
}

/// The metric, and beside it up to two more outcomes that are known to be better or worse.
fn overview(settings: &[Setting<'_>], metric: &Outcome, outcomes: &[Outcome]) -> Vec<Plot> {
    let others = outcomes.iter().filter(|other| other.key != metric.key && other.better.is_some());
    let judged = std::iter::once(metric).chain(others);
    judged.filter_map(|outcome| overview_of(settings, outcome)).take(3).collect()
}

fn overview_of(settings: &[Setting<'_>], outcome: &Outcome) -> Option<Plot> {
    let mut rows = Vec::new();
    for (color, (_, members)) in groups(settings).into_iter().enumerate() {
        let row = |setting: &&Setting<'_>| {
            let (label, values) = (setting.label.clone(), outcome.numbers(setting));
            Row { label, color, values }
        };
        rows.extend(members.iter().map(row).filter(|row| !row.values.is_empty()));
    }
    // Where nobody ever got there, there is nothing to see.
    if !rows.iter().flat_map(|row| &row.values).any(|value| value.is_finite()) {
        return None;
    }
    let scale = Strip::scale(&rows);
    let (id, axis) = (slug(&format!("overview {}", outcome.key)), (outcome.title.as_str(), scale));
    Some(strip_plot(id, outcome.title.clone(), axis, rows, &outcome.key))
}

fn part_of(index: usize) -> String {
    if index == 0 { String::new() } else { format!(", part {}", index + 1) }
}

fn step_axis(curves: &[Curve]) -> Axis {
    let steps = || curves.iter().flat_map(|curve| &curve.points).map(|point| point.x);
    Axis::new("step", scale_for(steps(), LONG))
}

/// A strip of one number a run, all settings in one plot; empty where no run has one above 0.
fn of_runs(
    settings: &[Setting<'_>],
    id: &str,
    title: &str,
    value: impl Fn(&super::source::RunData) -> Option<f64>,
) -> Vec<Plot> {
    let mut rows = Vec::new();
    for (color, (_, members)) in groups(settings).into_iter().enumerate() {
        for setting in members {
            let values: Vec<f64> = setting.runs.iter().filter_map(|run| value(run)).collect();
            if !values.is_empty() {
                rows.push(Row { label: setting.label.clone(), color, values });
            }
        }
    }
    if !rows.iter().flat_map(|row| &row.values).any(|&value| value > 0.0) {
        return Vec::new();
    }
    vec![strip_plot(id.to_owned(), title.to_owned(), (title, Scale::Linear), rows, id)]
}

fn sparsity(settings: &[Setting<'_>]) -> Vec<Plot> {
    of_runs(settings, "sparsity", "weights at 0 (%)", |run| {
        let (zeros, all) = run
            .parameters
            .iter()
            .fold((0, 0), |(zeros, all), facts| (zeros + facts.zeros, all + facts.len));
        (all > 0).then(|| 100.0 * zeros as f64 / all as f64)
    })
}

fn overhead(settings: &[Setting<'_>]) -> Vec<Plot> {
    of_runs(settings, "overhead", "milliseconds a step", |run| {
        let paces: Vec<f64> = run.timing.iter().filter_map(|row| row.get("steps_per_s")).collect();
        let pace = Sample::of(&paces).median().filter(|pace| *pace > 0.0);
        pace.filter(|_| last_step(run) > 0).map(|pace| 1e3 / pace)
    })
}
