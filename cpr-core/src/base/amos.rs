//! Amos: Adam's scaling with one second moment a matrix, and a decay of weights and learning rate that it derives.

use num_traits::Float;

use super::BaseRule;
use crate::{
    bias::BiasCorrection,
    error::{ConfigError, in_range, non_negative},
    real::{Real, count_as_f64},
    reduce::LANES,
    statistic::Statistic,
};

/// Hyperparameters of [`Amos`]; the default is the published code's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AmosConfig {
    /// β, decay of the second moment, in [0, 1).
    pub beta: f64,
    /// Decay of the average over updates, in [0, 1); with 0 no moment is needed.
    pub momentum: f64,
    /// A decay beside the derived one, finite and at least 0: the published code's `extra_l2`.
    pub extra_l2: f64,
}

impl Default for AmosConfig {
    fn default() -> Self {
        Self { beta: 0.999, momentum: 0.0, extra_l2: 0.0 }
    }
}

/// Amos, "an Adam-style optimizer with adaptive weight decay towards model-oriented scale".
///
/// With ξ the learning rate, η the scale that the matrix's weights are expected to have, and ḡ² the mean of the squared
/// gradients of the matrix:
///
/// v ← β·v + (1 − β)·ḡ²,  v̂ = max(v, 2⁻¹²⁵)/(1 − βᵗ),
/// γ = ξ²·(ḡ²/v̂)/√(1 + ¼·√ξ·b),  d = 1/(1 + ¼·√(ξη)·b),
/// δ = d·(ξη·g/√v̂ + (½γ + extra_l2)·θ),  b ← b + γ·(1 + b),
/// θ ← θ − δ, or with momentum m ← μ·m + (1 − μ)·δ, θ ← θ − m
///
/// Tian, Parikh, arXiv 2210.11693, Algorithm 1 with the constants of the authors' code (google-research/jestimator,
/// `jestimator/amos.py`: c and d with ¼, ε = 2⁻¹²⁵). v and b are one number a matrix: the published code leaves their shape
/// to its `shape_fn`, from as large as the matrix down to a single number, which is what its tests use; its BERT runs keep
/// one number for each output of a linear map and each embedding. ξ should be about 1/√(batches of the data); γ does not
/// depend on a weight decay, so that there is none to choose.
///
/// Degenerate: no elements, zero gradients, or a ḡ² that is not finite leave γ = 0 or the state as it is; nothing becomes NaN.
///
/// ```
/// use cpr_core::{L2, Shard, base_step, measure};
/// use cpr_core::base::{Amos, AmosConfig, AmosState};
/// let amos = Amos::new(AmosConfig::default())?;
/// let (mut theta, mut state) = ([0.5f32, -2.0, 1.0], AmosState::default());
/// for t in 1..=2000 {
///     let grad = theta.map(|x| 2.0 * (x - 1.0));
///     let step;
///     (state, step) = amos.step(state, t, 0.5, 1.0, &measure(&L2, &grad));
///     base_step(&step, Shard::new(&mut theta, &grad, [])?);
/// }
/// assert!(theta.iter().all(|x| (x - 1.0).abs() < 0.05), "{theta:?}");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amos {
    config: AmosConfig,
    bias: BiasCorrection,
}

/// ε, the smallest v: 2⁻¹²⁵.
const SMALLEST: f64 = f64::from_bits((1023 - 125) << (f64::MANTISSA_DIGITS - 1));

impl Amos {
    /// The rule of this configuration.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`].
    pub fn new(config: AmosConfig) -> Result<Self, ConfigError> {
        let AmosConfig { beta, momentum, extra_l2 } = config;
        in_range("beta2", beta, "in [0, 1)", (0.0..1.0).contains(&beta))?;
        in_range("momentum", momentum, "in [0, 1)", (0.0..1.0).contains(&momentum))?;
        non_negative("extra_l2", extra_l2)?;
        Ok(Self { config, bias: BiasCorrection::new(beta) })
    }

    /// The hyperparameters.
    #[must_use]
    pub const fn config(&self) -> &AmosConfig {
        &self.config
    }

