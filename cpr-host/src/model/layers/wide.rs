//! Loops over slices at the widest vectors of the machine.
//!
//! A loop is plain Rust, compiled for each instruction set by `pulp`. Nothing is contracted or reordered, so the bits are
//! the same for all of them.

use pulp::{Arch, Simd, WithSimd};

struct Loop<F>(F);

impl<R, F: FnOnce() -> R> WithSimd for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> R {
        (self.0)()
    }
}

/// Runs `body`, which is to be inlined whole: what is not inlined is not widened. [`vectorized!`](crate::vectorized) makes it so.
#[inline(always)]
pub fn dispatch<R>(body: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(Loop(body))
}

/// Evaluates an expression, best a call of an `#[inline(always)]` function, at the widest vectors. A closure without its
/// attribute would be inlined only while it is small.
///
/// ```
/// let values = [3.0_f32, 4.0];
/// let norm: f32 = cpr_host::vectorized!(values.iter().map(|x| x * x).sum());
/// assert_eq!(norm, 25.0);
/// ```
#[macro_export]
macro_rules! vectorized {
    ($body:expr) => {
        $crate::model::layers::wide::dispatch(
            #[inline(always)]
            || $body,
        )
    };
}
