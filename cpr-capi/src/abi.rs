//! The functions that C calls, and the only `unsafe` of the crate: pointers become references here.
//!
//! What can be seen of a pointer is looked at before it is followed: null, alignment, a length that memory cannot
//! hold, and whether what is written overlaps anything else. So the contract that is left to the caller is one:
//! **every pointer that is not null leads to memory of the stated type and length, initialised where it is read, that
//! nobody else writes, or where it is written reads, during the call.**
#![allow(unsafe_code)]

use core::{ffi::c_char, slice};

use cpr_core::{Real, all_finite};

use crate::{
    base::CprAdam,
    config::CprConfig,
    constraint::{CprConstraint, CprReport, Slices, free_step},
    status::CprStatus,
};

/// The buffers of one matrix, each of `len` elements; none overlaps another.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CprShard<T> {
    /// The parameters.
    pub theta: *mut T,
    /// Their gradient.
    pub grad: *const T,
    /// Adam's first moment, zeros at the start.
    pub m: *mut T,
    /// Adam's second moment, zeros at the start.
    pub v: *mut T,
    /// Elements.
    pub len: usize,
}

/// Memory that a call is given: its address and its length in bytes.
#[derive(Clone, Copy)]
struct Region(usize, usize);

impl Region {
    /// `len` elements at `pointer`, if there can be such.
    fn of<T>(pointer: *const T, len: usize) -> Result<Self, CprStatus> {
        if pointer.is_null() {
            return Err(CprStatus::NullPointer);
        }
        if !pointer.is_aligned() {
            return Err(CprStatus::Misaligned);
        }
        let (start, bytes) = (pointer.addr(), len.checked_mul(size_of::<T>()));
        match bytes.filter(|&b| b <= isize::MAX.unsigned_abs() && start.checked_add(b).is_some()) {
            Some(bytes) => Ok(Self(start, bytes)),
            None => Err(CprStatus::Length),
        }
    }

    fn overlaps(self, other: Self) -> bool {
        let (Self(a, a_len), Self(b, b_len)) = (self, other);
        a_len > 0 && b_len > 0 && a < b + b_len && b < a + a_len
    }
}

/// Refuses regions of which two share memory.
fn disjoint<const N: usize>(regions: [Region; N]) -> Result<(), CprStatus> {
    let mut rest = regions.as_slice();
    while let [first, others @ ..] = rest {
        if others.iter().any(|&other| first.overlaps(other)) {
            return Err(CprStatus::Overlap);
        }
        rest = others;
    }
    Ok(())
}

/// Runs a call; a panic ends here.
fn guard(call: impl FnOnce() -> Result<(), CprStatus>) -> CprStatus {
    #[cfg(feature = "std")]
    {
        // What a panic may leave behind is the caller's memory, of which the status says so.
        let call = std::panic::AssertUnwindSafe(call);
        std::panic::catch_unwind(call).map_or(CprStatus::Panicked, CprStatus::from)
    }
    #[cfg(not(feature = "std"))]
    CprStatus::from(call())
}

/// A copy of what `pointer` leads to.
///
/// # Safety
/// The module's contract.
unsafe fn read<T: Copy>(pointer: *const T) -> Result<T, CprStatus> {
    Region::of(pointer, 1)?;
    // SAFETY: not null and aligned; initialised by the contract. All T here are plain numbers and pointers.
    Ok(unsafe { pointer.read() })
}

/// Writes what a call made.
///
/// # Safety
/// The module's contract.
unsafe fn write<T: Copy>(
    out: *mut T,
    made: impl FnOnce() -> Result<T, CprStatus>,
) -> Result<(), CprStatus> {
    Region::of(out, 1)?;
    let made = made()?;
    // SAFETY: not null and aligned; writable by the contract.
    unsafe { out.write(made) };
    Ok(())
}

/// The elements of one buffer.
///
/// # Safety
/// The module's contract, for as long as `'a`.
unsafe fn elements<'a, T: Real>(pointer: *const T, len: usize) -> Result<&'a [T], CprStatus> {
    Region::of(pointer, len)?;
    // SAFETY: not null, aligned, at most isize::MAX bytes; initialised and unwritten by the contract.
    Ok(unsafe { slice::from_raw_parts(pointer, len) })
}

/// A constraint and parameters to be written.
///
/// # Safety
/// The module's contract, for as long as `'a`.
unsafe fn pair<'a, T: Real>(
    constraint: *mut CprConstraint,
    theta: *mut T,
    len: usize,
) -> Result<(&'a mut CprConstraint, &'a mut [T]), CprStatus> {
    disjoint([Region::of(constraint, 1)?, Region::of(theta, len)?])?;
    // SAFETY: both checked, and apart; nobody else uses them by the contract.
    Ok(unsafe { (&mut *constraint, slice::from_raw_parts_mut(theta, len)) })
}