    /// The state after step `t` = 1, 2, … (0 counts as 1) of one matrix, and the step's scalars.
    ///
    /// `lr` is ξ and `eta` the matrix's scale η, both finite and at least 0; `squares` is Σg² of its gradients, as
    /// [`measure`](crate::measure) gives it for [`L2`](crate::L2).
    #[must_use]
    pub fn step<T: Real>(
        &self,
        state: AmosState,
        t: u64,
        lr: f64,
        eta: f64,
        squares: &Statistic,
    ) -> (AmosState, AmosStep<T>) {
        let AmosConfig { beta, momentum, extra_l2 } = self.config;
        let mean = match *squares {
            Statistic::Sum { count, total } if count > 0 => total / count_as_f64(count),
            Statistic::Sum { .. } => 0.0,
            Statistic::Moments { .. } => f64::NAN,
        };
        let (average, rate) = (T::from_f64(momentum), T::from_f64(1.0 - momentum));
        if !mean.is_finite() {
            let still = AmosStep { gain: T::ZERO, shrink: T::ZERO, average, rate };
            return (state, still);
        }
        let AmosState { v, b } = state;
        let v = beta * v + (1.0 - beta) * mean;
        let reciprocal = self.bias.at(t.max(1)) / v.max(SMALLEST);
        let c = 1.0 / Float::sqrt(1.0 + 0.25 * Float::sqrt(lr) * b);
        let gamma = c * (lr * lr) * (reciprocal * mean);
        let initial = lr * eta;
        let d = 1.0 / (1.0 + 0.25 * Float::sqrt(initial) * b);
        let step = AmosStep {
            gain: T::from_f64(d * (initial * Float::sqrt(reciprocal))),
            shrink: T::from_f64(d * (0.5 * gamma + extra_l2)),
            average,
            rate,
        };
        (AmosState { v, b: (b + gamma * (1.0 + b)).min(f64::MAX) }, step)
    }
}

/// The state of [`Amos`] for one matrix: v and b, finite and at least 0, and 0 at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AmosState {
    v: f64,
    b: f64,
}

impl AmosState {
    /// The state with these v and b, or `None` if one is negative or not finite.
    #[must_use]
    pub fn new(v: f64, b: f64) -> Option<Self> {
        let valid = |x: f64| x >= 0.0 && x.is_finite();
        (valid(v) && valid(b)).then_some(Self { v, b })
    }

    /// v, the moving average of the mean squared gradient.
    #[must_use]
    pub const fn v(self) -> f64 {
        self.v
    }

    /// b, by which the learning rate has decayed.
    #[must_use]
    pub const fn b(self) -> f64 {
        self.b
    }
}

/// The scalars of one step of [`Amos`]: of a rule without moments, or of one with the average over updates as its moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AmosStep<T> {
    gain: T,
    shrink: T,
    average: T,
    rate: T,
}

impl<T: Real> BaseRule<T, 0> for AmosStep<T> {
    /// Without momentum, whatever the configuration says.
    #[inline(always)]
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], _moments: &mut [[T; LANES]; 0]) {
        for (theta, &grad) in theta.iter_mut().zip(grad) {
            *theta = *theta - (self.gain * grad + self.shrink * *theta);
        }
    }
}

impl<T: Real> BaseRule<T, 1> for AmosStep<T> {
    #[inline(always)]
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; 1]) {
        let [averages] = moments;
        for ((theta, &grad), average) in theta.iter_mut().zip(grad).zip(averages) {
            let update = self.gain * grad + self.shrink * *theta;
            *average = self.average * *average + self.rate * update;
            *theta = *theta - *average;
        }
    }
}

/// What a weight is for, as far as Amos asks: the scale η that it is expected to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelScale {
    /// A linear map or convolution from this many inputs: η = √(1/inputs).
    Linear {
        /// Inputs of one output, at least 1 (0 counts as 1).
        inputs: u64,
    },
    /// Vectors of this many elements, one for each token or position: η = √(2/width).
    Embedding {
        /// Elements of a vector, at least 1 (0 counts as 1).
        width: u64,
    },
    /// Added to an activation: η = ½.
    Bias,
    /// Scale of a normalisation: η = 1.
    Normalization,
}

impl ModelScale {
    /// η, by the rules of the authors' BERT (`get_eta_fn` of `jestimator/models/bert/modeling.py`), whose second matrix of
    /// the MLP alone has √(2/inputs).
    #[must_use]
    pub fn eta(self) -> f64 {
        let root = |variance: f64, width: u64| Float::sqrt(variance / count_as_f64(width.max(1)));
        match self {
            Self::Linear { inputs } => root(1.0, inputs),
            Self::Embedding { width } => root(2.0, width),
            Self::Bias => 0.5,
            Self::Normalization => 1.0,
        }
    }
}
