//! Plots of single matrices: R, κ and λ over steps, and where κ was set.

use super::{TOGETHER, exact, part_of, slug, step_axis, strip_plot};
use crate::{
    plot::{Axis, Dash, Scale},
    report::{
        chart::{Curve, Curves, Plot, Point, scale_for},
        curve::{mean_curve, thinned},
        outcome::{Better, Outcome},
        setting::{Setting, groups},
        strip::{Row, Strip},
        table::Table,
    },
    stats::Sample,
};

/// Plots of matrices of one setting, each of up to seven.
const MATRIX_PLOTS: usize = 4;

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

pub(super) fn constraints(settings: &[Setting<'_>], metric: &Outcome) -> Vec<Plot> {
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

pub(super) fn kappa_set(settings: &[Setting<'_>]) -> Vec<Plot> {
    let mut plots = Vec::new();
    for setting in settings {
        let mut rows: Vec<Row> = Vec::new();
        for facts in setting.runs.iter().flat_map(|run| &run.parameters) {
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
