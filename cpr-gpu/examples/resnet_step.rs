//! What a training step of a ResNet for 32×32 costs, and of what: `resnet_step [DEVICE] [BATCH] [DEPTH] [ROUNDS]`.
//!
//! Prints the milliseconds of forward, backward and the optimizers, the kinds of layer by their cost, whether every
//! parameter has a gradient, and the most memory that the process has taken. DEVICE is cpu, cuda or cuda:N; 128 images,
//! depth 18 and 5 rounds without the other arguments. docs/CANDLE.md has figures.
#![allow(clippy::print_stdout, reason = "a program that reports")]

use std::{error::Error, time::Instant};

use candle_core::{DType, Device, Result, Tensor, Var, backprop::GradStore};
use cpr_core::BoundInit;
use cpr_gpu::{
    AdamCpr, AdamW, ParamsAdamCpr, ParamsAdamW,
    device::DeviceChoice,
    model::{Depth, ResNet, ResNetConfig, Store},
    nn::{BatchNorm, BatchNormConfig, Conv, conv2d, cross_entropy, relu},
};

const CLASSES: usize = 10;
const SIDE: usize = 32;

/// Milliseconds of `work`, the device waited for: the median of that many rounds after one.
fn timed<T>(
    device: &Device,
    rounds: usize,
    mut work: impl FnMut() -> Result<T>,
) -> Result<(f64, T)> {
    let mut last = work()?;
    device.synchronize()?;
    let mut times = Vec::new();
    for _ in 0..rounds.max(1) {
        let start = Instant::now();
        last = work()?;
        device.synchronize()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], last))
}

/// The convolutions of a depth by shape: images' side, inputs, outputs, kernel, stride.
type Shape = [usize; 5];

/// Every convolution of a ResNet of basic blocks, in its order.
fn convolutions(blocks: [usize; 4]) -> Vec<Shape> {
    let mut shapes = vec![[SIDE, 3, 64, 3, 1]];
    let (mut inputs, mut side) = (64, SIDE);
    for (stage, count) in blocks.into_iter().enumerate() {
        let channels = 64 << stage;
        for block in 0..count {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            shapes.push([side, inputs, channels, 3, stride]);
            if stride != 1 {
                shapes.push([side, inputs, channels, 1, stride]);
            }
            side /= stride;
            shapes.push([side, channels, channels, 3, 1]);
            inputs = channels;
        }
    }
    shapes
}

/// Milliseconds of both passes of a function of an image that needs its gradient.
fn both(
    device: &Device,
    rounds: usize,
    x: &Var,
    f: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<f64> {
    Ok(timed(device, rounds, || f(x)?.sum_all()?.backward())?.0)
}

/// Kinds of layer with the milliseconds of their passes in a step, dearest first.
fn kinds(
    device: &Device,
    batch: usize,
    rounds: usize,
    blocks: [usize; 4],
) -> Result<Vec<(String, f64)>> {
    let mut costs: Vec<(String, f64)> = Vec::new();
    let mut add = |kind: String, ms: f64| match costs.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, sum)) => *sum += ms,
        None => costs.push((kind, ms)),
    };
    let mut known: Vec<(Shape, [f64; 3])> = Vec::new();
    for shape in convolutions(blocks) {
        let [side, inputs, outputs, kernel, stride] = shape;
        let ms = match known.iter().find(|(own, _)| *own == shape) {
            Some((_, ms)) => *ms,
            None => {
                let random = |dims: &[usize]| Var::randn(0_f32, 1_f32, dims, device);
                let x = random(&[batch, inputs, side, side])?;
                let weight = random(&[outputs, inputs, kernel, kernel])?;
                let conv = Conv { stride, padding: kernel / 2 };
                let convolved = both(device, rounds, &x, |x| conv2d(x, &weight, conv))?;
                let y = random(&[batch, outputs, side / stride, side / stride])?;
                let store = Store::new(0);
                let variables = store.builder(DType::F32, device);
                let norm = BatchNorm::new(outputs, BatchNormConfig::default(), &variables)?;
                let forward = |x: &Tensor| candle_nn::ModuleT::forward_t(&norm, x, true);
                let normed = both(device, rounds, &y, forward)?;
                let rectified = both(device, rounds, &y, relu)?;
                let summed = both(device, rounds, &y, |x| Ok(x.clone()))?;
                let ms = [convolved - summed, normed - summed, rectified - summed];
                known.push((shape, ms));
                ms
            }
        };
        add(format!("convolutions {kernel}x{kernel} to {outputs} channels"), ms[0]);
        add("batch norms".to_owned(), ms[1]);
        if kernel != 1 {
            add("rectifiers".to_owned(), ms[2]);
        }
    }
    costs.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(costs)
}

