//! The hyperparameters of every optimizer, and the rules that they make.

use std::fmt::Debug;

use cpr_core::{
    AnyRegularizer, BoundInit, ConfigError, ConstraintConfig, L2,
    base::{
        Adam, AdamConfig, AmsGrad, Decay, Decayed, Momentum, MomentumConfig, Sgd, SgdConfig,
        WeightDecay,
    },
};
use serde_json::{Value, json};

use cpr_host::optim::DecayRule;

use crate::Base;

/// The hyperparameters of an optimizer: a learning rate, a base with its decay, perhaps a constraint.
pub trait Params: Clone + Debug + Send {
    /// Its name in checkpoints.
    const NAME: &'static str;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Sets the learning rate.
    fn set_lr(&mut self, lr: f64);

    /// The decay of regularised parameters; free ones have 0.
    fn decay(&self) -> f64;

    /// The base optimizer with its own decay, or with this one in place of it; 0 leaves the decay out. The scale of an
    /// Amos is filled in for each parameter.
    ///
    /// # Errors
    /// [`ConfigError`] for a hyperparameter out of range.
    fn base(&self, decay: Option<f64>) -> Result<Base, ConfigError>;

    /// The constraint of regularised parameters.
    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>>;

    /// How the decay of regularised parameters changes from step to step; not at all in most optimizers.
    fn decay_rule(&self) -> DecayRule {
        DecayRule::Constant
    }

    /// What a checkpoint keeps of them, to tell a later user what was changed.
    fn describe(&self) -> Value;
}

/// The fields of Adam that all its kin share.
#[derive(Clone, Copy)]
struct Shared {
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    amsgrad: bool,
    maximize: bool,
}

impl Shared {
    fn adam(&self, weight_decay: WeightDecay) -> Result<Adam, ConfigError> {
        let Self { beta1, beta2, eps, maximize, .. } = *self;
        Adam::new(AdamConfig { beta1, beta2, eps, weight_decay, maximize })
    }

    fn base(&self, weight_decay: WeightDecay) -> Result<Base, ConfigError> {
        let adam = self.adam(weight_decay)?;
        Ok(if self.amsgrad { Base::AmsGrad(AmsGrad(adam)) } else { Base::Adam(adam) })
    }

    fn describe(&self) -> Value {
        let Self { lr, beta1, beta2, eps, amsgrad, maximize } = *self;
        json!({ "lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "amsgrad": amsgrad, "maximize": maximize })
    }
}

/// `None` for 0, which leaves the arithmetic out.
fn decay(kind: fn(f64) -> WeightDecay, strength: f64) -> WeightDecay {
    if strength == 0.0 { WeightDecay::None } else { kind(strength) }
}

/// An object with one more entry.
fn with(mut object: Value, key: &str, value: impl Into<Value>) -> Value {
    object[key] = value.into();
    object
}

/// Hyperparameters of [`AdamCpr`](super::AdamCpr): Adam under a bound on every matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamsAdamCpr {
    /// Learning rate, finite and at least 0.
    pub lr: f64,
    /// β₁, in [0, 1).
    pub beta1: f64,
    /// β₂, in [0, 1).
    pub beta2: f64,
    /// ε, finite and at least 0.
    pub eps: f64,
    /// Keep the largest second moment (AMSGrad).
    pub amsgrad: bool,
    /// Ascend in place of descend.
    pub maximize: bool,
    /// The bound of each regularised matrix.
    pub constraint: ConstraintConfig<AnyRegularizer>,
}

impl ParamsAdamCpr {
    /// Adam's usual numbers (lr 1e-3, β 0.9 and 0.999, ε 1e-8) and l2 under this bound. Which rule for κ when: see
    /// `docs/CANDLE.md`; there is no default, because none fits without a warm-up.
    #[must_use]
    pub fn new(bound: BoundInit) -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            amsgrad: false,
            maximize: false,
            constraint: ConstraintConfig::new(L2.into(), bound),
        }
    }

    /// [`new`](Self::new) with κ set after twice the warm-up of the learning rate, the paper's strong default.
    ///
    /// # Errors
    /// [`ConfigError::ZeroSteps`] without a warm-up.
    pub fn for_warmup(steps: u64) -> Result<Self, ConfigError> {
        BoundInit::for_warmup(steps).map(Self::new)
    }

    const fn shared(&self) -> Shared {
        let Self { lr, beta1, beta2, eps, amsgrad, maximize, .. } = *self;
        Shared { lr, beta1, beta2, eps, amsgrad, maximize }
    }
}

