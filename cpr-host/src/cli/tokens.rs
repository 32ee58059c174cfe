//! The arguments of `tokens`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CliError, error::usage};
use crate::{
    data::{tokenizer::TokenUnit, tokens::TokenFormat},
    tokenize::TokenPlan,
};

/// A format that can be written.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "lower")]
enum Format {
    /// The numbers alone.
    NanoGpt,
    /// With a header.
    LlmC,
}

/// The arguments of `tokens`.
#[derive(Clone, Debug, Args)]
pub(super) struct TokensArguments {
    /// Text files in UTF-8, and folders, all of whose files are texts; hidden ones are left out
    #[arg(value_name = "FILE|FOLDER", required = true)]
    inputs: Vec<PathBuf>,
    /// The folder to make; must not exist yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What a token is: gpt2 (its byte pair encoding), characters or bytes
    #[arg(long, value_name = "UNIT", hide_possible_values = true, default_value = "gpt2")]
    unit: TokenUnit,
    /// Format of the files: nanogpt or llmc
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, default_value = "nanogpt")]
    format: Format,
    /// Share of the tokens to train on, their beginning, in (0, 1); the rest validates
    #[arg(long, value_name = "X", default_value_t = 0.9)]
    train_fraction: f64,
}

impl TokensArguments {
    /// What to make.
    ///
    /// # Errors
    /// A share outside its range, or a folder without a name.
    pub(super) fn typed(self) -> Result<TokenPlan, CliError> {
        let Self { inputs, out, unit, format, train_fraction } = self;
        if !(train_fraction > 0.0 && train_fraction < 1.0) {
            let message = format!("--train-fraction {train_fraction}: it must be in (0, 1)");
            return Err(usage(message, "0.9 is a usual one"));
        }
        if out.file_name().is_none() {
            let message = format!("--out {}: it must be the name of a new folder", out.display());
            return Err(usage(message, "such as --out data"));
        }
        let format = match format {
            Format::NanoGpt => TokenFormat::Raw,
            Format::LlmC => TokenFormat::LlmC,
        };
        Ok(TokenPlan { inputs, out, unit, format, train_fraction })
    }
}
