//! The figure of the modular-addition experiment, in the form that the workshop version of the
//! CPR paper gives it: when training and validation are learned, and what the constraint did.

use super::{Axis, Dash, Figure, Mark, Panel, Scale, Series, Side};
use crate::{observe::Row, summary::first_learned};

/// Rows that do not hold what the figure shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrokkingError {
    /// No row has a column.
    #[error(
        "no row has the column `{column}`; plot the metrics.jsonl of a run of the grokking \
         experiment, and a parameter that it constrains"
    )]
    NoColumn {
        /// Name of the column.
        column: String,
    },
}

/// Two panels over the steps on a logarithmic axis: above, the accuracies on the training and the
/// validation set in percent, with a mark where each is first 99 %; below, R and κ of the parameter
/// `parameter` (for the paper's figure `layers.0.attn.in_proj_weight`) with λ on an axis of its own,
/// and the same marks.
///
/// The columns are `train/accuracy` and `validation/accuracy` in 0..=1, `r/<parameter>`,
/// `kappa/<parameter>` and `lambda/<parameter>`; a value that is not defined yet is a gap. Without
/// `parameter` (a run without constraints) there is only the upper panel. Rows at step 0 have no
/// place on the axis.
///
/// # Errors
///
/// [`GrokkingError::NoColumn`] when no row has one of the columns.
///
/// ```
/// use cpr_host::{observe::Row, plot::grokking};
///
/// let row = |step, train, validation| {
///     Row::new(step).with("train/accuracy", train).with("validation/accuracy", validation)
/// };
/// let rows = [row(8, 0.02, 0.01), row(800, 0.995, 0.3), row(2000, 1.0, 0.99)];
/// let figure = grokking::figure(&rows, None)?;
/// assert_eq!(figure.panels[0].marks[0].x, 800.0);
/// # Ok::<(), grokking::GrokkingError>(())
/// ```
pub fn figure(rows: &[Row], parameter: Option<&str>) -> Result<Figure, GrokkingError> {
    let steps = Axis::new("optimizer steps", Scale::Log);
    let percent = |column: &str| {
        let mut points = points(rows, column)?;
        points.iter_mut().for_each(|point| point.1 *= 100.0);
        Ok(points)
    };
    let accuracy = Axis { range: Some((0.0, 100.0)), ..Axis::new("accuracy (%)", Scale::Linear) };
    let mut panel = Panel::new(steps.clone(), accuracy)
        .with(Series::new("train", 0, percent("train/accuracy")?))
        .with(Series::new("validation", 1, percent("validation/accuracy")?));
    for (color, name) in ["train", "validation"].into_iter().enumerate() {
        if let Some(step) = first_learned(rows, &format!("{name}/accuracy")) {
            let label = format!("{name} 99 %: step {step}");
            panel.marks.push(Mark { x: step as f64, label, color });
        }
    }
    let learned = panel.marks.iter().map(|mark| Mark { label: String::new(), ..mark.clone() });
    let learned: Vec<_> = learned.collect();
    let mut figure = Figure::new("Grokking: modular addition");
    figure.panels.push(panel);
    if let Some(parameter) = parameter {
        let column = |kind: &str| points(rows, &format!("{kind}/{parameter}"));
        let bound = Series { dash: Dash::Dashed, ..Series::new("bound κ", 6, column("kappa")?) };
        let lambda = Series { side: Side::Right, ..Series::new("λ", 2, column("lambda")?) };
        let mut panel = Panel::new(steps, Axis::new("R and κ", Scale::Linear))
            .with(Series::new(format!("R of {parameter}"), 3, column("r")?))
            .with(bound)
            .with(lambda);
        panel.y_right = Some(Axis::new("multiplier λ", Scale::Linear));
        panel.marks = learned;
        figure.panels.push(panel);
    }
    Ok(figure)
}

/// Step and value of a column; NaN where it is not defined, which is a gap in a series.
fn points(rows: &[Row], column: &str) -> Result<Vec<(f64, f64)>, GrokkingError> {
    if !rows.iter().any(|row| row.scalars.iter().any(|(name, _)| name == column)) {
        return Err(GrokkingError::NoColumn { column: column.to_owned() });
    }
    // Steps are far below 2⁵³, so the cast is exact.
    Ok(rows.iter().map(|row| (row.step as f64, row.get(column).unwrap_or(f64::NAN))).collect())
}
