//! What a function says of its work.

use core::ffi::CStr;

use cpr_core::{ConfigError, GroupError, LengthError};

/// What became of a call. Anything but `Ok` changed nothing, `Panicked` aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum CprStatus {
    /// Done.
    Ok = 0,
    /// The gradient is not finite: the step was not taken. Do not count it in t.
    Skipped = 1,
    /// A pointer is null.
    NullPointer = -1,
    /// A pointer is not aligned for what it points to.
    Misaligned = -2,
    /// Two buffers share memory.
    Overlap = -3,
    /// A length is not that of the matrix that the constraint was started with, or too large for memory.
    Length = -4,
    /// A field that chooses one of several has a value that is none of them.
    Choice = -5,
    /// A flag is neither 0 nor 1.
    Flag = -6,
    /// The constraint was never started, was altered, or is of a version that this library does not know.
    NoConstraint = -7,
    /// `parameter` is out of range: delta must be finite and above 0, p above 0 and at most 64.
    Parameter = -10,
    /// `mu` must be finite and at least 0.
    Mu = -11,
    /// `kappa` is out of range: a bound must be at least 0, a factor finite and above 0.
    Kappa = -12,
    /// `steps` must be at least 1.
    Steps = -13,
    /// `smoothing` must be at least 0 and below 1.
    Smoothing = -14,
    /// A bound per element needs a regularizer that is a sum: not std.
    PerElementOfNoSum = -15,
    /// lp with p <= 1 needs the order before base.
    PowerNeedsBeforeBase = -16,
    /// `beta1` or `beta2` is not at least 0 and below 1.
    Beta = -20,
    /// `eps` must be finite and at least 0.
    Eps = -21,
    /// `weight_decay` must be finite and at least 0.
    WeightDecay = -22,
    /// `lr` must be finite and at least 0.
    LearningRate = -23,
    /// `t` counts steps from 1.
    StepNumber = -24,
    /// After a step of one's own only a constraint of the order after base can act.
    OwnStepNeedsAfterBase = -25,
    /// The standard deviation needs at least two elements.
    TooFewElements = -30,
    /// A dependent bound is a multiple of R at the start, and R is 0.
    DependentOnZero = -31,
    /// The dependent bound overflows, or underflows to 0.
    DependentOutOfRange = -32,
    /// R of the parameters is not finite.
    NonFinite = -33,
    /// An option is out of its range.
    Option = -40,
    /// A defect of this library: it panicked, and the memory it was given may be half written.
    Panicked = -99,
}

impl CprStatus {
    /// Every status.
    const ALL: [Self; 28] = [
        Self::Ok,
        Self::Skipped,
        Self::NullPointer,
        Self::Misaligned,
        Self::Overlap,
        Self::Length,
        Self::Choice,
        Self::Flag,
        Self::NoConstraint,
        Self::Parameter,
        Self::Mu,
        Self::Kappa,
        Self::Steps,
        Self::Smoothing,
        Self::PerElementOfNoSum,
        Self::PowerNeedsBeforeBase,
        Self::Beta,
        Self::Eps,
        Self::WeightDecay,
        Self::LearningRate,
        Self::StepNumber,
        Self::OwnStepNeedsAfterBase,
        Self::TooFewElements,
        Self::DependentOnZero,
        Self::DependentOutOfRange,
        Self::NonFinite,
        Self::Option,
        Self::Panicked,
    ];

    /// The status of this code.
    pub(crate) fn of_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|&status| status as i32 == code)
    }

    /// What it means, and what to do.
    pub(crate) const fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"done",
            Self::Skipped => {
                c"the gradient is not finite and the step was not taken: do not count it"
            }
            Self::NullPointer => c"a pointer is null: every pointer must lead to memory",
            Self::Misaligned => c"a pointer is not aligned for its type",
            Self::Overlap => c"two buffers share memory: give each its own",
            Self::Length => {
                c"the length is not that of the matrix that the constraint was started with: \
                  give the whole matrix"
            }
            Self::Choice => c"a field that chooses one of several holds none of them: see cpr.h",
            Self::Flag => c"a flag is neither 0 nor 1",
            Self::NoConstraint => {
                c"this is no constraint, or it was altered: make it with cpr_constraint_start"
            }
            Self::Parameter => {
                c"parameter: delta must be finite and above 0, p above 0 and at most 64"
            }
            Self::Mu => c"mu must be finite and at least 0",
            Self::Kappa => {
                c"kappa: a bound must be at least 0, the factor of a dependent one finite and above 0"
            }
            Self::Steps => c"steps must be at least 1",
            Self::Smoothing => c"smoothing must be at least 0 and below 1",
            Self::PerElementOfNoSum => {
                c"a bound per element needs a regularizer that is a sum: for std give it on R itself"
            }
            Self::PowerNeedsBeforeBase => c"lp with p <= 1 needs the order before base",
            Self::Beta => c"beta1 and beta2 must be at least 0 and below 1",
            Self::Eps => c"eps must be finite and at least 0",
            Self::WeightDecay => c"weight_decay must be finite and at least 0",
            Self::LearningRate => c"lr must be finite and at least 0",
            Self::StepNumber => c"t counts steps from 1",
            Self::OwnStepNeedsAfterBase => {
                c"a step of one's own needs the order after base: else use this library's Adam"
            }
            Self::TooFewElements => {
                c"the standard deviation needs two elements: leave this matrix free, or choose l2"
            }
            Self::DependentOnZero => {
                c"R is 0 at the start, and so is every multiple: choose another rule for kappa"
            }
            Self::DependentOutOfRange => {
                c"the multiple of R is no bound: choose another multiple, or a uniform one"
            }
            Self::NonFinite => c"R of the parameters is not finite: they must be",
            Self::Option => c"an option is out of its range",
            Self::Panicked => c"a defect of this library: please report it",
        }
    }
}

impl From<ConfigError> for CprStatus {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::OutOfRange { option, .. } => match option {
                "delta" | "p" => Self::Parameter,
                "mu" => Self::Mu,
                "kappa" | "dependent" => Self::Kappa,
                "inflection smoothing" => Self::Smoothing,
                "beta1" | "beta2" => Self::Beta,
                "eps" => Self::Eps,
                "weight_decay" => Self::WeightDecay,
                _ => Self::Option,
            },
            ConfigError::ZeroSteps { .. } => Self::Steps,
            ConfigError::PerElementOfNoSum => Self::PerElementOfNoSum,
            ConfigError::PowerNeedsBeforeBase { .. } => Self::PowerNeedsBeforeBase,
            _ => Self::Option,
        }
    }
}

impl From<GroupError> for CprStatus {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::TooFewElements { .. } => Self::TooFewElements,
            GroupError::DependentOnZero => Self::DependentOnZero,
            GroupError::DependentOutOfRange { .. } => Self::DependentOutOfRange,
            GroupError::NonFinite { .. } => Self::NonFinite,
            _ => Self::Option,
        }
    }
}

impl From<LengthError> for CprStatus {
    fn from(_: LengthError) -> Self {
        Self::Length
    }
}

impl From<Result<(), Self>> for CprStatus {
    fn from(result: Result<(), Self>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(status) => status,
        }
    }
}
