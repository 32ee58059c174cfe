//! All unsafe code of the crate: where tensors lie on a CUDA device, and kernels launched on them. `cuda::fused` launches the
//! step of an optimizer through [`launch`], `nn::fused` the kernels of layers through [`run_layer`].
#![allow(unsafe_code)]

use candle_core::{
    CudaDevice, CudaStorage, DType, Device, Error, Result, Shape, Storage, Tensor,
    backend::BackendDevice as _,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{
            CudaFunction, DevicePtr, LaunchConfig, PushKernelArg, sys::CUdevice_attribute,
        },
    },
};

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/cpr.ptx"));
const MODULE: &str = concat!("cpr-gpu-", env!("CARGO_PKG_VERSION"));
const LAYERS_PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/layers.ptx"));
const LAYERS_MODULE: &str = concat!("cpr-gpu-layers-", env!("CARGO_PKG_VERSION"));

/// Threads of a block: BLOCK of kernels/, and STEPPERS of the kernels that step.
pub(crate) const BLOCK: usize = 256;
pub(crate) const STEPPERS: usize = 128;
/// Parameters of a launch of a step: WINDOW of kernels/.
pub(crate) const WINDOW: usize = 400;
/// Words of `Board` and `Window`, what a kernel of a step takes.
pub(crate) const BOARD: usize = 16;
pub(crate) const CALL: usize = WINDOW + 10;
/// Words of `Words`, what a kernel of a layer takes.
const WORDS: usize = 12;

/// A count as a word: addresses have at most 64 bits.
pub(crate) fn word(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Words on the device; at least one, so that there is an address.
pub(crate) fn words_on(device: &Device, words: &[u64]) -> Result<Tensor> {
    let mut signed: Vec<i64> = words.iter().map(|word| word.cast_signed()).collect();
    if signed.is_empty() {
        signed.push(0);
    }
    let count = signed.len();
    Tensor::from_vec(signed, count, device)
}

pub(crate) fn words_of(tensor: &Tensor) -> Result<Vec<u64>> {
    Ok(tensor.to_vec1::<i64>()?.into_iter().map(i64::cast_unsigned).collect())
}

/// A number that no kernel follows: where an empty tensor lies.
const NOWHERE: u64 = 16;

/// Where the first element of a contiguous tensor lies on its device.
pub(crate) fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(Error::msg("a tensor is not on the CUDA device of its kernel"));
    };
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::msg("a tensor is not contiguous"));
    };
    if start == end { Ok(NOWHERE) } else { address_in(storage, start) }
}

/// Where an element of a storage lies.
fn address_in(storage: &CudaStorage, start: usize) -> Result<u64> {
    let stream = storage.device.cuda_stream();
    macro_rules! of {
        ($type:ty) => {
            storage.as_cuda_slice::<$type>()?.slice(start..).device_ptr(&stream).0
        };
    }
    Ok(match candle_core::backend::BackendStorage::dtype(storage) {
        DType::F32 => of!(f32),
        DType::F64 => of!(f64),
        DType::BF16 => of!(half::bf16),
        DType::F16 => of!(half::f16),
        DType::U32 => of!(u32),
        DType::I64 => of!(i64),
        dtype => return Err(Error::msg(format!("no kernel reads {dtype:?}"))),
    })
}

/// Elements that nobody has written, and where they lie: a kernel has to write all of them.
pub(crate) fn fresh(
    device: &CudaDevice,
    dtype: DType,
    shape: &Shape,
) -> Result<(CudaStorage, u64)> {
    // SAFETY: floats and integers of the types that `address_in` takes have no invalid bits, and what is read before it
    // is written is an arbitrary number.
    let storage = unsafe { device.alloc_uninit(shape, dtype)? };
    let address = if shape.elem_count() == 0 { NOWHERE } else { address_in(&storage, 0)? };
    Ok((storage, address))
}

/// The same as a tensor.
pub(crate) fn empty(shape: &Shape, dtype: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: as in `fresh`.
    unsafe { Tensor::empty(shape, dtype, device) }
}

/// What a kernel takes beside the board.
#[derive(Clone, Copy)]
pub(crate) enum Rest<'a> {
    Nothing,
    Window(&'a [u64; CALL]),
    Attempt(u64),
}

/// A kernel of kernels/cpr.cu.
pub(crate) fn load(device: &CudaDevice, name: &str) -> Result<CudaFunction> {
    Ok(device.get_or_load_custom_func(name, MODULE, PTX)?.into_cuda_function())
}

/// Multiprocessors of a device.
pub(crate) fn multiprocessors(device: &CudaDevice) -> Result<usize> {
    let stream = device.cuda_stream();
    let kind = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    usize::try_from(stream.context().attribute(kind).w()?).map_err(Error::wrap)
}

/// Queues a kernel of kernels/cpr.cu: `blocks` of `threads`.
///
/// The caller vouches for `board` and what stands beside it: they are what the kernel takes, and the addresses in them are
/// of tensors of this device, which the caller holds, in the lengths that the table of parameters states.
pub(crate) fn launch(
    device: &CudaDevice,
    function: &CudaFunction,
    (blocks, threads): (usize, usize),
    board: &[u64; BOARD],
    rest: Rest<'_>,
) -> Result<()> {
    let stream = device.cuda_stream();
    let mut launch = stream.launch_builder(function);
    launch.arg(board);
    match &rest {
        Rest::Nothing => {}
        Rest::Window(window) => {
            launch.arg(*window);
        }
        Rest::Attempt(attempt) => {
            launch.arg(attempt);
        }
    }
    // SAFETY: the arguments are the kernel's, by value: `Board` and `Window` are structs of these words. What they point to
    // is the caller's promise above; memory that candle gives back is given back on the same stream, behind this launch.
    // Blocks touch their own chunk, parameter or constraint only, and those of `update` the constraint that they share in
    // turn; that of `average` runs alone.
    unsafe { launch.launch(grid(blocks, threads)?) }.w()?;
    Ok(())
}

fn grid(blocks: usize, threads: usize) -> Result<LaunchConfig> {
    Ok(LaunchConfig {
        grid_dim: (u32::try_from(blocks).map_err(Error::wrap)?, 1, 1),
        block_dim: (u32::try_from(threads).map_err(Error::wrap)?, 1, 1),
        shared_mem_bytes: 0,
    })
}

/// Queues a kernel of kernels/layers.cu.
///
/// The caller vouches for `words`: they are what the kernel's comment asks for, their addresses are of tensors of this
/// device that hold as many elements as the counts beside them say, and blocks are as many as these elements take.
pub(crate) fn run_layer(
    device: &CudaDevice,
    name: &str,
    blocks: usize,
    words: &[u64],
) -> Result<()> {
    if blocks == 0 {
        return Ok(());
    }
    let mut all = [0; WORDS];
    for (slot, word) in all.iter_mut().zip(words) {
        *slot = *word;
    }
    let function = device.get_or_load_custom_func(name, LAYERS_MODULE, LAYERS_PTX)?;
    let function = function.into_cuda_function();
    let stream = device.cuda_stream();
    let mut launch = stream.launch_builder(&function);
    launch.arg(&all);
    // SAFETY: the argument is `Words`, by value; what it points to is the caller's promise above. Memory that candle
    // gives back is given back on the same stream, behind this launch.
    unsafe { launch.launch(grid(blocks, BLOCK)?) }.w()?;
    Ok(())
}
