//! Constrained Parameter Regularization (CPR): regularisation by a bound in place of a penalty, for any trainer.
//!
//! Every weight matrix θ gets an upper bound κ on a measure R(θ), and one multiplier λ that rises while the bound is
//! violated. No std, no heap, no panic once a view is built: slices in, O(1) `Copy` state beside them.
//!
//! ```text
//! step t = 1, 2, … of one matrix with n elements           (Order::AfterBase, StepRule::Gradient)
//!
//!   1  θ ← base optimizer's step on θ;  measure R = R(θ)     every shard, chunk by chunk
//!   2  merge the chunks' measures in the order of the chunks
//!   3  λ ← max(0, λ + μ/n·(R − κ))                           O(1); μ in place of μ/n for std
//!   4  θ ← θ − λ·∇R(θ)                                       every shard; skipped while λ = 0
//! ```
//!
//! `Order::BeforeBase` is Algorithm 1 of the paper: R and ∇R at the θ before the base step, applied after it.
//! Until κ is set (by [`BoundInit`]) there is no constraint. λ = 0, μ = 0 and κ = ∞ leave the base optimizer's bits.
//!
//! | paper | here | pytorch-cpr |
//! |---|---|---|
//! | θʲ | the slice in a [`Shard`] | `param` |
//! | R(θʲ) | [`Regularizer`]: [`L2`], [`L1`], [`Std`], [`Huber`], [`Lp`] | `reg_function` |
//! | κʲ | [`Bound`], set by [`BoundInit`] | `kappa`, `kappa_init_method`, `kappa_init_param` |
//! | Kappa-K | [`BoundInit::Uniform`], [`BoundInit::UniformPerElement`] | `uniform` |
//! | Kappa-kI₀ | [`BoundInit::Dependent`] | `dependent` |
//! | Kappa-WS | [`BoundInit::WarmStart`] | `warm_start` |
//! | Kappa-IP | [`BoundInit::Inflection`] | `inflection_point` |
//! | AdaCPR | [`Adaptive`] | `kappa_adapt` (first version) |
//! | λʲ | [`Multiplier`] | `lagmul` |
//! | μ | [`ConstraintConfig::mu`] | `kappa_update` |
//! | Opt(L, η) | [`base`]: SGD, momentum, Adam, AMSGrad, with decays | AdamW's part of `AdamCPR` |
//! | what CPR is compared with | [`base`]: decay schedules, AdaDecay, AWD, Amos | |
//! | w, λ_p, p of pWD | [`base::Decay::PNorm`] | (PAdam: `p_norm`, `lambda_p`) |
//!
//! ```
//! use cpr_core::base::{Adam, AdamConfig, Base};
//! use cpr_core::{BoundInit, ConstraintConfig, ConstraintRule, L2, Shard, constrained_step};
//!
//! let (mut theta, mut m, mut v) = ([0.3f32, -1.2, 0.8], [0.0; 3], [0.0; 3]);
//! let rule = ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::Dependent(0.8)))?;
//! let mut constraint = rule.start_from(&theta)?;
//! let (adam, lr) = (Adam::new(AdamConfig::default())?, 1e-3);
//! for t in 1..=100 {
//!     let grad = theta.map(|x| x - 1.0); // of your loss
//!     let shard = Shard::new(&mut theta, &grad, [&mut m, &mut v])?;
//!     constrained_step(&mut constraint, &adam.at(t, lr), lr, shard);
//! }
//! println!("{:?}", constraint.report());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Who uses what
//!
//! * One matrix, one thread: [`constrained_step`]. Several without a heap: [`ConstraintSet`].
//! * Threads, ranks, GPUs: [`Constraint::begin`], [`FirstPass::run`] on chunks, [`Pairwise`], [`Constraint::update`],
//!   [`Correction::apply`]. Chunks that merge in order give the same bits whoever ran them.
//! * Checkpoints: [`Constraint::encode`], [`Constraint::decode`].
//! * Configuration fails early ([`ConfigError`], [`GroupError`], [`LengthError`]); steps do not fail.
//!
//! # Numbers
//!
//! Configuration, λ, κ and all sums are f64 for f32 parameters too; a step's scalars are formed in f64 and rounded
//! once. The same inputs give the same bits on every target with IEEE 754 arithmetic, with `std` and without, for any
//! number of threads.
//!
//! # Sources
//!
//! Franke, Hefenbrock, Koehler, Hutter, "Improving Deep Learning Optimization through Constrained Parameter
//! Regularization", NeurIPS 2024, arXiv 2311.09058. Outmezguine, Levi, "Decoupled Weight Decay for Any p Norm",
//! arXiv 2404.10824.
#![no_std]
#![deny(unsafe_code)]
#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(not(any(feature = "std", feature = "libm")))]
compile_error!(
    "cpr-core takes square roots from `std` or from `libm`: enable one of these features"
);

pub mod base;
mod bias;
mod bound;
mod constraint;
mod correction;
mod dispatch;
mod error;
mod exponential;
mod extended;
mod finite;
mod fused;
mod kernel;
mod multiplier;
mod observer;
mod power;
mod real;
mod reduce;
mod regularizer;
mod set;
mod shard;
mod shrink;
mod statistic;
mod streams;
mod wire;

pub use bound::{Adaptive, Bound, BoundInit, Inflection, Trace};
pub use constraint::{
    Constraint, ConstraintConfig, ConstraintRule, Order, Report, StepRule, measure,
};
pub use correction::Correction;
pub use dispatch::Level;
pub use error::{ConfigError, GroupError, LengthError, Slice};
pub use finite::all_finite;
pub use fused::{FirstPass, base_step, constrained_step};
pub use multiplier::Multiplier;
pub use real::Real;
pub use reduce::{CHUNK, LANES, Pairwise};
pub use regularizer::{AnyRegularizer, Defaults, Huber, L1, L2, Lp, Regularizer, Std};
pub use set::{ConstraintSet, Outcome};
pub use shard::Shard;
pub use statistic::{Merge, Observed, Statistic};
pub use wire::{DecodeError, ENCODED_LEN, EncodeError};
