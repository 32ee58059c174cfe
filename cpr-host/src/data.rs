//! Data sets and the order in which their examples come.

pub mod batches;
pub mod cifar;
pub mod error;
pub mod idx;
pub mod images;
pub mod modular;
pub mod scale;
pub mod text;
#[cfg(feature = "cli")]
pub mod token_folder;
#[cfg(feature = "cli")]
pub mod tokenizer;
pub mod tokens;

pub use error::DataError;

#[cfg(test)]
mod tests;
