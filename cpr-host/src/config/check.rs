//! Ranges, and what two keys say together.

use cpr_core::{
    AnyRegularizer, BoundInit, ConstraintConfig, ConstraintRule, Inflection, L1, L2, Regularizer,
    Std,
    base::{
        AdaDecay, AdaDecayConfig, Adam, AdamConfig, Amos, AmosConfig, AmsGrad, Awd, Decay,
        DecaySchedule, Decayed, Momentum, MomentumConfig, Sgd, SgdConfig, WeightDecay,
    },
};

use super::{
    AdaptiveChoice, ConfigError, KappaInit, OptimConfig, OptimizerChoice, RegularizerChoice,
    error::{given, refused},
};
use crate::{
    optim::{BaseSpec, DecayRule, OptimizerSpec},
    schedule::{Schedule, ScheduleConfig, ScheduleError},
};

/// The weight decay of AdamW and AdaDecay where none is given.
const ADAMW_DECAY: f64 = 0.1;
/// That of AWD, in units of the gradient's norm.
const AWD_DECAY: f64 = 0.01;

impl OptimConfig {
    /// Checks the range of every key that has an effect, and that the keys fit together and to a run of that many
    /// steps (0: not known).
    ///
    /// # Errors
    /// The first key that does not, with its value and what is allowed.
    pub(super) fn check(&self, steps: u64) -> Result<(), ConfigError> {
        // TOML has no larger integers.
        let limit = "it must be at most 2^63 - 1";
        for (key, count) in
            [("warmup", self.warmup), ("inflection_burn_in", self.constraint.inflection_burn_in)]
        {
            if i64::try_from(count).is_err() {
                return Err(refused(key, count, limit));
            }
        }
        self.spec()?;
        // The warm-up is held against the length where that is known: in steps.
        let steps = if steps == 0 { u64::MAX } else { steps };
        self.schedule(steps)?;
        self.decay_schedule(steps)?;
        Ok(())
    }

    /// The schedule over a run of that many steps.
    ///
    /// # Errors
    /// [`ConfigError::Schedule`] where the warm-up and the decay do not fit into the run,
    /// [`ConfigError::Value`] for a number outside its range.
    pub fn schedule(&self, steps: u64) -> Result<Schedule, ConfigError> {
        positive("lr", self.lr)?;
        let config = ScheduleConfig {
            lr: self.lr,
            warmup: self.warmup,
            steps,
            shape: self.schedule.0,
            min_factor: self.min_lr_factor,
        };
        Schedule::new(config).map_err(|source| match source {
            ScheduleError::OutOfRange { option: "min_lr_factor", given, limit } => {
                refused("min_lr_factor", given, &format!("it must be {limit}"))
            }
            ScheduleError::OutOfRange { limit, .. } => {
                refused("schedule", self.schedule, &format!("the power must be {limit}"))
            }
            ScheduleError::NoSteps => {
                ConfigError::Schedule { given: given("steps", steps), source }
            }
            ScheduleError::TooShort { decay: 0, .. } => {
                ConfigError::Schedule { given: given("warmup", self.warmup), source }
            }
            ScheduleError::NoDecay | ScheduleError::TooShort { .. } => {
                ConfigError::Schedule { given: given("schedule", self.schedule), source }
            }
        })
    }

    /// The schedule of the weight decay over a run of that many steps (0 counts as 1).
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a number outside its range.
    pub fn decay_schedule(&self, steps: u64) -> Result<DecaySchedule, ConfigError> {
        DecaySchedule::cosine(self.weight_decay_end, steps.max(1))
            .map_err(|source| self.named(source))
    }

