//! Forward and backward on the CPU, ours against the same in plain Candle, in turns in one process: convolution with
//! batch norm, and a transformer block.
//!
//! `cargo bench -p cpr-gpu --bench layers -- [rounds] [part of a name]`. Values and gradients are compared before anything is timed.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{error::Error, time::Instant};

use candle_core::{
    CpuStorage, CustomOp1, D, DType, Device, Layout, Result, Shape, Tensor, Var,
    backprop::GradStore,
};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use cpr_gpu::nn::{
    Attention, BatchNorm, BatchNormConfig, Conv, Gelu, Weights, causal_attention, gelu, layer_norm,
    linear,
};

/// A forward pass.
type Forward<'a> = Box<dyn Fn() -> Result<Tensor> + 'a>;

/// A backward pass.
type Backward = fn(&Tensor) -> Result<GradStore>;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let rounds = arguments.next().unwrap_or_else(|| "9".to_owned());
    let rounds: usize = rounds.parse().map_err(|_| format!("rounds: {rounds} is no number"))?;
    let rounds = rounds.max(1);
    let part = arguments.next().unwrap_or_default();
    println!("forward and backward, f32, {} threads, medians of {rounds} rounds", threads());
    println!("{:<46} {:>10} {:>10} {:>7}", "", "candle", "ours", "ratio");
    for (images, inputs, outputs, size) in [(32, 64, 64, 16), (128, 8, 8, 32)] {
        let name = format!("conv 3x3 + batch norm, {images}x{inputs}->{outputs} at {size}x{size}");
        if !name.contains(&part) {
            continue;
        }
        let convolution = Convolution::new(images, inputs, outputs, size)?;
        compare(
            &name,
            rounds,
            &convolution.vars(),
            [Box::new(|| convolution.plain()), Box::new(|| convolution.ours())],
        )?;
    }
    for (batch, length, width, heads) in [(12, 64, 128, 4), (1, 256, 768, 12)] {
        let name = format!("transformer block, {width}/{heads} heads, {batch}x{length}");
        if !name.contains(&part) {
            continue;
        }
        let block = Block::new(batch, length, width, heads)?;
        compare(
            &name,
            rounds,
            &block.vars(),
            [Box::new(|| block.forward(&Block::plain)), Box::new(|| block.forward(&Block::ours))],
        )?;
    }
    Ok(())
}

fn threads() -> usize {
    cpr_host::parallel::Workers::shared().threads().get()
}

/// Checks that both do the same, then times forward and backward in turns.
fn compare(name: &str, rounds: usize, vars: &[Var], forward: [Forward<'_>; 2]) -> Result<()> {
    let gradient = (forward[0])()?.rand_like(-1.0, 1.0)?.detach();
    let step = |forward: &Forward<'_>, backward: Backward| -> Result<(Tensor, GradStore)> {
        let y = forward()?;
        let grads = backward(&y.apply_op1(Given(gradient.clone()))?)?;
        Ok((y, grads))
    };
    let backward: [Backward; 2] = [Tensor::backward, cpr_gpu::nn::backward];
    let [(expected, plain), (y, ours)] =
        [step(&forward[0], backward[0])?, step(&forward[1], backward[1])?];
    assert!(distance(&y, &expected)? < 1e-4, "{name}: outputs differ");
    for (index, var) in vars.iter().enumerate() {
        let missing = || candle_core::Error::msg(format!("{name}: no gradient of {index}"));
        let ours = ours.get(var).ok_or_else(missing)?;
        let error = distance(ours, plain.get(var).ok_or_else(missing)?)?;
        assert!(error < 1e-3, "{name}: gradients of variable {index} differ by {error}");
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for ((forward, backward), times) in forward.iter().zip(backward).zip(&mut times) {
            let start = Instant::now();
            let kept = step(forward, backward)?;
            times.push(start.elapsed().as_secs_f64());
            drop(kept);
        }
    }
    let [plain, ours] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("{name:<46} {:>7.2} ms {:>7.2} ms {:>7.2}", 1e3 * plain, 1e3 * ours, plain / ours);
    Ok(())
}

/// A loss that costs nothing: its gradient is given.
struct Given(Tensor);

impl CustomOp1 for Given {
    fn name(&self) -> &'static str {
        "given"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

/// Largest difference, relative to the largest element or 1.
fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
    let scale = b.abs()?.max_all()?.to_scalar::<f32>()?.max(1.0);
    Ok((a - b)?.abs()?.max_all()?.to_scalar::<f32>()? / scale)
}

fn normal(shape: &[usize], deviation: f32) -> Result<Var> {
    Var::from_tensor(&Tensor::randn(0.0_f32, deviation, shape, &Device::Cpu)?)
}

struct Convolution {
    x: Var,
    weight: Var,
    plain: candle_nn::BatchNorm,
    ours: BatchNorm,
}

