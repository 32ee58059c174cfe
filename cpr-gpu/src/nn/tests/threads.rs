//! The same bits for any number of threads.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder, VarMap};

use super::{gradients, random, values};
use crate::nn::{
    Attention, BatchNorm, BatchNormConfig, Conv, Draw, Gelu, Pool, Weights, causal_attention,
    conv2d, cross_entropy, dropout, gelu, layer_norm, linear, max_pool2d, softmax,
};

/// Output and gradients as bits.
fn bits(inputs: &[Tensor], layer: impl Fn(&[Tensor]) -> Result<Tensor>) -> Vec<u64> {
    let (y, grads) = gradients(inputs, layer);
    std::iter::once(&y).chain(&grads).flat_map(values).map(f64::to_bits).collect()
}

fn single(stream: u64, shape: &[usize]) -> Tensor {
    random(stream, shape, 1.0).to_dtype(DType::F32).unwrap()
}

/// A small network with every layer.
fn network(x: &[Tensor]) -> Result<Tensor> {
    let map = VarMap::new();
    let variables = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let norm = BatchNorm::new(12, BatchNormConfig::default(), &variables)?;
    let y = conv2d(&x[0], &x[1], Conv { stride: 1, padding: 1 })?;
    let y = max_pool2d(&norm.forward_t(&y, true)?, Pool { kernel: 3, stride: 2, padding: 1 })?;
    let y = gelu(&y, Gelu::Tanh)?.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
    let y = layer_norm(&y, &x[2], None, 1e-5)?;
    let y = linear(&y, &x[3], Some(&x[4]), Weights::OutIn)?;
    let y = causal_attention(&y, Attention::new(2))?;
    softmax(&dropout(&y, 0.1, Draw { seed: 1, step: 2 }, 3)?)
}

/// Winograd's form, in as many groups of images as there can be.
#[test]
fn any_number_of_threads_of_a_wide_convolution() {
    let inputs = [single(1, &[32, 16, 8, 8]), single(2, &[24, 16, 3, 3])];
    same_for_any_number(|| bits(&inputs, |x| conv2d(&x[0], &x[1], Conv { stride: 1, padding: 1 })));
}

/// Products that are cut across rows and columns.
#[test]
fn any_number_of_threads_of_a_large_linear_map() {
    let inputs = [single(1, &[400, 70]), single(2, &[200, 70]), single(3, &[200])];
    same_for_any_number(|| bits(&inputs, |x| linear(&x[0], &x[1], Some(&x[2]), Weights::OutIn)));
}

#[test]
fn any_number_of_threads() {
    let inputs = [
        single(1, &[20, 3, 16, 16]),
        single(2, &[12, 3, 3, 3]),
        single(3, &[12]),
        single(4, &[36, 12]),
        single(5, &[36]),
    ];
    let labels = Tensor::zeros(20 * 64, DType::U32, &Device::Cpu).unwrap();
    let layer = |x: &[Tensor]| cross_entropy(&network(x)?, &labels, 0.1);
    same_for_any_number(|| bits(&inputs, layer));
}

fn same_for_any_number(bits: impl Fn() -> Vec<u64> + Sync) {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&bits)
    };
    let expected = run(1);
    assert!(expected.iter().any(|&bits| bits != 0));
    for threads in [2, 3, 7] {
        assert!(run(threads) == expected, "{threads} threads");
    }
}
