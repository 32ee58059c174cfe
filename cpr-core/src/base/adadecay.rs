//! AdaDecay: a weight decay for each element, by how large its gradient is among those of its matrix.

use core::f64::consts::LOG2_E;

use num_traits::Float;

use super::{BaseRule, DecayStep, ScaleDecay, scaled};
use crate::{
    error::{ConfigError, in_range, non_negative},
    kernel,
    observer::MagnitudesOf,
    real::{Real, count_as_f64},
    reduce::{CHUNK, LANES, Pairwise},
    statistic::Statistic,
};

/// Hyperparameters of [`AdaDecay`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaDecayConfig {
    /// α, the steepness of the sigmoid, finite and in [0, 100]; the CPR paper tries 1, 2, 4 and 8.
    pub alpha: f64,
    /// λ, the decay of an element whose gradient is of mean magnitude, finite and at least 0.
    pub weight_decay: f64,
}

impl Default for AdaDecayConfig {
    fn default() -> Self {
        Self { alpha: 4.0, weight_decay: 0.1 }
    }
}

/// Adaptive weight decay by the gradient of each element, before a base step.
///
/// ḡᵢ = (|gᵢ| − mean)/std, over the |g| of the matrix,  θᵢ = 2/(1 + exp(−α·ḡᵢ)),  wᵢ ← wᵢ·(1 − lr·λ·θᵢ)
///
/// Nakamura, Hong, "Adaptive Weight Decay for Deep Neural Networks", IEEE Access 7 (2019), arXiv 1907.08931: the gradient
/// norms are normalised within each layer, and a sigmoid scaled to (0, 2) makes of each the share of the decay. The paper
/// steps by SGD, w ← (1 − lr·λ·θ)·w − lr·g; here the same decay stands before any base step, as AdamW's does. The
/// standard deviation is that of the population (divisor n).
///
/// Where all |g| are equal (n = 1 and zero gradients included), or so nearly that 1/std is beyond the parameters' type,
/// ḡ is 0 and θᵢ is 1: AdamW's decay. λ = 0 or lr = 0 leaves the base's bits.
///
/// ```
/// use cpr_core::{Shard, base_step};
/// use cpr_core::base::{AdaDecay, AdaDecayConfig, Base, Sgd, SgdConfig, magnitudes};
/// let (mut w, g) = ([1.0f64, 1.0], [0.1, 0.3]);
/// let rule = AdaDecay::new(AdaDecayConfig { alpha: 1.0, weight_decay: 0.5 })?;
/// let sgd = Sgd::new(SgdConfig::default())?;
/// let step = rule.before(sgd.at(1, 0.1), 0.1, &magnitudes(&g));
/// base_step(&step, Shard::new(&mut w, &g, [])?);
/// // ḡ = ∓1: the element with the larger gradient decays more.
/// let share = 2.0 / (1.0 + f64::exp(1.0));
/// assert!((w[0] - ((1.0 - 0.05 * share) - 0.01)).abs() < 1e-15);
/// assert!((w[1] - ((1.0 - 0.05 * (2.0 - share)) - 0.03)).abs() < 1e-15);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaDecay {
    config: AdaDecayConfig,
}

impl AdaDecay {
    /// The rule of this configuration.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`].
    pub fn new(config: AdaDecayConfig) -> Result<Self, ConfigError> {
        let AdaDecayConfig { alpha, weight_decay } = config;
        in_range("adadecay_alpha", alpha, "in [0, 100]", (0.0..=100.0).contains(&alpha))?;
        non_negative("weight_decay", weight_decay)?;
        Ok(Self { config })
    }

    /// The hyperparameters.
    #[must_use]
    pub const fn config(&self) -> &AdaDecayConfig {
        &self.config
    }

    /// The step `base` at learning rate `lr` with this decay before it, for the matrix whose gradients have these
    /// [`magnitudes`]. The base should not decay itself.
    pub fn before<T: Real, S>(
        &self,
        base: S,
        lr: f64,
        magnitudes: &Statistic,
    ) -> AdaDecayStep<S, T> {
        let AdaDecayConfig { alpha, weight_decay } = self.config;
        let (mean, deviation) = match *magnitudes {
            Statistic::Moments { count, mean, m2 } if count > 0 => {
                (mean, Float::sqrt(m2 / count_as_f64(count)))
            }
            _ => (0.0, 0.0),
        };
        // −α·log₂e/std: of a deviation of 0, or one too small to divide by, nothing is to be seen.
        let rate = T::from_f64(-alpha * LOG2_E / deviation);
        let rate = if rate.is_finite() { rate } else { T::ZERO };
        AdaDecayStep {
            base,
            mean: T::from_f64(mean),
            rate,
            twice: T::from_f64(2.0 * lr * weight_decay),
        }
    }
}

/// The scalars of one step of [`AdaDecay`] and of the base step after it.
#[derive(Clone, Copy, Debug)]
pub struct AdaDecayStep<S, T> {
    base: S,
    mean: T,
    rate: T,
    /// 2·lr·λ.
    twice: T,
}

impl ScaleDecay for AdaDecay {
    fn scale_decay(&self, factor: f64) -> Self {
        let weight_decay = scaled(self.config.weight_decay, factor);
        Self { config: AdaDecayConfig { weight_decay, ..self.config } }
    }
}

impl<T: Real, S: BaseRule<T, M>, const M: usize> BaseRule<T, M> for AdaDecayStep<S, T> {
    const FINISHES: bool = S::FINISHES;

    #[inline(always)]
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; M]) {
        for (theta, &grad) in theta.iter_mut().zip(grad) {
            let power = ((grad.abs() - self.mean) * self.rate).exp2_bounded();
            *theta = *theta * (T::ONE - self.twice / (T::ONE + power));
        }
        self.base.block(theta, grad, moments);
    }

    #[inline(always)]
    fn finish(&self, before: &[T], theta: &mut [T]) {
        self.base.finish(before, theta);
    }

    #[inline(always)]
    fn decay(&self) -> Option<&DecayStep<T>> {
        self.base.decay()
    }
}

/// Mean of |x| and Σ(|x| − mean)² of a slice, chunk by chunk in the fixed order.
///
/// Statistics of parts that are cut at multiples of [`CHUNK`] merge to those of the whole, to the bit when they merge
/// chunk by chunk ([`Pairwise`]).
pub fn magnitudes<T: Real>(values: &[T]) -> Statistic {
    let mut whole = Pairwise::new();
    whole.extend(values.chunks(CHUNK).map(|chunk| kernel::measure(MagnitudesOf, chunk)));
    whole.finish()
}