/// The buffers that Adam takes.
///
/// # Safety
/// The module's contract, for as long as `'a`; `taken` is what else the call holds.
unsafe fn slices<'a, T: Real>(
    shard: CprShard<T>,
    taken: Region,
) -> Result<Slices<'a, T>, CprStatus> {
    let CprShard { theta, grad, m, v, len } = shard;
    let region = |pointer| Region::of(pointer, len);
    disjoint([region(theta)?, region(grad)?, region(m)?, region(v)?, taken])?;
    // SAFETY: each checked, and apart from all others; nobody else uses them by the contract.
    Ok(unsafe {
        Slices {
            theta: slice::from_raw_parts_mut(theta, len),
            grad: slice::from_raw_parts(grad, len),
            moments: [slice::from_raw_parts_mut(m, len), slice::from_raw_parts_mut(v, len)],
        }
    })
}

/// # Safety
/// The module's contract.
unsafe fn start<T: Real>(
    config: *const CprConfig,
    theta: *const T,
    len: usize,
    out: *mut CprConstraint,
) -> CprStatus {
    guard(|| {
        // SAFETY: the caller's contract, and the output is apart from the input.
        unsafe {
            let config = read(config)?;
            disjoint([Region::of(theta, len)?, Region::of(out, 1)?])?;
            write(out, || CprConstraint::start(&config, elements(theta, len)?))
        }
    })
}

/// # Safety
/// The module's contract.
unsafe fn adam_step<T: Real>(
    constraint: *mut CprConstraint,
    adam: *const CprAdam,
    at: (u64, f64),
    shard: *const CprShard<T>,
) -> CprStatus {
    guard(|| {
        // SAFETY: the caller's contract; `slices` keeps the constraint apart from the buffers.
        let (constraint, rule, slices) = unsafe {
            let (rule, taken) = (read(adam)?.rule()?, Region::of(constraint, 1)?);
            let slices = slices(read(shard)?, taken)?;
            (&mut *constraint, rule, slices)
        };
        constraint.step(&rule, at, slices)
    })
}

/// # Safety
/// The module's contract.
unsafe fn adam_free_step<T: Real>(
    adam: *const CprAdam,
    at: (u64, f64),
    shard: *const CprShard<T>,
) -> CprStatus {
    guard(|| {
        // SAFETY: the caller's contract.
        let (rule, slices) = unsafe { (read(adam)?.rule()?, slices(read(shard)?, Region(0, 0))?) };
        free_step(&rule, at, slices)
    })
}

/// # Safety
/// The module's contract.
unsafe fn constrain<T: Real>(
    constraint: *mut CprConstraint,
    lr: f64,
    theta: *mut T,
    len: usize,
) -> CprStatus {
    guard(|| {
        // SAFETY: the caller's contract.
        let (constraint, theta) = unsafe { pair(constraint, theta, len)? };
        constraint.constrain(lr, theta)
    })
}

/// # Safety
/// The module's contract.
unsafe fn reobserve<T: Real>(
    constraint: *mut CprConstraint,
    theta: *const T,
    len: usize,
) -> CprStatus {
    guard(|| {
        disjoint([Region::of(constraint, 1)?, Region::of(theta, len)?])?;
        // SAFETY: the caller's contract; both are checked, and apart.
        let (constraint, theta) = unsafe { (&mut *constraint, elements(theta, len)?) };
        constraint.reobserve(theta)
    })
}

/// # Safety
/// The module's contract.
unsafe fn finite<T: Real>(values: *const T, len: usize, out: *mut u32) -> CprStatus {
    guard(|| {
        disjoint([Region::of(values, len)?, Region::of(out, 1)?])?;
        // SAFETY: the caller's contract, and the output is apart from the input.
        unsafe { write(out, || Ok(u32::from(all_finite(elements(values, len)?)))) }
    })
}

/// Fills `out` with the library's defaults for a `cpr_regularizer`; kappa is R at the start, to be chosen by you.
///
/// `parameter` is delta of huber and p of lp, and not looked at for the others.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_config_default(
    regularizer: u32,
    parameter: f64,
    out: *mut CprConfig,
) -> CprStatus {
    // SAFETY: the caller's contract.
    guard(|| unsafe { write(out, || CprConfig::default_of(regularizer, parameter)) })
}

/// Fills `out` with Adam's defaults: beta 0.9 and 0.999, eps 1e-8, no decay.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_adam_default(out: *mut CprAdam) -> CprStatus {
    // SAFETY: the caller's contract.
    guard(|| unsafe { write(out, || Ok(CprAdam::standard())) })
}

