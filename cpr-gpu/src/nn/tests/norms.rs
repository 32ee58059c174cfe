//! Layer and batch normalisation, the affine map.

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{ModuleT, VarBuilder, VarMap};

use super::{check, compare, distance, gradients, random, values};
use crate::nn::{BatchNorm, BatchNormConfig, Conv, LayerNorm, Weights, conv2d, layer_norm, linear};

#[test]
fn layer_norm_of_rows() {
    for shape in [&[3, 5][..], &[2, 3, 17], &[1, 1, 2], &[4, 33]] {
        let columns = *shape.last().unwrap();
        let inputs =
            [random(1, shape, 2.0), random(2, &[columns], 1.0), random(3, &[columns], 1.0)];
        let layer = |x: &[Tensor]| layer_norm(&x[0], &x[1], Some(&x[2]), 1e-3);
        check("layer norm", &inputs, layer);
        let composed = |x: &[Tensor]| layer_norm::composed(&x[0], &x[1], &x[2], 1e-3);
        compare("layer norm", &inputs, layer, composed);
        let upstream = candle_nn::ops::layer_norm_slow(&inputs[0], &inputs[1], &inputs[2], 1e-3);
        // Its ε is an f32.
        assert!(distance(&layer(&inputs).unwrap(), &upstream.unwrap()) < 1e-7);
        check("layer norm without bias", &inputs[..2], |x| layer_norm(&x[0], &x[1], None, 1e-3));
    }
}

#[test]
fn layer_norm_of_a_large_mean_keeps_its_digits() {
    let x = (random(4, &[2, 64], 1.0) + 1e4).unwrap();
    let ones = Tensor::ones(64, DType::F64, &Device::Cpu).unwrap();
    let expected = layer_norm(&x, &ones, None, 1e-5).unwrap();
    let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
    let y = layer_norm(&single(&x), &single(&ones), None, 1e-5).unwrap();
    // An f32 at 10⁴ has an error of 5e-4.
    assert!(distance(&y, &expected) < 2e-3);
}

#[test]
fn layer_norm_refuses_what_does_not_fit() {
    let (x, weight) = (random(1, &[2, 4], 1.0), random(2, &[3], 1.0));
    let message = layer_norm(&x, &weight, None, 1e-5).unwrap_err().to_string();
    assert!(message.contains("the weight has the shape [3]; it must be [4]"), "{message}");
    assert!(layer_norm(&x, &random(2, &[4], 1.0), None, 0.0).is_err());
    let single = random(2, &[4], 1.0).to_dtype(DType::F32).unwrap();
    assert!(layer_norm(&x, &single, None, 1e-5).is_err());
    let map = VarMap::new();
    let variables = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
    let layer = LayerNorm::new(4, 1e-5, true, &variables).unwrap();
    assert_eq!(layer.forward(&x).unwrap().dims(), [2, 4]);
    let mut names: Vec<String> = map.data().lock().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["bias", "weight"]);
}

/// A batch norm whose weights are the given ones.
fn batch_norm(weight: &Tensor, bias: &Tensor) -> BatchNorm {
    let tensors = [
        ("weight", weight.clone()),
        ("bias", bias.clone()),
        ("running_mean", weight.zeros_like().unwrap()),
        ("running_var", weight.ones_like().unwrap()),
    ];
    let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into();
    let variables = VarBuilder::from_tensors(tensors, weight.dtype(), &Device::Cpu);
    let config = BatchNormConfig { eps: 1e-3, momentum: 0.1 };
    BatchNorm::new(weight.elem_count(), config, &variables).unwrap()
}

