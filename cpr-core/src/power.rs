//! Element-wise powers.
use crate::{real::Real, reduce::LANES};

/// Which power.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PowerKind<T>(T);

impl<T: Real> PowerKind<T> {
    pub(crate) fn new(exponent: f64) -> Self {
        Self(T::from_f64(exponent))
    }

    #[inline(always)]
    pub(crate) fn block(&self, magnitudes: &mut [T; LANES]) {
        for x in magnitudes {
            *x = x.powf(self.0);
        }
    }
}
