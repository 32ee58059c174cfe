//! A model of one's own, trained with AdamCpr: `cargo run -p cpr-gpu --example own_model`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, Optimizer, VarBuilder, VarMap, linear, loss::mse};
use cpr_gpu::{AdamCpr, ParamsAdamCpr};
use cpr_host::schedule::{Schedule, ScheduleConfig, Shape};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The model: any that takes its variables from a VarMap.
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let (up, down) = (linear(2, 64, vb.pp("up"))?, linear(64, 1, vb.pp("down"))?);

    // To learn: the product of two numbers.
    let line: Vec<f32> = (0_u8..16).map(|i| f32::from(i) / 8.0 - 1.0).collect();
    let grid = |f: fn(f32, f32) -> Vec<f32>| -> Vec<f32> {
        line.iter().flat_map(|&a| line.iter().flat_map(move |&b| f(a, b))).collect()
    };
    let x = Tensor::from_vec(grid(|a, b| vec![a, b]), (256, 2), &Device::Cpu)?;
    let y = Tensor::from_vec(grid(|a, b| vec![a * b]), (256, 1), &Device::Cpu)?;

    // In place of candle_nn::AdamW: every matrix is held at the norm that it has after twice the warm-up.
    let (warmup, steps, shape) = (50, 500, Shape::Cosine);
    let schedule = ScheduleConfig { lr: 1e-2, warmup, steps, shape, min_factor: 0.1 };
    let mut optimizer = AdamCpr::builder(ParamsAdamCpr::for_warmup(warmup)?)
        .schedule(Schedule::new(schedule)?)
        .clip(1.0)
        .from_varmap(&map)?;
    println!("{}", optimizer.table());

    for step in 1..=steps {
        let loss = mse(&down.forward(&up.forward(&x)?.relu()?)?, &y)?;
        optimizer.backward_step(&loss)?;
        if step % 100 == 0 {
            println!("step {step}: loss {:.5}", loss.to_scalar::<f32>()?);
        }
    }
    println!("{}", optimizer.report()?);
    Ok(())
}
