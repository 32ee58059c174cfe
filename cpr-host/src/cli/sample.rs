//! The arguments of `sample`, for another program too.

use std::path::PathBuf;

use clap::Args;

use super::{
    CliError,
    error::{at_most_1024, usage},
};
use crate::experiment::lm::Sampling;

/// The arguments of `sample`.
#[derive(Clone, Debug, Args)]
pub struct SampleArguments {
    /// The run folder or checkpoint file
    #[arg(value_name = "RUN|CHECKPOINT")]
    path: PathBuf,
    /// The text to go on from [default: a line feed]
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prompt: String,
    /// Tokens to make, up to 10000000
    #[arg(long, value_name = "N", default_value_t = 500)]
    tokens: usize,
    /// What the logits are divided by, finite and at least 0; 0: the likeliest token always
    #[arg(long, value_name = "X", default_value_t = 0.8)]
    temperature: f64,
    /// Draw from that many of the likeliest tokens; 0: from all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top: usize,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Threads, up to 1024; 0: all cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl SampleArguments {
    /// The run or checkpoint, what to make of it, and with how many threads, 0 for all cores.
    ///
    /// # Errors
    /// A number outside its range.
    pub fn typed(self) -> Result<(PathBuf, Sampling, usize), CliError> {
        let Self { path, prompt, tokens, temperature, top, seed, threads } = self;
        at_most_1024(threads)?;
        if !(temperature >= 0.0 && temperature.is_finite()) {
            let message = format!("--temperature {temperature}: it must be finite and at least 0");
            return Err(usage(message, "0.8 is a usual one"));
        }
        if tokens > 10_000_000 {
            let message = format!("--tokens {tokens}: it must be at most 10000000");
            return Err(usage(message, "make more with another --seed"));
        }
        Ok((path, Sampling { prompt, tokens, temperature, top, seed }, threads))
    }
}
