//! What a configuration says about the optimizer, validated: the rules of the core.

use cpr_core::{
    AnyRegularizer, ConstraintRule,
    base::{AdaDecay, Adam, Amos, AmsGrad, Awd, Decayed, Momentum, Sgd},
};

use super::OptimError;

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
    /// Amos, without moments, or with one for its momentum; v and b of every parameter.
    Amos(Amos),
}

impl BaseSpec {
    /// How many moment buffers it keeps, each as long as the parameters.
    #[must_use]
    pub const fn moments(&self) -> usize {
        match self {
            Self::Sgd(_) => 0,
            Self::Amos(amos) => {
                if amos.config().momentum > 0.0 {
                    1
                } else {
                    0
                }
            }
            Self::Momentum(_) => 1,
            Self::Adam(_) | Self::DecayedAdam(_) => 2,
            Self::AmsGrad(_) => 3,
        }
    }
}

/// How the decay of the regularised parameters changes from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum DecayRule {
    /// Not at all.
    #[default]
    Constant,
    /// AWD: the strength of the base's decay is times the average of ‖∇w‖/‖w‖ over all regularised parameters, of the
    /// gradients as clipping leaves them.
    Awd(Awd),
    /// AdaDecay, before a base without decay: by the magnitudes of each parameter's gradients.
    AdaDecay(AdaDecay),
}

/// An optimizer over two kinds of parameters: those that are regularised, and the free ones (biases and norms).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerSpec {
    /// The base of the regularised parameters, with its decay.
    pub regularized: BaseSpec,
    /// The base of the others: the same one without decay.
    pub free: BaseSpec,
    /// How that decay changes from step to step.
    pub decay: DecayRule,
    /// The bound of each regularised matrix, if there is one.
    pub constraint: Option<ConstraintRule<AnyRegularizer>>,
    /// All weights together start at this multiple of their initial norm and are held there; finite and above 0.
    pub rescale: Option<f64>,
    /// The peak of the learning rate, finite and above 0.
    pub lr: f64,
    /// Largest global norm of the gradient, finite and above 0.
    pub clip: Option<f64>,
}

impl OptimizerSpec {
    /// What its parts cannot know of each other.
    pub(super) fn check(&self) -> Result<(), OptimError> {
        let amos = matches!(self.regularized, BaseSpec::Amos(_));
        let by_element = matches!(self.decay, DecayRule::AdaDecay(_));
        if self.constraint.is_some() && (amos || by_element) {
            return Err(OptimError::Bound { rule: if amos { "Amos" } else { "AdaDecay" } });
        }
        let rule = match self.decay {
            DecayRule::Constant => return Ok(()),
            DecayRule::Awd(_) => "AWD",
            DecayRule::AdaDecay(_) => "AdaDecay",
        };
        if amos || (by_element && matches!(self.regularized, BaseSpec::DecayedAdam(_))) {
            return Err(OptimError::Decay { rule });
        }
        Ok(())
    }
}
