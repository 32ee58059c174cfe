//! The optimizers that are measured.

use clap::ValueEnum;
use cpr_core::{
    AnyRegularizer, BoundInit, ConfigError, ConstraintConfig, ConstraintRule, L2, Order, Std,
    base::{Adam, AdamConfig, Decay, Decayed, WeightDecay},
};

use crate::{
    optim::{BaseSpec, DecayRule, OptimError, Optimizer, OptimizerSpec},
    param::{Grouping, ParamLayout},
};

/// An optimizer, in a state that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Variant {
    /// AdamW with decoupled weight decay
    #[value(name = "adamw")]
    AdamW,
    /// AdamW with the check for non-finite gradients
    #[value(name = "adamw-checked")]
    AdamWChecked,
    /// AdamCPR, l2, every λ = 0
    AdamcprIdle,
    /// AdamCPR, l2, every λ > 0, after the base step
    AdamcprActive,
    /// AdamCPR, l2, every λ > 0, before the base step
    AdamcprBefore,
    /// AdamCPR, standard deviation, every λ > 0, after the base step
    AdamcprStd,
    /// PAdam, p = 0.8
    Padam,
}

impl Variant {
    /// All of them, AdamW first.
    pub const ALL: [Self; 7] = [
        Self::AdamW,
        Self::AdamWChecked,
        Self::AdamcprIdle,
        Self::AdamcprActive,
        Self::AdamcprBefore,
        Self::AdamcprStd,
        Self::Padam,
    ];

    /// What a table calls it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::AdamW => "AdamW",
            Self::AdamWChecked => "AdamW + check for non-finite gradients",
            Self::AdamcprIdle => "AdamCPR l2, lambda = 0",
            Self::AdamcprActive => "AdamCPR l2, lambda > 0, AfterBase",
            Self::AdamcprBefore => "AdamCPR l2, lambda > 0, BeforeBase",
            Self::AdamcprStd => "AdamCPR std, lambda > 0, AfterBase",
            Self::Padam => "PAdam, p = 0.8",
        }
    }

    /// The optimizer over these parameters, embeddings free.
    pub(super) fn optimizer(
        self,
        layout: &ParamLayout,
        grouping: Grouping,
        theta: &mut [f32],
    ) -> Result<Optimizer<f32>, OptimError> {
        // The options are this file's own: the core takes all of them.
        let spec = self.spec().map_err(|_| OptimError::Bases)?;
        let mut optimizer = Optimizer::new(spec, grouping, layout, theta)?;
        optimizer.check_gradients(self == Self::AdamWChecked);
        Ok(optimizer)
    }

    fn spec(self) -> Result<OptimizerSpec, ConfigError> {
        let free = Adam::new(AdamConfig::default())?;
        let decoupled =
            AdamConfig { weight_decay: WeightDecay::Decoupled(0.1), ..AdamConfig::default() };
        // The multipliers rise by μ·mean θ² a step: above 0 at once, and too small to shrink anything in a run.
        let bound = |kappa, order| {
            let regularizer = AnyRegularizer::from(L2);
            let config = ConstraintConfig::new(regularizer, BoundInit::Uniform(kappa));
            ConstraintRule::new(ConstraintConfig { mu: 1e-6, order, ..config })
        };
        let (regularized, constraint) = match self {
            Self::AdamW | Self::AdamWChecked => (BaseSpec::Adam(Adam::new(decoupled)?), None),
            Self::AdamcprIdle => (BaseSpec::Adam(free), Some(bound(1e30, Order::AfterBase)?)),
            Self::AdamcprActive => (BaseSpec::Adam(free), Some(bound(1e-3, Order::AfterBase)?)),
            Self::AdamcprBefore => (BaseSpec::Adam(free), Some(bound(1e-3, Order::BeforeBase)?)),
            Self::AdamcprStd => {
                let regularizer = AnyRegularizer::from(Std);
                let config = ConstraintConfig::new(regularizer, BoundInit::Uniform(1e-3));
                let rule = ConstraintRule::new(ConstraintConfig { mu: 1e-9, ..config })?;
                (BaseSpec::Adam(free), Some(rule))
            }
            Self::Padam => {
                let decay = Decay::PNorm { p: 0.8, lambda: 1e-6, late: false, flush: true };
                (BaseSpec::DecayedAdam(Decayed::new(free, decay)?), None)
            }
        };
        let free = BaseSpec::Adam(free);
        Ok(OptimizerSpec {
            regularized,
            free,
            decay: DecayRule::Constant,
            constraint,
            rescale: None,
            lr: 1e-6,
            clip: None,
        })
    }
}
