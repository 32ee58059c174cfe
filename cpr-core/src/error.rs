//! Errors: small, `Copy`, and settled before the first step. Nothing on a hot path returns one.

use core::fmt;

/// Slices that belong together differ in length.
///
/// Returned where a view is built ([`Shard::new`](crate::Shard::new)), so that the steps on it cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthError {
    /// Which slice differs.
    pub slice: Slice,
    /// Its length.
    pub given: usize,
    /// The length it must have.
    pub expected: usize,
}

/// The slice that a [`LengthError`] speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// The gradient.
    Gradient,
    /// The moment buffer of this index, in the order of the base rule.
    Moment(usize),
    /// The list of shards of a [`ConstraintSet`](crate::ConstraintSet): its length is the number of groups.
    Groups,
    /// The parameters of the group of this index.
    Group(usize),
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slice, given, expected } = self;
        match slice {
            Slice::Gradient => write!(f, "the gradient has {given} elements, its parameters")?,
            Slice::Moment(index) => {
                write!(f, "moment buffer {index} has {given} elements, its parameters")?;
            }
            Slice::Groups => write!(f, "{given} shards were given, the groups of the set")?,
            Slice::Group(index) => {
                write!(f, "the shard of group {index} has {given} elements, the group")?;
            }
        }
        write!(f, " {expected}: give as many")
    }
}

impl core::error::Error for LengthError {}

/// A hyperparameter is out of its range, or two of them exclude each other.
///
/// Returned where a configuration becomes a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number outside its range.
    OutOfRange {
        /// The option's name, as it stands in the configuration.
        option: &'static str,
        /// What was given.
        given: f64,
        /// The range that is allowed.
        limit: &'static str,
    },
    /// A number of steps that must be at least one is zero.
    ZeroSteps {
        /// The option's name.
        option: &'static str,
    },
    /// A bound per element on a measure that is no sum over elements.
    PerElementOfNoSum,
    /// An lp bound with p <= 1 in an order that cannot hold it.
    PowerNeedsBeforeBase {
        /// The exponent p.
        given: f64,
    },
    /// Nesterov momentum without momentum, or with dampening.
    NesterovNeedsMomentum,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { option, given, limit } => {
                write!(f, "{option} = {given} is out of range: it must be {limit}")
            }
            Self::ZeroSteps { option } => {
                write!(f, "{option} = 0 steps: it must be at least 1")
            }
            Self::PerElementOfNoSum => f.write_str(
                "a bound per element needs a regularizer that is a sum over elements: \
                 for std give the bound on R itself",
            ),
            Self::PowerNeedsBeforeBase { given } => write!(
                f,
                "an lp bound with p = {given} <= 1 needs the order BeforeBase: \
                 after an Adam step R cannot get below a floor set by the learning rate, and lambda winds up"
            ),
            Self::NesterovNeedsMomentum => {
                f.write_str("nesterov needs momentum > 0 and dampening = 0")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

/// A group (one matrix and its constraint) cannot be made of these parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum GroupError {
    /// The sample standard deviation of a single element does not exist.
    TooFewElements {
        /// Number of elements given.
        given: u64,
        /// Number of elements needed.
        limit: u64,
    },
    /// κ = k·R of parameters with R = 0 would hold them at zero for ever.
    DependentOnZero,
    /// κ = k·R overflows, or underflows to 0.
    DependentOutOfRange {
        /// k·R.
        given: f64,
    },
    /// R of the initial parameters is not finite.
    NonFinite {
        /// R as it was measured.
        given: f64,
    },
    /// A [`ConstraintSet`](crate::ConstraintSet) is full.
    Full {
        /// How many groups it holds.
        limit: usize,
    },
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewElements { given, limit } => write!(
                f,
                "the standard deviation needs at least {limit} elements, the group has {given}: \
                 leave it unregularised, or choose l2"
            ),
            Self::DependentOnZero => f.write_str(
                "a dependent bound is a multiple of R at the start, and R is 0 here: \
                 choose uniform, warm_start or inflection for this group",
            ),
            Self::DependentOutOfRange { given } => write!(
                f,
                "the dependent bound k·R is {given}, which is no bound: choose another multiple, or uniform"
            ),
            Self::NonFinite { given } => {
                write!(f, "R of the initial parameters is {given}: they must be finite")
            }
            Self::Full { limit } => {
                write!(f, "the set holds {limit} groups already: give it a larger capacity")
            }
        }
    }
}

impl core::error::Error for GroupError {}

/// `Ok` where `given` is in range, for the constructors of rules.
pub(crate) fn in_range(
    option: &'static str,
    given: f64,
    limit: &'static str,
    holds: bool,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::OutOfRange { option, given, limit }) }
}

/// `Ok` where `given` is finite and at least 0; NaN and ∞ are refused.
pub(crate) fn non_negative(option: &'static str, given: f64) -> Result<(), ConfigError> {
    in_range(option, given, "finite and at least 0", given >= 0.0 && given.is_finite())
}

/// `Ok` where `given` is finite and above 0; NaN and ∞ are refused.
pub(crate) fn positive(option: &'static str, given: f64) -> Result<(), ConfigError> {
    in_range(option, given, "finite and above 0", given > 0.0 && given.is_finite())
}

/// `Ok` where `given` is an exponent p of a p-norm: above 0 and at most 64, the range of the power's stated error.
pub(crate) fn exponent(given: f64) -> Result<(), ConfigError> {
    in_range("p", given, "above 0 and at most 64", given > 0.0 && given <= 64.0)
}