impl Convolution {
    fn new(images: usize, inputs: usize, outputs: usize, size: usize) -> Result<Self> {
        let map = VarMap::new();
        let variables = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
        Ok(Self {
            x: normal(&[images, inputs, size, size], 1.0)?,
            weight: normal(&[outputs, inputs, 3, 3], 0.1)?,
            plain: candle_nn::batch_norm(outputs, 1e-5, variables.pp("plain"))?,
            ours: BatchNorm::new(outputs, BatchNormConfig::default(), &variables.pp("ours"))?,
        })
    }

    fn vars(&self) -> Vec<Var> {
        vec![self.x.clone(), self.weight.clone()]
    }

    fn plain(&self) -> Result<Tensor> {
        self.plain.forward_t(&self.x.conv2d(&self.weight, 1, 1, 1, 1)?, true)
    }

    fn ours(&self) -> Result<Tensor> {
        let conv = Conv { stride: 1, padding: 1 };
        self.ours.after_conv2d(&self.x, &self.weight, conv, true)
    }
}

/// A block of GPT-2: normalisation before attention and MLP, biases everywhere.
struct Block {
    x: Var,
    /// Weight and bias of the two normalisations.
    norms: [[Var; 2]; 2],
    /// Weight and bias of qkv, projection, and the two layers of the MLP.
    maps: [[Var; 2]; 4],
    heads: usize,
    future: Tensor,
}

/// The operations that differ.
struct Operations {
    norm: fn(&Tensor, &[Var; 2]) -> Result<Tensor>,
    map: fn(&Tensor, &[Var; 2]) -> Result<Tensor>,
    attention: fn(&Block, &Tensor) -> Result<Tensor>,
    gelu: fn(&Tensor) -> Result<Tensor>,
}

impl Block {
    fn new(batch: usize, length: usize, width: usize, heads: usize) -> Result<Self> {
        let map = |inputs: usize, outputs: usize| -> Result<[Var; 2]> {
            Ok([normal(&[outputs, inputs], 0.02)?, normal(&[outputs], 0.02)?])
        };
        let norm = || -> Result<[Var; 2]> { Ok([normal(&[width], 1.0)?, normal(&[width], 0.1)?]) };
        let future = (0..length).flat_map(|query| {
            (0..length).map(move |key| if key > query { f32::NEG_INFINITY } else { 0.0 })
        });
        Ok(Self {
            x: normal(&[batch, length, width], 1.0)?,
            norms: [norm()?, norm()?],
            maps: [
                map(width, 3 * width)?,
                map(width, width)?,
                map(width, 4 * width)?,
                map(4 * width, width)?,
            ],
            heads,
            future: Tensor::from_iter(future, &Device::Cpu)?.reshape((length, length))?,
        })
    }

    fn vars(&self) -> Vec<Var> {
        let parameters = self.norms.iter().chain(&self.maps).flatten();
        std::iter::once(&self.x).chain(parameters).cloned().collect()
    }

    fn forward(&self, operations: &dyn Fn() -> Operations) -> Result<Tensor> {
        let Operations { norm, map, attention, gelu } = operations();
        let x = self.x.as_tensor();
        let y = map(&norm(x, &self.norms[0])?, &self.maps[0])?;
        let x = (x + map(&attention(self, &y)?, &self.maps[1])?)?;
        let y = map(&norm(&x, &self.norms[1])?, &self.maps[2])?;
        x + map(&gelu(&y)?, &self.maps[3])?
    }

    fn plain() -> Operations {
        Operations {
            norm: |x, [weight, bias]| candle_nn::ops::layer_norm_slow(x, weight, bias, 1e-5),
            map: |x, [weight, bias]| {
                let (weight, bias) = (weight.as_tensor().clone(), bias.as_tensor().clone());
                candle_core::Module::forward(&candle_nn::Linear::new(weight, Some(bias)), x)
            },
            attention: Self::plain_attention,
            gelu: Tensor::gelu,
        }
    }

    fn ours() -> Operations {
        Operations {
            norm: |x, [weight, bias]| layer_norm(x, weight, Some(bias), 1e-5),
            map: |x, [weight, bias]| linear(x, weight, Some(bias), Weights::OutIn),
            attention: |block, qkv| causal_attention(qkv, Attention::new(block.heads)),
            gelu: |x| gelu(x, Gelu::Tanh),
        }
    }

    fn plain_attention(&self, qkv: &Tensor) -> Result<Tensor> {
        let (batch, length, width) = qkv.dims3()?;
        let size = width / (3 * self.heads);
        let part = |index: usize| {
            qkv.narrow(2, index * width / 3, width / 3)?
                .reshape((batch, length, self.heads, size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scale = 1.0 / f64::from(u32::try_from(size).unwrap_or(u32::MAX)).sqrt();
        let scores = (q.matmul(&k.t()?)? * scale)?.broadcast_add(&self.future)?;
        let probabilities = candle_nn::ops::softmax(&scores, D::Minus1)?;
        probabilities.matmul(&v)?.transpose(1, 2)?.reshape((batch, length, width / 3))
    }
}
