//! What the fused CUDA step promises, measured on the GPU of this machine; `scripts/gpu-check.sh` runs it.
//!
//! Prints one line a promise, `ok` or `FAILED` first, and ends with status 1 if one failed. Of the parts `agreement`,
//! `steadiness` and `speed` it does those that are named as arguments, without one all. `TORCH_MS` holds the
//! milliseconds of `torch.optim.AdamW(fused=True)` on the same shapes, where that could be measured.
#![allow(clippy::print_stdout, reason = "a program that reports")]

use std::{process::ExitCode, time::Instant};

use candle_core::{DType, Device, Result, Tensor, Var, backprop::GradStore};
use candle_nn::{Optimizer, ParamsAdamW as CandleParams};
use cpr_core::{BoundInit, ConstraintConfig, Order, Std};
use cpr_gpu::{AdamCpr, AdamW, Groups, ParamsAdamCpr, ParamsAdamW, Path};

/// What can be asked for.
const PARTS: [&str; 3] = ["agreement", "steadiness", "speed"];

/// Prints the promises and remembers whether one failed.
struct Ledger {
    failed: bool,
}

impl Ledger {
    fn line(&mut self, holds: bool, text: &str) {
        self.failed |= !holds;
        println!("{} {text}", if holds { "ok    " } else { "FAILED" });
    }
}

/// Variables, and a gradient of each.
struct Model {
    vars: Vec<(String, Var)>,
    grads: GradStore,
    elements: f64,
}

/// GPT-2's shapes for `blocks` blocks of width `dim`: 148 tensors of 124.4 million weights for 12 of 768.
fn shapes(vocabulary: usize, context: usize, dim: usize, blocks: usize) -> Vec<Vec<usize>> {
    let mut shapes = vec![vec![vocabulary, dim], vec![context, dim]];
    for _ in 0..blocks {
        shapes.extend([vec![dim], vec![dim], vec![3 * dim, dim], vec![3 * dim], vec![dim, dim]]);
        shapes.extend([vec![dim], vec![dim], vec![dim], vec![4 * dim, dim], vec![4 * dim]]);
        shapes.extend([vec![dim, 4 * dim], vec![dim]]);
    }
    shapes.extend([vec![dim], vec![dim]]);
    shapes
}

/// Numbers of a fixed stream: the same on every device.
fn noise(stream: u64, count: usize, scale: f32) -> Vec<f32> {
    let mut state = stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let [.., low, high] = state.to_le_bytes();
            (f32::from(u16::from_le_bytes([low, high])) / 32768.0 - 1.0) * scale
        })
        .collect()
}

impl Model {
    fn new(shapes: &[Vec<usize>], device: &Device) -> Result<Self> {
        // The store of a scalar's backward pass is the only public way to one.
        let mut grads = Var::new(&[0f32], device)?.sum_all()?.backward()?;
        let (mut vars, mut elements) = (Vec::new(), 0.0);
        for (stream, shape) in (1..).zip(shapes) {
            let count: usize = shape.iter().product();
            let theta = Tensor::from_vec(noise(stream, count, 0.05), shape.as_slice(), device)?;
            let grad = noise(1000 + stream, count, 1e-3);
            let var = Var::from_tensor(&theta)?;
            grads.insert(&var, Tensor::from_vec(grad, shape.as_slice(), device)?);
            elements += f64::from(u32::try_from(count).map_err(candle_core::Error::wrap)?);
            vars.push((format!("var{stream}"), var));
        }
        Ok(Self { vars, grads, elements })
    }

    fn cpr(&self, bound: BoundInit) -> Result<AdamCpr> {
        let mut params = ParamsAdamCpr::new(bound);
        params.constraint.mu = 1e-3;
        self.optimizer(params)
    }

    fn optimizer(&self, params: ParamsAdamCpr) -> Result<AdamCpr> {
        let builder = AdamCpr::builder(params).groups(Groups::everything());
        Ok(builder.from_named(self.vars.clone())?)
    }