#[test]
fn batch_norm_in_training() {
    for shape in [&[4, 3, 2, 5][..], &[1, 1, 3, 3], &[5, 2], &[2, 4, 7], &[3, 2, 5, 1]] {
        let channels = shape[1];
        let inputs =
            [random(1, shape, 2.0), random(2, &[channels], 1.0), random(3, &[channels], 1.0)];
        let layer = |x: &[Tensor]| batch_norm(&x[1], &x[2]).forward_t(&x[0], true);
        check("batch norm", &inputs, layer);
        let composed =
            |x: &[Tensor]| Ok(crate::nn::batch_norm::composed(&x[0], &x[1], &x[2], 1e-3)?.0);
        compare("batch norm", &inputs, layer, composed);
        let upstream = |x: &[Tensor]| {
            let running = Tensor::zeros(channels, x[0].dtype(), &Device::Cpu)?;
            candle_nn::BatchNorm::new(
                channels,
                running.clone(),
                running,
                x[1].clone(),
                x[2].clone(),
                1e-3,
            )?
            .forward_t(&x[0], true)
        };
        compare("batch norm", &inputs, layer, upstream);
    }
}

#[test]
fn batch_norm_in_evaluation_and_its_running_statistics() {
    let map = VarMap::new();
    let variables = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu).pp("bn");
    let layer = BatchNorm::new(3, BatchNormConfig::default(), &variables).unwrap();
    let mut names: Vec<String> = map.data().lock().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["bn.bias", "bn.running_mean", "bn.running_var", "bn.weight"]);

    let ones = Tensor::ones(3, DType::F64, &Device::Cpu).unwrap();
    let zeros = ones.zeros_like().unwrap();
    let upstream =
        candle_nn::BatchNorm::new(3, zeros.clone(), ones.clone(), ones, zeros, 1e-5).unwrap();
    for step in 0..4 {
        let x = (random(step, &[4, 3, 2, 2], 3.0) + 0.5).unwrap();
        layer.forward_t(&x, true).unwrap();
        upstream.forward_t(&x, true).unwrap();
    }
    // The variables of the map are those that the forward pass wrote.
    let named = |name: &str| map.data().lock().unwrap()[name].as_tensor().clone();
    assert!(distance(&named("bn.running_mean"), upstream.running_mean()) < 1e-14);
    assert!(distance(&named("bn.running_var"), upstream.running_var()) < 1e-14);
    assert_eq!(values(layer.running().0), values(&named("bn.running_mean")));

    let x = random(9, &[2, 3, 2, 2], 1.0);
    let expected = upstream.forward_t(&x, false).unwrap();
    assert!(distance(&layer.forward_t(&x, false).unwrap(), &expected) < 1e-14);
    check("batch norm in evaluation", &[x], |x| layer.forward_t(&x[0], false));
}

/// One operation or two: the same values, gradients and running statistics, in both of the convolution's forms.
#[test]
fn batch_norm_after_a_convolution() {
    for channels in [3, 16] {
        let inputs = [
            random(1, &[3, channels, 5, 4], 1.0),
            random(2, &[channels, channels, 3, 3], 0.3),
            random(3, &[channels], 1.0),
            random(4, &[channels], 1.0),
        ];
        let conv = Conv { stride: 1, padding: 1 };
        let whole =
            |norm: &BatchNorm, x: &[Tensor], train| norm.after_conv2d(&x[0], &x[1], conv, train);
        let parts = |norm: &BatchNorm, x: &[Tensor], train| {
            norm.forward_t(&conv2d(&x[0], &x[1], conv)?, train)
        };
        for dtype in [DType::F32, DType::F64] {
            let inputs = inputs.clone().map(|x| x.to_dtype(dtype).unwrap());
            let (y, grads) = gradients(&inputs, |x| whole(&batch_norm(&x[2], &x[3]), x, true));
            let (expected, expected_grads) =
                gradients(&inputs, |x| parts(&batch_norm(&x[2], &x[3]), x, true));
            assert_eq!(values(&y), values(&expected));
            for (grad, expected) in grads.iter().zip(&expected_grads) {
                assert_eq!(values(grad), values(expected), "{channels} channels, {dtype:?}");
            }
            let norms = [(); 2].map(|()| batch_norm(&inputs[2], &inputs[3]));
            whole(&norms[0], &inputs, true).unwrap();
            parts(&norms[1], &inputs, true).unwrap();
            let [(mean, variance), expected] = norms.each_ref().map(BatchNorm::running);
            assert_eq!(values(mean), values(expected.0));
            assert_eq!(values(variance), values(expected.1));
            // By the running statistics that training has left.
            let y = whole(&norms[0], &inputs, false).unwrap();
            let expected = parts(&norms[1], &inputs, false).unwrap();
            assert_eq!(values(&y), values(&expected));
        }
        check("both", &inputs, |x| whole(&batch_norm(&x[2], &x[3]), x, true));
    }
    let norm = batch_norm(&random(3, &[2], 1.0), &random(4, &[2], 1.0));
    let [x, weight] = [random(1, &[1, 3, 4, 4], 1.0), random(2, &[3, 3, 3, 3], 1.0)];
    let message = norm.after_conv2d(&x, &weight, Conv::default(), true).unwrap_err().to_string();
    assert!(message.contains("it must be (N, 2, …)"), "{message}");
}

