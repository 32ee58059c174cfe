//! A training step of `cpr lm` in its default setting, against the same model on plain Candle with `candle_nn::AdamW`,
//! both on the CPU, in turns in one process.
//!
//! `cargo bench -p cpr-gpu --bench lm -- [rounds]`

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "../tests/plain/mod.rs"]
mod plain;

use std::{error::Error, time::Instant};

use candle_core::DType;
use candle_nn::Optimizer as _;
use cpr_core::base::{Adam, AdamConfig, WeightDecay};
use cpr_host::{
    model::gpt::{Gpt, GptConfig},
    optim::{BaseSpec, DecayRule, Optimizer, OptimizerSpec},
    parallel::Workers,
    param::Grouping,
    random::{Random, Stream},
};

const BATCH: usize = 12;
const LR: f64 = 1e-4;

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let rounds: usize = rounds.unwrap_or(15).max(1);
    let config = GptConfig {
        vocabulary: 65,
        context: 64,
        layers: 4,
        heads: 4,
        width: 128,
        bias: false,
        tied: true,
        dropout: 0.0,
    };
    let workers = Workers::available()?;
    let mut model = Gpt::<f32>::new(config)?;
    let mut theta = model.init(1);
    let mut grads = vec![0.0; theta.len()];
    let adam = |weight_decay| Adam::new(AdamConfig { weight_decay, ..AdamConfig::default() });
    let spec = OptimizerSpec {
        regularized: BaseSpec::Adam(adam(WeightDecay::Decoupled(0.1))?),
        free: BaseSpec::Adam(adam(WeightDecay::None)?),
        decay: DecayRule::default(),
        constraint: None,
        rescale: None,
        lr: LR,
        clip: None,
    };
    let mut optimizer = Optimizer::new(spec, Grouping::default(), model.layout(), &mut theta)?;

    let vars = plain::vars(model.layout(), &theta)?;
    let params = candle_nn::ParamsAdamW { lr: LR, ..candle_nn::ParamsAdamW::default() };
    let mut candle = candle_nn::AdamW::new(vars.values().cloned().collect(), params)?;

    let mut random = Random::new(1, Stream::Batches, 0);
    let bound = 65.try_into()?;
    let mut times = [Vec::new(), Vec::new()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        let texts: Vec<Vec<u16>> = (0..BATCH)
            .map(|_| (0..=config.context).map(|_| random.below(bound) as u16).collect())
            .collect();
        let batch: Vec<&[u16]> = texts.iter().map(Vec::as_slice).collect();
        let start = Instant::now();
        let own = model.loss_and_grad(&workers, &theta, &batch, (0, 0), &mut grads)?.loss;
        optimizer.step(&workers, LR, &mut theta, &mut grads)?;
        let host = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let loss = plain::gpt_loss(config, &vars, &batch, DType::F32)?;
        candle.backward_step(&loss)?;
        let plain = start.elapsed().as_secs_f64();
        let theirs = f64::from(loss.to_scalar::<f32>()?);
        assert!((own - theirs).abs() < 0.01 * theirs, "the two learn the same: {own} {theirs}");
        if round > 0 {
            times[0].push(host);
            times[1].push(plain);
        }
    }
    let [host, plain] = times.each_mut().map(|times| median(times));
    println!(
        "{} parameters, {} threads, medians of {rounds} rounds",
        theta.len(),
        workers.threads()
    );
    println!("cpr-host       {:8.2} ms a step", 1e3 * host);
    println!("plain candle   {:8.2} ms a step   {:.1} times as long", 1e3 * plain, plain / host);
    Ok(())
}