    /// The optimizer: base rules, constraint, and what acts on the whole gradient.
    ///
    /// # Errors
    /// [`ConfigError::Value`] and [`ConfigError::Rule`], with the key and its value.
    pub fn spec(&self) -> Result<OptimizerSpec, ConfigError> {
        positive("lr", self.lr)?;
        if let Some(clip) = self.clip
            && (clip.is_nan() || clip <= 0.0)
        {
            return Err(refused("clip", clip, "it must be above 0, or inf for none"));
        }
        let decay = self.effective_decay();
        let (regularized, free) = match self.optimizer {
            OptimizerChoice::AdamCpr | OptimizerChoice::Rescale => {
                (self.adam(WeightDecay::None)?, self.adam(WeightDecay::None)?)
            }
            OptimizerChoice::AdamW => {
                (self.adam(WeightDecay::Decoupled(decay))?, self.adam(WeightDecay::None)?)
            }
            OptimizerChoice::Adam => {
                (self.adam(WeightDecay::Coupled(decay))?, self.adam(WeightDecay::None)?)
            }
            OptimizerChoice::Sgd => {
                (self.sgd(WeightDecay::Coupled(decay))?, self.sgd(WeightDecay::None)?)
            }
            OptimizerChoice::SgdCpr => (self.sgd(WeightDecay::None)?, self.sgd(WeightDecay::None)?),
            OptimizerChoice::PAdam => self.decayed_adam(Decay::PNorm {
                p: self.p_norm,
                lambda: self.lambda_p,
                late: self.padam_late,
                flush: true,
            })?,
            OptimizerChoice::AdamL1 => {
                self.decayed_adam(Decay::L1 { lambda: self.lambda_p, weight_decay: decay })?
            }
            OptimizerChoice::AdamL32 => {
                self.decayed_adam(Decay::ThreeHalves { lambda: self.lambda_p })?
            }
            OptimizerChoice::AdaDecay => {
                (self.adam(WeightDecay::None)?, self.adam(WeightDecay::None)?)
            }
            OptimizerChoice::Awd => {
                (self.adam(WeightDecay::Decoupled(decay))?, self.adam(WeightDecay::None)?)
            }
            OptimizerChoice::Amos => (self.amos(decay)?, self.amos(0.0)?),
        };
        let decay_rule = match self.optimizer {
            OptimizerChoice::AdaDecay => {
                let config = AdaDecayConfig { alpha: self.adadecay_alpha, weight_decay: decay };
                DecayRule::AdaDecay(AdaDecay::new(config).map_err(|source| self.named(source))?)
            }
            OptimizerChoice::Awd => DecayRule::Awd(Awd::default()),
            _ => DecayRule::Constant,
        };
        let constraint = match self.optimizer.is_constrained() {
            true => Some(self.rule()?),
            false => None,
        };
        let rescale = match self.optimizer {
            OptimizerChoice::Rescale => {
                positive("rescale_factor", self.rescale_factor)?;
                Some(self.rescale_factor)
            }
            _ => None,
        };
        let clip = self.clip.filter(|clip| clip.is_finite());
        let (decay, lr) = (decay_rule, self.lr);
        Ok(OptimizerSpec { regularized, free, decay, constraint, rescale, lr, clip })
    }

    /// Fills in the defaults that the optimizer and the regularizer choose.
    pub(super) fn fill_in(&mut self) -> Result<(), ConfigError> {
        if self.inert("weight_decay").is_none() {
            self.weight_decay = Some(self.effective_decay());
        }
        if self.optimizer.is_constrained() {
            let defaults = self.regularizer()?.defaults();
            let constraint = &mut self.constraint;
            constraint.mu.get_or_insert(defaults.mu);
            constraint.order.get_or_insert(defaults.order.into());
            constraint.scale_by_lr.get_or_insert(defaults.scale_by_lr);
        }
        Ok(())
    }

    /// The weight decay in force: what was given, or the optimizer's own default.
    pub(super) fn effective_decay(&self) -> f64 {
        self.weight_decay.unwrap_or(match self.optimizer {
            OptimizerChoice::AdamW | OptimizerChoice::AdaDecay => ADAMW_DECAY,
            OptimizerChoice::Awd => AWD_DECAY,
            _ => 0.0,
        })
    }

    fn plain_adam(&self, weight_decay: WeightDecay) -> Result<Adam, ConfigError> {
        let Self { beta1, beta2, eps, .. } = *self;
        Adam::new(AdamConfig { beta1, beta2, eps, weight_decay, maximize: false })
            .map_err(|source| self.named(source))
    }

