//! The p-th power of the Lp norm.

use super::{AnyRegularizer, Defaults, Kernels, Planned, Regularizer, Violation};
use crate::{
    base::BaseRule,
    constraint::Order,
    correction::Correction,
    error::{ConfigError, exponent},
    kernel,
    observer::{Observer, SumOf, Term},
    power::{ElementPower, ForEachPower, PART, Part, Power},
    real::Real,
    reduce::LANES,
    shard::Shard,
    shrink::{PowerStep, Unmoved},
    statistic::{Observed, Statistic},
};

/// R(θ) = Σ|θ|^p for 0 < p <= 64; the step is the p-norm decay of Outmezguine and Levi (arXiv 2404.10824) with ℓ:
/// θ·X/(X + p·ℓ), X = |θ|^(2 − p).
///
/// One step for both step rules: it is the prox of ℓ|θ|^p for p = 2, and milder otherwise. It never crosses zero,
/// so there is nothing to guard. p = 1 and p = 2 as regularizers are [`L1`](super::L1) and [`L2`](super::L2)
/// themselves: [`AnyRegularizer::lp`] gives those.
///
/// For p <= 1 it needs [`Order::BeforeBase`], and defaults to μ = 0.1 scaled by the learning rate; weights that
/// reach 0 stay there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lp {
    p: f64,
    flush: bool,
}

impl Lp {
    /// The measure of this exponent; magnitudes below the smallest normal number become 0.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] unless p is above 0 and at most 64.
    pub fn new(p: f64) -> Result<Self, ConfigError> {
        exponent(p)?;
        Ok(Self { p, flush: true })
    }

    /// The same with subnormal magnitudes kept.
    #[must_use]
    pub const fn keep_subnormal(self) -> Self {
        Self { p: self.p, flush: false }
    }

    /// The exponent p.
    #[must_use]
    pub const fn p(&self) -> f64 {
        self.p
    }

    /// Whether magnitudes below the smallest normal number become 0.
    #[must_use]
    pub const fn flushes(&self) -> bool {
        self.flush
    }
}

/// Σ|θ|^p, with the power taken in f64.
#[derive(Clone, Copy, Debug)]
struct Powers(Power);

impl<T: Real> Observer<T> for Powers {
    type Lanes = [f64; LANES];

    #[inline(always)]
    fn begin(self) -> Self::Lanes {
        [0.0; LANES]
    }

    #[inline(always)]
    fn add<const FUSE: bool>(self, lanes: &mut Self::Lanes, block: &[T; LANES], used: usize) {
        self.add_strip::<FUSE>(lanes, &block[..used.min(LANES)]);
    }

    #[inline(always)]
    fn add_strip<const FUSE: bool>(self, lanes: &mut Self::Lanes, strip: &[T]) {
        self.0.choose(AddPowers { lanes, strip });
    }

    #[inline(always)]
    fn fold(self, lanes: Self::Lanes, count: u64) -> Statistic {
        Observer::<f64>::fold(SumOf(Plain), lanes, count)
    }
}

/// Adds the powers of a strip, part by part; the choice of the rule is taken once.
struct AddPowers<'a, T> {
    lanes: &'a mut [f64; LANES],
    strip: &'a [T],
}

impl<T: Real> ForEachPower for AddPowers<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<P: ElementPower>(self, power: P) {
        let mut powers = Part::new();
        for part in self.strip.chunks(PART) {
            let powers = powers.raised(power, part.iter().copied().map(Real::to_f64));
            Observer::<f64>::add_strip::<false>(SumOf(Plain), self.lanes, powers);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Plain;

impl Term<f64> for Plain {
    #[inline(always)]
    fn of(self, element: f64) -> f64 {
        element
    }
}

impl Regularizer for Lp {
    fn value(&self, statistic: &Statistic) -> f64 {
        super::total(statistic)
    }

    fn defaults(&self) -> Defaults {
        if self.p <= 1.0 {
            Defaults { order: Order::BeforeBase, mu: 0.1, scale_by_lr: true }
        } else {
            Defaults { order: Order::AfterBase, mu: 1.0, scale_by_lr: false }
        }
    }

    fn check(&self, order: Order) -> Result<(), ConfigError> {
        if self.p <= 1.0 && order == Order::AfterBase {
            Err(ConfigError::PowerNeedsBeforeBase { given: self.p })
        } else {
            Ok(())
        }
    }
}

impl Kernels for Lp {
    fn observe<T: Real>(&self, chunk: &[T]) -> Statistic {
        kernel::measure(Powers(Power::new(self.p)), chunk)
    }

    fn first_pass<T: Real, B: BaseRule<T, M>, const M: usize>(
        &self,
        correction: &Correction,
        base: B,
        chunk: Shard<'_, T, M>,
    ) -> Observed {
        let powers = Powers(Power::new(self.p));
        match *correction {
            Correction::Power { p, step, flush } => {
                let step = PowerStep::of(p, p * step, false, flush);
                kernel::first_pass(base, step, powers, chunk)
            }
            _ => kernel::first_pass(base, Unmoved, powers, chunk),
        }
    }

    fn plan(&self, violation: &Violation, _statistic: &Statistic) -> Planned {
        Planned::plain(Correction::Power { p: self.p, step: violation.ell, flush: self.flush })
    }

    fn into_any(self) -> AnyRegularizer {
        AnyRegularizer::Lp(self)
    }

    fn from_any(any: AnyRegularizer) -> Option<Self> {
        if let AnyRegularizer::Lp(lp) = any { Some(lp) } else { None }
    }
}
