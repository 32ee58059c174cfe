//! Constrained Parameter Regularization from C, and from whatever calls C.
//!
//! `include/cpr.h` is the interface; [`abi`] holds the functions. Plain structs that the caller owns, no
//! allocation, no global state. A matrix under a bound is a [`CprConstraint`]: 148 bytes that hold no pointer, which
//! may be copied, sent and stored, and are checked each time they are read, so that memory that is not a constraint
//! is a status and nothing worse.
//!
//! * Every function returns a [`CprStatus`]; where it is not `Ok`, nothing was changed.
//! * Pointers that are null, misaligned or overlap, and lengths that do not fit, are refused. That a pointer leads to as many
//!   elements as are said is what only the caller can know.
//! * A panic cannot cross into C: none is known, with std it would become [`CprStatus::Panicked`], and without std
//!   the linked firmware is searched for the code that panics (`tests/embedded/check.sh`).
//!
//! The steps are those of [`cpr_core`], to the bit.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_code)]

#[cfg(not(any(feature = "std", feature = "libm")))]
compile_error!("cpr-capi takes square roots from `std` or from `libm`: enable one of them");

pub mod abi;
mod base;
mod config;
mod constraint;
mod status;

pub use base::{CprAdam, CprDecay};
pub use config::{CprAdaptive, CprBound, CprConfig, CprOrder, CprRegularizer, CprStepRule};
pub use constraint::{CPR_CONSTRAINT_LEN, CprConstraint, CprReport};
pub use status::CprStatus;

/// What a bare target does with a panic: stand still. The linker drops it where none can be reached.
#[cfg(all(target_os = "none", not(feature = "std")))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
