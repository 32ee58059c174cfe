//! The experiments of the `cpr-gpu` command: networks in candle under the optimizers of this crate, trained by the loop
//! of `cpr_host`.
//!
//! [`OnDevice`] adds `device` to the keys of an experiment of the host; [`VarWeights`] are variables with their
//! optimizer, as a checkpoint holds them. Names, shapes and start of the weights, the order of the data and the files
//! of an experiment that both programs have are the host's, so its run or checkpoint can go on in the other: to a
//! tolerance, since sums run in another order. In the program that made it, a run on the CPU goes on to the byte.

mod cifar;
mod config;
mod corpus;
mod finetune;
mod gpt2;
mod grokking;
mod modular;
mod spec;
mod weights;

pub use cifar::{Cifar, CifarConfig};
pub use config::OnDevice;
pub use corpus::{Corpus, CorpusKeys, Sequences, Which};
pub use finetune::{Finetune, FinetuneKeys, Targets, merge};
pub use gpt2::{Gpt2Keys, Gpt2Run, Precision, Size, dry_run, evaluated_on, sample};
pub use grokking::Grokking;
pub use modular::Modular;
pub use spec::SpecParams;
pub use weights::VarWeights;

use cpr_host::train::TrainError;

/// An error of candle or of this crate, for the training loop.
fn failed(error: impl Into<crate::Error>) -> TrainError {
    TrainError::other(error.into())
}
