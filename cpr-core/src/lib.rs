//! Constrained Parameter Regularization.
#![no_std]
#![forbid(unsafe_code)]
#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(not(any(feature = "std", feature = "libm")))]
compile_error!("cpr-core takes square roots from `std` or from `libm`: enable one of these features");

mod real;
pub use real::Real;