/// The most memory that this process has taken, in MiB, as Linux counts it.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

/// The trained variables that have no gradient, or one that is zero everywhere or not finite.
fn without_gradient(store: &Store, grads: &GradStore) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (name, var) in store.named().into_iter().filter(|(name, _)| !name.contains("running_")) {
        let total = match grads.get(&var) {
            Some(grad) => grad.abs()?.sum_all()?.to_scalar::<f32>()?,
            None => 0.0,
        };
        if !(total > 0.0 && total.is_finite()) {
            names.push(name);
        }
    }
    Ok(names)
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| {
        arguments.get(index).cloned().unwrap_or_else(|| default.to_owned())
    };
    let device = argument(0, "cpu").parse::<DeviceChoice>()?.open()?;
    let batch: usize = argument(1, "128").parse()?;
    let rounds: usize = argument(3, "5").parse()?;
    let layers = argument(2, "18");
    let depth = layers.parse().ok().and_then(Depth::of);
    let depth =
        depth.ok_or_else(|| format!("depth {layers}: it must be 10, 18, 34, 50, 101 or 152"))?;
    // Those of basic blocks.
    let blocks = match depth {
        Depth::D10 => Some([1; 4]),
        Depth::D18 => Some([2; 4]),
        Depth::D34 => Some([3, 4, 6, 3]),
        Depth::D50 | Depth::D101 | Depth::D152 => None,
    };
    let store = Store::new(1);
    let model =
        ResNet::new(ResNetConfig::new(depth, CLASSES), &store.builder(DType::F32, &device))?;
    let images = Tensor::randn(0_f32, 1_f32, (batch, 3, SIDE, SIDE), &device)?;
    let classes = u32::try_from(CLASSES)?;
    let labels: Vec<u32> = (0..classes).cycle().take(batch).collect();
    let labels = Tensor::from_vec(labels, batch, &device)?;
    let forward = || cross_entropy(&model.forward(&images, true)?, &labels, 0.1);
    let (forward_ms, _) = timed(&device, rounds, forward)?;
    let (passes_ms, grads) = timed(&device, rounds, || forward()?.backward())?;
    let missing = without_gradient(&store, &grads)?;
    let step_ms = |step: &mut dyn FnMut() -> std::result::Result<(), cpr_gpu::Error>| {
        timed(&device, rounds.max(5), || Ok(step()?)).map(|(ms, ())| ms)
    };
    let mut adamw = AdamW::builder(ParamsAdamW::default()).from_named(store.named())?;
    let adamw_ms = step_ms(&mut || adamw.apply(&grads).map(drop))?;
    // A bound that every matrix is above, so that all are corrected.
    let params = ParamsAdamCpr::new(BoundInit::Dependent(0.5));
    let mut adamcpr = AdamCpr::builder(params).from_named(store.named())?;
    let adamcpr_ms = step_ms(&mut || adamcpr.apply(&grads).map(drop))?;
    println!("batch {batch}, 3 x {SIDE} x {SIDE}: ms of forward {forward_ms:.1}");
    println!("  backward {:.1}", passes_ms - forward_ms);
    println!("  AdamW {adamw_ms:.2}, AdamCPR with every bound active {adamcpr_ms:.2}");
    println!(
        "  step {:.1}, {:.3} a second",
        passes_ms + adamcpr_ms,
        1e3 / (passes_ms + adamcpr_ms)
    );
    match missing.len() {
        0 => println!("every parameter has a gradient"),
        count => println!("{count} parameters have no gradient, the first is {}", missing[0]),
    }
    if let Some(peak) = peak() {
        println!("at most {peak:.0} MiB of the host's memory");
    }
    if let Some(blocks) = blocks {
        println!("by kind of layer, both passes, ms:");
        for (kind, ms) in kinds(&device, batch, rounds, blocks)? {
            println!("  {ms:9.2}  {kind}");
        }
    }
    Ok(())
}
