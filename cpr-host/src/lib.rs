//! Training under Constrained Parameter Regularization on the CPU: the library behind the `cpr` command.
//!
//! The way of the data: [`config`] says what to do; [`data`] and [`model`] know nothing of CPR; [`param`] names the
//! parameters and says which are regularized; [`optim`] runs the four phases of `cpr-core` over them on the threads of
//! [`parallel`], in the buffers of [`pages`]; an [`experiment`] puts them together, and [`train`] is the loop of all;
//! [`observe`], [`checkpoint`] and [`run_folder`] write what came out, [`plot`]
//! and [`summary`] show it. [`cli`] and [`commands`] are the front.
//!
//! [`mod@bench`], [`cli`], [`commands`], [`config`], [`experiment`], [`tokenize`] and [`train`] are behind the feature `cli`, which is on by default; without it
//! nothing here parses arguments.

#[cfg(feature = "cli")]
pub mod bench;
pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod commands;
#[cfg(feature = "cli")]
pub mod compare;
#[cfg(feature = "cli")]
pub mod config;
pub mod conformance;
pub mod data;
#[cfg(feature = "cli")]
pub mod experiment;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod import;
pub mod inspect;
#[cfg(feature = "cli")]
pub mod list;
pub mod model;
pub mod observe;
pub mod optim;
pub mod pages;
pub mod parallel;
pub mod param;
pub mod plot;
pub mod random;
#[cfg(feature = "cli")]
pub mod report;
pub mod run_folder;
pub mod schedule;
pub mod signals;
pub mod sparsify;
#[cfg(feature = "cli")]
pub mod stats;
pub mod store;
pub mod summary;
#[cfg(feature = "cli")]
pub mod sweep;
#[cfg(feature = "cli")]
pub mod tokenize;
#[cfg(feature = "cli")]
pub mod train;
