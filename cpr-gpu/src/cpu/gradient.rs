//! Gradients as slices: of their own type where that is the parameters', converted and scaled chunk by chunk otherwise.

use candle_core::{CpuStorage, DType, Layout, Storage, StorageRef, Tensor};
use cpr_core::{CHUNK, Correction, Real};
use half::{bf16, f16, slice::HalfFloatSliceExt};

/// A type that gradients of `T` parameters come in.
pub(super) trait Source<T: Real>: Copy + Send + Sync {
    /// The gradient itself, where it is used as it stands.
    fn direct(grads: &[Self]) -> Option<&[T]>;

    /// The same numbers in the type of the parameters; both slices are of one length.
    fn convert(grads: &[Self], into: &mut [T]);

    /// Up to [`CHUNK`] gradients for the step: the slice itself, or `buffer` with them scaled.
    ///
    /// Scaling rounds as it does when the gradients are scaled in place before the step.
    fn staged<'a>(grads: &'a [Self], scale: Option<f64>, buffer: &'a mut [T; CHUNK]) -> &'a [T] {
        match (Self::direct(grads), scale) {
            (Some(grads), None) => grads,
            (_, scale) => {
                let buffer = &mut buffer[..grads.len()];
                Self::convert(grads, buffer);
                if let Some(scale) = scale {
                    Correction::Scale { scale, center: 0.0 }.apply(buffer);
                }
                buffer
            }
        }
    }
}

impl<T: Real> Source<T> for T {
    fn direct(grads: &[Self]) -> Option<&[T]> {
        Some(grads)
    }

    fn convert(grads: &[Self], into: &mut [T]) {
        into.copy_from_slice(grads);
    }
}

impl Source<f32> for bf16 {
    fn direct(_: &[Self]) -> Option<&[f32]> {
        None
    }

    fn convert(grads: &[Self], into: &mut [f32]) {
        grads.convert_to_f32_slice(into);
    }
}

impl Source<f32> for f16 {
    fn direct(_: &[Self]) -> Option<&[f32]> {
        None
    }

    fn convert(grads: &[Self], into: &mut [f32]) {
        grads.convert_to_f32_slice(into);
    }
}

/// A contiguous gradient on the CPU: the caller's, or a copy of it.
#[derive(Debug)]
pub(super) enum Gradient<'a> {
    Given(&'a Tensor),
    Copied(Tensor),
}

impl Gradient<'_> {
    /// Copies where the elements are not one after the other, or where they live in a variable's own storage, which
    /// is locked while it is stepped; `variables` are the sorted addresses of those.
    pub(super) fn new<'a>(
        tensor: &'a Tensor,
        variables: &[usize],
    ) -> candle_core::Result<Gradient<'a>> {
        let (storage, layout) = tensor.storage_and_layout();
        let aliases = variables.binary_search(&address(&storage)).is_ok();
        let contiguous = layout.contiguous_offsets().is_some();
        drop(storage);
        Ok(if aliases || !contiguous {
            Gradient::Copied(tensor.force_contiguous()?)
        } else {
            Gradient::Given(tensor)
        })
    }

    pub(super) const fn is_copy(&self) -> bool {
        matches!(self, Self::Copied(_))
    }

    pub(super) const fn tensor(&self) -> &Tensor {
        match self {
            Self::Given(tensor) => tensor,
            Self::Copied(tensor) => tensor,
        }
    }
}

/// Where a storage lies: tells storages apart as long as they live.
pub(super) fn address(storage: &StorageRef<'_>) -> usize {
    std::ptr::from_ref::<Storage>(storage).addr()
}

/// Elements of a gradient.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slice<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

impl<'a> Slice<'a> {
    /// The elements of a contiguous CPU tensor.
    pub(super) fn of(storage: &'a Storage, layout: &Layout) -> candle_core::Result<Self> {
        let (start, end) = offsets(layout)?;
        match storage {
            Storage::Cpu(CpuStorage::F32(values)) => Ok(Self::F32(&values[start..end])),
            Storage::Cpu(CpuStorage::F64(values)) => Ok(Self::F64(&values[start..end])),
            Storage::Cpu(CpuStorage::BF16(values)) => Ok(Self::Bf16(&values[start..end])),
            Storage::Cpu(CpuStorage::F16(values)) => Ok(Self::F16(&values[start..end])),
            other => Err(unexpected(other.dtype())),
        }
    }
}

/// First and one past the last element of a contiguous tensor in its storage.
pub(super) fn offsets(layout: &Layout) -> candle_core::Result<(usize, usize)> {
    layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::msg("the elements of a tensor are not contiguous"))
}

pub(super) fn unexpected(dtype: DType) -> candle_core::Error {
    candle_core::Error::msg(format!("there is no CPU step for {dtype:?} here"))
}
