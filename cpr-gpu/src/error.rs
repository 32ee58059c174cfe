//! What can go wrong, each with the parameter's name and what to do next.

use candle_core::{DType, DeviceLocation, Shape};
use cpr_core::{ConfigError, DecodeError, GroupError};
use cpr_host::{checkpoint::CheckpointError, parallel::WorkersError, schedule::ScheduleError};

/// Why an optimizer could not be made, stepped, saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A hyperparameter is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A number of the optimizer's own options is out of range.
    #[error("{option} = {given} is out of range: it must be {limit}")]
    OutOfRange {
        /// The option.
        option: &'static str,
        /// What was given.
        given: f64,
        /// The range.
        limit: &'static str,
    },
    /// A learning-rate schedule cannot be made.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The threads could not be started.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// A parameter cannot be under its constraint.
    #[error("parameter `{name}`: {source}")]
    Group {
        /// The parameter.
        name: String,
        /// Why.
        source: GroupError,
    },
    /// Two rules that do not go together.
    #[error("parameter `{name}` has {what}: take one of the two away")]
    Decay {
        /// The parameter.
        name: String,
        /// The two.
        what: &'static str,
    },
    /// A glob cannot be read.
    #[error("the pattern `{pattern}` is no glob: {source}; write for example `blocks.*.attn.*`")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: globset::Error,
    },
    /// A pattern fits no parameter.
    #[error(
        "the pattern `{pattern}` fits none of the {parameters} parameters: it would have no effect; \
         correct it (the table of groups shows the names) or remove it"
    )]
    UnusedPattern {
        /// The pattern.
        pattern: String,
        /// How many parameters there are.
        parameters: usize,
    },
    /// Two parameters have one name.
    #[error("two parameters are named `{name}`: rename one, for the state finds them by name")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// One variable was given twice.
    #[error(
        "`{first}` and `{second}` are the same variable: give tied weights once, or they are stepped twice"
    )]
    SharedVariable {
        /// The name it was given first.
        first: String,
        /// The name it was given second.
        second: String,
    },
    /// A variable of a type that has no step.
    #[error(
        "parameter `{name}` is {dtype:?}: f32, f64, bf16 and f16 can be trained; \
         leave it out, or keep it as one of these"
    )]
    Dtype {
        /// The parameter.
        name: String,
        /// Its type.
        dtype: DType,
    },
    /// A variable on a device that this build has no engine for.
    #[error(
        "parameter `{name}` is on {device:?}, where this build has no optimizer: \
         use the CPU, or build with the feature `cuda` for a CUDA device"
    )]
    Device {
        /// The parameter.
        name: String,
        /// Where it is.
        device: DeviceLocation,
    },
    /// Variables on several devices.
    #[error(
        "`{first}` and `{second}` are on different devices: make one optimizer for each device"
    )]
    MixedDevices {
        /// A parameter.
        first: String,
        /// Another one.
        second: String,
    },
    /// A variable whose elements are not one after the other.
    #[error(
        "the elements of parameter `{name}` are not contiguous: make it from a contiguous tensor"
    )]
    Strided {
        /// The parameter.
        name: String,
    },
    /// Trainable parameters have no gradient.
    #[error(
        "no gradient for {}: the loss does not depend on {}, or a layer on the way has no backward \
         pass (in candle: the fused layer norm, rms norm, softmax, rope); use one that has, or allow \
         the absence with `Strict::except`",
        quoted(.names), if .names.len() == 1 { "it" } else { "them" }
    )]
    MissingGradient {
        /// The parameters.
        names: Vec<String>,
    },
    /// A gradient has another shape than its parameter.
    #[error(
        "the gradient of `{name}` has the shape {given:?}, the parameter {expected:?}: insert it under its own variable"
    )]
    GradientShape {
        /// The parameter.
        name: String,
        /// Shape of the gradient.
        given: Shape,
        /// Shape of the parameter.
        expected: Shape,
    },
    /// A gradient has a type that cannot be added to its parameter.
    #[error(
        "the gradient of `{name}` is {given:?}, the parameter {expected:?}: give it the parameter's type"
    )]
    GradientDtype {
        /// The parameter.
        name: String,
        /// Type of the gradient.
        given: DType,
        /// Type of the parameter.
        expected: DType,
    },
    /// A gradient is on another device than its parameter.
    #[error(
        "the gradient of `{name}` is on {given:?}, the parameter on {expected:?}: move it there"
    )]
    GradientDevice {
        /// The parameter.
        name: String,
        /// Device of the gradient.
        given: DeviceLocation,
        /// Device of the parameter.
        expected: DeviceLocation,
    },
    /// State was asked for of parameters without names.
    #[error(
        "the optimizer was made from variables without names, and its state finds parameters by name: \
         make it with `from_varmap` or `from_named`"
    )]
    Unnamed,
    /// No parameter of that name.
    #[error("there is no parameter `{name}`: the table of groups shows the names")]
    UnknownParameter {
        /// The name.
        name: String,
    },
    /// A checkpoint cannot be read, written or bound.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint's constraint record does not decode.
    #[error("the constraint record of `{name}`: {source}")]
    Record {
        /// The parameter.
        name: String,
        /// Why.
        source: DecodeError,
    },
    /// A checkpoint's constraint was made under other settings.
    #[error(
        "the constraint of `{name}` was saved under other settings ({what}): make the optimizer with those, \
         or load with `Constraints::Afresh`"
    )]
    OtherRule {
        /// The parameter.
        name: String,
        /// What differs.
        what: &'static str,
    },
    /// A checkpoint says things of its optimizer that contradict its tensors.
    #[error("the optimizer section of the checkpoint is damaged: {what}")]
    OptimizerSection {
        /// What.
        what: String,
    },
}

/// The first names, quoted, and how many more there are.
fn quoted(names: &[String]) -> String {
    const SHOWN: usize = 16;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let rest = names.len().saturating_sub(SHOWN);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            other => Self::wrap(other),
        }
    }
}
