//! A step of GPT-2 small (124M f32 parameters) on the CPU: AdamCpr with every λ above 0, our AdamW, and
//! `candle_nn::AdamW`, in turns in one process, so that a machine's moods meet all of them.
//!
//! `cargo bench -p cpr-gpu --bench gpt2 -- [rounds [layers]]`; needs 4 GB for the 12 layers.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    error::Error,
    hint::black_box,
    time::{Duration, Instant},
};

use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use candle_nn::Optimizer;
use cpr_core::BoundInit;
use cpr_gpu::{AdamCpr, AdamW, Groups, Outcome, ParamsAdamCpr, ParamsAdamW, Path};

/// Names and shapes of GPT-2 small.
fn shapes(layers: usize) -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("wte.weight".to_owned(), vec![50_257, 768]),
        ("wpe.weight".to_owned(), vec![1024, 768]),
        ("ln_f.weight".to_owned(), vec![768]),
        ("ln_f.bias".to_owned(), vec![768]),
    ];
    for layer in 0..layers {
        for (name, shape) in [
            ("ln_1.weight", vec![768]),
            ("ln_1.bias", vec![768]),
            ("attn.c_attn.weight", vec![2304, 768]),
            ("attn.c_attn.bias", vec![2304]),
            ("attn.c_proj.weight", vec![768, 768]),
            ("attn.c_proj.bias", vec![768]),
            ("ln_2.weight", vec![768]),
            ("ln_2.bias", vec![768]),
            ("mlp.c_fc.weight", vec![3072, 768]),
            ("mlp.c_fc.bias", vec![3072]),
            ("mlp.c_proj.weight", vec![768, 3072]),
            ("mlp.c_proj.bias", vec![768]),
        ] {
            shapes.push((format!("h.{layer}.{name}"), shape));
        }
    }
    shapes
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let rounds: usize = numbers.next().unwrap_or(7).max(1);
    let layers: usize = numbers.next().unwrap_or(12);

    let mut vars = Vec::new();
    let mut grads = GradStore::default();
    for (name, shape) in shapes(layers) {
        let var = Var::randn_f64(0.0, 0.02, shape.clone(), DType::F32, &Device::Cpu)?;
        grads.insert(&var, Tensor::randn(0.0_f32, 1e-3, shape, &Device::Cpu)?);
        vars.push((name, var));
    }
    let parameters: usize = vars.iter().map(|(_, var)| var.elem_count()).sum();

    // Every parameter under a bound that it exceeds: each λ rises from the first step.
    let params = ParamsAdamCpr { lr: 1e-6, ..ParamsAdamCpr::new(BoundInit::Dependent(0.9)) };
    let positive: Vec<(String, Var)> =
        vars.iter().filter(|(_, var)| var.rank() > 1).cloned().collect();
    let groups = Groups::with_embeddings();
    let mut ours = AdamCpr::builder(params).groups(groups).from_named(vars.clone())?;
    let adamw = ParamsAdamW { lr: 1e-6, ..ParamsAdamW::default() };
    let mut base = AdamW::builder(adamw).from_named(vars.clone())?;
    let theirs = candle_nn::ParamsAdamW { lr: 1e-6, ..candle_nn::ParamsAdamW::default() };
    let mut candle =
        candle_nn::AdamW::new(vars.iter().map(|(_, var)| var.clone()).collect(), theirs)?;
    assert_eq!(ours.path(), Path::Cpu);

    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        let start = Instant::now();
        assert_eq!(ours.apply(&grads)?, Outcome::Stepped);
        let cpr = start.elapsed();
        let reports = ours.report()?;
        assert_eq!((reports.active(), reports.0.len()), (positive.len(), positive.len()));
        let start = Instant::now();
        assert_eq!(base.apply(&grads)?, Outcome::Stepped);
        let own = start.elapsed();
        let start = Instant::now();
        candle.step(black_box(&grads))?;
        let upstream = start.elapsed();
        if round > 0 {
            for (times, time) in times.iter_mut().zip([cpr, own, upstream]) {
                times.push(time);
            }
        }
    }
    assert_eq!(ours.copied_gradients(), 0);
    let [cpr, own, upstream] = times.each_mut().map(|times| median(times).as_secs_f64());
    // Exact: far below 2⁵³.
    let per =
        |seconds: f64| 1e9 * seconds / f64::from(u32::try_from(parameters).unwrap_or(u32::MAX));
    println!("{parameters} f32 parameters, medians of {rounds} rounds");
    println!("AdamCpr, every lambda active   {cpr:8.4} s   {:7.3} ns a parameter", per(cpr));
    println!("AdamW, ours                    {own:8.4} s   {:7.3} ns a parameter", per(own));
    println!(
        "candle_nn::AdamW               {upstream:8.4} s   {:7.3} ns a parameter",
        per(upstream)
    );
    println!("candle / AdamCpr {:.1}   candle / ours {:.1}", upstream / cpr, upstream / own);
    Ok(())
}
