//! What a configuration says about the optimizer, validated: the rules of the core.

use cpr_core::{
    AnyRegularizer, ConstraintRule,
    base::{Adam, AmsGrad, Decayed, Momentum, Sgd},
};

/// A base optimizer, chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BaseSpec {
    /// SGD, no moments.
    Sgd(Sgd),
    /// SGD with momentum, one moment.
    Momentum(Momentum),
    /// Adam, two moments.
    Adam(Adam),
    /// AMSGrad, three moments.
    AmsGrad(AmsGrad),
    /// Adam and a decay after its step, two moments.
    DecayedAdam(Decayed<Adam>),
}

impl BaseSpec {
    /// How many moment buffers it keeps, each as long as the parameters.
    #[must_use]
    pub const fn moments(&self) -> usize {
        match self {
            Self::Sgd(_) => 0,
            Self::Momentum(_) => 1,
            Self::Adam(_) | Self::DecayedAdam(_) => 2,
            Self::AmsGrad(_) => 3,
        }
    }
}

/// An optimizer over two kinds of parameters: those that are regularised, and the free ones (biases and norms).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerSpec {
    /// The base of the regularised parameters, with its decay.
    pub regularized: BaseSpec,
    /// The base of the others: the same one without decay.
    pub free: BaseSpec,
    /// The bound of each regularised matrix, if there is one.
    pub constraint: Option<ConstraintRule<AnyRegularizer>>,
    /// All weights together start at this multiple of their initial norm and are held there; finite and above 0.
    pub rescale: Option<f64>,
    /// The peak of the learning rate, finite and above 0.
    pub lr: f64,
    /// Largest global norm of the gradient, finite and above 0.
    pub clip: Option<f64>,
}
