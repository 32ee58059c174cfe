//! Gradients of every layer by finite differences in f64, and values against compositions of candle's operations.

mod attention;
mod conv;
mod norms;
mod rows;
mod threads;

use candle_core::{DType, Device, Result, Tensor, Var};

/// A reproducible number in [−1, 1) for a position.
fn noise(stream: u64, index: u64) -> f64 {
    let mut x =
        stream.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index.wrapping_mul(0xD1B5_4A32_D192_ED03);
    x ^= x >> 31;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 29;
    f64::from(u32::try_from(x >> 32).unwrap()) / 2_147_483_648.0 - 1.0
}

/// A tensor of such numbers, times `scale`.
fn random(stream: u64, shape: &[usize], scale: f64) -> Tensor {
    let elements = shape.iter().product::<usize>() as u64;
    let values: Vec<f64> = (0..elements).map(|i| scale * noise(stream, i)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Largest difference of two tensors of one shape, relative to the largest element or 1.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (values(a), values(b));
    let scale = b.iter().fold(1.0_f64, |scale, b| scale.max(b.abs()));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f64::max)
}

/// A loss that weighs every element of `y` differently.
fn loss(y: &Tensor) -> Tensor {
    let weights = random(99, y.dims(), 1.0).to_dtype(y.dtype()).unwrap();
    (y * weights).unwrap().sum_all().unwrap()
}

/// The output of `layer`, and the gradients of its loss by every input.
fn gradients(
    inputs: &[Tensor],
    layer: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> (Tensor, Vec<Tensor>) {
    let vars: Vec<Var> =
        inputs.iter().map(|x| Var::from_tensor(&x.copy().unwrap()).unwrap()).collect();
    // As in a network, where inputs are results of other operations.
    let tensors: Vec<Tensor> = vars.iter().map(|var| (var.as_tensor() * 1.0).unwrap()).collect();
    let y = layer(&tensors).unwrap();
    let store = loss(&y).backward().unwrap();
    let grads = vars.iter().map(|var| store.get(var).expect("a gradient").clone());
    (y.detach(), grads.collect())
}

/// The gradients once more, of variables that `layer` gets themselves, by the pass that takes them from the layers.
fn handed_over(inputs: &[Tensor], layer: impl Fn(&[Tensor]) -> Result<Tensor>) -> Vec<Tensor> {
    let vars: Vec<Var> =
        inputs.iter().map(|x| Var::from_tensor(&x.copy().unwrap()).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let store = crate::nn::backward(&loss(&layer(&tensors).unwrap())).unwrap();
    vars.iter().map(|var| store.get(var).expect("a gradient").clone()).collect()
}

/// Compares the gradients by all elements of all inputs with central differences.
fn check(name: &str, inputs: &[Tensor], layer: impl Fn(&[Tensor]) -> Result<Tensor>) {
    const STEP: f64 = 1e-5;
    let (_, grads) = gradients(inputs, &layer);
    for (index, (input, grad)) in inputs.iter().zip(&grads).enumerate() {
        assert_eq!(input.shape(), grad.shape(), "{name}, input {index}");
        let (center, grad) = (values(input), values(grad));
        let at = |place: usize, step: f64| {
            let mut moved = center.clone();
            moved[place] += step;
            let mut inputs = inputs.to_vec();
            inputs[index] = Tensor::from_vec(moved, input.shape(), &Device::Cpu).unwrap();
            loss(&layer(&inputs).unwrap()).to_scalar::<f64>().unwrap()
        };
        for (place, &grad) in grad.iter().enumerate() {
            let difference = (at(place, STEP) - at(place, -STEP)) / (2.0 * STEP);
            let error = (grad - difference).abs() / (1.0 + difference.abs());
            assert!(error < 2e-8, "{name}, input {index}, element {place}: {grad} is {difference}");
        }
    }
}

/// Compares values and gradients with those of a composition, in f64 and f32.
fn compare(
    name: &str,
    inputs: &[Tensor],
    layer: impl Fn(&[Tensor]) -> Result<Tensor>,
    composition: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let (expected, expected_grads) = gradients(inputs, &composition);
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
        let inputs: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(dtype).unwrap()).collect();
        let (y, grads) = gradients(&inputs, &layer);
        assert_eq!(y.dtype(), dtype);
        let handed = handed_over(&inputs, &layer);
        for (index, (grad, handed)) in grads.iter().zip(&handed).enumerate() {
            assert_eq!(
                values(grad),
                values(handed),
                "{name} {dtype:?}: gradient {index} handed over"
            );
        }
        let error = distance(&y, &expected);
        assert!(error < tolerance, "{name} {dtype:?}: the values differ by {error}");
        for (index, (grad, expected)) in grads.iter().zip(&expected_grads).enumerate() {
            let error = distance(grad, expected);
            assert!(error < tolerance, "{name} {dtype:?}: gradient {index} differs by {error}");
        }
    }
}
