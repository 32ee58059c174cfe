//! Which keys have an effect, given the rest.

use super::{KappaInit, OptimConfig, OptimizerChoice, RunConfig, error::flag};
use crate::schedule::Shape;

use OptimizerChoice::{
    AdaDecay, Adam, AdamCpr, AdamL1, AdamL32, AdamW, Amos, Awd, PAdam, Rescale, Sgd, SgdCpr,
};

/// Why a key has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inert {
    /// What makes it so, as flags.
    pub because: String,
    /// What would give it an effect.
    pub remedy: String,
}

/// The optimizers that use a key; `None` for all of them.
fn users(key: &str) -> Option<&'static [OptimizerChoice]> {
    Some(match key {
        "beta1" | "beta2" => {
            &[AdamCpr, AdamW, Adam, PAdam, AdamL1, AdamL32, AdaDecay, Awd, Amos, Rescale]
        }
        "eps" => &[AdamCpr, AdamW, Adam, PAdam, AdamL1, AdamL32, AdaDecay, Awd, Rescale],
        "amsgrad" => &[AdamCpr, AdamW, Adam, AdaDecay, Awd, Rescale],
        "momentum" | "dampening" | "nesterov" => &[Sgd, SgdCpr],
        "weight_decay" => &[AdamW, Adam, Sgd, AdamL1, AdaDecay, Awd, Amos],
        "weight_decay_end" => &[AdamW, Adam, Sgd, PAdam, AdamL1, AdamL32, AdaDecay, Awd],
        "adadecay_alpha" => &[AdaDecay],
        "p_norm" | "padam_late" => &[PAdam],
        "lambda_p" => &[PAdam, AdamL1, AdamL32],
        "rescale_factor" => &[Rescale],
        "regularize_embeddings" => {
            &[AdamCpr, AdamW, Adam, Sgd, SgdCpr, PAdam, AdamL1, AdamL32, AdaDecay, Awd, Amos]
        }
        "reg"
        | "kappa_init"
        | "inflection_smoothing"
        | "inflection_burn_in"
        | "adaptive"
        | "mu"
        | "order"
        | "step_rule"
        | "guard"
        | "scale_by_lr" => &[AdamCpr, SgdCpr],
        _ => return None,
    })
}

impl RunConfig {
    /// Why `key` has no effect here, if it has none.
    pub(super) fn inert(&self, key: &str) -> Option<Inert> {
        (key == "epochs" && self.steps != 0).then(|| Inert {
            because: format!("--steps {}", self.steps),
            remedy: "leave one of the two out: --steps 0 counts in epochs".to_owned(),
        })
    }
}

impl OptimConfig {
    /// Why `key` has no effect here, if it has none.
    pub(super) fn inert(&self, key: &str) -> Option<Inert> {
        if let Some(users) = users(key)
            && !users.contains(&self.optimizer)
        {
            let names: Vec<_> = users.iter().map(ToString::to_string).collect();
            return Some(Inert {
                because: format!("--optimizer {}", self.optimizer),
                remedy: format!("leave it out, or choose --optimizer {}", names.join(" or ")),
            });
        }
        match key {
            "min_lr_factor" if self.schedule.0 == Shape::Constant => Some(Inert {
                because: format!("--schedule {}", self.schedule),
                remedy: "leave it out, or choose --schedule cosine or linear".to_owned(),
            }),
            "inflection_smoothing" | "inflection_burn_in"
                if !matches!(self.constraint.kappa_init, KappaInit::Inflection(_)) =>
            {
                Some(Inert {
                    because: format!("--kappa-init {}", self.constraint.kappa_init),
                    remedy: format!("leave {} out, or choose --kappa-init inflection", flag(key)),
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ExperimentConfig as _, GrokkingConfig};

    #[test]
    fn only_keys_that_exist_are_named() {
        let named = [
            "beta1",
            "beta2",
            "eps",
            "amsgrad",
            "momentum",
            "dampening",
            "nesterov",
            "weight_decay",
            "weight_decay_end",
            "adadecay_alpha",
            "p_norm",
            "lambda_p",
            "padam_late",
            "rescale_factor",
            "regularize_embeddings",
            "reg",
            "kappa_init",
            "inflection_smoothing",
            "inflection_burn_in",
            "adaptive",
            "mu",
            "order",
            "step_rule",
            "guard",
            "scale_by_lr",
        ];
        let restricted: Vec<_> =
            GrokkingConfig::keys().into_iter().filter(|key| users(key).is_some()).collect();
        let mut sorted = named.map(String::from).to_vec();
        sorted.sort_unstable();
        let mut found = restricted;
        found.sort_unstable();
        assert_eq!(found, sorted);
    }
}