impl Params for ParamsAdamCpr {
    const NAME: &'static str = "adamcpr";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn decay(&self) -> f64 {
        0.0
    }

    fn base(&self, strength: Option<f64>) -> Result<Base, ConfigError> {
        self.shared().base(decay(WeightDecay::Decoupled, strength.unwrap_or(self.decay())))
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        Some(self.constraint)
    }

    fn describe(&self) -> Value {
        // The constraint is in its records, to the bit.
        self.shared().describe()
    }
}

/// Hyperparameters of [`SgdCpr`](super::SgdCpr): SGD under a bound on every matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamsSgdCpr {
    /// The base; its own decay applies to regularised matrices, beside their bound.
    pub sgd: ParamsSgd,
    /// The bound of each regularised matrix.
    pub constraint: ConstraintConfig<AnyRegularizer>,
}

impl ParamsSgdCpr {
    /// SGD with momentum 0.9 at this learning rate, and l2 under this bound. `Inflection` does not work with SGD, as
    /// the paper says: some matrices have no inflection.
    #[must_use]
    pub fn new(lr: f64, bound: BoundInit) -> Self {
        let sgd = ParamsSgd { momentum: 0.9, ..ParamsSgd::new(lr) };
        Self { sgd, constraint: ConstraintConfig::new(L2.into(), bound) }
    }
}

impl Params for ParamsSgdCpr {
    const NAME: &'static str = "sgdcpr";

    fn lr(&self) -> f64 {
        self.sgd.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.sgd.lr = lr;
    }

    fn decay(&self) -> f64 {
        self.sgd.weight_decay
    }

    fn base(&self, decay: Option<f64>) -> Result<Base, ConfigError> {
        self.sgd.base(decay)
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        Some(self.constraint)
    }

    fn describe(&self) -> Value {
        self.sgd.describe()
    }
}

/// Hyperparameters of [`Sgd`](super::Sgd), torch's.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamsSgd {
    /// Learning rate, finite and at least 0.
    pub lr: f64,
    /// Momentum, in [0, 1); 0 keeps no buffer.
    pub momentum: f64,
    /// Dampening of the gradient as it enters the buffer, in [0, 1].
    pub dampening: f64,
    /// Nesterov's form; needs `momentum` > 0 and `dampening` = 0.
    pub nesterov: bool,
    /// g ← g + w·θ of regularised parameters, finite and at least 0.
    pub weight_decay: f64,
    /// Ascend in place of descend.
    pub maximize: bool,
}

impl ParamsSgd {
    /// Plain SGD.
    #[must_use]
    pub const fn new(lr: f64) -> Self {
        Self {
            lr,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl Params for ParamsSgd {
    const NAME: &'static str = "sgd";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn decay(&self) -> f64 {
        self.weight_decay
    }

    fn base(&self, strength: Option<f64>) -> Result<Base, ConfigError> {
        let Self { momentum, dampening, nesterov, maximize, .. } = *self;
        let weight_decay = decay(WeightDecay::Coupled, strength.unwrap_or(self.decay()));
        Ok(if momentum == 0.0 && !nesterov {
            Base::Sgd(Sgd::new(SgdConfig { weight_decay, maximize })?)
        } else {
            let config = MomentumConfig { momentum, dampening, nesterov, weight_decay, maximize };
            Base::Momentum(Momentum::new(config)?)
        })
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        None
    }

    fn describe(&self) -> Value {
        let Self { lr, momentum, dampening, nesterov, weight_decay, maximize } = *self;
        json!({ "lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov,
                "weight_decay": weight_decay, "maximize": maximize })
    }
}

/// Hyperparameters of [`AdamW`](super::AdamW). The default is `candle_nn::ParamsAdamW`'s, and torch's.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamsAdamW {
    /// Learning rate, finite and at least 0.
    pub lr: f64,
    /// β₁, in [0, 1).
    pub beta1: f64,
    /// β₂, in [0, 1).
    pub beta2: f64,
    /// ε, finite and at least 0.
    pub eps: f64,
    /// θ ← θ·(1 − lr·w) of regularised parameters, finite and at least 0.
    pub weight_decay: f64,
    /// Keep the largest second moment (AMSGrad).
    pub amsgrad: bool,
    /// Ascend in place of descend.
    pub maximize: bool,
}

impl Default for ParamsAdamW {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            amsgrad: false,
            maximize: false,
        }
    }
}

impl From<candle_nn::ParamsAdamW> for ParamsAdamW {
    fn from(params: candle_nn::ParamsAdamW) -> Self {
        let candle_nn::ParamsAdamW { lr, beta1, beta2, eps, weight_decay } = params;
        Self { lr, beta1, beta2, eps, weight_decay, ..Self::default() }
    }
}

impl ParamsAdamW {
    const fn shared(&self) -> Shared {
        let Self { lr, beta1, beta2, eps, amsgrad, maximize, .. } = *self;
        Shared { lr, beta1, beta2, eps, amsgrad, maximize }
    }
}

