//! Which plots a report has: each where its data are, and nowhere else.

use super::{
    chart::{Curve, Curves, Plot, Point, scale_for},
    curve::{last_step, mean_curve, thinned},
    outcome::{Better, Outcome},
    setting::{Setting, groups, number_in},
    strip::{Cell, Heat, Row, Strip},
    table::Table,
};
use crate::{
    plot::{Axis, Dash, Scale},
    stats::{Interval, Sample},
};

/// Curves of one plot; more go to another.
const TOGETHER: usize = 7;
/// Plots of matrices of one setting, each of up to seven.
const MATRIX_PLOTS: usize = 4;
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

fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '=') {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
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

/// The values of a key over the settings, sorted as numbers where they are.
fn values_of(key: &str, members: &[&Setting<'_>]) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    for value in members.iter().filter_map(|setting| setting.value(key)) {
        if !values.iter().any(|known| known == value) {
            values.push(value.to_owned());
        }
    }
    if let Some(numbers) = values.iter().map(|value| number_in(value)).collect::<Option<Vec<_>>>() {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&i, &j| {
            numbers[i].0.cmp(&numbers[j].0).then(numbers[i].1.total_cmp(&numbers[j].1))
        });
        values = order.into_iter().map(|index| values[index].clone()).collect();
    }
    values
}

