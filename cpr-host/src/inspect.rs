//! Every parameter of a checkpoint: shape, R, κ, λ, and when κ was set.

use std::{fmt::Write, path::Path};

use cpr_core::{AnyRegularizer, Constraint, DecodeError, L2, Report, Statistic, measure};

use crate::{
    checkpoint::{Checkpoint, CheckpointError, Element, Tensors},
    observe::Row,
    summary::number,
};

/// Values of a κ that its history tells, the last among them.
const TOLD: usize = 6;

/// Why a checkpoint could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It does not read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A constraint record does not decode.
    #[error("{path}: the constraint record of `{parameter}`: {source}")]
    Record {
        /// The file.
        path: String,
        /// The parameter.
        parameter: String,
        /// Why.
        source: DecodeError,
    },
}

/// What a checkpoint tells of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Elements.
    pub len: usize,
    /// Elements that are exactly 0.
    pub zeros: usize,
    /// Of its constraint, where it has one.
    pub constraint: Option<Report>,
}

/// The facts of a checkpoint's parameters, in its order.
///
/// # Errors
/// [`InspectError`].
pub fn facts(path: &Path, checkpoint: Checkpoint) -> Result<Vec<Facts>, InspectError> {
    let lines = lines(path, checkpoint.tensors)?;
    let facts = |Line { name, len, zeros, constraint, .. }: Line| Facts {
        name,
        len,
        zeros,
        constraint: constraint.map(|constraint| constraint.report()),
    };
    Ok(lines.into_iter().map(facts).collect())
}

/// One parameter.
struct Line {
    name: String,
    shape: String,
    len: usize,
    squares: f64,
    zeros: usize,
    constraint: Option<Constraint<AnyRegularizer>>,
}

