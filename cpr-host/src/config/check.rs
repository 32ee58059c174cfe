//! Ranges, and what two keys say together.

use cpr_core::{AnyRegularizer, L1, L2, Std, base::WeightDecay};
use cpr_core::{
    BoundInit, ConstraintConfig, ConstraintRule, Inflection, Regularizer,
    base::{Adam, AdamConfig, AmsGrad, Decay, Decayed, Momentum, MomentumConfig, Sgd, SgdConfig},
};

use super::{
    ConfigError, GrokkingConfig, KappaInit, OptimizerChoice, RegularizerChoice,
    error::{given, refused},
};
use crate::{
    optim::{BaseSpec, OptimizerSpec},
    run_folder::{ALLOWED, fault_of_name},
    schedule::{Schedule, ScheduleConfig, ScheduleError},
};

/// The weight decay of AdamW where none is given.
const ADAMW_DECAY: f64 = 0.1;

impl GrokkingConfig {
    /// Checks the range of every key that has an effect, and that the keys fit together.
    ///
    /// # Errors
    /// The first key that does not, with its value and what is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_run()?;
        self.check_data_and_model()?;
        self.optimizer()?;
        // The warm-up is held against the length where that is known: in steps.
        let steps = if self.steps == 0 { u64::MAX } else { self.steps };
        self.schedule(steps)?;
        Ok(())
    }

    fn check_run(&self) -> Result<(), ConfigError> {
        let need = |key, value: &dyn std::fmt::Display, limit, holds| {
            if holds { Ok(()) } else { Err(refused(key, value, limit)) }
        };
        // TOML has no larger integers.
        let limit = "it must be at most 2^63 - 1";
        for (key, count) in [
            ("seed", self.seed),
            ("steps", self.steps),
            ("epochs", self.epochs),
            ("eval_every", self.eval_every),
            ("checkpoint_every", self.checkpoint_every),
            ("warmup", self.warmup),
            ("inflection_burn_in", self.inflection_burn_in),
            ("max_bad_steps", self.max_bad_steps),
        ] {
            need(key, &count, limit, i64::try_from(count).is_ok())?;
        }
        need("keep", &self.keep, "it must be at most 2^31", self.keep <= 1 << 31)?;
        need("threads", &self.threads, "it must be at most 1024", self.threads <= 1024)?;
        if self.steps == 0 {
            need("epochs", &self.epochs, "it must be at least 1", self.epochs >= 1)?;
        }
        if let Some(accuracy) = self.stop_at_accuracy {
            let holds = accuracy > 0.0 && accuracy <= 1.0;
            need("stop_at_accuracy", &accuracy, "it must be in (0, 1]", holds)?;
        }
        need("eval_every", &self.eval_every, "it must be at least 1", self.eval_every >= 1)?;
        let bad = self.max_bad_steps;
        need("max_bad_steps", &bad, "it must be at least 1", bad >= 1)?;
        let out = self.out.to_str().filter(|out| !out.is_empty());
        let limit = "it must be the name of a folder, in UTF-8";
        need("out", &format!("{:?}", self.out), limit, out.is_some())?;
        if let Some(name) = &self.name
            && let Some(fault) = fault_of_name(name)
        {
            return Err(refused("name", format!("{name:?}"), &format!("{fault}; {ALLOWED}")));
        }
        Ok(())
    }

    fn check_data_and_model(&self) -> Result<(), ConfigError> {
        let need = |key, value: &dyn std::fmt::Display, limit, holds| {
            if holds { Ok(()) } else { Err(refused(key, value, limit)) }
        };
        let Self { p, train_fraction, batch, dim, heads, mlp_ratio, .. } = *self;
        need("p", &p, "it must be 2 to 2048", (2..=2048).contains(&p))?;
        let open = train_fraction > 0.0 && train_fraction < 1.0;
        need("train_fraction", &train_fraction, "it must be in (0, 1)", open)?;
        // Whichever way the share is rounded, both sides have a pair.
        let pairs = u32::try_from(p * p).map_or(f64::INFINITY, f64::from);
        let both = pairs * train_fraction >= 1.0 && pairs * (1.0 - train_fraction) >= 1.0;
        let limit = "it must leave at least one of the p^2 pairs on each side";
        need("train_fraction", &train_fraction, limit, both)?;
        let largest = 1 << 24;
        need("batch", &batch, "it must be 1 to 2^24", (1..=largest).contains(&batch))?;
        need("heads", &heads, "it must be at least 1", heads >= 1)?;
        need("dim", &dim, "it must be 1 to 16384", (1..=16384).contains(&dim))?;
        let limit = format!("it must be a multiple of --heads {heads}");
        need("dim", &dim, &limit, dim.is_multiple_of(heads))?;
        need("mlp_ratio", &mlp_ratio, "it must be 1 to 64", (1..=64).contains(&mlp_ratio))
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

    /// The optimizer: base rules, constraint, and what acts on the whole gradient.
    ///
    /// # Errors
    /// [`ConfigError::Value`] and [`ConfigError::Rule`], with the key and its value.
    pub fn optimizer(&self) -> Result<OptimizerSpec, ConfigError> {
        positive("lr", self.lr)?;
        if let Some(clip) = self.clip {
            positive("clip", clip)?;
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
            OptimizerChoice::PAdam => {
                let adam = self.plain_adam(WeightDecay::None)?;
                let decay = Decay::PNorm {
                    p: self.p_norm,
                    lambda: self.lambda_p,
                    late: self.padam_late,
                    flush: true,
                };
                let decayed = Decayed::new(adam, decay).map_err(|source| self.named(source))?;
                (BaseSpec::DecayedAdam(decayed), BaseSpec::Adam(adam))
            }
        };
        let constraint = match self.optimizer.is_constrained() {
            true => Some(self.constraint()?),
            false => None,
        };
        let rescale = match self.optimizer {
            OptimizerChoice::Rescale => {
                positive("rescale_factor", self.rescale_factor)?;
                Some(self.rescale_factor)
            }
            _ => None,
        };
        Ok(OptimizerSpec { regularized, free, constraint, rescale, lr: self.lr, clip: self.clip })
    }

    /// The weight decay in force: what was given, or the optimizer's own default.
    pub(super) fn effective_decay(&self) -> f64 {
        self.weight_decay.unwrap_or(match self.optimizer {
            OptimizerChoice::AdamW => ADAMW_DECAY,
            _ => 0.0,
        })
    }

    fn plain_adam(&self, weight_decay: WeightDecay) -> Result<Adam, ConfigError> {
        let Self { beta1, beta2, eps, .. } = *self;
        Adam::new(AdamConfig { beta1, beta2, eps, weight_decay, maximize: false })
            .map_err(|source| self.named(source))
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
        match self.reg {
            RegularizerChoice::L2 => Ok(L2.into()),
            RegularizerChoice::L1 => Ok(L1.into()),
            RegularizerChoice::Std => Ok(Std.into()),
            RegularizerChoice::Huber(delta) => AnyRegularizer::huber(delta),
            RegularizerChoice::Lp(p) => AnyRegularizer::lp(p),
        }
        .map_err(|source| match source {
            cpr_core::ConfigError::OutOfRange { limit, .. } => {
                refused("reg", self.reg, &format!("its number must be {limit}"))
            }
            source => ConfigError::Rule { given: given("reg", self.reg), source },
        })
    }

    pub(super) fn constraint(&self) -> Result<ConstraintRule<AnyRegularizer>, ConfigError> {
        let regularizer = self.regularizer()?;
        let defaults = regularizer.defaults();
        let config = ConstraintConfig {
            regularizer,
            bound: self.bound()?,
            adaptive: self.adaptive.into(),
            mu: self.mu.unwrap_or(defaults.mu),
            order: self.order.map_or(defaults.order, Into::into),
            step_rule: self.step_rule.into(),
            guard: self.guard,
            scale_by_lr: self.scale_by_lr.unwrap_or(defaults.scale_by_lr),
        };
        ConstraintRule::new(config).map_err(|source| self.named(source))
    }

    fn bound(&self) -> Result<BoundInit, ConfigError> {
        let without_warmup = || {
            let expected = "it is measured in learning-rate warm-ups: give --warmup, or a number of \
                            steps";
            Err(refused("kappa_init", self.kappa_init, expected))
        };
        Ok(match self.kappa_init {
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
                    smoothing: self.inflection_smoothing,
                    burn_in: self.inflection_burn_in,
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
                    "inflection smoothing" => refused("inflection_smoothing", given, &limit),
                    "kappa" | "dependent" | "warm_start" => {
                        let limit = format!("its number must be {}", &limit["it must be ".len()..]);
                        refused("kappa_init", self.kappa_init, &limit)
                    }
                    key => refused(key, given, &limit),
                }
            }
            Core::ZeroSteps { .. } => {
                refused("kappa_init", self.kappa_init, "it must be at least 1 step")
            }
            Core::PowerNeedsBeforeBase { .. } => {
                let order = self.order.map_or_else(String::new, |order| order.to_string());
                ConfigError::Rule { given: given("order", order), source }
            }
            Core::NesterovNeedsMomentum => {
                ConfigError::Rule { given: given("nesterov", self.nesterov), source }
            }
            _ => ConfigError::Rule { given: given("kappa_init", self.kappa_init), source },
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
                add(self.reg.to_string());
                add(self.kappa_init.to_string());
                if self.adaptive != super::AdaptiveChoice::Off {
                    add(self.adaptive.to_string());
                }
            }
            OptimizerChoice::PAdam => add(format!("p={}-lambda={}", self.p_norm, self.lambda_p)),
            OptimizerChoice::Rescale => add(format!("alpha={}", self.rescale_factor)),
            OptimizerChoice::AdamW => {
                add(format!("wd={}", self.weight_decay.unwrap_or(ADAMW_DECAY)))
            }
            OptimizerChoice::Adam | OptimizerChoice::Sgd => {
                if let Some(decay) = self.weight_decay {
                    add(format!("wd={decay}"));
                }
            }
        }
        summary
    }

    /// Steps in an epoch of that many training pairs, the last one with what is left; at least 1.
    #[must_use]
    pub fn steps_per_epoch(&self, train_pairs: u64) -> u64 {
        let batch = u64::try_from(self.batch).unwrap_or(u64::MAX);
        train_pairs.div_ceil(batch.max(1)).max(1)
    }

    /// Steps of the run: `steps`, or those of `epochs` epochs.
    #[must_use]
    pub fn total_steps(&self, train_pairs: u64) -> u64 {
        match self.steps {
            0 => self.epochs.saturating_mul(self.steps_per_epoch(train_pairs)),
            steps => steps,
        }
    }
}

fn positive(key: &str, value: f64) -> Result<(), ConfigError> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(refused(key, value, "it must be finite and above 0"))
    }
}
