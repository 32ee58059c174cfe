//! Layers that training needs, each with a backward pass of its own.
//!
//! Candle 0.11 has no gradient through its fused layer norm, softmax and rotary positions, a wrong one through max
//! pooling, and a slow one through convolution. These have a right one through `loss.backward()`, checked by finite
//! differences. [`backward`] is the same pass with less memory and traffic.
//!
//! | layer | function | parameters |
//! |---|---|---|
//! | layer normalisation | [`layer_norm`] | [`LayerNorm`] |
//! | batch normalisation | | [`BatchNorm`], [with a convolution](BatchNorm::after_conv2d) |
//! | affine map | [`linear`] | |
//! | causal attention | [`causal_attention`] | |
//! | convolution | [`conv2d`] | |
//! | max pooling | [`max_pool2d`] | |
//! | softmax, cross entropy | [`softmax`], [`cross_entropy`] | |
//! | GELU, rectifier | [`gelu`], [`relu`] | |
//! | embedding | [`embedding`] | |
//! | dropout | [`dropout`] | |
//!
//! On the CPU they run kernels over slices, in f32 and f64, on the threads of the rayon pool that they are called in, or
//! of its global one (`RAYON_NUM_THREADS`), which candle uses too; the bits are the same for any number of threads on
//! one machine. On CUDA they run kernels over f32 and bf16 (convolution and batch norm: f32), with equal bits from run to
//! run; what has none, pooling, plain softmax and the other types, is composed of candle's operations that have a right
//! gradient.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{Init, VarBuilder, VarMap};
//! use cpr_gpu::nn::{Attention, Gelu, LayerNorm, Weights, causal_attention, cross_entropy, gelu, linear};
//! use candle_nn::Module;
//!
//! let map = VarMap::new();
//! let variables = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
//! let norm = LayerNorm::new(16, 1e-5, true, &variables.pp("norm"))?;
//! let weight = variables.get_with_hints((48, 16), "qkv.weight", Init::Randn { mean: 0.0, stdev: 0.02 })?;
//! let x = Tensor::randn(0.0_f32, 1.0, (2, 8, 16), &Device::Cpu)?;
//! let qkv = linear(&norm.forward(&x)?, &weight, None, Weights::OutIn)?;
//! let y = gelu(&causal_attention(&qkv, Attention::new(4))?, Gelu::Tanh)?;
//! let labels = Tensor::zeros((2, 8), DType::U32, &Device::Cpu)?;
//! let gradients = cross_entropy(&y, &labels, 0.1)?.backward()?;
//! assert!(map.all_vars().iter().all(|var| gradients.get(var).is_some()));
//! # Ok::<(), candle_core::Error>(())
//! ```

mod activation;
mod attention;
mod backward;
mod batch_norm;
mod conv;
mod conv_norm;
mod cross_entropy;
mod dropout;
mod element;
mod embedding;
mod error;
#[cfg(feature = "cuda")]
mod fused;
mod layer_norm;
mod linear;
mod pool;
mod simd;
mod softmax;

pub use activation::{Gelu, gelu, relu};
pub use attention::{Attention, Rotary, causal_attention};
pub use backward::backward;
pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use conv::{Conv, conv2d};
pub use cross_entropy::cross_entropy;
pub use dropout::{Draw, dropout};
pub use embedding::embedding;
pub use error::LayerError;
pub use layer_norm::{LayerNorm, layer_norm};
pub use linear::{Weights, linear};
pub use pool::{Pool, max_pool2d};
pub use softmax::softmax;

#[cfg(test)]
mod tests;