/// The table of a checkpoint's parameters, after a line that says what it is of.
///
/// R, κ and λ are those of the constraint records, and so of the run's metrics and summary: R as the last step took it.
/// The norm, √Σθ², and `zeros`, weights that are exactly 0, are of the weights as stored.
///
/// # Errors
/// [`InspectError`].
pub fn table(path: &Path, checkpoint: Checkpoint) -> Result<String, InspectError> {
    let Checkpoint { meta, tensors } = checkpoint;
    let lines = lines(path, tensors)?;
    let mut text = format!("{} at step {}", meta.kind, meta.step);
    if let Some(optimizer) = meta.optimizer {
        let _ = write!(text, ", {}", optimizer.name);
    }
    if meta.non_finite.steps > 0 {
        let _ = write!(text, ", {} steps skipped", meta.non_finite.steps);
    }
    text.push_str("\n\n");
    let head = [
        "parameter",
        "shape",
        "norm",
        "zeros",
        "measure",
        "R",
        "kappa",
        "R/kappa",
        "lambda",
        "kappa set at",
        "active",
        "guarded",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(lines.iter().map(row));
    for (column, width) in widths(&rows).into_iter().enumerate() {
        for row in &mut rows {
            let pad = width - row[column].chars().count();
            let blanks = " ".repeat(pad);
            row[column] = if column < 2 || column == 4 {
                format!("{}{blanks}", row[column])
            } else {
                format!("{blanks}{}", row[column])
            };
        }
    }
    for row in rows {
        text.push_str(row.join("  ").trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// The history of every κ in a run's rows, a line a parameter: each value with the evaluation at which it was first
/// seen. Empty where no row has a κ.
#[must_use]
pub fn history(rows: &[Row]) -> String {
    let mut text = String::new();
    let names = rows.last().map_or(&[][..], |row| &row.scalars);
    let names: Vec<&str> =
        names.iter().filter_map(|(name, _)| name.strip_prefix("kappa/")).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    for name in names {
        let column = format!("kappa/{name}");
        let mut changes: Vec<(u64, f64)> = Vec::new();
        for row in rows {
            if let Some(kappa) = row.get(&column)
                && changes.last().is_none_or(|(_, last)| *last != kappa)
            {
                changes.push((row.step, kappa));
            }
        }
        let shown = |&(step, kappa): &(u64, f64)| format!("{} at step {step}", number(Some(kappa)));
        let count = changes.len();
        let told: Vec<String> = if count <= TOLD {
            changes.iter().map(shown).collect()
        } else {
            let (first, last) = (&changes[..TOLD - 1], &changes[count - 1]);
            let left = format!("… {} more …", count - TOLD);
            first.iter().map(shown).chain([left, shown(last)]).collect()
        };
        let told = if told.is_empty() { "not set yet".to_owned() } else { told.join(", ") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<width$}  {told}");
    }
    text
}

fn lines(path: &Path, mut tensors: Tensors) -> Result<Vec<Line>, InspectError> {
    let names: Vec<(String, Vec<usize>)> = tensors
        .parameters()
        .map(|(name, tensor)| (name.to_owned(), tensor.signature.shape.clone()))
        .collect();
    let mut lines = Vec::new();
    for (name, shape) in names {
        let constraint = constraint(path, &mut tensors, &name)?;
        lines.push(line(&mut tensors, name, &shape, constraint)?);
    }
    Ok(lines)
}

fn constraint(
    path: &Path,
    tensors: &mut Tensors,
    name: &str,
) -> Result<Option<Constraint<AnyRegularizer>>, InspectError> {
    if !tensors.contains_constraint(name) {
        return Ok(None);
    }
    let record = tensors.take_constraint(name)?;
    let decoded = Constraint::decode(&record).map_err(|source| InspectError::Record {
        path: path.display().to_string(),
        parameter: name.to_owned(),
        source,
    })?;
    Ok(Some(decoded))
}

fn line(
    tensors: &mut Tensors,
    name: String,
    shape: &[usize],
    constraint: Option<Constraint<AnyRegularizer>>,
) -> Result<Line, InspectError> {
    let signature = tensors.iter().find(|(key, _)| *key == name).map(|(_, t)| t.signature.clone());
    let single = signature.is_none_or(|signature| signature.dtype == <f32 as Element>::DTYPE);
    let values: Vec<f64> = if single {
        tensors.take_f32(&name, shape)?.into_iter().map(f64::from).collect()
    } else {
        tensors.take_f64(&name, shape)?
    };
    let squares = match measure(&L2, &values) {
        Statistic::Sum { total, .. } => total,
        Statistic::Moments { .. } => f64::NAN,
    };
    Ok(Line {
        name,
        shape: shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×"),
        len: values.len(),
        squares,
        zeros: values.iter().filter(|&&x| x == 0.0).count(),
        constraint,
    })
}

fn row(line: &Line) -> [String; 12] {
    let Line { name, shape, squares, zeros, constraint, .. } = line;
    let norm = number(Some(squares.sqrt()));
    let mut row = std::array::from_fn(|_| "-".to_owned());
    [row[0], row[1], row[2], row[3]] = [name.clone(), shape.clone(), norm, zeros.to_string()];
    if let Some(constraint) = constraint {
        let report = constraint.report();
        let measure = match constraint.rule().config().regularizer {
            AnyRegularizer::L2(_) => "l2".to_owned(),
            AnyRegularizer::L1(_) => "l1".to_owned(),
            AnyRegularizer::Std(_) => "std".to_owned(),
            AnyRegularizer::Huber(huber) => format!("huber={}", huber.delta()),
            AnyRegularizer::Lp(lp) => format!("lp={}", lp.p()),
            // A regularizer that the core gains later.
            other => format!("{other:?}"),
        };
        let share = |count: u64| {
            if report.step == 0 {
                "-".to_owned()
            } else {
                format!("{:.1} %", 100.0 * count as f64 / report.step as f64)
            }
        };
        let set_at = match report.kappa_set_at {
            None => "not yet".to_owned(),
            Some(0) => "start".to_owned(),
            Some(step) => step.to_string(),
        };
        let tail = [
            measure,
            number(Some(report.value)),
            number(report.kappa),
            // No share of a bound of 0.
            number(report.kappa.filter(|&kappa| kappa != 0.0).map(|kappa| report.value / kappa)),
            number(Some(report.lambda)),
            set_at,
            share(report.active_steps),
            report.guarded.to_string(),
        ];
        for (slot, text) in row[4..].iter_mut().zip(tail) {
            *slot = text;
        }
    }
    row
}

fn widths(rows: &[[String; 12]]) -> [usize; 12] {
    std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    })
}
