//! The optimizer that a configuration asks for, as hyperparameters of this crate's.

use cpr_core::{AnyRegularizer, ConfigError, ConstraintConfig};
use cpr_host::{
    config::{OptimConfig, OptimizerChoice},
    optim::{BaseSpec, OptimizerSpec},
};
use serde_json::Value;

use crate::{Base, optim::Params};

/// Hyperparameters out of an experiment's configuration: any base, with or without a constraint.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecParams {
    spec: OptimizerSpec,
    lr: f64,
    decay: f64,
}

impl SpecParams {
    /// Those of a configuration.
    ///
    /// # Errors
    /// The key that is out of range.
    pub fn new(config: &OptimConfig) -> Result<Self, cpr_host::config::ConfigError> {
        let spec = config.spec()?;
        let decay = match config.optimizer {
            OptimizerChoice::AdamW | OptimizerChoice::Adam | OptimizerChoice::Sgd => {
                config.weight_decay.unwrap_or_default()
            }
            OptimizerChoice::PAdam => config.lambda_p,
            OptimizerChoice::AdamCpr | OptimizerChoice::SgdCpr | OptimizerChoice::Rescale => 0.0,
        };
        Ok(Self { spec, lr: spec.lr, decay })
    }

    /// The rules.
    #[must_use]
    pub const fn spec(&self) -> &OptimizerSpec {
        &self.spec
    }
}

impl Params for SpecParams {
    /// A run writes the name that the configuration has.
    const NAME: &'static str = "experiment";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn decay(&self) -> f64 {
        self.decay
    }

    /// Parameters have the decay of the configuration or none: no group has one of its own.
    fn base(&self, decay: Option<f64>) -> Result<Base, ConfigError> {
        Ok(match if decay.is_none() { self.spec.regularized } else { self.spec.free } {
            BaseSpec::Sgd(rule) => Base::Sgd(rule),
            BaseSpec::Momentum(rule) => Base::Momentum(rule),
            BaseSpec::Adam(rule) => Base::Adam(rule),
            BaseSpec::AmsGrad(rule) => Base::AmsGrad(rule),
            BaseSpec::DecayedAdam(rule) => Base::DecayedAdam(rule),
        })
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        self.spec.constraint.map(|rule| *rule.config())
    }

    /// The run's configuration has them all.
    fn describe(&self) -> Value {
        Value::Null
    }
}
