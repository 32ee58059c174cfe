//! What came out of a run of the modular-addition experiment, from its metrics alone.

mod loss;

use std::fmt::Write;

use serde::Serialize;

pub use self::loss::LossSummary;
use crate::observe::Row;

/// The accuracy that counts as learned.
const LEARNED: f64 = 0.99;
/// Evaluations at the end over which the last accuracy is averaged.
const LAST: usize = 10;

/// When training and validation pairs were learned, and how stable that was. No wall-clock time: the same bytes in
/// every run of a seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Steps of the run so far.
    pub steps: u64,
    /// The first evaluation with at least 99 % of the training pairs right.
    pub train_learned: Option<u64>,
    /// The first evaluation with at least 99 % of the validation pairs right.
    pub validation_learned: Option<u64>,
    /// Steps from the one to the other.
    pub delay: Option<u64>,
    /// The highest validation accuracy.
    pub validation_best: Option<f64>,
    /// The validation accuracy at the end.
    pub validation_last: Option<f64>,
    /// How the validation accuracy held after it was first at 99 %.
    pub stability: Option<Stability>,
    /// Global norm of all parameters at the end.
    pub norm: Option<f64>,
    /// Steps skipped because something was not finite.
    pub skipped: Option<f64>,
    /// Each constrained or regularized parameter at the end.
    pub parameters: Vec<Standing>,
}

/// Validation accuracy from the evaluation at which it was first 99 % to the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stability {
    /// Evaluations since.
    pub evaluations: usize,
    /// How many of them were below 99 %.
    pub below: usize,
    /// The lowest of them.
    pub lowest: f64,
    /// The mean of the last ten (or of all, if there are fewer).
    pub mean_of_last: f64,
}

/// R, κ and λ of one parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// R as the last step took it; Σθ² where no parameter has a constraint.
    pub r: Option<f64>,
    /// κ, once it is set.
    pub kappa: Option<f64>,
    /// λ.
    pub lambda: Option<f64>,
    /// What the overshoot guard did.
    pub guarded: Option<f64>,
}

