//! What came out of a run that is measured by its loss.

use std::fmt::Write;

use serde::Serialize;

use super::{Standing, number, standings, standings_table};
use crate::observe::Row;

/// Losses, and the parameters at the end. No wall-clock time: the same bytes in every run of a seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LossSummary {
    /// Steps of the run so far.
    pub steps: u64,
    /// Loss on the training data at the end.
    pub train_last: Option<f64>,
    /// Loss on the validation data at the end.
    pub validation_last: Option<f64>,
    /// The lowest loss on the validation data.
    pub validation_best: Option<f64>,
    /// The step at which it was lowest.
    pub best_step: Option<u64>,
    /// Bits for each character at the end.
    pub bits_last: Option<f64>,
    /// Share of the elements of matrices and embeddings that are exactly 0 at the end.
    pub zeros: Option<f64>,
    /// Global norm of all parameters at the end.
    pub norm: Option<f64>,
    /// Steps skipped because something was not finite.
    pub skipped: Option<f64>,
    /// Each constrained or regularized parameter at the end.
    pub parameters: Vec<Standing>,
}

impl LossSummary {
    /// The summary of these rows; all `None` without any.
    pub fn of(rows: &[Row]) -> Self {
        let last = rows.last();
        let get = |name: &str| last.and_then(|row| row.get(name));
        let losses = rows.iter().filter_map(|row| Some((row.step, row.get("validation/loss")?)));
        let best = losses.reduce(|best, next| if next.1 < best.1 { next } else { best });
        Self {
            steps: last.map_or(0, |row| row.step),
            train_last: get("train/loss"),
            validation_last: get("validation/loss"),
            validation_best: best.map(|(_, loss)| loss),
            best_step: best.map(|(step, _)| step),
            bits_last: get("validation/bits"),
            zeros: get("zeros"),
            norm: get("norm"),
            skipped: get("skipped"),
            parameters: last.map_or_else(Vec::new, standings),
        }
    }

    /// The summary as indented JSON with a line feed at its end.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }

    /// A short table for people.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{name:<26}{value}");
        };
        line("train loss", number(self.train_last));
        let best = self.best_step.map_or_else(|| "never".to_owned(), |step| format!("step {step}"));
        line(
            "validation loss",
            format!(
                "{} at the end, {} at best ({best})",
                number(self.validation_last),
                number(self.validation_best)
            ),
        );
        line("bits for each character", number(self.bits_last));
        let percent = |share: f64| format!("{:.4} % of matrices and embeddings", 100.0 * share);
        line("exactly zero", self.zeros.map_or_else(|| "-".to_owned(), percent));
        line("norm of all parameters", number(self.norm));
        if let Some(skipped) = self.skipped
            && skipped > 0.0
        {
            line("skipped, not finite", format!("{skipped} steps"));
        }
        table.push('\n');
        table.push_str(&standings_table(&self.parameters));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_loss_is_the_lowest() {
        let row = |step, loss: f64| {
            Row::new(step).with("train/loss", 1.0).with("validation/loss", loss).with("zeros", 0.25)
        };
        let rows = [row(10, 2.0), row(20, 1.5), row(30, f64::NAN), row(40, 1.75)];
        let summary = LossSummary::of(&rows);
        assert_eq!((summary.validation_best, summary.best_step), (Some(1.5), Some(20)));
        assert_eq!((summary.steps, summary.validation_last), (40, Some(1.75)));
        let table = summary.table();
        for part in ["1.7500 at the end, 1.5000 at best (step 20)", "25.0000 %"] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        assert!(LossSummary::of(&[]).to_json().contains("\"best_step\": null"));
    }
}