/// The swept keys of a group with more than one value.
fn swept_keys(members: &[&Setting<'_>]) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for (key, _) in members.iter().flat_map(|setting| &setting.swept) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys.retain(|key| values_of(key, members).len() > 1);
    keys
}

/// The settings, by the values of all their swept keys but these.
fn by_others<'s, 'a>(
    members: &[&'s Setting<'a>],
    but: &[&str],
) -> Vec<(String, Vec<&'s Setting<'a>>)> {
    let mut parts: Vec<(String, Vec<&Setting<'_>>)> = Vec::new();
    for setting in members {
        let others = setting.swept.iter().filter(|(key, _)| !but.contains(&key.as_str()));
        let others: Vec<_> = others.map(|(key, value)| format!("{key} {value}")).collect();
        let others = others.join(", ");
        match parts.iter_mut().find(|(name, _)| *name == others) {
            Some((_, part)) => part.push(setting),
            None => parts.push((others, vec![setting])),
        }
    }
    parts
}

fn heat_maps(settings: &[Setting<'_>], metric: &Outcome) -> Vec<Plot> {
    let mut plots = Vec::new();
    for (group, members) in groups(settings) {
        let keys = swept_keys(&members);
        let Some(down) = keys.iter().find(|key| *key == "lr").or(keys.first()) else { continue };
        let Some(across) = keys.iter().find(|key| *key != down) else { continue };
        for (others, part) in by_others(&members, &[down, across]) {
            let (rows, columns) = (values_of(down, &part), values_of(across, &part));
            // A grid, not the scattered points of random draws.
            if rows.len() < 2 || columns.len() < 2 || 2 * part.len() < rows.len() * columns.len() {
                continue;
            }
            let mut data = Table::new([down, across, "n", "mean", "std", "median"]);
            let cell = |row: &String, column: &String| -> Cell {
                let of = |setting: &&&Setting<'_>| {
                    setting.value(down) == Some(row) && setting.value(across) == Some(column)
                };
                part.iter().find(of).map(|setting| Sample::of(&metric.numbers(setting)))
            };
            let cells: Vec<Vec<Cell>> = rows
                .iter()
                .map(|row| columns.iter().map(|column| cell(row, column)).collect())
                .collect();
            for (row, cells) in rows.iter().zip(&cells) {
                for (column, sample) in columns.iter().zip(cells) {
                    let Some(sample) = sample else { continue };
                    let numbers = [sample.mean(), sample.deviation(), sample.median()].map(exact);
                    data.rows.push(
                        [
                            vec![row.clone(), column.clone(), sample.len().to_string()],
                            numbers.to_vec(),
                        ]
                        .concat(),
                    );
                }
            }
            let place =
                if others.is_empty() { group.to_owned() } else { format!("{group}, {others}") };
            let title = format!("{place}: {}", metric.title);
            let heat = Heat {
                title: title.clone(),
                rows: (down.clone(), rows),
                columns: (across.clone(), columns),
                cells,
            };
            plots.push(Plot {
                id: slug(&format!("heat {place}")),
                title,
                note: String::new(),
                svg: heat.svg(),
                data,
            });
        }
    }
    plots
}

fn sensitivity(settings: &[Setting<'_>], metric: &Outcome) -> Vec<Plot> {
    let mut plots = Vec::new();
    for (group, members) in groups(settings) {
        for key in swept_keys(&members) {
            let mut curves = Vec::new();
            let mut data =
                Table::new(["series", &key, "n", "never", "mean", "low", "high", "median"]);
            for (others, part) in by_others(&members, &[&key]) {
                let mut points = Vec::new();
                for value in values_of(&key, &part) {
                    let Some((_, x)) = number_in(&value).filter(|(_, x)| x.is_finite()) else {
                        continue;
                    };
                    let of = |setting: &&&Setting<'_>| setting.value(&key) == Some(&value);
                    let Some(setting) = part.iter().find(of) else { continue };
                    let sample = Sample::of(&metric.numbers(setting));
                    let never = sample.sorted().iter().filter(|value| value.is_infinite()).count();
                    let interval = sample.interval();
                    let numbers = [
                        sample.mean(),
                        interval.map(Interval::low),
                        interval.map(Interval::high),
                        sample.median(),
                    ];
                    let counts =
                        vec![others.clone(), value, sample.len().to_string(), never.to_string()];
                    data.rows.push([counts, numbers.map(exact).to_vec()].concat());
                    match (sample.mean(), interval, sample.median()) {
                        (Some(y), Some(around), _) => {
                            points.push(Point { x, y, low: around.low(), high: around.high() })
                        }
                        (Some(y), None, _) => points.push(Point::bare(x, y)),
                        (None, _, Some(y)) if y.is_finite() => points.push(Point::bare(x, y)),
                        _ => {}
                    }
                }
                if points.len() > 1 {
                    curves.push(Curve {
                        label: others,
                        color: curves.len(),
                        dash: Dash::Solid,
                        bars: true,
                        points,
                    });
                }
            }
            let xs = curves.iter().flat_map(|curve| &curve.points).map(|point| point.x);
            let x = Axis::new(&key, scale_for(xs, 8.0));
            for (index, curves) in curves.chunks(TOGETHER).enumerate() {
                let title = format!("{group}: sensitivity to {key}{}", part_of(index));
                let figure = Curves {
                    title: title.clone(),
                    x: x.clone(),
                    y: Axis::new(&metric.title, Scale::Linear),
                    curves: curves.to_vec(),
                };
                let id = slug(&format!("sensitivity {group} {key}"));
                plots.push(Plot {
                    id,
                    title,
                    note: String::new(),
                    svg: figure.svg(),
                    data: data.clone(),
                });
            }
        }
    }
    plots
}

fn part_of(index: usize) -> String {
    if index == 0 { String::new() } else { format!(", part {}", index + 1) }
}

/// The columns that are learning curves: `validation/loss` with `train/loss`, and what has no such pair.
fn learning_columns(settings: &[Setting<'_>]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let rows = settings.iter().flat_map(|setting| &setting.runs).filter_map(|run| run.rows.last());
    for (name, _) in rows.flat_map(|row| &row.scalars) {
        let set = name.split('/').next().unwrap_or_default();
        if name.contains('/')
            && matches!(set, "validation" | "train" | "test")
            && !columns.contains(name)
        {
            columns.push(name.clone());
        }
    }
    let validated = columns.clone();
    columns.retain(|name| {
        name.strip_prefix("train/")
            .is_none_or(|rest| !validated.contains(&format!("validation/{rest}")))
    });
    columns
}

fn learning_curves(settings: &[Setting<'_>]) -> Vec<Plot> {
    let mut plots = Vec::new();
    for column in learning_columns(settings) {
        for (group, members) in groups(settings) {
            for (index, part) in members.chunks(TOGETHER).enumerate() {
                plots.extend(learning_plot(&column, group, part, index));
            }
        }
    }
    plots
}

fn learning_plot(
    column: &str,
    group: &str,
    members: &[&Setting<'_>],
    index: usize,
) -> Option<Plot> {
    let share = column.ends_with("accuracy");
    let mut curves = Vec::new();
    let mut data = Table::new(["setting", "column", "step", "n", "mean", "low", "high"]);
    let train = column.strip_prefix("validation/").map(|rest| format!("train/{rest}"));
    for (color, setting) in members.iter().enumerate() {
        for (column, dash) in std::iter::once((column, Dash::Solid))
            .chain(train.as_deref().map(|name| (name, Dash::Dashed)))
        {
            let mut points = mean_curve(&setting.runs, column);
            if share {
                for at in &mut points {
                    (at.point.low, at.point.high) = (at.point.low.max(0.0), at.point.high.min(1.0));
                }
            }
            for at in &points {
                let numbers =
                    [at.point.y, at.point.low, at.point.high].map(|value| exact(Some(value)));
                let head = vec![
                    setting.label.clone(),
                    column.to_owned(),
                    at.point.x.to_string(),
                    at.count.to_string(),
                ];
                data.rows.push([head, numbers.to_vec()].concat());
            }
            let solid = dash == Dash::Solid;
            let label = if solid { setting.short().to_owned() } else { String::new() };
            let bare = |at: Point| if solid { at } else { Point::bare(at.x, at.y) };
            let points = points.into_iter().map(|at| bare(at.point)).collect();
            curves.push(Curve { label, color, dash, bars: false, points });
        }
    }
    let title = format!("{group}: {}{}", column.replace('/', " "), part_of(index));
    let losses = curves.iter().flat_map(|curve| &curve.points).map(|point| point.y);
    let y = match share {
        true => Axis { range: Some((0.0, 1.0)), ..Axis::new(column, Scale::Linear) },
        false => Axis::new(column, scale_for(losses, LONG)),
    };
    let figure = Curves { title: title.clone(), x: step_axis(&curves), y, curves };
    let id = slug(&format!("curve {column} {group}"));
    figure.has_data().then(|| Plot { id, title, note: String::new(), svg: figure.svg(), data })
}

fn step_axis(curves: &[Curve]) -> Axis {
    let steps = || curves.iter().flat_map(|curve| &curve.points).map(|point| point.x);
    Axis::new("step", scale_for(steps(), LONG))
}

/// The setting of a group that does best, its first one where nobody knows what is better.
fn best<'s, 'a>(members: &[&'s Setting<'a>], metric: &Outcome) -> Option<&'s Setting<'a>> {
    let level = |setting: &Setting<'_>| {
        let sample = Sample::of(&metric.numbers(setting));
        let level = sample.mean().or_else(|| sample.median()).unwrap_or(f64::INFINITY);
        match metric.better {
            Some(Better::Higher) => -level,
            Some(Better::Lower) => level,
            None => 0.0,
        }
    };
    // The first of equals.
    members.iter().rev().min_by(|a, b| level(a).total_cmp(&level(b))).copied()
}

/// The names of the matrices of a setting that have a column of this kind.
fn matrices(setting: &Setting<'_>, kind: &str) -> Vec<String> {
    let row = setting.runs.first().and_then(|run| run.rows.last());
    let names = row.into_iter().flat_map(|row| &row.scalars);
    let prefix = format!("{kind}/");
    names.filter_map(|(name, _)| name.strip_prefix(&prefix).map(str::to_owned)).collect()
}

fn constraints(settings: &[Setting<'_>], metric: &Outcome) -> Vec<Plot> {
    let mut plots = Vec::new();
    for (_, members) in groups(settings) {
        let constrained: Vec<_> =
            members.into_iter().filter(|setting| !matrices(setting, "lambda").is_empty()).collect();
        let Some(setting) = best(&constrained, metric) else { continue };
        for (index, names) in
            matrices(setting, "lambda").chunks(TOGETHER).take(MATRIX_PLOTS).enumerate()
        {
            let part = part_of(index);
            plots.extend(matrix_plot(
                setting,
                names,
                &["r", "kappa"],
                format!("{}: R and κ{part}", setting.label),
            ));
            plots.extend(matrix_plot(
                setting,
                names,
                &["lambda"],
                format!("{}: λ{part}", setting.label),
            ));
        }
    }
    plots
}

fn matrix_plot(
    setting: &Setting<'_>,
    names: &[String],
    kinds: &[&str],
    title: String,
) -> Option<Plot> {
    let mut curves = Vec::new();
    let mut data = Table::new(["matrix", "quantity", "step", "n", "mean"]);
    for (color, name) in names.iter().enumerate() {
        for kind in kinds {
            let points = thinned(mean_curve(&setting.runs, &format!("{kind}/{name}")));
            for at in &points {
                let head = [
                    name.clone(),
                    (*kind).to_owned(),
                    at.point.x.to_string(),
                    at.count.to_string(),
                ];
                data.rows.push([head.to_vec(), vec![exact(Some(at.point.y))]].concat());
            }
            let points = points.into_iter().map(|at| Point::bare(at.point.x, at.point.y)).collect();
            let first = *kind == kinds[0];
            let label = if first { name.clone() } else { String::new() };
            let dash = if first { Dash::Solid } else { Dash::Dashed };
            curves.push(Curve { label, color, dash, bars: false, points });
        }
    }
    let values = curves.iter().flat_map(|curve| &curve.points).map(|point| point.y);
    let (name, scale) = match kinds.len() {
        1 => ("λ", Scale::Linear),
        _ => ("R, κ", scale_for(values, 8.0)),
    };
    let figure =
        Curves { title: title.clone(), x: step_axis(&curves), y: Axis::new(name, scale), curves };
    let id = slug(&format!("{} {}", kinds.join("-"), setting.label));
    figure.has_data().then(|| Plot { id, title, note: String::new(), svg: figure.svg(), data })
}

fn kappa_set(settings: &[Setting<'_>]) -> Vec<Plot> {
    let mut plots = Vec::new();
    for setting in settings {
        let mut rows: Vec<Row> = Vec::new();
        for (seed, facts) in
            setting.runs.iter().flat_map(|run| run.parameters.iter().map(|facts| (run.seed, facts)))
        {
            let _ = seed;
            let Some(constraint) = &facts.constraint else { continue };
            let at = constraint.kappa_set_at.map_or(f64::INFINITY, |step| step as f64);
            match rows.iter_mut().find(|row| row.label == facts.name) {
                Some(row) => row.values.push(at),
                None => rows.push(Row {
                    label: facts.name.clone(),
                    color: rows.len(),
                    values: vec![at],
                }),
            }
        }
        // Bounds that are there from the start have no step to show.
        if rows.iter().flat_map(|row| &row.values).any(|&step| step > 0.0) {
            let scale = Strip::scale(&rows);
            let title = format!("{}: κ set at step", setting.label);
            plots.push(strip_plot(
                slug(&format!("kappa-set {}", setting.label)),
                title,
                ("step", scale),
                rows,
                "step",
            ));
        }
    }
    plots
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
