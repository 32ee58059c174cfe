//! The optimizer that a configuration asks for, as hyperparameters of this crate's.

use cpr_core::{AnyRegularizer, ConstraintConfig};
use cpr_host::{
    config::{ConfigError, OptimConfig},
    optim::{BaseSpec, DecayRule, OptimizerSpec},
};
use serde_json::Value;

use crate::{Base, optim::Params};

/// Hyperparameters out of an experiment's configuration: any base, with or without a constraint.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecParams {
    spec: OptimizerSpec,
    regularized: Base,
    free: Base,
    lr: f64,
    decay: f64,
}

impl SpecParams {
    /// Those of a configuration.
    ///
    /// # Errors
    /// The key that is out of range.
    pub fn new(config: &OptimConfig) -> Result<Self, ConfigError> {
        let spec = config.spec()?;
        let (regularized, free) = (spec.regularized.into(), spec.free.into());
        let decay = match spec.regularized {
            BaseSpec::DecayedAdam(_) => config.lambda_p,
            _ if spec.constraint.is_some() || spec.rescale.is_some() => 0.0,
            _ => config.weight_decay.unwrap_or_default(),
        };
        Ok(Self { spec, regularized, free, lr: spec.lr, decay })
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
    fn base(&self, decay: Option<f64>) -> Result<Base, cpr_core::ConfigError> {
        Ok(if decay.is_none() { self.regularized } else { self.free })
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        self.spec.constraint.map(|rule| *rule.config())
    }

    fn decay_rule(&self) -> DecayRule {
        self.spec.decay
    }

    /// The run's configuration has them all.
    fn describe(&self) -> Value {
        Value::Null
    }
}
