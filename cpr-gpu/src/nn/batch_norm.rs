//! Batch normalisation with running statistics.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, Var};
use candle_nn::{Init, ModuleT, VarBuilder};

#[cfg(feature = "cuda")]
use super::fused;
use super::{
    element::{
        Element, Held, Place, WORKERS, count, dtype, for_float, gradient, narrow, output, place,
        view, wide, zeros,
    },
    error::{range, shape},
    simd::{sum, sum_pairs, vectorized},
};

const LAYER: &str = "batch norm";

/// Options of a [`BatchNorm`]; the default is PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// Added to the variance; above 0.
    pub eps: f64,
    /// Weight of the newest batch in the running statistics, in [0, 1].
    pub momentum: f64,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1 }
    }
}

/// y = (x − mean)/√(var + ε)·weight + bias for each channel of (N, C) or (N, C, …).
///
/// In training mean and variance (over n) are the batch's, and the running ones move towards them: r ← (1 − m)·r + m·s,
/// with the variance over n − 1. In evaluation they are the running ones.
///
/// The running statistics are variables `running_mean` and `running_var`: a `VarMap` saves them with the weights, and
/// the optimizers of this crate never train them. They are written by the forward pass.
///
/// Source: Ioffe and Szegedy, "Batch Normalization", 2015.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Var,
    running_var: Var,
    config: BatchNormConfig,
}

impl BatchNorm {
    /// Parameters `weight` (ones) and `bias` (zeros) and running statistics `running_mean` (zeros) and `running_var`
    /// (ones), each of shape (`channels`).
    ///
    /// # Errors
    /// Those of the variables; options out of range.
    pub fn new(
        channels: usize,
        config: BatchNormConfig,
        variables: &VarBuilder<'_>,
    ) -> Result<Self> {
        if config.eps.is_nan() || config.eps <= 0.0 {
            return Err(range(LAYER, "eps", config.eps, "above 0"));
        }
        if !(0.0..=1.0).contains(&config.momentum) {
            return Err(range(LAYER, "momentum", config.momentum, "from 0 to 1"));
        }
        let get =
            |name: &str, value: f64| variables.get_with_hints(channels, name, Init::Const(value));
        Ok(Self {
            weight: get("weight", 1.0)?,
            bias: get("bias", 0.0)?,
            // Of a variable these are the variable itself.
            running_mean: Var::from_tensor(&get("running_mean", 0.0)?)?,
            running_var: Var::from_tensor(&get("running_var", 1.0)?)?,
            config,
        })
    }

    /// Statistics of the running kind: mean and variance, (C) each.
    pub fn running(&self) -> (&Var, &Var) {
        (&self.running_mean, &self.running_var)
    }

    pub(super) fn eps(&self) -> f64 {
        self.config.eps
    }

    /// Weight and bias, (C) each.
    pub(super) fn affine(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }

    /// # Errors
    /// Where `x` does not have the channels, for a batch with one value a channel in training (its variance over n − 1
    /// does not exist), or for half precision on the CPU.
    fn check(&self, x: &Tensor, train: bool) -> Result<Place> {
        self.check_shape(x.shape(), train)?;
        place(LAYER, x, &[&self.weight, &self.bias])
    }

    pub(super) fn check_shape(&self, x: &Shape, train: bool) -> Result<()> {
        let channels = self.weight.elem_count();
        if x.rank() < 2 || x.dims()[1] != channels {
            let expected = format!("(N, {channels}, …)");
            return Err(shape(LAYER, "input", x, expected));
        }
        if train && x.elem_count() < 2 * channels.max(1) {
            let expected = "at least two values a channel in training";
            return Err(shape(LAYER, "input", x, expected));
        }
        Ok(())
    }

    /// Moves the running statistics towards those of a batch with n values a channel.
    fn follow(&self, mean: &Tensor, variance: &Tensor, n: usize) -> Result<()> {
        let momentum = self.config.momentum;
        let unbiased = count(n) / count(n - 1);
        for (running, batch, factor) in
            [(&self.running_mean, mean, 1.0), (&self.running_var, variance, unbiased)]
        {
            let batch = batch.detach().to_dtype(running.dtype())?;
            let moved = ((running.as_detached_tensor() * (1.0 - momentum))?
                + (batch * (momentum * factor))?)?;
            running.set(&moved)?;
        }
        Ok(())
    }

    pub(super) fn follow_moments(&self, moments: &Moments, n: usize) -> Result<()> {
        let tensor = |values: &[f64]| Tensor::new(values, self.running_mean.device());
        self.follow(&tensor(&moments.mean)?, &tensor(&moments.variance)?, n)
    }

