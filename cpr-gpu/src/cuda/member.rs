//! One parameter on the device, as the tables have it.

use candle_core::{DType, Error, Result, Tensor};

use crate::kernel::address;

/// Chunks of a tile: TILE of kernels/.
pub(super) const TILE: usize = 1024;
/// Base rules and how many moments they keep, in the order of `BaseKind`.
pub(super) const BASES: [(&str, usize); 6] =
    [("sgd", 0), ("momentum", 1), ("adam", 2), ("amsgrad", 3), ("amos", 0), ("amos_momentum", 1)];

/// One parameter on the device.
#[derive(Debug)]
pub(super) struct Member {
    /// θ in the type of the step, f32 or f64: the variable, or its master weights.
    pub(super) theta: Tensor,
    /// As many as the base rule has, like θ.
    pub(super) moments: Vec<Tensor>,
    /// The variable, where that is bf16 or f16.
    pub(super) low: Option<Tensor>,
    /// Index of its hyperparameters.
    pub(super) set: usize,
    /// Its base rule, an index of `BASES`.
    pub(super) base: usize,
    /// η, the scale that Amos expects it to have.
    pub(super) eta: f64,
    /// Index of its constraint.
    pub(super) record: Option<usize>,
    /// Whether a decay of AdaDecay's or after the base step, or `BeforeBase`, may act inside its step.
    pub(super) full: bool,
    /// Whether its step asks what all of its gradient is like.
    pub(super) observed: bool,
    /// Whether it is among the parameters whose ‖∇w‖/‖w‖ is averaged: then it is observed too.
    pub(super) averaged: bool,
}

/// Tiles of a parameter's chunks, which its update merges: one at least where it has a constraint.
pub(super) fn tiles_of(member: &Member, chunks: usize) -> usize {
    if member.record.is_some() { chunks.div_ceil(TILE).max(1) } else { 0 }
}

pub(super) fn type_name(theta: &Tensor) -> &'static str {
    if theta.dtype() == DType::F64 { "f64" } else { "f32" }
}

/// `GradientKind` of a half type; 0 for the others.
pub(super) fn half_kind(dtype: DType) -> u64 {
    match dtype {
        DType::BF16 => 1,
        DType::F16 => 2,
        _ => 0,
    }
}

/// Whether the arrays of a parameter are of one length and of the types that the kernels read.
pub(super) fn check(member: &Member) -> Result<()> {
    let theta = &member.theta;
    let right = matches!(theta.dtype(), DType::F32 | DType::F64)
        && BASES.get(member.base).is_some_and(|(_, moments)| *moments == member.moments.len())
        && member.moments.iter().all(|moment| {
            moment.dtype() == theta.dtype() && moment.elem_count() == theta.elem_count()
        })
        && member.low.as_ref().is_none_or(|low| {
            half_kind(low.dtype()) != 0
                && low.elem_count() == theta.elem_count()
                && theta.dtype() == DType::F32
        });
    let contiguous = std::iter::once(theta)
        .chain(&member.moments)
        .chain(&member.low)
        .all(|tensor| tensor.layout().contiguous_offsets().is_some());
    if right && contiguous {
        Ok(())
    } else {
        Err(Error::msg("a parameter's weights and moments differ in length or type"))
    }
}

/// A gradient as `Window` has it: its address, and its type above.
pub(super) fn gradient_word(gradient: &Tensor, theta: &Tensor) -> Result<u64> {
    let kind = half_kind(gradient.dtype());
    let typed = gradient.dtype() == theta.dtype() || (kind != 0 && theta.dtype() == DType::F32);
    let placed = gradient.device().same_device(theta.device());
    if gradient.elem_count() != theta.elem_count() || !typed || !placed {
        return Err(Error::msg("a gradient is not like its parameter"));
    }
    Ok(address(gradient)? | kind << 60)
}
