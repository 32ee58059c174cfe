//! Constrained Parameter Regularization (CPR) for Candle: optimizers behind `candle_nn::Optimizer`, with groups,
//! clipping, schedules, a report of every constraint, and a state that is saved and loaded to the bit.
//!
//! ```
//! use candle_core::{DType, Device};
//! use candle_nn::{Module, Optimizer, VarBuilder, VarMap, linear, loss::mse};
//! use cpr_core::BoundInit;
//! use cpr_gpu::{AdamCpr, ParamsAdamCpr};
//!
//! let map = VarMap::new();
//! let layer = linear(4, 2, VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
//! let mut optimizer = AdamCpr::builder(ParamsAdamCpr::new(BoundInit::Dependent(0.8))).from_varmap(&map)?;
//! println!("{}", optimizer.table());
//! let (x, y) = (candle_core::Tensor::ones((8, 4), DType::F32, &Device::Cpu)?,
//!               candle_core::Tensor::zeros((8, 2), DType::F32, &Device::Cpu)?);
//! for _ in 0..10 {
//!     optimizer.backward_step(&mse(&layer.forward(&x)?, &y)?)?;
//! }
//! println!("{}", optimizer.report()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The way of a step
//!
//! [`Optim`] (one type behind [`AdamCpr`], [`SgdCpr`], [`AdamW`], [`Adam`], [`Sgd`], [`PAdam`]) binds the gradients to
//! its parameters by name and order ([`group`]), and hands them to an [`engine::Engine`]: the CPU's works on slices of
//! the storages, chunk by chunk over threads, with the bits of `cpr_host::optim` for any number of threads.
//!
//! # Layers and networks
//!
//! [`nn`] has the layers that candle lacks or has without a right gradient, [`model`] the networks over them.
//!
//! # The program
//!
//! Behind the feature `experiments`, which is on by default, are the experiments of the `cpr-gpu` command (`cli`,
//! `device`, `experiment`) over the training loop of `cpr_host`. For the optimizers alone take this crate with
//! `default-features = false`: nothing then parses arguments.

#![deny(unsafe_code)]

pub mod accumulate;
#[cfg(feature = "experiments")]
pub mod cli;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "experiments")]
pub mod device;
pub mod engine;
pub mod error;
#[cfg(feature = "experiments")]
pub mod experiment;
pub mod group;
pub mod grouping;
#[cfg(feature = "cuda")]
mod kernel;
pub mod model;
pub mod nn;
pub mod optim;
pub mod pattern;
pub mod report;
pub mod state;

pub use accumulate::Accumulator;
pub use engine::{Counters, Outcome, Path};
pub use error::Error;
pub use group::Base;
pub use grouping::{Groups, Override};
pub use optim::{
    Adam, AdamCpr, AdamW, Builder, Optim, PAdam, ParamsAdam, ParamsAdamCpr, ParamsAdamW,
    ParamsPAdam, ParamsSgd, ParamsSgdCpr, Sgd, SgdCpr, Strict, Warning,
};
pub use pattern::Pattern;
pub use report::{GroupReport, Reports};