    fn train(&self, x: &Tensor) -> Result<Tensor> {
        let n = x.elem_count() / x.dims()[1].max(1);
        let place = self.check(x, true)?;
        #[cfg(feature = "cuda")]
        if place == Place::Composed && fused::takes_image(x, 0) {
            let (y, moments) = fused::batch_norm(x, &self.weight, &self.bias, self.config.eps)?;
            self.follow(&moments.get(0)?, &moments.get(1)?, n)?;
            return Ok(y);
        }
        if place == Place::Composed {
            let (y, mean, variance) = composed(x, &self.weight, &self.bias, self.config.eps)?;
            self.follow(&mean, &variance, n)?;
            return Ok(y);
        }
        let batch = Arc::new(OnceLock::new());
        let op = BatchNormOp { eps: self.config.eps, batch: batch.clone() };
        let y =
            x.contiguous()?.apply_op3(&self.weight.contiguous()?, &self.bias.contiguous()?, op)?;
        if let Some(moments) = batch.get() {
            self.follow_moments(moments, n)?;
        }
        Ok(y)
    }

    /// The running statistics make it a scale and a shift, which candle does as fast as anybody.
    fn evaluate(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x, false)?;
        let dims = broadcast_dims(x);
        let wide = self.running_var.dtype();
        let deviation = (self.running_var.as_detached_tensor() + self.config.eps)?.sqrt()?;
        let scale = self.weight.to_dtype(wide)?.div(&deviation)?;
        let shift =
            (self.bias.to_dtype(wide)? - (self.running_mean.as_detached_tensor() * &scale)?)?;
        let [scale, shift] =
            [scale, shift].map(|tensor| tensor.to_dtype(x.dtype())?.reshape(dims.as_slice()));
        x.broadcast_mul(&scale?)?.broadcast_add(&shift?)
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if train { self.train(x) } else { self.evaluate(x) }
    }
}

/// (1, C, 1, …) for (N, C, …).
fn broadcast_dims(x: &Tensor) -> Vec<usize> {
    (0..x.rank()).map(|dim| if dim == 1 { x.dims()[1] } else { 1 }).collect()
}

/// The same by candle's operations, with the batch's mean and variance; half precision is normalised in f32.
pub(super) fn composed(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor, Tensor)> {
    let given = x.dtype();
    let dims = broadcast_dims(x);
    let channels = x.dims()[1];
    let x = if given == DType::F64 { x.clone() } else { x.to_dtype(DType::F32)? };
    // One row for each channel.
    let rows = x.transpose(0, 1)?.contiguous()?.reshape((channels, ()))?;
    let mean = rows.mean_keepdim(1)?;
    let centered = rows.broadcast_sub(&mean)?;
    let variance = centered.sqr()?.mean_keepdim(1)?;
    let normal = centered.broadcast_div(&(&variance + eps)?.sqrt()?)?;
    let mut turned = x.dims().to_vec();
    turned.swap(0, 1);
    let normal = normal.reshape(turned)?.transpose(0, 1)?.to_dtype(given)?;
    let (weight, bias) = (weight.reshape(dims.as_slice())?, bias.reshape(dims.as_slice())?);
    let y = normal.broadcast_mul(&weight)?.broadcast_add(&bias)?;
    Ok((y, mean.flatten_all()?, variance.flatten_all()?))
}

/// Mean and variance (over n) of every channel.
#[derive(Debug)]
pub(super) struct Moments {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

#[derive(Debug)]
struct BatchNormOp {
    eps: f64,
    /// The batch's statistics, once the forward pass has run.
    batch: Arc<OnceLock<Moments>>,
}

/// N × C planes of consecutive values.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    images: usize,
    channels: usize,
    plane: usize,
}

impl Planes {
    pub(super) fn new(shape: &Shape) -> Self {
        let dims = shape.dims();
        let plane = dims[2..].iter().product();
        Self { images: dims[0], channels: dims[1], plane }
    }

    /// Values of an image.
    fn image(self) -> usize {
        (self.channels * self.plane).max(1)
    }

    /// The planes of one channel.
    fn of_channel<T>(self, values: &[T], channel: usize) -> impl Iterator<Item = &[T]> {
        let starts = (0..self.images).map(move |image| image * self.channels + channel);
        starts.map(move |start| &values[start * self.plane..][..self.plane])
    }
}