    /// Adam with a decay after its step, and Adam without one.
    fn decayed_adam(&self, decay: Decay) -> Result<(BaseSpec, BaseSpec), ConfigError> {
        let adam = self.plain_adam(WeightDecay::None)?;
        let decayed = Decayed::new(adam, decay).map_err(|source| self.named(source))?;
        Ok((BaseSpec::DecayedAdam(decayed), BaseSpec::Adam(adam)))
    }

    /// β₁ is the momentum and β₂ the β of Amos, as in its authors' runs.
    fn amos(&self, extra_l2: f64) -> Result<BaseSpec, ConfigError> {
        let config = AmosConfig { beta: self.beta2, momentum: self.beta1, extra_l2 };
        Amos::new(config).map(BaseSpec::Amos).map_err(|source| match source {
            cpr_core::ConfigError::OutOfRange { option: "momentum", given, limit } => {
                refused("beta1", given, &format!("it must be {limit}"))
            }
            source => self.named(source),
        })
    }

    fn adam(&self, weight_decay: WeightDecay) -> Result<BaseSpec, ConfigError> {
        let adam = self.plain_adam(weight_decay)?;
        Ok(if self.amsgrad { BaseSpec::AmsGrad(AmsGrad(adam)) } else { BaseSpec::Adam(adam) })
    }

    fn sgd(&self, weight_decay: WeightDecay) -> Result<BaseSpec, ConfigError> {
        let Self { momentum, dampening, nesterov, .. } = *self;
        let maximize = false;
        if momentum == 0.0 && !nesterov {
            if dampening != 0.0 {
                return Err(refused("dampening", dampening, "it must be 0 where momentum is 0"));
            }
            let sgd = Sgd::new(SgdConfig { weight_decay, maximize });
            return sgd.map(BaseSpec::Sgd).map_err(|source| self.named(source));
        }
        Momentum::new(MomentumConfig { momentum, dampening, nesterov, weight_decay, maximize })
            .map(BaseSpec::Momentum)
            .map_err(|source| self.named(source))
    }

    /// The measure R.
    pub(super) fn regularizer(&self) -> Result<AnyRegularizer, ConfigError> {
        match self.constraint.reg {
            RegularizerChoice::L2 => Ok(L2.into()),
            RegularizerChoice::L1 => Ok(L1.into()),
            RegularizerChoice::Std => Ok(Std.into()),
            RegularizerChoice::Huber(delta) => AnyRegularizer::huber(delta),
            RegularizerChoice::Lp(p) => AnyRegularizer::lp(p),
        }
        .map_err(|source| match source {
            cpr_core::ConfigError::OutOfRange { limit, .. } => {
                refused("reg", self.constraint.reg, &format!("its number must be {limit}"))
            }
            source => ConfigError::Rule { given: given("reg", self.constraint.reg), source },
        })
    }

    pub(super) fn rule(&self) -> Result<ConstraintRule<AnyRegularizer>, ConfigError> {
        let regularizer = self.regularizer()?;
        let defaults = regularizer.defaults();
        let config = ConstraintConfig {
            regularizer,
            bound: self.bound()?,
            adaptive: self.constraint.adaptive.into(),
            mu: self.constraint.mu.unwrap_or(defaults.mu),
            order: self.constraint.order.map_or(defaults.order, Into::into),
            step_rule: self.constraint.step_rule.into(),
            guard: self.constraint.guard,
            scale_by_lr: self.constraint.scale_by_lr.unwrap_or(defaults.scale_by_lr),
        };
        ConstraintRule::new(config).map_err(|source| self.named(source))
    }

