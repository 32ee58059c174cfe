//! Tensors of the CPU as slices, and slices as tensors.

use std::sync::{Mutex, PoisonError};

use candle_core::{
    CpuStorage, DType, Device, Layout, Result, Shape, Storage, StorageRef, Tensor, WithDType,
    backend::BackendStorage,
};
use cpr_core::Real;
pub(super) use cpr_host::pages::zeros;
use cpr_host::{model::layers::exp::Exp, parallel::Workers};

use super::{backward::handed, conv::Scratch, error::LayerError};

/// The threads of the pool that a layer is called in, or of rayon's global one, which candle uses too.
pub(super) static WORKERS: Workers = Workers::shared();

/// Elements of a task of an element-wise loop: a multiple of every vector length, and worth a hand-over.
pub(super) const CHUNK: usize = 16 << 10;

/// A float type that the layers have CPU kernels for.
pub(super) trait Element: Exp + WithDType {
    /// 1 − erf(self).
    fn erfc(self) -> Self;

    /// Memory of convolutions that stays from call to call: a page that the system gives anew costs as much as the work on
    /// it.
    fn scratch() -> &'static Scratch<Self>;
}

impl Element for f32 {
    fn scratch() -> &'static Scratch<Self> {
        static SCRATCH: Scratch<f32> = Scratch::new();
        &SCRATCH
    }

    fn erfc(self) -> Self {
        libm::erfcf(self)
    }
}

impl Element for f64 {
    fn scratch() -> &'static Scratch<Self> {
        static SCRATCH: Scratch<f64> = Scratch::new();
        &SCRATCH
    }

    fn erfc(self) -> Self {
        libm::erfc(self)
    }
}

/// The number as `T`.
#[inline(always)]
pub(super) fn narrow<T: Element>(value: f64) -> T {
    <T as Real>::from_f64(value)
}

/// The number as `f64`.
#[inline(always)]
pub(super) fn wide<T: Element>(value: T) -> f64 {
    Real::to_f64(value)
}

/// A count as a float: exact, for no tensor has 2⁵³ elements.
#[inline]
pub(super) fn count(elements: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2⁵³")]
    let count = elements as f64;
    count
}

/// Buffers that tasks hand on to one another: no more are made than tasks run at the same time.
#[derive(Debug)]
pub(super) struct Spare<B>(Mutex<Vec<B>>);

impl<B> Spare<B> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Works with buffers that another task is done with, or with new ones.
    pub(super) fn lend<R>(&self, work: impl FnOnce(&mut B) -> R) -> R
    where
        B: Default,
    {
        let list = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = list().pop();
        let mut buffers = spare.unwrap_or_default();
        let result = work(&mut buffers);
        list().push(buffers);
        result
    }
}

/// Runs a body for the float type of a CPU tensor, under the name `$T`.
macro_rules! for_float {
    ($layer:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            dtype => Err($crate::nn::error::LayerError::Dtype { layer: $layer, dtype }.into()),
        }
    };
}
pub(super) use for_float;

/// Where a layer runs, once its arguments are known to be of one type and on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Own kernels.
    Cpu,
    /// Operations of candle.
    Composed,
}

/// # Errors
/// For mixed types or devices, and for a type without CPU kernels.
pub(super) fn place(layer: &'static str, input: &Tensor, others: &[&Tensor]) -> Result<Place> {
    for other in others {
        if other.dtype() != input.dtype() {
            let (given, expected) = (other.dtype(), input.dtype());
            return Err(LayerError::MixedDtypes { layer, given, expected }.into());
        }
        if !other.device().same_device(input.device()) {
            return Err(candle_core::Error::DeviceMismatchBinaryOp {
                lhs: input.device().location(),
                rhs: other.device().location(),
                op: layer,
            });
        }
    }
    match (input.device(), input.dtype()) {
        (Device::Cpu, DType::F32 | DType::F64) => Ok(Place::Cpu),
        (Device::Cpu, dtype) => Err(LayerError::Dtype { layer, dtype }.into()),
        _ => Ok(Place::Composed),
    }
}

/// The elements of a contiguous CPU storage.
pub(super) fn view<'a, T: Element>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::msg("the elements of a tensor are not contiguous"))?;
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}

/// A contiguous CPU tensor, kept from being written while its elements are read.
pub(super) struct Held<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Held<'a> {
    pub(super) fn new(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    pub(super) fn slice<T: Element>(&self) -> Result<&[T]> {
        match &*self.storage {
            Storage::Cpu(storage) => view(storage, self.layout),
            _ => Err(candle_core::Error::msg("a CPU kernel met a tensor of another device")),
        }
    }
}

/// What a forward pass on the CPU returns.
pub(super) fn output<T: Element>(values: Vec<T>, shape: &Shape) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(values), shape.clone())
}

/// What a backward pass on the CPU returns for an argument, of its gradient in its shape if there is one.
pub(super) fn gradient<T: Element>(
    values: impl Into<Option<Vec<T>>>,
    argument: &Tensor,
) -> Result<Option<Tensor>> {
    let Some(values) = values.into() else { return Ok(None) };
    handed(argument, Tensor::from_vec(values, argument.shape(), &Device::Cpu)?)
}

pub(super) fn dtype(storage: &CpuStorage) -> DType {
    storage.dtype()
}
