//! Element-wise activations: GELU and the rectifier.
//!
//! Candle's own GELU has a gradient of six digits, and its rectifier passes the whole gradient at 0.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

#[cfg(feature = "cuda")]
use super::fused;
use super::{
    element::{
        CHUNK, Element, Held, Place, WORKERS, dtype, for_float, gradient, narrow, output, place,
        view, zeros,
    },
    simd::vectorized,
};

/// Which form of the Gaussian error linear unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gelu {
    /// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))): GPT-2's.
    #[default]
    Tanh,
    /// x·Φ(x), with Φ the distribution function of the normal distribution. Slower: its error function is computed
    /// element by element.
    Erf,
}

/// The Gaussian error linear unit of every element; any shape.
///
/// Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.
///
/// # Errors
/// [`LayerError::Dtype`](super::LayerError::Dtype) for half precision on the CPU.
pub fn gelu(x: &Tensor, form: Gelu) -> Result<Tensor> {
    let form = match form {
        Gelu::Tanh => Activation::GeluTanh,
        Gelu::Erf => Activation::GeluErf,
    };
    form.apply(x)
}

/// max(x, 0) of every element; any shape. The gradient at 0 is 0, and NaN stays NaN.
///
/// # Errors
/// [`LayerError::Dtype`](super::LayerError::Dtype) for half precision on the CPU.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    Activation::Relu.apply(x)
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Activation {
    GeluTanh,
    GeluErf,
    Relu,
}

impl Activation {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        match place(self.name(), x, &[])? {
            Place::Cpu => x.contiguous()?.apply_op1(self),
            #[cfg(feature = "cuda")]
            Place::Composed if fused::takes(x) => match self.function() {
                Some(function) => fused::activation(x, function),
                None => self.composed(x),
            },
            Place::Composed => self.composed(x),
        }
    }

    /// Its kernel on CUDA.
    #[cfg(feature = "cuda")]
    const fn function(self) -> Option<fused::Function> {
        match self {
            Self::GeluTanh => Some(fused::Function::GeluTanh),
            Self::Relu => Some(fused::Function::Relu),
            Self::GeluErf => None,
        }
    }

    /// The same by candle's operations.
    pub(super) fn composed(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::GeluTanh => {
                let inner = ((x.sqr()?.affine(CUBIC, 1.0)? * x)? * ROOT)?;
                (x * 0.5)? * (inner.tanh()? + 1.0)?
            }
            Self::GeluErf => (x * 0.5)? * ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)?,
            Self::Relu => x.gt(&x.zeros_like()?)?.to_dtype(x.dtype())? * x,
        }
    }

    /// The function, and its derivative.
    #[inline(always)]
    fn value<T: Element>(self, x: T) -> (T, T) {
        match self {
            Self::GeluTanh => gelu_tanh(x),
            Self::GeluErf => {
                let half = narrow::<T>(0.5);
                let normal = half * (-x * narrow(std::f64::consts::FRAC_1_SQRT_2)).erfc();
                let density = (-(half * x * x)).exp_nonpositive() * narrow(DENSITY);
                (x * normal, normal + x * density)
            }
            Self::Relu => {
                let zero = <T as cpr_core::Real>::ZERO;
                // A comparison that NaN fails both ways passes it on.
                if x <= zero { (zero, zero) } else { (x, <T as cpr_core::Real>::ONE) }
            }
        }
    }
}

/// √(2/π).
const ROOT: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
const CUBIC: f64 = 0.044715;
/// 1/√(2π).
const DENSITY: f64 = 0.5 * ROOT;

/// x/2·(1 + tanh u) is x·σ(z) with z = 2u, where σ and 1 − σ come from e^(−|z|) without cancellation.
#[inline(always)]
fn gelu_tanh<T: Element>(x: T) -> (T, T) {
    let one = <T as cpr_core::Real>::ONE;
    let square = x * x;
    let z = narrow::<T>(2.0 * ROOT) * x * (one + narrow::<T>(CUBIC) * square);
    let slope = narrow::<T>(2.0 * ROOT) * (one + narrow::<T>(3.0 * CUBIC) * square);
    let power = (-z.abs()).exp_nonpositive();
    let inverse = one / (one + power);
    let (near, far) = (inverse, power * inverse);
    let (sigma, complement) =
        if z < <T as cpr_core::Real>::ZERO { (far, near) } else { (near, far) };
    // x·σ·(1 − σ)·z' is 0·∞ where x is beyond the root of the largest float: the slope there is 0 or 1.
    let bend = x * complement * sigma * slope;
    let bend = if power > <T as cpr_core::Real>::ZERO { bend } else { <T as cpr_core::Real>::ZERO };
    (x * sigma, sigma + bend)
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        match self {
            Self::GeluTanh | Self::GeluErf => "gelu",
            Self::Relu => "relu",
        }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        for_float!(self.name(), dtype(storage), T => {
            let x = view::<T>(storage, layout)?;
            Ok(output(forward(*self, x), layout.shape()))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        for_float!(self.name(), x.dtype(), T => {
            let dx = backward(*self, Held::new(x).slice::<T>()?, Held::new(&grad).slice::<T>()?);
            gradient(dx, x)
        })
    }
}

fn forward<T: Element>(form: Activation, x: &[T]) -> Vec<T> {
    let mut y = zeros(x.len());
    WORKERS.for_each_chunk(&mut y, CHUNK, |chunk, y| {
        let x = &x[chunk * CHUNK..];
        match form {
            Activation::GeluTanh => vectorized!(map(y, x, |x| Activation::GeluTanh.value(x).0)),
            Activation::GeluErf => map(y, x, |x| Activation::GeluErf.value(x).0),
            Activation::Relu => vectorized!(map(y, x, |x| Activation::Relu.value(x).0)),
        }
    });
    y
}

fn backward<T: Element>(form: Activation, x: &[T], grad: &[T]) -> Vec<T> {
    let mut dx = zeros(x.len());
    WORKERS.for_each_chunk(&mut dx, CHUNK, |chunk, dx| {
        let (x, grad) = (&x[chunk * CHUNK..], &grad[chunk * CHUNK..]);
        match form {
            Activation::GeluTanh => {
                vectorized!(scale(dx, grad, x, |x| Activation::GeluTanh.value(x).1))
            }
            Activation::GeluErf => scale(dx, grad, x, |x| Activation::GeluErf.value(x).1),
            Activation::Relu => vectorized!(scale(dx, grad, x, |x| Activation::Relu.value(x).1)),
        }
    });
    dx
}

#[inline(always)]
fn map<T: Element>(y: &mut [T], x: &[T], value: impl Fn(T) -> T) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = value(x);
    }
}

#[inline(always)]
fn scale<T: Element>(dx: &mut [T], grad: &[T], x: &[T], slope: impl Fn(T) -> T) {
    for ((dx, &grad), &x) in dx.iter_mut().zip(grad).zip(x) {
        *dx = grad * slope(x);
    }
}
