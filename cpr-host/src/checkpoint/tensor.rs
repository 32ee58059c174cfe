//! Tensors as a checkpoint sees them: a dtype, a shape and little-endian bytes.

use std::fmt;

use safetensors::Dtype;

/// Elements of a tensor that is to be written, in row-major order.
#[derive(Clone, Copy)]
pub enum TensorData<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
    /// Bytes.
    U8(&'a [u8]),
}

/// Bytes that are converted at a time: enough for the disk, small enough for the cache.
const BLOCK_BYTES: usize = 1 << 18;

impl TensorData<'_> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    /// Says whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F64(_) => Dtype::F64,
            Self::U8(_) => Dtype::U8,
        }
    }

    /// Number of bytes in the file. A slice never holds more than `isize::MAX` bytes.
    pub(super) fn byte_len(&self) -> usize {
        match self {
            Self::F32(values) => size_of_val(*values),
            Self::F64(values) => size_of_val(*values),
            Self::U8(values) => values.len(),
        }
    }

    /// Hands the little-endian bytes to `sink`, block by block; stops at its first error.
    pub(super) fn for_each_block<E>(
        &self,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::F32(values) => convert(values, f32::to_le_bytes, sink),
            Self::F64(values) => convert(values, f64::to_le_bytes, sink),
            Self::U8(values) => values.chunks(BLOCK_BYTES).try_for_each(&mut sink),
        }
    }
}

/// Slice by slice, so that the compiler sees a plain copy on a little-endian machine.
fn convert<T: Copy, const N: usize, E>(
    values: &[T],
    to_le: impl Fn(T) -> [u8; N],
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut block = vec![[0; N]; (BLOCK_BYTES / N).min(values.len())];
    for chunk in values.chunks(BLOCK_BYTES / N) {
        for (bytes, &value) in block.iter_mut().zip(chunk) {
            *bytes = to_le(value);
        }
        sink(block[..chunk.len()].as_flattened())?;
    }
    Ok(())
}

/// Without the elements: a matrix of a million numbers helps nobody in a log.
impl fmt::Debug for TensorData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.dtype(), self.len())
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for u8 {}
}

/// A type whose slices can be written and read: `f32`, `f64` and `u8`.
pub trait Element: Copy + sealed::Sealed {
    /// The type's name in a safetensors file.
    const DTYPE: Dtype;

    /// Wraps a slice for [`CheckpointWriter`](super::CheckpointWriter).
    fn data(values: &[Self]) -> TensorData<'_>;

    /// Reads little-endian bytes; a rest shorter than an element is left out.
    fn from_le(bytes: Vec<u8>) -> Vec<Self>;
}

macro_rules! float_element {
    ($float:ty, $variant:ident) => {
        impl Element for $float {
            const DTYPE: Dtype = Dtype::$variant;

            fn data(values: &[Self]) -> TensorData<'_> {
                TensorData::$variant(values)
            }

            fn from_le(bytes: Vec<u8>) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|&chunk| Self::from_le_bytes(chunk)).collect()
            }
        }
    };
}

float_element!(f32, F32);
float_element!(f64, F64);

impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;

    fn data(values: &[Self]) -> TensorData<'_> {
        TensorData::U8(values)
    }

    fn from_le(bytes: Vec<u8>) -> Vec<Self> {
        bytes
    }
}

impl<'a, T: Element> From<&'a [T]> for TensorData<'a> {
    fn from(values: &'a [T]) -> Self {
        T::data(values)
    }
}

impl<'a, T: Element> From<&'a Vec<T>> for TensorData<'a> {
    fn from(values: &'a Vec<T>) -> Self {
        T::data(values)
    }
}

impl<'a, T: Element, const N: usize> From<&'a [T; N]> for TensorData<'a> {
    fn from(values: &'a [T; N]) -> Self {
        T::data(values)
    }
}

/// Dtype and shape of a tensor; printed as `F32 [128, 512]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Length of each dimension, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype, self.shape)
    }
}

/// A tensor that was read, of any dtype that safetensors knows.
///
/// `bytes` is exactly as long as the signature asks for: the reader has proven it.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Dtype and shape.
    pub signature: Signature,
    /// The elements, little-endian, row-major.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.signature)
    }
}
