//! Adam's configuration.

use cpr_core::base::{Adam, AdamConfig, WeightDecay};

use crate::{config::flag, status::CprStatus};

/// How weights decay inside a base step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CprDecay {
    /// Not at all.
    None = 0,
    /// In the gradient: g + w * theta.
    Coupled = 1,
    /// Beside it, as AdamW: theta * (1 - lr * w).
    Decoupled = 2,
}

/// Adam. Fill it with `cpr_adam_default`, then change what you like.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct CprAdam {
    /// Decay of the first moment, at least 0 and below 1.
    pub beta1: f64,
    /// Decay of the second moment, at least 0 and below 1.
    pub beta2: f64,
    /// Added to the root of the second moment, finite and at least 0.
    pub eps: f64,
    /// w, finite and at least 0; not looked at without a decay.
    pub weight_decay: f64,
    /// A `cpr_decay`.
    pub decay: u32,
    /// 1: ascend in place of descend; 0: descend.
    pub maximize: u32,
}

impl CprAdam {
    /// torch's defaults.
    pub(crate) fn standard() -> Self {
        let AdamConfig { beta1, beta2, eps, .. } = AdamConfig::default();
        Self { beta1, beta2, eps, weight_decay: 0.0, decay: CprDecay::None as u32, maximize: 0 }
    }

    pub(crate) fn rule(&self) -> Result<Adam, CprStatus> {
        Ok(Adam::new(AdamConfig {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            weight_decay: decay(self.decay, self.weight_decay)?,
            maximize: flag(self.maximize)?,
        })?)
    }
}

const fn decay(kind: u32, weight: f64) -> Result<WeightDecay, CprStatus> {
    match kind {
        0 => Ok(WeightDecay::None),
        1 => Ok(WeightDecay::Coupled(weight)),
        2 => Ok(WeightDecay::Decoupled(weight)),
        _ => Err(CprStatus::Choice),
    }
}
