//! Every parameter of a checkpoint: shape, R, κ, λ, and when κ was set.

use std::{fmt::Write, path::Path};

use cpr_core::{AnyRegularizer, Constraint, DecodeError, L2, Statistic, measure};

use crate::{
    checkpoint::{Checkpoint, CheckpointError, Element, Tensors},
    summary::number,
};

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

/// One parameter.
struct Line {
    name: String,
    shape: String,
    squares: f64,
    zeros: usize,
    constraint: Option<(f64, Constraint<AnyRegularizer>)>,
}

/// The table of a checkpoint's parameters, after a line that says what it is of.
///
/// R is measured on the weights as stored, κ and λ are those of the constraint records. `zeros` counts weights that
/// are exactly 0.
///
/// # Errors
/// [`InspectError`].
pub fn table(path: &Path, checkpoint: Checkpoint) -> Result<String, InspectError> {
    let Checkpoint { meta, mut tensors } = checkpoint;
    let names: Vec<(String, Vec<usize>)> = tensors
        .parameters()
        .map(|(name, tensor)| (name.to_owned(), tensor.signature.shape.clone()))
        .collect();
    let mut lines = Vec::new();
    for (name, shape) in names {
        let constraint = constraint(path, &mut tensors, &name)?;
        lines.push(line(&mut tensors, name, &shape, constraint)?);
    }
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
    let constraint = constraint.map(|constraint| {
        use cpr_core::Regularizer;
        let regularizer = constraint.rule().config().regularizer;
        (regularizer.value(&measure(&regularizer, &values)), constraint)
    });
    Ok(Line {
        name,
        shape: shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×"),
        squares,
        zeros: values.iter().filter(|&&x| x == 0.0).count(),
        constraint,
    })
}

fn row(line: &Line) -> [String; 12] {
    let Line { name, shape, squares, zeros, constraint } = line;
    let norm = number(Some(squares.sqrt()));
    let mut row = std::array::from_fn(|_| "-".to_owned());
    [row[0], row[1], row[2], row[3]] = [name.clone(), shape.clone(), norm, zeros.to_string()];
    if let Some((value, constraint)) = constraint {
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
            number(Some(*value)),
            number(report.kappa),
            // No share of a bound of 0.
            number(report.kappa.filter(|&kappa| kappa != 0.0).map(|kappa| value / kappa)),
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
