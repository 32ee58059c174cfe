//! Learning curves with bands.

use super::{LONG, TOGETHER, exact, part_of, slug, step_axis};
use crate::{
    plot::{Axis, Dash, Scale},
    report::{
        chart::{Curve, Curves, Plot, Point, scale_for},
        curve::mean_curve,
        setting::{Setting, groups},
        table::Table,
    },
};

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

pub(super) fn learning_curves(settings: &[Setting<'_>]) -> Vec<Plot> {
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
