//! The figure of the modular-addition experiment, in the form that the workshop version of the
//! CPR paper gives it: when training and validation are learned, and what the constraint did.

use super::{
    Axis, Figure, Mark, Panel, Scale, Series,
    curves::{self, CurvesError, points},
};
use crate::{observe::Row, summary::first_learned};

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
/// [`CurvesError::NoColumn`] when no row has one of the columns.
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
/// # Ok::<(), cpr_host::plot::curves::CurvesError>(())
/// ```
pub fn figure(rows: &[Row], parameter: Option<&str>) -> Result<Figure, CurvesError> {
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
        let mut panel = curves::bound(rows, parameter, steps)?;
        panel.marks = learned;
        figure.panels.push(panel);
    }
    Ok(figure)
}
