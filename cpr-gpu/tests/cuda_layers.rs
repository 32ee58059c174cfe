//! Every layer that has a kernel on CUDA, against its CPU path: output and gradients, f32 and bf16. Without a CUDA device
//! the tests say so and pass; tests/emulated_layers.rs runs the kernels' source anywhere.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test by panicking")]

use candle_core::{DType, Device, Result, Tensor, Var};
use cpr_gpu::nn::{
    Attention, BatchNorm, BatchNormConfig, Conv, Draw, Gelu, Rotary, Weights, causal_attention,
    conv2d, cross_entropy, dropout, embedding, gelu, layer_norm, linear, relu,
};

fn cuda() -> Option<Device> {
    match Device::new_cuda(0) {
        Ok(device) => Some(device),
        Err(error) => {
            eprintln!("skipped: there is no CUDA device ({error})");
            None
        }
    }
}

/// Output and gradients of a layer of these shapes, on the device and in the type given, as f32 of the CPU.
fn passes(
    device: &Device,
    dtype: DType,
    given: &[Tensor],
    layer: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let vars: Vec<Var> = given
        .iter()
        .map(|x| Var::from_tensor(&x.to_dtype(dtype)?.to_device(device)?))
        .collect::<Result<_>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = layer(&tensors)?;
    // A gradient of the output that differs from element to element, the same everywhere.
    let count = u32::try_from(y.elem_count()).map_err(candle_core::Error::wrap)?;
    let weights =
        (Tensor::arange(1, count + 1, &Device::Cpu)?.to_dtype(DType::F64)? * 0.7)?.sin()?;
    let weights = weights.reshape(y.shape())?.to_dtype(DType::BF16)?.to_dtype(y.dtype())?;
    let grads = cpr_gpu::nn::backward(&(&y * weights.to_device(device)?)?.sum_all()?)?;
    let mut all = vec![y];
    all.extend(vars.iter().map(|var| grads.get(var).unwrap().clone()));
    let home = |x: Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all();
    all.into_iter().map(home).collect()
}

/// Compares the device with the CPU within `limit` of the largest number of each array.
fn compare(
    name: &str,
    dtype: DType,
    limit: f32,
    shapes: &[&[usize]],
    layer: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let Some(device) = cuda() else { return Ok(()) };
    let given: Vec<Tensor> = shapes
        .iter()
        .map(|shape| {
            let x = Tensor::randn(0.0_f32, 1.0, *shape, &Device::Cpu)?;
            x.to_dtype(dtype)?.to_dtype(DType::F32)
        })
        .collect::<Result<_>>()?;
    let expected = passes(&Device::Cpu, DType::F32, &given, &layer)?;
    let found = passes(&device, dtype, &given, &layer)?;
    let again = passes(&device, dtype, &given, &layer)?;
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let largest = expected.abs()?.max(0)?.to_scalar::<f32>()?;
        assert!(largest > 0.0, "{name} {dtype:?}, array {index}: zeros prove nothing");
        let most = (found - expected)?.abs()?.max(0)?.to_scalar::<f32>()?;
        eprintln!("{name} {dtype:?}, array {index}: {:.2e} of the largest", most / largest);
        assert!(most <= limit * largest, "{name} {dtype:?}, array {index}: {most} of {largest}");
        let (found, again) = (found.to_vec1::<f32>()?, again[index].to_vec1::<f32>()?);
        let same = found.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{name} {dtype:?}, array {index}: two passes differ");
    }
    Ok(())
}

/// In f32, and in bf16 with its 8 bits.
fn both(
    name: &str,
    shapes: &[&[usize]],
    layer: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    compare(name, DType::F32, 2e-5, shapes, &layer)?;
    compare(name, DType::BF16, 2.5e-2, shapes, &layer)
}

const DRAW: Draw = Draw { seed: 5, step: 77 };

#[test]
fn layers_of_language_models() -> Result<()> {
    both("layer norm", &[&[3, 50, 96], &[96], &[96]], |x| {
        layer_norm(&x[0], &x[1], Some(&x[2]), 1e-5)
    })?;
    both("linear", &[&[3, 50, 96], &[96, 130], &[130]], |x| {
        linear(&x[0], &x[1], Some(&x[2]), Weights::InOut)
    })?;
    both("gelu", &[&[7, 1100]], |x| gelu(&x[0], Gelu::Tanh))?;
    both("dropout", &[&[5, 5000]], |x| dropout(&x[0], 0.2, DRAW, 3))?;
    both("embedding", &[&[40, 96]], |x| {
        let ids: Vec<u32> = (0..500).map(|i| i * i % 37).collect();
        embedding(&x[0], &Tensor::new(ids, x[0].device())?)
    })?;
    both("cross entropy", &[&[30, 1000]], |x| {
        let labels: Vec<u32> = (0..30).map(|i| i * 33).collect();
        cross_entropy(&x[0], &Tensor::new(labels, x[0].device())?, 0.1)
    })
}

#[test]
fn attention() -> Result<()> {
    let plain = Attention::new(4);
    let full =
        Attention { heads: 4, rotary: Rotary::fraction(0.5, 16), dropout: Some((0.1, DRAW, 1)) };
    for (name, options) in [("attention", plain), ("attention with everything", full)] {
        both(name, &[&[2, 70, 192]], |x| causal_attention(&x[0], options))?;
    }
    Ok(())
}

#[test]
fn layers_of_images() -> Result<()> {
    for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (1, 2, 0)] {
        let shapes: [&[usize]; 2] = [&[6, 8, 15, 15], &[12, 8, kernel, kernel]];
        compare("convolution", DType::F32, 2e-5, &shapes, |x| {
            conv2d(&x[0], &x[1], Conv { stride, padding })
        })?;
    }
    compare("rectifier", DType::F32, 0.0, &[&[9, 500]], |x| relu(&x[0]))?;
    compare("batch norm", DType::F32, 2e-5, &[&[6, 5, 9, 9]], |x| {
        let map = candle_nn::VarMap::new();
        let variables = candle_nn::VarBuilder::from_varmap(&map, DType::F32, x[0].device());
        let norm = BatchNorm::new(5, BatchNormConfig::default(), &variables)?;
        let y = candle_nn::ModuleT::forward_t(&norm, &x[0], true)?;
        // The running statistics are part of what is compared.
        y.broadcast_add(&norm.running().1.as_detached_tensor().reshape((1, 5, 1, 1))?)
    })
}