impl Summary {
    /// The summary of these rows; all `None` without any.
    pub fn of(rows: &[Row]) -> Self {
        let train_learned = first_learned(rows, "train/accuracy");
        let validation_learned = first_learned(rows, "validation/accuracy");
        let validation: Vec<(u64, f64)> = rows
            .iter()
            .filter_map(|row| Some((row.step, row.get("validation/accuracy")?)))
            .collect();
        let since: Vec<f64> = validation
            .iter()
            .filter(|(step, _)| validation_learned.is_some_and(|learned| *step >= learned))
            .map(|&(_, accuracy)| accuracy)
            .collect();
        let last = rows.last();
        let get = |name: &str| last.and_then(|row| row.get(name));
        Self {
            steps: last.map_or(0, |row| row.step),
            train_learned,
            validation_learned,
            delay: validation_learned.zip(train_learned).map(|(v, t)| v.saturating_sub(t)),
            validation_best: validation.iter().map(|&(_, accuracy)| accuracy).reduce(f64::max),
            validation_last: validation.last().map(|&(_, accuracy)| accuracy),
            stability: Stability::of(&since),
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
        let step =
            |at: Option<u64>| at.map_or_else(|| "never".to_owned(), |at| format!("step {at}"));
        let percent =
            |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{:.2} %", 100.0 * x));
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{name:<26}{value}");
        };
        line("train at 99 %", step(self.train_learned));
        line("validation at 99 %", step(self.validation_learned));
        line("delay", self.delay.map_or_else(|| "-".to_owned(), |delay| format!("{delay} steps")));
        line(
            "validation accuracy",
            format!(
                "{} at the end, {} at best",
                percent(self.validation_last),
                percent(self.validation_best)
            ),
        );
        if let Some(Stability { evaluations, below, lowest, mean_of_last }) = self.stability {
            line(
                "since it reached 99 %",
                format!(
                    "below at {below} of {evaluations} evaluations, lowest {}, mean of the last {} {}",
                    percent(Some(lowest)),
                    LAST.min(evaluations),
                    percent(Some(mean_of_last)),
                ),
            );
        }
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

impl Stability {
    fn of(accuracies: &[f64]) -> Option<Self> {
        let last = &accuracies[accuracies.len().saturating_sub(LAST)..];
        Some(Self {
            evaluations: accuracies.len(),
            below: accuracies.iter().filter(|&&accuracy| accuracy < LEARNED).count(),
            lowest: accuracies.iter().copied().reduce(f64::min)?,
            mean_of_last: last.iter().sum::<f64>() / last.len() as f64,
        })
    }
}

/// The first step at which the accuracy in `column` is 99 % or more.
#[must_use]
pub fn first_learned(rows: &[Row], column: &str) -> Option<u64> {
    rows.iter()
        .find(|row| row.get(column).is_some_and(|value| value >= LEARNED))
        .map(|row| row.step)
}

/// The parameters of a row, in the order of its columns.
fn standings(row: &Row) -> Vec<Standing> {
    let names = row.scalars.iter().filter_map(|(column, _)| column.strip_prefix("r/"));
    names
        .map(|name| {
            let get = |kind: &str| row.get(&format!("{kind}/{name}"));
            Standing {
                name: name.to_owned(),
                r: get("r"),
                kappa: get("kappa"),
                lambda: get("lambda"),
                guarded: get("guarded"),
            }
        })
        .collect()
}

/// R, κ and λ of every constrained parameter; where none is, the norm of each.
fn standings_table(standings: &[Standing]) -> String {
    let width = standings.iter().map(|standing| standing.name.len()).max().unwrap_or(0);
    // λ is there from the first step on, κ need not be.
    let are_constrained = standings.iter().any(|standing| standing.lambda.is_some());
    let mut table = match are_constrained {
        true => format!(
            "{:<width$}  {:>12}  {:>12}  {:>12}  {:>8}\n",
            "parameter", "R", "kappa", "lambda", "guarded"
        ),
        false => format!("{:<width$}  {:>12}\n", "parameter", "norm"),
    };
    for Standing { name, r, kappa, lambda, guarded } in standings {
        if !are_constrained {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{name:<width$}  {:>12}", number(r.map(f64::sqrt)));
            continue;
        }
        let guarded = guarded.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let _ = writeln!(
            table,
            "{name:<width$}  {:>12}  {:>12}  {:>12}  {guarded:>8}",
            number(*r),
            number(*kappa),
            number(*lambda),
        );
    }
    table
}

/// Five significant digits, or a dash.
pub(crate) fn number(value: Option<f64>) -> String {
    match value {
        Some(0.0) => "0".to_owned(),
        value => with_decimals(value, value.and_then(decimals)),
    }
}

/// Decimals of five significant digits of `x`; `None` where they are better told with a power of ten.
pub(crate) fn decimals(x: f64) -> Option<usize> {
    let is_usual = (1e-3..1e6).contains(&x.abs());
    is_usual.then(|| (4 - x.abs().log10().floor() as i32).clamp(0, 7) as usize)
}

/// That many decimals, or five significant digits and a power of ten; a dash for what is missing.
pub(crate) fn with_decimals(value: Option<f64>, decimals: Option<usize>) -> String {
    match (value, decimals) {
        (None, _) => "-".to_owned(),
        (Some(x), Some(decimals)) => format!("{x:.decimals$}"),
        (Some(x), None) => format!("{x:.4e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, train: f64, validation: f64) -> Row {
        Row::new(step)
            .with("train/accuracy", train)
            .with("validation/accuracy", validation)
            .with("norm", 3.0)
            .with("r/w", 12.5)
            .with("kappa/w", None)
            .with("lambda/w", 0.0)
    }

    #[test]
    fn first_steps_delay_and_stability() {
        let rows = [
            row(8, 0.1, 0.0),
            row(48, 0.99, 0.5),
            row(88, 1.0, 0.995),
            row(128, 1.0, 0.94),
            row(168, 1.0, 1.0),
        ];
        let summary = Summary::of(&rows);
        assert_eq!((summary.train_learned, summary.validation_learned), (Some(48), Some(88)));
        assert_eq!(summary.delay, Some(40));
        let stability = summary.stability.unwrap();
        assert_eq!((stability.evaluations, stability.below), (3, 1));
        assert_eq!(stability.lowest, 0.94);
        assert!((stability.mean_of_last - (0.995 + 0.94 + 1.0) / 3.0).abs() < 1e-12);
        let table = summary.table();
        for part in ["step 48", "step 88", "40 steps", "below at 1 of 3", "12.500", "w "] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
    }

    #[test]
    fn what_never_happened_is_said() {
        let summary = Summary::of(&[row(8, 1.0, 0.5)]);
        assert_eq!(summary.delay, None);
        assert!(summary.table().contains("never"));
        assert_eq!(Summary::of(&[]).steps, 0);
        assert!(Summary::of(&[]).to_json().contains("\"train_learned\": null"));
    }

    #[test]
    fn numbers_have_five_digits() {
        let shown = [None, Some(0.0), Some(1234.56), Some(0.012_345_6), Some(1e-9), Some(2.0)];
        assert_eq!(shown.map(number), ["-", "0", "1234.6", "0.012346", "1.0000e-9", "2.0000"]);
    }
}
