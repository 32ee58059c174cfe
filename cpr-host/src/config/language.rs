//! What the keys of language models have in common.

use super::{ConfigError, Inert, limits::need};

/// The flags that all experiments have, as a language model says them.
#[must_use]
pub fn adapted(flags: clap::Command) -> clap::Command {
    flags
        .mut_arg("eval_every", |flag| {
            flag.help("Steps from one evaluation to the next, at least 1")
        })
        .mut_arg("stop_at_accuracy", |flag| flag.hide(true))
}

/// Why a key that all experiments have is without effect on a language model.
#[must_use]
pub fn inert(key: &str) -> Option<Inert> {
    (key == "stop_at_accuracy").then(|| Inert {
        because: "a language model, which is measured by its loss".to_owned(),
        remedy: "leave it out".to_owned(),
    })
}

/// Why an alphabet is without effect where tokens are no characters, but what `unit` names.
#[must_use]
pub fn inert_alphabet(unit: &str) -> Inert {
    Inert {
        because: format!("--unit {unit}"),
        remedy: "leave it out, or choose --unit characters".to_owned(),
    }
}

/// Which part of a text trains, how much of it a step takes, how much an evaluation.
///
/// # Errors
/// The first key outside its range.
pub fn check_data(
    alphabet: Option<&str>,
    train_fraction: f64,
    batch: usize,
    eval_sequences: usize,
) -> Result<(), ConfigError> {
    if let Some(alphabet) = alphabet {
        let mut characters: Vec<char> = alphabet.chars().collect();
        let count = characters.len();
        characters.sort_unstable();
        characters.dedup();
        let holds = characters.len() == count && (2..=1 << 16).contains(&count);
        let limit = "it must be 2 to 65536 characters, each once";
        need("alphabet", &format!("{alphabet:?}"), limit, holds)?;
    }
    let open = train_fraction > 0.0 && train_fraction < 1.0;
    need("train_fraction", &train_fraction, "it must be in (0, 1)", open)?;
    need("batch", &batch, "it must be 1 to 65536", (1..=1 << 16).contains(&batch))?;
    let few = eval_sequences <= 1 << 31;
    need("eval_sequences", &eval_sequences, "it must be at most 2^31", few)
}

/// A context.
///
/// # Errors
/// One outside its range.
pub fn check_context(context: usize) -> Result<(), ConfigError> {
    need("context", &context, "it must be 1 to 65536", (1..=1 << 16).contains(&context))
}

/// The sizes of a transformer; `width` with the name of its key.
///
/// # Errors
/// The first key outside its range.
pub fn check_network(
    layers: usize,
    heads: usize,
    (key, width): (&str, usize),
    dropout: f64,
) -> Result<(), ConfigError> {
    need("layers", &layers, "it must be 1 to 256", (1..=256).contains(&layers))?;
    need("heads", &heads, "it must be at least 1", heads >= 1)?;
    need(key, &width, "it must be 1 to 16384", (1..=16384).contains(&width))?;
    let limit = format!("it must be a multiple of --heads {heads}");
    need(key, &width, &limit, width.is_multiple_of(heads))?;
    need("dropout", &dropout, "it must be in [0, 1)", (0.0..1.0).contains(&dropout))
}