/// Points `out` to a text that says what a status means and what to do; it ends with a zero and is never freed.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_status_text(status: i32, out: *mut *const c_char) -> CprStatus {
    let text = || CprStatus::of_code(status).map(|s| s.text().as_ptr()).ok_or(CprStatus::Choice);
    // SAFETY: the caller's contract.
    guard(|| unsafe { write(out, text) })
}

/// Says how a constraint stands.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_constraint_report(
    constraint: *const CprConstraint,
    out: *mut CprReport,
) -> CprStatus {
    // SAFETY: the caller's contract; the constraint is copied before anything is written.
    guard(|| unsafe { write(out, || read(constraint)?.report()) })
}

/// Makes the constraint of a matrix from its parameters before the first step.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_constraint_start_f32(
    config: *const CprConfig,
    theta: *const f32,
    len: usize,
    out: *mut CprConstraint,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { start(config, theta, len, out) }
}

/// As `cpr_constraint_start_f32`.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_constraint_start_f64(
    config: *const CprConfig,
    theta: *const f64,
    len: usize,
    out: *mut CprConstraint,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { start(config, theta, len, out) }
}

/// Measures parameters that were changed from outside between two steps; needed in the order before base.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_constraint_reobserve_f32(
    constraint: *mut CprConstraint,
    theta: *const f32,
    len: usize,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { reobserve(constraint, theta, len) }
}

/// As `cpr_constraint_reobserve_f32`.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_constraint_reobserve_f64(
    constraint: *mut CprConstraint,
    theta: *const f64,
    len: usize,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { reobserve(constraint, theta, len) }
}

/// Holds a whole matrix to its bound after a base step of your own, taken at learning rate `lr`.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_constrain_f32(
    constraint: *mut CprConstraint,
    lr: f64,
    theta: *mut f32,
    len: usize,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { constrain(constraint, lr, theta, len) }
}

/// As `cpr_constrain_f32`.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_constrain_f64(
    constraint: *mut CprConstraint,
    lr: f64,
    theta: *mut f64,
    len: usize,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { constrain(constraint, lr, theta, len) }
}

/// Step `t` = 1, 2, ... of Adam on a whole matrix and its constraint, at learning rate `lr`.
///
/// A gradient that is not finite changes nothing, and the status says so: with several matrices look at all gradients
/// first (`cpr_all_finite_f32`), so that a step is taken by all or by none.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_adam_step_f32(
    constraint: *mut CprConstraint,
    adam: *const CprAdam,
    t: u64,
    lr: f64,
    shard: *const CprShard<f32>,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { adam_step(constraint, adam, (t, lr), shard) }
}

/// As `cpr_adam_step_f32`.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_adam_step_f64(
    constraint: *mut CprConstraint,
    adam: *const CprAdam,
    t: u64,
    lr: f64,
    shard: *const CprShard<f64>,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { adam_step(constraint, adam, (t, lr), shard) }
}

/// Adam alone, for biases and whatever else is under no bound.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_adam_free_step_f32(
    adam: *const CprAdam,
    t: u64,
    lr: f64,
    shard: *const CprShard<f32>,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { adam_free_step(adam, (t, lr), shard) }
}

/// As `cpr_adam_free_step_f32`.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_adam_free_step_f64(
    adam: *const CprAdam,
    t: u64,
    lr: f64,
    shard: *const CprShard<f64>,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { adam_free_step(adam, (t, lr), shard) }
}

/// Sets `out` to 1 where every element is finite, else to 0.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_all_finite_f32(
    values: *const f32,
    len: usize,
    out: *mut u32,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { finite(values, len, out) }
}

/// As `cpr_all_finite_f32`.
///
/// # Safety
/// The module's contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cpr_all_finite_f64(
    values: *const f64,
    len: usize,
    out: *mut u32,
) -> CprStatus {
    // SAFETY: the caller's contract.
    unsafe { finite(values, len, out) }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_as_a_status() {
        assert_eq!(guard(|| panic!("on purpose")), CprStatus::Panicked);
        assert_eq!(guard(|| Ok(())), CprStatus::Ok);
    }

    #[test]
    fn regions_overlap_where_they_share_a_byte() {
        let region = |start, len| Region(start, len);
        for (a, b, expected) in [
            (region(8, 8), region(16, 8), false),
            (region(8, 9), region(16, 8), true),
            (region(16, 8), region(8, 8), false),
            (region(16, 8), region(17, 1), true),
            (region(16, 8), region(18, 0), false),
        ] {
            assert_eq!((a.overlaps(b), b.overlaps(a)), (expected, expected));
        }
    }
}
