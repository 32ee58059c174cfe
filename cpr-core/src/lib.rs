//! Constrained Parameter Regularization.
#![no_std]
#![deny(unsafe_code)]
#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(not(any(feature = "std", feature = "libm")))]
compile_error!(
    "cpr-core takes square roots from `std` or from `libm`: enable one of these features"
);

pub mod base;
mod bound;
mod constraint;
mod correction;
mod dispatch;
mod error;
mod fused;
mod kernel;
mod multiplier;
mod observer;
mod power;
mod real;
mod reduce;
mod regularizer;
mod shard;
mod shrink;
mod statistic;

pub use bound::{Adaptive, Bound, BoundInit, Inflection, Trace};
pub use constraint::{
    Constraint, ConstraintConfig, ConstraintRule, Order, Report, StepRule, measure,
};
pub use correction::Correction;
pub use error::{ConfigError, GroupError, LengthError, Slice};
pub use fused::{FirstPass, base_step, constrained_step};
pub use kernel::all_finite;
pub use multiplier::Multiplier;
pub use real::Real;
pub use reduce::{CHUNK, LANES, Pairwise};
pub use regularizer::{AnyRegularizer, Defaults, Huber, L1, L2, Lp, Regularizer, Std};
pub use shard::Shard;
pub use statistic::{Merge, Observed, Statistic};