    fn values(&self) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for (_, var) in &self.vars {
            all.extend(var.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(all)
    }
}

/// Milliseconds of one run of `step`, each the mean of 20, for every step in turn; the median of 7 rounds.
fn interleaved(device: &Device, steps: &mut [&mut dyn FnMut() -> Result<()>]) -> Result<Vec<f64>> {
    const ROUNDS: usize = 7;
    const RUNS: u32 = 20;
    let mut times = vec![Vec::new(); steps.len()];
    for _ in 0..=ROUNDS {
        for (step, times) in steps.iter_mut().zip(&mut times) {
            step()?;
            device.synchronize()?;
            let start = Instant::now();
            for _ in 0..RUNS {
                step()?;
            }
            device.synchronize()?;
            times.push(start.elapsed().as_secs_f64() * 1e3 / f64::from(RUNS));
        }
    }
    Ok(times
        .into_iter()
        .map(|mut times| {
            // The first round warms up.
            times.remove(0);
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        })
        .collect())
}

/// The distance of two floats in units in the last place.
fn ulps(a: f32, b: f32) -> u32 {
    let ordered = |x: f32| {
        let bits = i64::from(x.to_bits() & 0x7fff_ffff);
        if x.is_sign_negative() { -bits } else { bits }
    };
    u32::try_from((ordered(a) - ordered(b)).unsigned_abs()).unwrap_or(u32::MAX)
}

fn agreement(ledger: &mut Ledger, cuda: &Device) -> std::result::Result<(), cpr_gpu::Error> {
    let small = shapes(1000, 64, 96, 2);
    for order in [Order::AfterBase, Order::BeforeBase] {
        for (name, regularizer) in [("l2", cpr_core::L2.into()), ("std", Std.into())] {
            let mut params = ParamsAdamCpr::new(BoundInit::Dependent(0.5));
            let constraint = ConstraintConfig::new(regularizer, BoundInit::Dependent(0.5));
            params.constraint = ConstraintConfig { mu: 0.01, order, ..constraint };
            let (host, device) = (Model::new(&small, &Device::Cpu)?, Model::new(&small, cuda)?);
            let (mut on_host, mut on_device) =
                (host.optimizer(params.clone())?, device.optimizer(params)?);
            for steps in [1, 100] {
                for _ in 0..steps {
                    on_host.apply(&host.grads)?;
                    on_device.apply(&device.grads)?;
                }
                let (expected, found) = (host.values()?, device.values()?);
                let most = expected.iter().zip(&found).map(|(a, b)| ulps(*a, *b)).max();
                let most = most.unwrap_or(0);
                let paths = (on_host.path(), on_device.path());
                let active = on_device.report()?.active();
                let holds = paths == (Path::Cpu, Path::Cuda) && (steps > 1 || most <= 4);
                let text = format!(
                    "{name} {order:?}, {active} active: CUDA within {most} ULP of the CPU after {steps} more steps"
                );
                ledger.line(holds, &text);
            }
        }
    }
    Ok(())
}

fn speed(ledger: &mut Ledger, cuda: &Device) -> std::result::Result<(), cpr_gpu::Error> {
    let shapes = shapes(50257, 1024, 768, 12);
    let model = Model::new(&shapes, cuda)?;
    let elements = model.elements;
    let mut active = model.cpr(BoundInit::UniformPerElement(1e-9))?;
    let bare = |bound| {
        let mut params = ParamsAdamCpr::new(bound);
        params.constraint.mu = 1e-3;
        let builder = AdamCpr::builder(params).groups(Groups::everything()).check_finite(false);
        builder.from_named(model.vars.clone())
    };
    let mut unchecked = bare(BoundInit::UniformPerElement(1e-9))?;
    let mut idle = bare(BoundInit::Uniform(1e30))?;
    let mut inactive = model.cpr(BoundInit::Uniform(1e30))?;
    let mut adamw = AdamW::builder(ParamsAdamW::default()).from_named(model.vars.clone())?;
    let vars: Vec<Var> = model.vars.iter().map(|(_, var)| var.clone()).collect();
    let mut plain = candle_nn::AdamW::new(vars, CandleParams::default())?;
    let block = Tensor::zeros(1 << 28, DType::F32, cuda)?;
    let gigabytes = 2.0 * 4.0 * f64::from(1u32 << 28) / 1e9;
    let grads = &model.grads;
    let times = interleaved(
        cuda,
        &mut [
            &mut || block.copy().map(drop),
            &mut || Ok(active.apply(grads).map(drop)?),
            &mut || Ok(inactive.apply(grads).map(drop)?),
            &mut || Ok(adamw.apply(grads).map(drop)?),
            &mut || plain.step(grads),
            &mut || Ok(unchecked.apply(grads).map(drop)?),
            &mut || Ok(idle.apply(grads).map(drop)?),
        ],
    )?;
    let [copy, on, off, base, candle, bare, idle] = times[..] else { return Ok(()) };
    println!(
        "       {elements} parameters, ms a step: AdamCpr active {on:.3}, inactive {off:.3}; unchecked {bare:.3} and {idle:.3}; AdamW {base:.3}, candle_nn::AdamW {candle:.3}; copy of 1 GiB {copy:.3}"
    );
    let bandwidth = gigabytes / copy * 1e3;
    let reports = active.report()?;
    let all = reports.active() == shapes.len();
    ledger.line(all, &format!("{} of {} constraints active", reports.active(), shapes.len()));
    ledger.line(inactive.report()?.active() == 0, "no constraint active in the inactive run");
    let share = |bytes: f64, time: f64| elements * bytes / 1e6 / time / bandwidth;
    let text = |bytes: f64, time: f64, what: &str| {
        format!(
            "{what}: {:.1} % of the copy's {bandwidth:.0} GB/s at {bytes} bytes a parameter",
            100.0 * share(bytes, time)
        )
    };
    ledger.line(share(40.0, on) >= 0.8, &text(40.0, on, "active, with the check"));
    ledger.line(share(36.0, bare) >= 0.8, &text(36.0, bare, "active, without the check"));
    ledger.line(off / base <= 1.02, &format!("inactive {:.3} of our AdamW", off / base));
    ledger
        .line(candle / on >= 5.0, &format!("{:.1} times as fast as candle_nn::AdamW", candle / on));
    match std::env::var("TORCH_MS").ok().and_then(|text| text.trim().parse::<f64>().ok()) {
        Some(torch) => {
            // torch looks for no gradient that is not finite either: 28 bytes a parameter.
            let inactive = idle / torch;
            let text =
                format!("inactive, unchecked {inactive:.3} of torch's fused AdamW ({torch:.3} ms)");
            ledger.line(inactive <= 1.0, &text);
            let active = bare / torch;
            ledger.line(active <= 1.35, &format!("active, unchecked {active:.3} of it (aim 1.3)"));
        }
        None => println!("       TORCH_MS is not set: no comparison with torch"),
    }
    Ok(())
}

fn steadiness(ledger: &mut Ledger, cuda: &Device) -> std::result::Result<(), cpr_gpu::Error> {
    let shapes = shapes(8000, 256, 256, 4);
    let run = || -> std::result::Result<Vec<u32>, cpr_gpu::Error> {
        let model = Model::new(&shapes, cuda)?;
        let mut optimizer = model.cpr(BoundInit::UniformPerElement(1e-9))?;
        for _ in 0..50 {
            optimizer.apply(&model.grads)?;
        }
        Ok(model.values()?.into_iter().map(f32::to_bits).collect())
    };
    ledger.line(run()? == run()?, "two runs of 50 steps have the same bits");

    let model = Model::new(&shapes, cuda)?;
    let mut optimizer = model.cpr(BoundInit::UniformPerElement(1e-9))?;
    let context = cuda.as_cuda_device()?.cuda_stream().context().clone();
    let free = || context.mem_get_info().map(|(free, _)| free).map_err(candle_core::Error::wrap);
    for _ in 0..20 {
        optimizer.apply(&model.grads)?;
    }
    cuda.synchronize()?;
    let before = free()?;
    for _ in 0..500 {
        optimizer.apply(&model.grads)?;
    }
    cuda.synchronize()?;
    let after = free()?;
    ledger
        .line(before == after, &format!("free memory {before} bytes, and {after} after 500 steps"));
    Ok(())
}

fn main() -> ExitCode {
    let mut ledger = Ledger { failed: false };
    let run = |ledger: &mut Ledger| {
        let cuda = Device::new_cuda(0)?;
        let named: Vec<String> = std::env::args().skip(1).collect();
        if let Some(unknown) = named.iter().find(|name| !PARTS.contains(&name.as_str())) {
            let known = PARTS.join(", ");
            let message = format!("there is no part `{unknown}`: the parts are {known}");
            return Err(candle_core::Error::msg(message).into());
        }
        let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
        if wanted("agreement") {
            agreement(ledger, &cuda)?;
        }
        if wanted("steadiness") {
            steadiness(ledger, &cuda)?;
        }
        if wanted("speed") {
            speed(ledger, &cuda)?;
        }
        Ok::<_, cpr_gpu::Error>(())
    };
    if let Err(error) = run(&mut ledger) {
        println!("FAILED {error}");
        return ExitCode::FAILURE;
    }
    if ledger.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
