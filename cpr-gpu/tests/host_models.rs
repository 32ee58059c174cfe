//! The host's hand-written models against Candle's autograd, in f64.

mod plain;

use candle_core::{DType, Device, Tensor, backprop::GradStore};
use cpr_host::{
    model::{
        gpt::{Gpt, GptConfig},
        mlp::{Examples, Mlp},
    },
    parallel::Workers,
    param::ParamLayout,
    random::{Random, Stream},
};
use plain::Vars;

/// Largest relative distance of a parameter's gradient in its norm.
const TOLERANCE: f64 = 1e-10;
/// The same below GELU: candle's backward pass has its constants to six digits.
const GELU_TOLERANCE: f64 = 1e-5;

fn shaken(theta: &mut [f64], seed: u64) {
    let mut noise = vec![0.0; theta.len()];
    Random::new(seed, Stream::Split, 9).fill_normal(0.2, &mut noise);
    theta.iter_mut().zip(noise).for_each(|(x, noise)| *x += noise);
}

#[track_caller]
fn agree(layout: &ParamLayout, grads: &[f64], vars: &Vars, store: &GradStore, tolerance: f64) {
    for param in layout.params() {
        let own = &grads[param.range.clone()];
        let candle = store.get(&vars[&param.name]).expect("every parameter has a gradient");
        let candle: Vec<f64> =
            candle.flatten_all().and_then(|flat| flat.to_vec1()).expect("values of f64");
        let squares: f64 = candle.iter().map(|x| x * x).sum();
        let errors: f64 = own.iter().zip(&candle).map(|(a, b)| (a - b) * (a - b)).sum();
        let error = (errors / squares).sqrt();
        assert!(squares > 0.0 && error < tolerance, "{}: {error:e}", param.name);
    }
}

#[test]
fn the_language_model_has_candles_loss_and_gradients() {
    let workers = Workers::inline();
    for seed in 0..4 {
        let mut random = Random::new(seed, Stream::Split, 1);
        let mut below = |bound: u64| random.below(bound.try_into().unwrap()) as usize;
        let (heads, context) = (1 + below(3), 4 + below(30));
        let config = GptConfig {
            vocabulary: 5 + below(40),
            context,
            layers: 1 + below(3),
            heads,
            width: heads * (2 + below(7)),
            bias: seed % 2 == 0,
            tied: seed < 2,
            dropout: 0.0,
        };
        let texts: Vec<Vec<u16>> = (0..3)
            .map(|_| (0..context).map(|_| below(config.vocabulary as u64) as u16).collect())
            .collect();
        let batch: Vec<&[u16]> = texts.iter().map(Vec::as_slice).collect();
        let mut model = Gpt::<f64>::new(config).unwrap();
        let mut theta = model.init(seed);
        shaken(&mut theta, seed);
        let mut grads = vec![0.0; theta.len()];
        let outcome = model.loss_and_grad(&workers, &theta, &batch, (0, 0), &mut grads).unwrap();

        let vars = plain::vars(model.layout(), &theta).unwrap();
        let loss = plain::gpt_loss(config, &vars, &batch, DType::F64).unwrap();
        let value: f64 = loss.to_scalar().unwrap();
        assert!((outcome.loss - value).abs() < TOLERANCE * value, "{} {value}", outcome.loss);
        agree(model.layout(), &grads, &vars, &loss.backward().unwrap(), GELU_TOLERANCE);
    }
}

struct Points<'a> {
    inputs: &'a [f64],
    labels: &'a [u32],
    width: usize,
}

impl Examples<f64> for Points<'_> {
    fn count(&self) -> usize {
        self.labels.len()
    }
    fn label(&self, index: usize) -> usize {
        self.labels[index] as usize
    }
    fn input(&self, index: usize, out: &mut [f64]) {
        out.copy_from_slice(&self.inputs[index * self.width..][..self.width]);
    }
}

#[test]
fn the_perceptron_has_candles_loss_and_gradients() {
    for widths in [vec![9, 17, 12, 4], vec![6, 3]] {
        let (inputs, classes) = (widths[0], *widths.last().unwrap() as u32);
        let mut model = Mlp::<f64>::new(&widths).unwrap();
        let mut theta = model.init(1);
        shaken(&mut theta, 1);
        let labels: Vec<u32> = (0..90).map(|index| index * 7 % classes).collect();
        let mut values = vec![0.0; labels.len() * inputs];
        Random::new(4, Stream::Split, 0).fill_normal(1.0, &mut values);
        let points = Points { inputs: &values, labels: &labels, width: inputs };
        let mut grads = vec![0.0; theta.len()];
        let outcome = model.loss_and_grad(&Workers::inline(), &theta, &points, &mut grads).unwrap();

        let vars = plain::vars(model.layout(), &theta).unwrap();
        let x = Tensor::from_slice(&values, (labels.len(), inputs), &Device::Cpu).unwrap();
        let labels = Tensor::from_slice(&labels, labels.len(), &Device::Cpu).unwrap();
        let loss = plain::mlp_loss(&vars, &x, &labels).unwrap();
        let value: f64 = loss.to_scalar().unwrap();
        assert!((outcome.loss - value).abs() < TOLERANCE * value, "{} {value}", outcome.loss);
        agree(model.layout(), &grads, &vars, &loss.backward().unwrap(), TOLERANCE);
    }
}
