//! Plots over the swept keys of a group: heat maps and sensitivity.

use super::{TOGETHER, exact, part_of, slug};
use crate::{
    plot::{Axis, Dash, Scale},
    report::{
        chart::{Curve, Curves, Plot, Point, scale_for},
        outcome::Outcome,
        setting::{Setting, groups, number_in},
        strip::{Cell, Heat},
        table::Table,
    },
    stats::{Interval, Sample},
};

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

pub(super) fn heat_maps(settings: &[Setting<'_>], metric: &Outcome) -> Vec<Plot> {
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

pub(super) fn sensitivity(settings: &[Setting<'_>], metric: &Outcome) -> Vec<Plot> {
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
