//! The figure of an experiment that has no form of its own: its metrics over the steps, and what the
//! constraint did.

use super::{Axis, Dash, Figure, Panel, Scale, Series, Side};
use crate::observe::Row;

/// Rows that do not hold what the figure shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CurvesError {
    /// No row has a column.
    #[error(
        "no row has the column `{column}`; plot the metrics.jsonl of a run of this experiment, and \
         a parameter that it constrains"
    )]
    NoColumn {
        /// Name of the column.
        column: String,
    },
}

/// The upper panel.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Quantity and unit.
    pub axis: &'a str,
    /// What the columns are multiplied with.
    pub factor: f64,
    /// Names in the legend, and columns.
    pub columns: &'a [(&'a str, &'a str)],
}

/// Two panels over the steps: above, these columns; below, R and κ of the parameter with λ on an axis
/// of its own, where there is one. The columns of the lower panel are those of
/// [`grokking`](super::grokking::figure).
///
/// # Errors
///
/// [`CurvesError::NoColumn`] when no row has one of the columns.
pub fn figure(
    title: &str,
    rows: &[Row],
    upper: Upper<'_>,
    parameter: Option<&str>,
) -> Result<Figure, CurvesError> {
    let steps = Axis::new("optimizer steps", Scale::Linear);
    let mut panel = Panel::new(steps.clone(), Axis::new(upper.axis, Scale::Linear));
    for (color, (name, column)) in upper.columns.iter().enumerate() {
        let mut points = points(rows, column)?;
        points.iter_mut().for_each(|point| point.1 *= upper.factor);
        panel = panel.with(Series::new(*name, color, points));
    }
    let mut figure = Figure::new(title);
    figure.panels.push(panel);
    if let Some(parameter) = parameter {
        figure.panels.push(bound(rows, parameter, steps)?);
    }
    Ok(figure)
}

/// R and κ of a parameter, with λ on an axis of its own.
pub(super) fn bound(rows: &[Row], parameter: &str, steps: Axis) -> Result<Panel, CurvesError> {
    let column = |kind: &str| points(rows, &format!("{kind}/{parameter}"));
    let bound = Series { dash: Dash::Dashed, ..Series::new("bound κ", 6, column("kappa")?) };
    let lambda = Series { side: Side::Right, ..Series::new("λ", 2, column("lambda")?) };
    let mut panel = Panel::new(steps, Axis::new("R and κ", Scale::Linear))
        .with(Series::new(format!("R of {parameter}"), 3, column("r")?))
        .with(bound)
        .with(lambda);
    panel.y_right = Some(Axis::new("multiplier λ", Scale::Linear));
    Ok(panel)
}

/// Step and value of a column; NaN where it is not defined, which is a gap in a series.
pub(super) fn points(rows: &[Row], column: &str) -> Result<Vec<(f64, f64)>, CurvesError> {
    if !rows.iter().any(|row| row.scalars.iter().any(|(name, _)| name == column)) {
        return Err(CurvesError::NoColumn { column: column.to_owned() });
    }
    // Steps are far below 2⁵³, so the cast is exact.
    Ok(rows.iter().map(|row| (row.step as f64, row.get(column).unwrap_or(f64::NAN))).collect())
}
