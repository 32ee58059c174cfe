//! Layers over rows and elements: softmax, cross entropy, activations, dropout.

use candle_core::{D, DType, Device, Tensor};

use super::{check, compare, distance, gradients, random, values};
use crate::nn::{
    Draw, Gelu, LayerError, activation::Activation, cross_entropy, dropout, gelu, relu, softmax,
};

#[test]
fn activations() {
    let x = random(1, &[3, 4, 5], 4.0);
    for (form, composed) in [(Gelu::Tanh, Activation::GeluTanh), (Gelu::Erf, Activation::GeluErf)] {
        check("gelu", std::slice::from_ref(&x), |x| gelu(&x[0], form));
        compare(
            "gelu",
            std::slice::from_ref(&x),
            |x| gelu(&x[0], form),
            |x| composed.composed(&x[0]),
        );
    }
    check("relu", std::slice::from_ref(&x), |x| relu(&x[0]));
    compare("relu", &[x], |x| relu(&x[0]), |x| Activation::Relu.composed(&x[0]));
}

#[test]
fn activations_at_extremes() {
    let x =
        Tensor::new(&[-1e30_f32, -40.0, -0.0, 0.0, 40.0, 1e30, f32::NAN], &Device::Cpu).unwrap();
    for form in [Gelu::Tanh, Gelu::Erf] {
        let (y, grads) = gradients(std::slice::from_ref(&x), |x| gelu(&x[0], form));
        let (y, slope) = (values(&y), values(&grads[0]));
        let x = values(&x);
        assert_eq!(y[..6], [0.0, 0.0, 0.0, 0.0, 40.0, x[5]], "{form:?}");
        assert!(y[6].is_nan());
        let weights = values(&random(99, &[7], 1.0).to_dtype(DType::F32).unwrap());
        for (place, expected) in [0.0, 0.0, 0.5, 0.5, 1.0, 1.0].into_iter().enumerate() {
            assert!((slope[place] - weights[place] * expected).abs() < 1e-7, "{form:?} {place}");
        }
    }
    let (y, grads) = gradients(&[x], |x| relu(&x[0]));
    assert_eq!(values(&y)[1..5], [0.0, 0.0, 0.0, 40.0]);
    assert!(values(&y)[6].is_nan());
    assert_eq!(values(&grads[0])[..4], [0.0; 4]);
}

#[test]
fn softmax_of_rows() {
    for shape in [&[3, 7][..], &[1], &[2, 2, 33], &[4, 1]] {
        let x = random(2, shape, 5.0);
        check("softmax", std::slice::from_ref(&x), |x| softmax(&x[0]));
        let composed = |x: &[Tensor]| candle_nn::ops::softmax(&x[0], D::Minus1);
        compare("softmax", &[x], |x| softmax(&x[0]), composed);
    }
    let far = Tensor::new(&[[1e4_f32, -1e4, f32::NEG_INFINITY]], &Device::Cpu).unwrap();
    assert_eq!(values(&softmax(&far).unwrap()), [1.0, 0.0, 0.0]);
}

#[test]
fn strided_inputs() {
    let x = random(3, &[5, 4, 3], 2.0);
    let turned = |x: &[Tensor]| x[0].transpose(0, 2);
    check("softmax", std::slice::from_ref(&x), |x| softmax(&turned(x)?));
    check("gelu", std::slice::from_ref(&x), |x| gelu(&turned(x)?, Gelu::Tanh));
    // The gradient that comes back is strided as well.
    check("gelu", &[x], |x| gelu(&x[0], Gelu::Tanh)?.transpose(1, 2)?.contiguous());
}

#[test]
fn cross_entropy_with_and_without_smoothing() {
    for (rows, classes) in [(6, 5), (1, 1), (3, 40)] {
        let logits = random(4, &[rows, classes], 6.0);
        let labels: Vec<u32> = (0..rows).map(|row| (row * 7 % classes) as u32).collect();
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        for smoothing in [0.0, 0.1, 1.0] {
            let layer = |x: &[Tensor]| cross_entropy(&x[0], &labels, smoothing);
            let composed = |x: &[Tensor]| cross_entropy::composed(&x[0], &labels, smoothing);
            check("cross entropy", std::slice::from_ref(&logits), layer);
            compare("cross entropy", std::slice::from_ref(&logits), layer, composed);
        }
        let plain = candle_nn::loss::cross_entropy(&logits, &labels).unwrap();
        assert!(distance(&cross_entropy(&logits, &labels, 0.0).unwrap(), &plain) < 1e-14);
    }
}

