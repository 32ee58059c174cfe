//! What an engine is told of the parameters, on every device alike: plain scalars and O(1) state.

use candle_core::{DType, Var};
use cpr_core::{
    AnyRegularizer, Constraint, ConstraintRule,
    base::{Adam, Amos, AmosState, AmsGrad, Decayed, ModelScale, Momentum, Sgd, WeightDecay},
};
use cpr_host::optim::{BaseSpec, DecayRule};

/// A base optimizer, chosen at run time; validated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Base {
    /// SGD, no moments.
    Sgd(Sgd),
    /// SGD with momentum, one moment.
    Momentum(Momentum),
    /// Adam, two moments; AdamW by its decay.
    Adam(Adam),
    /// AMSGrad, three moments.
    AmsGrad(AmsGrad),
    /// Adam and a decay after its step, two moments.
    DecayedAdam(Decayed<Adam>),
    /// AMSGrad and a decay after its step, three moments.
    DecayedAmsGrad(Decayed<AmsGrad>),
    /// Amos for a parameter of this scale: no moments, or one for its momentum, and v and b of the whole parameter.
    Amos(Amos, ModelScale),
}

impl From<BaseSpec> for Base {
    /// The same rule; the scale of an Amos is for the optimizer's builder to fill in.
    fn from(base: BaseSpec) -> Self {
        match base {
            BaseSpec::Sgd(rule) => Self::Sgd(rule),
            BaseSpec::Momentum(rule) => Self::Momentum(rule),
            BaseSpec::Adam(rule) => Self::Adam(rule),
            BaseSpec::AmsGrad(rule) => Self::AmsGrad(rule),
            BaseSpec::DecayedAdam(rule) => Self::DecayedAdam(rule),
            BaseSpec::Amos(rule) => Self::Amos(rule, ModelScale::Bias),
        }
    }
}

impl Base {
    /// Whether it has a decay of its own, whatever its strength.
    pub(crate) const fn decays(&self) -> bool {
        let decay = match self {
            Self::Sgd(rule) => rule.config().weight_decay,
            Self::Momentum(rule) => rule.config().weight_decay,
            Self::Adam(rule) | Self::AmsGrad(AmsGrad(rule)) => rule.config().weight_decay,
            Self::DecayedAdam(_) | Self::DecayedAmsGrad(_) | Self::Amos(..) => return true,
        };
        !matches!(decay, WeightDecay::None)
    }

    /// The names of its moments in a checkpoint (torch's), in the order of the rule; each is as long as the parameter.
    #[must_use]
    pub const fn moments(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd(_) => &[],
            Self::Momentum(_) => &["momentum_buffer"],
            Self::Adam(_) | Self::DecayedAdam(_) => &["exp_avg", "exp_avg_sq"],
            Self::AmsGrad(_) | Self::DecayedAmsGrad(_) => {
                &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
            }
            Self::Amos(amos, _) if amos.config().momentum > 0.0 => &["exp_avg"],
            Self::Amos(..) => &[],
        }
    }
}

/// How the parameters of one group are stepped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupSpec {
    /// The base optimizer with its decay.
    pub base: Base,
    /// The learning rate of the group is this multiple of the optimizer's; finite and at least 0.
    pub lr_factor: f64,
    /// The bound of each of its matrices, if there is one.
    pub constraint: Option<ConstraintRule<AnyRegularizer>>,
    /// How the decay changes from step to step. Under AWD the average is over all parameters of the optimizer that have it;
    /// all of them have the same. AdaDecay stands beside no constraint, over a base that does not decay.
    pub decay_rule: DecayRule,
}

/// One trainable parameter: a variable, how it is stepped, and its constraint as it stands before the first step.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name, unique in its optimizer.
    pub name: String,
    /// The variable; contiguous, on the engine's device.
    pub var: Var,
    /// How it is stepped.
    pub spec: GroupSpec,
    /// The constraint, started from the variable's value; for bf16 and f16 from that value in f32.
    pub constraint: Option<Constraint<AnyRegularizer>>,
}

impl Parameter {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.var.elem_count()
    }
}

/// The type of master weights and moments of a variable of this type: f64 for f64, else f32.
#[must_use]
pub const fn master_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

/// Elements of a parameter or of a moment on the host, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Single precision; also of bf16 and f16 parameters.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl Values {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The whole state of one parameter on the host, as a checkpoint has it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterState {
    /// The weights; for bf16 and f16 the f32 master weights.
    pub theta: Values,
    /// In the order of [`Base::moments`].
    pub moments: Vec<Values>,
    /// Steps that this parameter has taken, its t: fewer than the optimizer's where it had no gradient at times.
    pub steps: u64,
    /// The constraint as it stands.
    pub constraint: Option<Constraint<AnyRegularizer>>,
    /// v and b of Amos, where that is the base.
    pub amos: Option<AmosState>,
}