#[test]
fn batch_norm_refuses_what_has_no_variance() {
    let layer = batch_norm(&random(1, &[3], 1.0), &random(2, &[3], 1.0));
    let message = layer.forward_t(&random(3, &[1, 3], 1.0), true).unwrap_err().to_string();
    assert!(message.contains("at least two values a channel"), "{message}");
    assert!(layer.forward_t(&random(3, &[1, 3], 1.0), false).is_ok());
    assert!(layer.forward_t(&random(3, &[4, 2], 1.0), true).is_err());
}

#[test]
fn linear_maps() {
    for (shape, outputs) in [
        (&[3, 5][..], 4),
        (&[2, 3, 7], 1),
        (&[1, 1], 3),
        (&[70, 3], 67),
        (&[300, 3], 1100),
        (&[400, 5], 200),
    ] {
        let inputs = *shape.last().unwrap();
        for (weights, dims) in
            [(Weights::OutIn, [outputs, inputs]), (Weights::InOut, [inputs, outputs])]
        {
            let args = [random(1, shape, 1.0), random(2, &dims, 1.0), random(3, &[outputs], 1.0)];
            let layer = |x: &[Tensor]| linear(&x[0], &x[1], Some(&x[2]), weights);
            let composed = |x: &[Tensor]| linear::composed(&x[0], &x[1], Some(&x[2]), weights);
            compare("linear", &args, layer, composed);
            if args[1].elem_count() < 100 {
                check("linear", &args, layer);
                check("linear", &args[..2], |x| linear(&x[0], &x[1], None, weights));
            }
        }
    }
    let (x, weight) = (random(1, &[2, 3], 1.0), random(2, &[4, 2], 1.0));
    let message = linear(&x, &weight, None, Weights::OutIn).unwrap_err().to_string();
    assert!(message.contains("it must be (outputs, 3)"), "{message}");
    // No rows.
    let none = [random(1, &[0, 3], 1.0), random(2, &[2, 3], 1.0)];
    let (y, grads) = gradients(&none, |x| linear(&x[0], &x[1], None, Weights::OutIn));
    assert_eq!((y.dims(), grads[0].dims()), (&[0, 2][..], &[0, 3][..]));
    assert_eq!(values(&grads[1]), [0.0; 6]);
    for (x, weight) in [([3, 0], [4, 0]), ([3, 5], [0, 5])] {
        let (x, weight) = (random(1, &x, 1.0), random(2, &weight, 1.0));
        let message = linear(&x, &weight, None, Weights::OutIn).unwrap_err().to_string();
        assert!(message.contains("each at least 1"), "{message}");
    }
    assert!(
        linear(&x, &random(2, &[3, 4], 1.0), Some(&random(3, &[3], 1.0)), Weights::InOut).is_err()
    );
}
