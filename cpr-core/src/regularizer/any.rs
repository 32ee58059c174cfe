//! The choice of a regularizer at run time.

use super::{Defaults, Huber, Kernels, L1, L2, Lp, Planned, Regularizer, Std, Violation};
use crate::{
    base::BaseRule,
    constraint::Order,
    correction::Correction,
    error::ConfigError,
    real::Real,
    shard::Shard,
    statistic::{Observed, Statistic},
};

/// One of the regularizers, chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AnyRegularizer {
    /// Σθ².
    L2(L2),
    /// Σ|θ|.
    L1(L1),
    /// Sample standard deviation.
    Std(Std),
    /// Huber norm.
    Huber(Huber),
    /// Σ|θ|^p.
    Lp(Lp),
}

impl AnyRegularizer {
    /// The Huber norm with this δ.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] unless δ is finite and above 0.
    pub fn huber(delta: f64) -> Result<Self, ConfigError> {
        Huber::new(delta).map(Self::Huber)
    }

    /// Σ|θ|^p: for p = 1 the regularizer [`L1`], for p = 2 [`L2`], else [`Lp`].
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] unless p is above 0 and at most 64.
    pub fn lp(p: f64) -> Result<Self, ConfigError> {
        let lp = Lp::new(p)?;
        Ok(if p == 1.0 {
            L1.into()
        } else if p == 2.0 {
            L2.into()
        } else {
            Self::Lp(lp)
        })
    }
}

impl From<L2> for AnyRegularizer {
    fn from(l2: L2) -> Self {
        Self::L2(l2)
    }
}

impl From<L1> for AnyRegularizer {
    fn from(l1: L1) -> Self {
        Self::L1(l1)
    }
}

impl From<Std> for AnyRegularizer {
    fn from(std: Std) -> Self {
        Self::Std(std)
    }
}

impl From<Huber> for AnyRegularizer {
    fn from(huber: Huber) -> Self {
        Self::Huber(huber)
    }
}

impl From<Lp> for AnyRegularizer {
    fn from(lp: Lp) -> Self {
        Self::Lp(lp)
    }
}

/// Evaluates `$body` with `$it` bound to the regularizer inside.
macro_rules! each {
    ($any:expr, $it:ident => $body:expr) => {
        match $any {
            AnyRegularizer::L2($it) => $body,
            AnyRegularizer::L1($it) => $body,
            AnyRegularizer::Std($it) => $body,
            AnyRegularizer::Huber($it) => $body,
            AnyRegularizer::Lp($it) => $body,
        }
    };
}

impl Regularizer for AnyRegularizer {
    fn value(&self, statistic: &Statistic) -> f64 {
        each!(self, it => it.value(statistic))
    }

    fn is_sum(&self) -> bool {
        each!(self, it => it.is_sum())
    }

    fn takes(&self, statistic: &Statistic) -> bool {
        each!(self, it => it.takes(statistic))
    }

    fn unmeasured(&self, count: u64) -> Statistic {
        each!(self, it => it.unmeasured(count))
    }

    fn fewest_elements(&self) -> u64 {
        each!(self, it => it.fewest_elements())
    }

    fn defaults(&self) -> Defaults {
        each!(self, it => it.defaults())
    }

    fn check(&self, order: Order) -> Result<(), ConfigError> {
        each!(self, it => it.check(order))
    }
}

impl Kernels for AnyRegularizer {
    fn observe<T: Real>(&self, chunk: &[T]) -> Statistic {
        each!(self, it => it.observe(chunk))
    }

    fn first_pass<T: Real, B: BaseRule<T, M>, const M: usize>(
        &self,
        correction: &Correction,
        base: B,
        chunk: Shard<'_, T, M>,
    ) -> Observed {
        each!(self, it => it.first_pass(correction, base, chunk))
    }

    fn plan(&self, violation: &Violation, statistic: &Statistic) -> Planned {
        each!(self, it => it.plan(violation, statistic))
    }

    fn into_any(self) -> AnyRegularizer {
        self
    }

    fn from_any(any: AnyRegularizer) -> Option<Self> {
        Some(any)
    }
}
