//! The outcomes of runs: what their summaries hold, and what is known about it.

use super::setting::Setting;

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// A number of `summary.json`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Its key.
    pub(crate) key: String,
    /// What people call it.
    pub(crate) title: String,
    /// Where it is known which is better.
    pub(crate) better: Option<Better>,
    /// Whether null says that it never happened: later than any step.
    pub(crate) can_be_never: bool,
}

impl Outcome {
    /// What is known of this key.
    pub(crate) fn of(key: &str) -> Self {
        let when = key.ends_with("_learned") || key == "delay";
        let title = match key {
            "train_learned" => "step at which 99 % of the training pairs are right".to_owned(),
            "validation_learned" => {
                "step at which 99 % of the validation pairs are right".to_owned()
            }
            "delay" => "steps from learning the training pairs to the validation pairs".to_owned(),
            "validation_best" => "best validation accuracy".to_owned(),
            "validation_last" => "last validation accuracy".to_owned(),
            "norm" => "norm of all parameters".to_owned(),
            "skipped" => "steps skipped, not finite".to_owned(),
            key => key.replace(['_', '/'], " "),
        };
        let has = |words: &[&str]| words.iter().any(|word| key.contains(word));
        let better = if when || has(&["loss", "perplexity", "bits", "error"]) {
            Some(Better::Lower)
        } else if has(&["accuracy"]) || matches!(key, "validation_best" | "validation_last") {
            Some(Better::Higher)
        } else {
            None
        };
        Self { key: key.to_owned(), title, better, can_be_never: when }
    }

    /// The value of each run that has one, with its seed; +∞ for what never happened.
    pub(crate) fn values(&self, setting: &Setting<'_>) -> Vec<(u64, f64)> {
        setting
            .runs
            .iter()
            .filter_map(|run| {
                let value = run.outcomes.get(&self.key)?;
                let never = self.can_be_never && value.is_null();
                Some((run.seed, if never { f64::INFINITY } else { value.as_f64()? }))
            })
            .collect()
    }

    /// The values alone.
    pub(crate) fn numbers(&self, setting: &Setting<'_>) -> Vec<f64> {
        self.values(setting).into_iter().map(|(_, value)| value).collect()
    }
}

/// The outcomes of the settings, in the order in which they come first.
pub(crate) fn outcomes(settings: &[Setting<'_>]) -> Vec<Outcome> {
    let mut keys: Vec<&String> = Vec::new();
    for key in settings.iter().flat_map(|setting| &setting.runs).flat_map(|run| run.outcomes.keys())
    {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let known = keys.into_iter().map(|key| Outcome::of(key));
    // What is null in every run, and no step that never came, tells nothing.
    known
        .filter(|outcome| settings.iter().any(|setting| !outcome.numbers(setting).is_empty()))
        .collect()
}

/// The outcome that a report is about where none was named: the first of those that experiments are judged by.
pub(crate) fn default_metric(outcomes: &[Outcome]) -> Option<&Outcome> {
    let first = ["validation_learned", "validation_best", "validation_accuracy", "validation_loss"];
    let known = first.iter().find_map(|key| outcomes.iter().find(|outcome| outcome.key == *key));
    known
        .or_else(|| outcomes.iter().find(|outcome| outcome.better.is_some()))
        .or_else(|| outcomes.first())
}