#[test]
fn cross_entropy_of_sequences_and_of_other_integers() {
    let logits = random(5, &[2, 3, 4], 3.0);
    let labels = Tensor::new(&[[0_u32, 1, 2], [3, 0, 1]], &Device::Cpu).unwrap();
    let expected = cross_entropy(&logits, &labels, 0.1).unwrap();
    for dtype in [DType::U8, DType::I64] {
        let labels = labels.to_dtype(dtype).unwrap().flatten_all().unwrap();
        let loss = cross_entropy(&logits, &labels, 0.1).unwrap();
        assert_eq!(values(&loss), values(&expected));
    }
    let wrong = Tensor::new(&[[0_u32, 1, 2], [3, 0, 4]], &Device::Cpu).unwrap();
    let message = cross_entropy(&logits, &wrong, 0.1).unwrap_err().to_string();
    assert!(message.contains("label 4 of row 5 is none of the 4 classes"), "{message}");
    assert!(cross_entropy(&logits, &labels, 1.5).is_err());
    assert!(cross_entropy(&logits, &labels.narrow(0, 0, 1).unwrap(), 0.0).is_err());
}

#[test]
fn a_good_fit_keeps_its_small_loss_and_gradient() {
    let logits = Tensor::new(&[[0.0_f32, 30.0, 0.0]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[1_u32], &Device::Cpu).unwrap();
    let (loss, grads) = gradients(&[logits], |x| cross_entropy(&x[0], &labels, 0.0));
    let others = 2.0 * libm::exp(-30.0);
    // 1 + e⁻³⁰ in f64 has three digits of it.
    assert!((values(&loss)[0] / others - 1.0).abs() < 2e-3);
    let weight = values(&random(99, &[], 1.0).to_dtype(DType::F32).unwrap())[0];
    assert!((values(&grads[0])[1] / (-others * weight) - 1.0).abs() < 2e-3);
}

#[test]
fn dropout_is_a_function_of_seed_step_and_layer() {
    let draw = Draw { seed: 3, step: 11 };
    let x = random(6, &[4, 2500], 1.0);
    let drop = |draw: Draw, layer: u32| dropout(&x, 0.25, draw, layer).unwrap();
    let kept = drop(draw, 5);
    assert_eq!(values(&kept), values(&drop(draw, 5)));
    for other in
        [drop(Draw { seed: 4, ..draw }, 5), drop(Draw { step: 12, ..draw }, 5), drop(draw, 6)]
    {
        assert_ne!(values(&kept), values(&other));
    }
    let (before, after) = (values(&x), values(&kept));
    let dropped = after.iter().filter(|&&y| y == 0.0).count();
    // Five standard deviations of a binomial count.
    assert!(
        (dropped as f64 - 2500.0).abs() < 5.0 * (10_000.0 * 0.25 * 0.75_f64).sqrt(),
        "{dropped}"
    );
    for (x, y) in before.iter().zip(&after) {
        assert!(*y == 0.0 || *y == x * (1.0 / 0.75));
    }
    let first: Vec<bool> = after[..16].iter().map(|&y| y == 0.0).collect();
    let again = dropout(&x.to_dtype(DType::F32).unwrap(), 0.25, draw, 5).unwrap();
    assert_eq!(values(&again)[..16].iter().map(|&y| y == 0.0).collect::<Vec<_>>(), first);

    let x = random(7, &[3, 7], 1.0);
    check("dropout", std::slice::from_ref(&x), |x| dropout(&x[0], 0.4, draw, 1));
    let mask = dropout::Mask::new(0.4, draw, 1).unwrap().unwrap();
    let composed = |x: &[Tensor]| dropout::composed(&x[0], &mask);
    compare("dropout", std::slice::from_ref(&x), |x| dropout(&x[0], 0.4, draw, 1), composed);
    assert_eq!(values(&dropout(&x, 0.0, draw, 1).unwrap()), values(&x));
    for p in [-0.1, 1.0, f64::NAN] {
        assert!(dropout(&x, p, draw, 1).is_err());
    }
}

/// The masks are part of what a checkpoint promises.
#[test]
fn masks_are_stable() {
    let x = Tensor::ones(24, DType::F32, &Device::Cpu).unwrap();
    let y = dropout(&x, 0.5, Draw { seed: 1, step: 2 }, 3).unwrap();
    let mask: String = values(&y).iter().map(|&y| if y == 0.0 { '0' } else { '1' }).collect();
    assert_eq!(mask, "000001100110110111110000");
}

#[test]
fn half_precision_on_the_cpu_says_what_to_do() {
    let x = Tensor::zeros((2, 3), DType::BF16, &Device::Cpu).unwrap();
    let message = softmax(&x).unwrap_err().to_string();
    assert!(message.contains("to_dtype(DType::F32)"), "{message}");
    let error = LayerError::Dtype { layer: "softmax", dtype: DType::BF16 };
    assert!(message.starts_with(&error.to_string()), "{message}");
    assert!(gelu(&x, Gelu::Tanh).is_err());
    assert!(dropout(&x, 0.5, Draw { seed: 0, step: 0 }, 0).is_err());
}