    fn bound(&self) -> Result<BoundInit, ConfigError> {
        let without_warmup = || {
            let expected = "it is measured in learning-rate warm-ups: give --warmup, or a number of \
                            steps";
            Err(refused("kappa_init", self.constraint.kappa_init, expected))
        };
        Ok(match self.constraint.kappa_init {
            KappaInit::Dependent(factor) => BoundInit::Dependent(factor),
            KappaInit::Uniform(kappa) => BoundInit::Uniform(kappa),
            KappaInit::PerElement(kappa) => BoundInit::UniformPerElement(kappa),
            KappaInit::WarmStart(steps) => BoundInit::WarmStart(steps),
            KappaInit::WarmStartMultiple(_) | KappaInit::Inflection(None) if self.warmup == 0 => {
                return without_warmup();
            }
            KappaInit::WarmStartMultiple(multiple) => {
                BoundInit::warm_start_multiple(multiple, self.warmup)
                    .map_err(|source| self.named(source))?
            }
            KappaInit::Inflection(interval) => {
                let sampled =
                    interval.map_or_else(|| Inflection::for_warmup(self.warmup), Inflection::every);
                BoundInit::Inflection(Inflection {
                    smoothing: self.constraint.inflection_smoothing,
                    burn_in: self.constraint.inflection_burn_in,
                    ..sampled
                })
            }
        })
    }

    /// An error of the core with the key that it is about.
    fn named(&self, source: cpr_core::ConfigError) -> ConfigError {
        use cpr_core::ConfigError as Core;
        match source {
            Core::OutOfRange { option, given, limit } => {
                let limit = format!("it must be {limit}");
                match option {
                    "p" => refused("p_norm", given, &limit),
                    "l1_lambda" | "l3_2_lambda" => refused("lambda_p", given, &limit),
                    "extra_l2" => refused("weight_decay", given, &limit),
                    "inflection smoothing" => refused("inflection_smoothing", given, &limit),
                    "kappa" | "dependent" | "warm_start" => {
                        let limit = format!("its number must be {}", &limit["it must be ".len()..]);
                        refused("kappa_init", self.constraint.kappa_init, &limit)
                    }
                    key => refused(key, given, &limit),
                }
            }
            Core::ZeroSteps { .. } => {
                refused("kappa_init", self.constraint.kappa_init, "it must be at least 1 step")
            }
            Core::PowerNeedsBeforeBase { .. } => {
                let order =
                    self.constraint.order.map_or_else(String::new, |order| order.to_string());
                ConfigError::Rule { given: given("order", order), source }
            }
            Core::NesterovNeedsMomentum => {
                ConfigError::Rule { given: given("nesterov", self.nesterov), source }
            }
            _ => {
                ConfigError::Rule { given: given("kappa_init", self.constraint.kappa_init), source }
            }
        }
    }

    /// What distinguishes this run, short enough for a folder's name: optimizer, and what regularizes.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut summary = self.optimizer.to_string();
        let mut add = |part: String| {
            summary.push('-');
            summary.push_str(&part);
        };
        match self.optimizer {
            OptimizerChoice::AdamCpr | OptimizerChoice::SgdCpr => {
                add(self.constraint.reg.to_string());
                add(self.constraint.kappa_init.to_string());
                if self.constraint.adaptive != AdaptiveChoice::Off {
                    add(self.constraint.adaptive.to_string());
                }
            }
            OptimizerChoice::PAdam => add(format!("p={}-lambda={}", self.p_norm, self.lambda_p)),
            OptimizerChoice::AdamL32 => add(format!("lambda={}", self.lambda_p)),
            OptimizerChoice::AdamL1 => {
                add(format!("lambda={}", self.lambda_p));
                if let Some(decay) = self.weight_decay {
                    add(format!("wd={decay}"));
                }
            }
            OptimizerChoice::Rescale => add(format!("alpha={}", self.rescale_factor)),
            OptimizerChoice::AdaDecay => {
                add(format!("alpha={}-wd={}", self.adadecay_alpha, self.effective_decay()));
            }
            OptimizerChoice::AdamW | OptimizerChoice::Awd => {
                add(format!("wd={}", self.effective_decay()));
            }
            OptimizerChoice::Adam | OptimizerChoice::Sgd | OptimizerChoice::Amos => {
                if let Some(decay) = self.weight_decay {
                    add(format!("wd={decay}"));
                }
            }
        }
        if self.weight_decay_end != 1.0 && self.inert("weight_decay_end").is_none() {
            add(format!("end={}", self.weight_decay_end));
        }
        summary
    }
}

fn positive(key: &str, value: f64) -> Result<(), ConfigError> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(refused(key, value, "it must be finite and above 0"))
    }
}