impl CustomOp3 for BatchNormOp {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let planes = Planes::new(layout.shape());
        for_float!(LAYER, dtype(x), T => {
            let x = view::<T>(x, layout)?;
            let (weight, bias) = (view::<T>(weight, weight_layout)?, view::<T>(bias, bias_layout)?);
            let (y, moments) = WORKERS.run(|| forward(x, weight, bias, planes, self.eps));
            // The operation is made anew for each call, so nothing was there.
            let _ = self.batch.set(moments);
            Ok(output(y, layout.shape()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let planes = Planes::new(x.shape());
        let Some(moments) = self.batch.get() else {
            return Err(candle_core::Error::msg("batch norm: backward before forward"));
        };
        for_float!(LAYER, x.dtype(), T => {
            let (held, held_weight, held_grad) = (Held::new(x), Held::new(weight), Held::new(&grad));
            let (x_, w_, g_) = (held.slice::<T>()?, held_weight.slice()?, held_grad.slice()?);
            let [dx, dweight, dbias] =
                WORKERS.run(|| backward(x_, w_, g_, planes, moments, self.eps));
            Ok((gradient(dx, x)?, gradient(dweight, weight)?, gradient(dbias, bias)?))
        })
    }
}

/// y = x·scale + shift, channel by channel.
pub(super) fn forward<T: Element>(
    x: &[T],
    weight: &[T],
    bias: &[T],
    planes: Planes,
    eps: f64,
) -> (Vec<T>, Moments) {
    let moments = WORKERS.map(planes.channels, |channel| {
        let mut total = Running::default();
        for plane in planes.of_channel(x, channel) {
            total = total.merge(vectorized!(plane_moments(plane)));
        }
        (total.mean, total.squares / total.n)
    });
    let (mean, variance): (Vec<f64>, Vec<f64>) = moments.into_iter().unzip();
    let affine: Vec<(T, T)> = (0..planes.channels)
        .map(|channel| {
            let scale = wide(weight[channel]) / (variance[channel] + eps).sqrt();
            (narrow(scale), narrow(wide(bias[channel]) - mean[channel] * scale))
        })
        .collect();
    let mut y = zeros(x.len());
    WORKERS.for_each_chunk(&mut y, planes.image(), |image, y| {
        let x = x[image * planes.image()..].chunks_exact(planes.plane);
        for ((y, x), &(scale, shift)) in y.chunks_exact_mut(planes.plane).zip(x).zip(&affine) {
            vectorized!({
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x * scale + shift;
                }
            });
        }
    });
    (y, Moments { mean, variance })
}

/// Count, mean and Σ(x − mean)², which merge by Chan's formula.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Running {
    fn merge(self, other: Self) -> Self {
        let n = self.n + other.n;
        if n == 0.0 {
            return self;
        }
        let difference = other.mean - self.mean;
        let part = other.n / n;
        Self {
            n,
            mean: self.mean + difference * part,
            squares: self.squares + other.squares + difference * difference * self.n * part,
        }
    }
}

#[inline(always)]
fn plane_moments<T: Element>(plane: &[T]) -> Running {
    let n = count(plane.len());
    // The first value as origin, so that a large mean leaves its digits to the deviations.
    let origin = plane.first().copied().unwrap_or_default();
    let level = sum(plane, |x| x - origin) * narrow(1.0 / n);
    let squares = sum(plane, |x| {
        let deviation = (x - origin) - level;
        deviation * deviation
    });
    Running { n, mean: wide(origin) + wide(level), squares: wide(squares) }
}

/// With x̂ the normalised x: dbias = Σg, dweight = Σg·x̂, dx = scale·(g − dbias/n − x̂·dweight/n).
pub(super) fn backward<T: Element>(
    x: &[T],
    weight: &[T],
    grad: &[T],
    planes: Planes,
    moments: &Moments,
    eps: f64,
) -> [Vec<T>; 3] {
    let n = count(planes.images * planes.plane);
    // dweight, dbias, and dx = a·g + b·x + c.
    let channels = WORKERS.map(planes.channels, |channel| {
        let mean = moments.mean[channel];
        let inverse = 1.0 / (moments.variance[channel] + eps).sqrt();
        let (mut level, mut slope) = (0.0, 0.0);
        for (x, grad) in planes.of_channel(x, channel).zip(planes.of_channel(grad, channel)) {
            let (g, gx) = vectorized!({
                let mean = narrow::<T>(mean);
                (sum(grad, |g| g), sum_pairs(grad, x, |g, x| g * (x - mean)))
            });
            level += wide(g);
            slope += wide(gx);
        }
        let slope = slope * inverse;
        let scale = wide(weight[channel]) * inverse;
        let b = -scale * inverse * slope / n;
        let c = -scale * level / n - b * mean;
        (narrow::<T>(slope), narrow::<T>(level), [scale, b, c].map(narrow::<T>))
    });
    let mut dx = zeros(grad.len());
    WORKERS.for_each_chunk(&mut dx, planes.image(), |image, dx| {
        let start = image * planes.image();
        let x = x[start..].chunks_exact(planes.plane);
        let grad = grad[start..].chunks_exact(planes.plane);
        let out = dx.chunks_exact_mut(planes.plane).zip(x.zip(grad));
        for ((dx, (x, grad)), &(_, _, [a, b, c])) in out.zip(&channels) {
            vectorized!(for ((dx, &x), &g) in dx.iter_mut().zip(x).zip(grad) {
                *dx = g * a + (x * b + c);
            });
        }
    });
    let dweight = channels.iter().map(|&(dweight, _, _)| dweight).collect();
    let dbias = channels.iter().map(|&(_, dbias, _)| dbias).collect();
    [dx, dweight, dbias]
}
