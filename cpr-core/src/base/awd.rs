//! AWD: a weight decay that keeps a fixed share of the gradient's norm.

use num_traits::Float;

use crate::{
    error::{ConfigError, in_range},
    statistic::Statistic,
};

/// Adaptive weight decay: the factor on the decay is an average of ‖∇w‖/‖w‖.
///
/// r_t = ‖∇w‖/‖w‖,  r̄ ← k·r̄ + (1 − k)·r_t (0 at the start),  λ̄ = λ_awd·r̄
///
/// so that with λ_awd as the weight decay of the base, λ̄ is that decay scaled by [`AwdState::factor`]. The norms are over
/// all weights that decay, and of the gradient that the optimizer gets. k is 0.1, λ_awd the paper's DoG, "decay over
/// gradient": the norm of the decay in units of the gradient's.
///
/// Ghiasi, Shafahi, Ardekani, "Improving Robustness with Adaptive Weight Decay", NeurIPS 2023, arXiv 2210.00094,
/// Algorithm 1, which steps w ← w − lr·(∇w + λ̄·w). With SGD without momentum coupled and decoupled decay are that
/// step; over Adam the decay is decoupled, as in AdamW, or it would be divided by √v.
///
/// Where ‖w‖ = 0, or the ratio is not finite, there is nothing that could decay: r_t is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Awd {
    keep: f64,
}

impl Awd {
    /// The paper's k.
    pub const KEEP: f64 = 0.1;

    /// With `keep` = k, the weight of the past in the average, in [0, 1).
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`].
    pub fn new(keep: f64) -> Result<Self, ConfigError> {
        in_range("awd_average", keep, "in [0, 1)", (0.0..1.0).contains(&keep))?;
        Ok(Self { keep })
    }

    /// k.
    #[must_use]
    pub const fn keep(&self) -> f64 {
        self.keep
    }

    /// The state after a step with these Σw² and Σ(∇w)², as [`measure`](crate::measure) gives them for
    /// [`L2`](crate::L2), merged over all weights.
    #[must_use]
    pub fn update(&self, state: AwdState, weights: &Statistic, grads: &Statistic) -> AwdState {
        let ratio = match (weights, grads) {
            (Statistic::Sum { total: weights, .. }, Statistic::Sum { total: grads, .. })
                if *weights > 0.0 =>
            {
                Float::sqrt(*grads) / Float::sqrt(*weights)
            }
            _ => 0.0,
        };
        let ratio = if ratio.is_finite() { ratio } else { 0.0 };
        AwdState { average: self.keep * state.average + (1.0 - self.keep) * ratio }
    }
}

impl Default for Awd {
    fn default() -> Self {
        Self { keep: Self::KEEP }
    }
}

/// The state of [`Awd`]: r̄, finite and at least 0, and 0 at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AwdState {
    average: f64,
}

impl AwdState {
    /// The state with this r̄, or `None` if that is negative or not finite.
    #[must_use]
    pub fn new(average: f64) -> Option<Self> {
        (average >= 0.0 && average.is_finite()).then_some(Self { average })
    }

    /// r̄, the factor on the decay of the step: for [`ScaleDecay`](super::ScaleDecay).
    #[must_use]
    pub const fn factor(self) -> f64 {
        self.average
    }
}
