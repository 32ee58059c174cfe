//! Why a layer refused its arguments.

use candle_core::{DType, Shape};

/// What is wrong with the arguments of a layer, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A type that the layer has no kernel for on the CPU.
    #[error(
        "{layer}: there is no {dtype:?} on the CPU: convert to f32 with `to_dtype(DType::F32)`, or use a CUDA device"
    )]
    Dtype {
        /// The layer.
        layer: &'static str,
        /// The type.
        dtype: DType,
    },
    /// Arguments of different types.
    #[error("{layer}: {given:?} meets {expected:?}: convert one of them with `to_dtype`")]
    MixedDtypes {
        /// The layer.
        layer: &'static str,
        /// Type of the other argument.
        given: DType,
        /// Type of the input.
        expected: DType,
    },
    /// A shape that does not fit.
    #[error("{layer}: the {what} has the shape {given:?}; it must be {expected}")]
    Shape {
        /// The layer.
        layer: &'static str,
        /// Which argument.
        what: &'static str,
        /// Its shape.
        given: Shape,
        /// What it must be.
        expected: String,
    },
    /// An option that is out of range.
    #[error("{layer}: {option} = {given} is out of range: it must be {limit}")]
    OutOfRange {
        /// The layer.
        layer: &'static str,
        /// The option.
        option: &'static str,
        /// What was given.
        given: f64,
        /// The range.
        limit: &'static str,
    },
    /// A label that is no class.
    #[error("cross entropy: label {label} of row {row} is none of the {classes} classes")]
    Label {
        /// The label.
        label: i64,
        /// Its row.
        row: usize,
        /// How many classes there are.
        classes: usize,
    },
}

impl From<LayerError> for candle_core::Error {
    fn from(error: LayerError) -> Self {
        Self::wrap(error)
    }
}

/// The error of a shape, for `?`.
pub(super) fn shape(
    layer: &'static str,
    what: &'static str,
    given: &Shape,
    expected: impl Into<String>,
) -> candle_core::Error {
    LayerError::Shape { layer, what, given: given.clone(), expected: expected.into() }.into()
}

/// The error of an option, for `?`.
pub(super) fn range(
    layer: &'static str,
    option: &'static str,
    given: f64,
    limit: &'static str,
) -> candle_core::Error {
    LayerError::OutOfRange { layer, option, given, limit }.into()
}
