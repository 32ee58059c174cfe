//! What came out of a run of a language model.

use cpr_host::{observe::Row, summary::LossSummary};
use serde::Serialize;

/// Losses, perplexities, and the parameters at the end. No wall-clock time: the same bytes in every run of a seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::experiment) struct Perplexity {
    #[serde(flatten)]
    losses: LossSummary,
    /// e to the validation loss at the end.
    perplexity_last: Option<f64>,
    /// The lowest.
    perplexity_best: Option<f64>,
}

impl Perplexity {
    pub(in crate::experiment) fn of(rows: &[Row]) -> Self {
        let losses = LossSummary::of(rows);
        let last = rows.last().and_then(|row| row.get("validation/perplexity"));
        let best = losses.validation_best.map(libm::exp);
        Self { losses, perplexity_last: last, perplexity_best: best }
    }

    pub(in crate::experiment) fn to_json(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }

    pub(in crate::experiment) fn table(&self) -> String {
        let number = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.4}"));
        format!(
            "{:<26}{} at the end, {} at best\n{}",
            "validation perplexity",
            number(self.perplexity_last),
            number(self.perplexity_best),
            self.losses.table()
        )
    }
}