impl Params for ParamsAdamW {
    const NAME: &'static str = "adamw";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn decay(&self) -> f64 {
        self.weight_decay
    }

    fn base(&self, strength: Option<f64>) -> Result<Base, ConfigError> {
        self.shared().base(decay(WeightDecay::Decoupled, strength.unwrap_or(self.decay())))
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        None
    }

    fn describe(&self) -> Value {
        with(self.shared().describe(), "weight_decay", self.weight_decay)
    }
}

/// Hyperparameters of [`Adam`](super::Adam), torch's: the decay is coupled, a part of the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamsAdam(
    /// The same fields as AdamW's; `weight_decay` is g ← g + w·θ here and 0 by default.
    pub ParamsAdamW,
);

impl Default for ParamsAdam {
    fn default() -> Self {
        Self(ParamsAdamW { weight_decay: 0.0, ..ParamsAdamW::default() })
    }
}

impl Params for ParamsAdam {
    const NAME: &'static str = "adam";

    fn lr(&self) -> f64 {
        self.0.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.0.lr = lr;
    }

    fn decay(&self) -> f64 {
        self.0.weight_decay
    }

    fn base(&self, strength: Option<f64>) -> Result<Base, ConfigError> {
        self.0.shared().base(decay(WeightDecay::Coupled, strength.unwrap_or(self.decay())))
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        None
    }

    fn describe(&self) -> Value {
        self.0.describe()
    }
}

/// Hyperparameters of [`PAdam`](super::PAdam): Adam followed by a decay of any p-norm (arXiv 2404.10824), its late form,
/// L1 or the 3/2 norm, as [`Decay`] says. Free parameters take plain Adam.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamsPAdam {
    /// Learning rate, finite and at least 0.
    pub lr: f64,
    /// β₁, in [0, 1).
    pub beta1: f64,
    /// β₂, in [0, 1).
    pub beta2: f64,
    /// ε, finite and at least 0.
    pub eps: f64,
    /// Keep the largest second moment (AMSGrad).
    pub amsgrad: bool,
    /// Ascend in place of descend.
    pub maximize: bool,
    /// The decay after Adam's step.
    pub decay: Decay,
}

impl ParamsPAdam {
    /// PAdam of this p and λ_p, subnormal weights flushed to 0; `late` looks at the weight after the step.
    #[must_use]
    pub const fn new(p: f64, lambda: f64, late: bool) -> Self {
        Self::with_decay(Decay::PNorm { p, lambda, late, flush: true })
    }

    /// Adam's usual numbers and this decay.
    #[must_use]
    pub const fn with_decay(decay: Decay) -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            amsgrad: false,
            maximize: false,
            decay,
        }
    }
}

impl Params for ParamsPAdam {
    const NAME: &'static str = "padam";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn decay(&self) -> f64 {
        match self.decay {
            Decay::PNorm { lambda, .. }
            | Decay::L1 { lambda, .. }
            | Decay::ThreeHalves { lambda } => lambda,
        }
    }

    fn base(&self, strength: Option<f64>) -> Result<Base, ConfigError> {
        let Self { lr, beta1, beta2, eps, amsgrad, maximize, .. } = *self;
        let shared = Shared { lr, beta1, beta2, eps, amsgrad, maximize };
        let mut own = self.decay;
        match (strength, &mut own) {
            (None, _) => {}
            (Some(0.0), _) => return shared.base(WeightDecay::None),
            (
                Some(strength),
                Decay::PNorm { lambda, .. }
                | Decay::L1 { lambda, .. }
                | Decay::ThreeHalves { lambda },
            ) => *lambda = strength,
        }
        let adam = shared.adam(WeightDecay::None)?;
        Ok(if amsgrad {
            Base::DecayedAmsGrad(Decayed::new(AmsGrad(adam), own)?)
        } else {
            Base::DecayedAdam(Decayed::new(adam, own)?)
        })
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        None
    }

    fn describe(&self) -> Value {
        let Self { lr, beta1, beta2, eps, amsgrad, maximize, decay } = *self;
        let shared = Shared { lr, beta1, beta2, eps, amsgrad, maximize }.describe();
        let decay = match decay {
            Decay::PNorm { p, lambda, late, flush } => {
                json!({ "p": p, "lambda_p": lambda, "late": late, "flush": flush })
            }
            Decay::L1 { lambda, weight_decay } => {
                json!({ "l1_lambda": lambda, "weight_decay": weight_decay })
            }
            Decay::ThreeHalves { lambda } => json!({ "l3_2_lambda": lambda }),
        };
        with(shared, "decay", decay)
    }
}
