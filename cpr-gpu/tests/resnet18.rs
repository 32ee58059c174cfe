//! ResNet18 beside PyTorch's: logits, loss, every gradient, running statistics, as `scripts/record_resnet.py` recorded
//! them in f64.
#![allow(clippy::unwrap_used, reason = "what a test needs and does not get fails the test")]

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};
use cpr_gpu::{
    model::{Depth, ResNet, ResNetConfig, Store},
    nn::cross_entropy,
};

const RECORDED: &str = include_str!("resnet18.txt");
const BATCH: usize = 6;
const SIDE: usize = 16;

/// Numbers in [-1, 1), multiples of 2⁻²³: the upper bits of a hash of stream and place.
fn noise(stream: u64, count: usize) -> Vec<f64> {
    let mask = u64::from(u32::MAX);
    let number = |place: u64| {
        let x = (place + stream * 1_000_003).wrapping_mul(2_654_435_761) & mask;
        let x = (x ^ (x >> 15)).wrapping_mul(739_391) & mask;
        let x = (x ^ (x >> 13)).wrapping_mul(461_845) & mask;
        f64::from(u32::try_from(x >> 8).unwrap()) / f64::from(1 << 23) - 1.0
    };
    (0..count as u64).map(number).collect()
}

/// The numbers of a line: norm, sum, and four weighted sums.
fn sums(tensor: &Tensor) -> Result<[f64; 6]> {
    let values = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let weighted = |stream| {
        let weights = noise(stream, values.len());
        values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>()
    };
    let squares: f64 = values.iter().map(|value| value * value).sum();
    let total = values.iter().sum();
    Ok([squares.sqrt(), total, weighted(2000), weighted(2001), weighted(2002), weighted(2003)])
}

/// The parameters that the script sets, in place of their own.
fn set_parameters(store: &Store) -> Result<()> {
    let trained = store.named().into_iter().filter(|(name, _)| !name.contains("running_"));
    for (stream, (name, var)) in (0..).zip(trained) {
        let count = var.elem_count();
        let (level, scale) = match (var.dims(), name.ends_with("weight")) {
            ([outputs, _, ..], _) if var.rank() > 1 => {
                let fan_in = f64::from(u32::try_from(count / outputs).unwrap());
                (0.0, (3.0 / fan_in).sqrt())
            }
            (_, true) => (1.0, 0.25),
            (_, false) => (0.0, 0.25),
        };
        let values: Vec<f64> =
            noise(stream, count).into_iter().map(|x| level + scale * x).collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?.to_dtype(var.dtype())?)?;
    }
    Ok(())
}

/// Everything that the script records, in its order.
fn computed(dtype: DType) -> Result<Vec<(String, [f64; 6])>> {
    let store = Store::new(0);
    let config = ResNetConfig { width: 8, ..ResNetConfig::new(Depth::D18, 10) };
    let model = ResNet::new(config, &store.builder(dtype, &Device::Cpu))?;
    set_parameters(&store)?;
    let images: Vec<f64> = noise(1000, BATCH * 3 * SIDE * SIDE).iter().map(|x| 2.0 * x).collect();
    let images = Tensor::from_vec(images, (BATCH, 3, SIDE, SIDE), &Device::Cpu)?.to_dtype(dtype)?;
    let labels = Tensor::from_iter((0..BATCH as i64).map(|index| 3 * index % 10), &Device::Cpu)?;
    let logits = model.forward(&images, true)?;
    let loss = cross_entropy(&logits, &labels, 0.1)?;
    let grads = cpr_gpu::nn::backward(&loss)?;
    let mut lines = vec![("logits".to_owned(), sums(&logits)?), ("loss".to_owned(), sums(&loss)?)];
    let named = store.named();
    for (name, var) in named.iter().filter(|(name, _)| !name.contains("running_")) {
        lines.push((name.clone(), sums(grads.get(var).unwrap())?));
    }
    for (name, var) in named.iter().filter(|(name, _)| name.contains("running_")) {
        lines.push((name.clone(), sums(var)?));
    }
    lines.push(("evaluated".to_owned(), sums(&model.forward(&images, false)?)?));
    Ok(lines)
}

/// The largest distance of a sum from the recorded one, relative to the norm of its tensor; and of which tensor.
fn largest_error(dtype: DType) -> (f64, String) {
    let recorded: HashMap<&str, Vec<f64>> = RECORDED
        .lines()
        .map(|line| {
            let (name, numbers) = line.split_once(' ').unwrap();
            (name, numbers.split(' ').map(|number| number.parse().unwrap()).collect())
        })
        .collect();
    let lines = computed(dtype).unwrap();
    // 62 parameters, 40 running statistics, logits, loss, and the logits of an evaluation.
    assert_eq!((lines.len(), recorded.len()), (105, 105));
    let mut largest = (0.0, String::new());
    for (name, sums) in lines {
        let recorded = &recorded[name.as_str()];
        for (own, recorded_sum) in sums.iter().zip(recorded) {
            let error = (own - recorded_sum).abs() / recorded[0];
            if error.is_nan() || error > largest.0 {
                largest = (error, name.clone());
            }
        }
    }
    largest
}

#[test]
fn passes_agree_with_pytorch() {
    for (dtype, limit) in [(DType::F64, 1e-11), (DType::F32, 1e-4)] {
        let (error, name) = largest_error(dtype);
        eprintln!("{dtype:?}: at most {error:.1e} apart, in {name}");
        assert!(error < limit, "{dtype:?}: {error:e} in {name}");
    }
}
