//! The base optimizers of the published code, and how their arguments are read.

use cpr_core::base::{
    Adam, AdamConfig, AmsGrad, Decayed, Momentum, MomentumConfig, Sgd, SgdConfig, WeightDecay,
};

use super::{TrajectoryError, node::Node};

/// Arguments that choose how torch computes, not what.
const EXECUTION: [&str; 4] = ["foreach", "fused", "capturable", "differentiable"];

/// The base optimizer of a recording.
#[derive(Clone, Copy, Debug)]
pub enum BaseChoice {
    /// SGD.
    Sgd(Sgd),
    /// SGD with momentum.
    Momentum(Momentum),
    /// Adam.
    Adam(Adam),
    /// AMSGrad.
    AmsGrad(AmsGrad),
    /// Adam and a decay after its step.
    DecayedAdam(Decayed<Adam>),
    /// AMSGrad and a decay after its step.
    DecayedAmsGrad(Decayed<AmsGrad>),
}

impl BaseChoice {
    /// The names of its moments in a file, in the order of the rule.
    #[must_use]
    pub const fn moments(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd(_) => &[],
            Self::Momentum(_) => &["momentum_buffer"],
            Self::Adam(_) | Self::DecayedAdam(_) => &["exp_avg", "exp_avg_sq"],
            Self::AmsGrad(_) | Self::DecayedAmsGrad(_) => {
                &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
            }
        }
    }
}

/// A number, or the default where the key is absent.
pub(super) fn number(hp: &Node<'_>, key: &str, default: f64) -> Result<f64, TrajectoryError> {
    hp.find(key)?.map_or(Ok(default), |node| node.number())
}

/// A boolean, or false where the key is absent.
pub(super) fn flag(hp: &Node<'_>, key: &str) -> Result<bool, TrajectoryError> {
    hp.find(key)?.map_or(Ok(false), |node| node.boolean())
}

/// `lr`, or the default where the key is absent.
pub(super) fn learning_rate(hp: &Node<'_>, default: f64) -> Result<f64, TrajectoryError> {
    match hp.find("lr")? {
        None => Ok(default),
        Some(node) => {
            let lr = node.number()?;
            node.require(lr, lr >= 0.0, "at least 0")
        }
    }
}

/// The keys of `hp`, all of which must be known.
pub(super) fn only(hp: &Node<'_>, own: &[&str]) -> Result<(), TrajectoryError> {
    let known: Vec<&str> = own.iter().chain(&EXECUTION).copied().collect();
    hp.only(&known)?;
    for key in EXECUTION {
        if let Some(node) = hp.find(key)?
            && !node.is_null()
        {
            node.boolean()?;
        }
    }
    Ok(())
}

/// `betas`, `eps`, `maximize`; the decay is the caller's.
pub(super) fn adam_config(hp: &Node<'_>) -> Result<AdamConfig, TrajectoryError> {
    let mut config = AdamConfig { eps: number(hp, "eps", 1e-8)?, ..AdamConfig::default() };
    if let Some(betas) = hp.find("betas")? {
        let betas = betas.list_of(2, "beta1 and beta2", |_, node| node.number())?;
        if let [beta1, beta2] = betas[..] {
            (config.beta1, config.beta2) = (beta1, beta2);
        }
    }
    config.maximize = flag(hp, "maximize")?;
    Ok(config)
}

/// `None` for 0, which leaves the arithmetic out.
fn decay(kind: fn(f64) -> WeightDecay, strength: f64) -> WeightDecay {
    if strength == 0.0 { WeightDecay::None } else { kind(strength) }
}

/// Adam, or AMSGrad by `amsgrad`.
pub(super) fn adam(hp: &Node<'_>, config: AdamConfig) -> Result<BaseChoice, TrajectoryError> {
    let adam = Adam::new(config)?;
    Ok(if flag(hp, "amsgrad")? {
        BaseChoice::AmsGrad(AmsGrad(adam))
    } else {
        BaseChoice::Adam(adam)
    })
}

/// A torch optimizer.
#[derive(Clone, Copy)]
pub(super) enum TorchClass {
    Adam,
    AdamW,
    Sgd,
}

/// Their names in a file.
pub(super) const TORCH_CLASSES: [(&str, TorchClass); 3] =
    [("Adam", TorchClass::Adam), ("AdamW", TorchClass::AdamW), ("SGD", TorchClass::Sgd)];

/// A torch optimizer and its learning rate; `extra` are keys of `hp` that are not its own.
pub(super) fn torch_base(
    class: TorchClass,
    hp: &Node<'_>,
    extra: &[&str],
) -> Result<(BaseChoice, f64), TrajectoryError> {
    let keys = |own: &[&'static str]| -> Result<(), TrajectoryError> {
        let known: Vec<&str> = own.iter().chain(extra).copied().collect();
        only(hp, &known)
    };
    const ADAM: [&str; 6] = ["lr", "betas", "eps", "weight_decay", "amsgrad", "maximize"];
    let base = match class {
        TorchClass::Adam => {
            keys(&ADAM)?;
            let strength = number(hp, "weight_decay", 0.0)?;
            let weight_decay = decay(WeightDecay::Coupled, strength);
            adam(hp, AdamConfig { weight_decay, ..adam_config(hp)? })?
        }
        TorchClass::AdamW => {
            keys(&ADAM)?;
            let strength = number(hp, "weight_decay", 0.01)?;
            let weight_decay = decay(WeightDecay::Decoupled, strength);
            adam(hp, AdamConfig { weight_decay, ..adam_config(hp)? })?
        }
        TorchClass::Sgd => {
            keys(&["lr", "momentum", "dampening", "nesterov", "weight_decay", "maximize"])?;
            let config = MomentumConfig {
                momentum: number(hp, "momentum", 0.0)?,
                dampening: number(hp, "dampening", 0.0)?,
                nesterov: flag(hp, "nesterov")?,
                weight_decay: decay(WeightDecay::Coupled, number(hp, "weight_decay", 0.0)?),
                maximize: flag(hp, "maximize")?,
            };
            if config.momentum == 0.0 && !config.nesterov {
                let MomentumConfig { weight_decay, maximize, .. } = config;
                BaseChoice::Sgd(Sgd::new(SgdConfig { weight_decay, maximize })?)
            } else {
                BaseChoice::Momentum(Momentum::new(config)?)
            }
        }
    };
    Ok((base, learning_rate(hp, 1e-3)?))
}
