//! The configuration of a constraint, and what its choices are.

use cpr_core::{
    Adaptive, AnyRegularizer, BoundInit, ConstraintConfig, ConstraintRule, Inflection, L1, L2,
    Order, Regularizer, Std, StepRule,
};

use crate::status::CprStatus;

/// Measures R of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CprRegularizer {
    /// The sum of squares.
    L2 = 0,
    /// The sum of magnitudes.
    L1 = 1,
    /// The sample standard deviation.
    Std = 2,
    /// The Huber norm; `parameter` is its delta.
    Huber = 3,
    /// The sum of magnitudes to the power of p; `parameter` is p.
    Lp = 4,
}

/// Ways to set kappa, the upper bound of R.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CprBound {
    /// `kappa` itself.
    Uniform = 0,
    /// `kappa` times the number of elements; not for std.
    UniformPerElement = 1,
    /// `kappa` times R of the parameters at the start.
    Dependent = 2,
    /// R after `steps` steps; free until then.
    WarmStart = 3,
    /// R at its first inflection, sampled every `steps` steps; free until then.
    Inflection = 4,
}

/// Whether kappa falls during training (AdaCPR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CprAdaptive {
    /// It stays.
    Off = 0,
    /// To R where lambda falls back to 0.
    OnRelease = 1,
    /// To R on every step with lambda at 0, once lambda was above 0.
    WhileInactive = 2,
}

/// Where R and its gradient are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CprOrder {
    /// At the parameters after the base step, as the published code.
    AfterBase = 0,
    /// At the parameters before it, as Algorithm 1 of the paper.
    BeforeBase = 1,
}

/// How the correction is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CprStepRule {
    /// theta - l * grad R.
    Gradient = 0,
    /// The prox of l * R.
    Proximal = 1,
}

/// The configuration of a constraint. Fill it with `cpr_config_default`, then change what you like.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct CprConfig {
    /// A `cpr_regularizer`.
    pub regularizer: u32,
    /// A `cpr_bound`.
    pub bound: u32,
    /// A `cpr_adaptive`.
    pub adaptive: u32,
    /// A `cpr_order`.
    pub order: u32,
    /// A `cpr_step_rule`.
    pub step_rule: u32,
    /// 1: a gradient correction carries nothing through zero; 0: it may.
    pub guard: u32,
    /// 1: lr * lambda in place of lambda in the correction; 0: lambda.
    pub scale_by_lr: u32,
    /// 1: the samples of an inflection are smoothed; 0: they are not.
    pub smoothed: u32,
    /// delta of huber, p of lp; not looked at for the others.
    pub parameter: f64,
    /// Rate of lambda, finite and at least 0: mu/n per violation and step for sums, mu for std.
    pub mu: f64,
    /// The bound (at least 0) or the factor (finite, above 0) of the first three rules for kappa.
    pub kappa: f64,
    /// Steps of a warm start or between the samples of an inflection, at least 1.
    pub steps: u64,
    /// Steps within which no sample of an inflection sets kappa.
    pub burn_in: u64,
    /// Weight of the past in the smoothed samples, at least 0 and below 1.
    pub smoothing: f64,
}

impl CprConfig {
    /// The library's defaults for a regularizer, with kappa = 1 * R at the start.
    pub(crate) fn default_of(regularizer: u32, parameter: f64) -> Result<Self, CprStatus> {
        let any = any(regularizer, parameter)?;
        let config = ConstraintConfig::new(any, BoundInit::Dependent(1.0));
        config.regularizer.check(config.order)?;
        Ok(Self {
            regularizer,
            bound: CprBound::Dependent as u32,
            adaptive: CprAdaptive::Off as u32,
            order: match config.order {
                Order::AfterBase => CprOrder::AfterBase as u32,
                Order::BeforeBase => CprOrder::BeforeBase as u32,
            },
            step_rule: CprStepRule::Gradient as u32,
            guard: u32::from(config.guard),
            scale_by_lr: u32::from(config.scale_by_lr),
            smoothed: 0,
            parameter,
            mu: config.mu,
            kappa: 1.0,
            steps: 1,
            burn_in: 0,
            smoothing: 0.0,
        })
    }

    /// The rule of this configuration.
    pub(crate) fn rule(&self) -> Result<ConstraintRule<AnyRegularizer>, CprStatus> {
        let bound = match self.bound {
            0 => BoundInit::Uniform(self.kappa),
            1 => BoundInit::UniformPerElement(self.kappa),
            2 => BoundInit::Dependent(self.kappa),
            3 => BoundInit::WarmStart(self.steps),
            4 => BoundInit::Inflection(Inflection {
                interval: self.steps,
                smoothing: flag(self.smoothed)?.then_some(self.smoothing),
                burn_in: self.burn_in,
            }),
            _ => return Err(CprStatus::Choice),
        };
        Ok(ConstraintRule::new(ConstraintConfig {
            regularizer: any(self.regularizer, self.parameter)?,
            bound,
            adaptive: match self.adaptive {
                0 => Adaptive::Off,
                1 => Adaptive::OnRelease,
                2 => Adaptive::WhileInactive,
                _ => return Err(CprStatus::Choice),
            },
            mu: self.mu,
            order: match self.order {
                0 => Order::AfterBase,
                1 => Order::BeforeBase,
                _ => return Err(CprStatus::Choice),
            },
            step_rule: match self.step_rule {
                0 => StepRule::Gradient,
                1 => StepRule::Proximal,
                _ => return Err(CprStatus::Choice),
            },
            guard: flag(self.guard)?,
            scale_by_lr: flag(self.scale_by_lr)?,
        })?)
    }
}

/// The measure of these numbers.
fn any(regularizer: u32, parameter: f64) -> Result<AnyRegularizer, CprStatus> {
    match regularizer {
        0 => Ok(L2.into()),
        1 => Ok(L1.into()),
        2 => Ok(Std.into()),
        3 => Ok(AnyRegularizer::huber(parameter)?),
        4 => Ok(AnyRegularizer::lp(parameter)?),
        _ => Err(CprStatus::Choice),
    }
}

/// A flag.
pub(crate) const fn flag(given: u32) -> Result<bool, CprStatus> {
    match given {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CprStatus::Flag),
    }
}
