//! Convolution and max pooling.

use candle_core::{Shape, Tensor};

use super::{check, compare, random};
use crate::nn::{
    Conv, Pool,
    conv::{self, Geometry},
    conv2d, max_pool2d, pool,
};

/// Images, kernel, stride, padding.
const CASES: [([usize; 4], [usize; 4], usize, usize); 15] = [
    ([2, 3, 5, 5], [4, 3, 3, 3], 1, 1),
    ([2, 3, 6, 6], [2, 3, 3, 3], 2, 1),
    ([1, 2, 7, 4], [3, 2, 3, 3], 2, 1),
    ([3, 4, 5, 5], [2, 4, 1, 1], 2, 0),
    ([2, 5, 3, 4], [3, 5, 1, 1], 1, 0),
    ([2, 1, 4, 4], [1, 1, 2, 2], 2, 0),
    ([1, 1, 1, 1], [1, 1, 1, 1], 1, 0),
    ([1, 2, 1, 1], [3, 2, 3, 3], 1, 1),
    ([2, 2, 5, 3], [2, 2, 2, 3], 1, 0),
    ([1, 1, 5, 6], [2, 1, 3, 1], 3, 2),
    ([2, 2, 4, 4], [2, 2, 3, 3], 5, 3),
    ([1, 2, 9, 9], [2, 2, 7, 7], 2, 3),
    ([2, 1, 1, 1], [1, 1, 7, 7], 1, 3),
    ([2, 1, 3, 7], [1, 1, 1, 4], 1, 1),
    ([5, 1, 2, 2], [1, 1, 2, 2], 1, 1),
];

fn inputs(x: [usize; 4], weight: [usize; 4]) -> [Tensor; 2] {
    [random(1, &x, 1.0), random(2, &weight, 1.0)]
}

/// By the definition.
fn naive(x: &[Tensor], conv: Conv) -> candle_core::Result<Tensor> {
    let padded = x[0].pad_with_zeros(2, conv.padding, conv.padding)?.pad_with_zeros(
        3,
        conv.padding,
        conv.padding,
    )?;
    let (_, _, height, width) = padded.dims4()?;
    let (outputs, _, rows, columns) = x[1].dims4()?;
    let mut lines = Vec::new();
    for top in (0..=height - rows).step_by(conv.stride) {
        let mut line = Vec::new();
        for left in (0..=width - columns).step_by(conv.stride) {
            let patch = padded.narrow(2, top, rows)?.narrow(3, left, columns)?;
            let patch = patch.contiguous()?.flatten_from(1)?;
            line.push(patch.matmul(&x[1].reshape((outputs, ()))?.t()?)?);
        }
        lines.push(Tensor::stack(&line, 2)?);
    }
    Tensor::stack(&lines, 2)
}

#[test]
fn convolutions() {
    for (x, weight, stride, padding) in CASES {
        let inputs = inputs(x, weight);
        let conv = Conv { stride, padding };
        let name = format!("{x:?} {weight:?} {conv:?}");
        check(&name, &inputs, |x| conv2d(&x[0], &x[1], conv));
        compare(&name, &inputs, |x| conv2d(&x[0], &x[1], conv), |x| naive(x, conv));
    }
}

#[test]
fn the_composition_of_convolutions_has_the_same_gradients() {
    for (x, weight, stride, padding) in CASES {
        let conv = Conv { stride, padding };
        let composed = |x: &[Tensor]| {
            let geometry = Geometry::new(x[0].shape(), x[1].shape(), conv)?;
            conv::composed(&x[0], &x[1], conv, geometry)
        };
        let name = format!("{x:?} {weight:?} {conv:?}");
        compare(&name, &inputs(x, weight), composed, |x| naive(x, conv));
    }
}

/// Large enough for several tiles and groups: rows of an image, images of a group, blocks of channels.
#[test]
fn large_convolutions() {
    for (x, weight, stride) in [
        ([3, 16, 40, 40], [8, 16, 3, 3], 1),
        ([33, 32, 6, 6], [16, 32, 3, 3], 2),
        ([2, 128, 4, 4], [128, 128, 3, 3], 1),
    ] {
        let inputs = inputs(x, weight).map(|x| (x * 0.1).unwrap());
        let conv = Conv { stride, padding: 1 };
        let name = format!("{x:?} {weight:?}");
        let upstream = |x: &[Tensor]| x[0].conv2d(&x[1], 1, stride, 1, 1);
        compare(&name, &inputs, |x| conv2d(&x[0], &x[1], conv), upstream);
    }
}

/// Sixteen channels and more at 3×3 and stride 1: Winograd's form. Odd sizes, every padding, every number of tiles side by
/// side, rows of one image and several images in a block, gradients of the weights in it and not.
#[test]
fn convolutions_in_winograds_form() {
    for (x, outputs, padding, of_weights) in [
        ([2, 16, 5, 5], 16, 1, true),
        ([1, 17, 3, 4], 16, 0, true),
        ([1, 16, 1, 1], 18, 1, true),
        ([1, 16, 1, 2], 16, 2, true),
        ([3, 16, 4, 3], 17, 3, true),
        ([2, 16, 9, 18], 16, 1, true),
        ([2, 16, 7, 35], 16, 1, true),
        ([2, 16, 31, 64], 16, 2, true),
        ([1, 18, 150, 31], 20, 1, true),
        ([35, 16, 8, 8], 24, 1, true),
        // Groups of two images, and blocks that begin in the middle of one and end in the other.
        ([17, 16, 8, 84], 112, 1, true),
        ([9, 128, 3, 4], 128, 1, true),
        ([4, 192, 4, 6], 192, 1, false),
    ] {
        let weight = [outputs, x[1], 3, 3];
        let inputs = inputs(x, weight).map(|x| (x * 0.1).unwrap());
        let conv = Conv { stride: 1, padding };
        let name = format!("{x:?} {weight:?} {conv:?}");
        let geometry = Geometry::new(inputs[0].shape(), inputs[1].shape(), conv).unwrap();
        assert!(geometry.is_winograd(), "{name}");
        assert_eq!(geometry.is_winograd_of_weights(), of_weights, "{name}");
        let upstream = |x: &[Tensor]| x[0].conv2d(&x[1], padding, 1, 1, 1);
        compare(&name, &inputs, |x| conv2d(&x[0], &x[1], conv), upstream);
        if x.iter().product::<usize>() < 210 {
            check(&name, &inputs, |x| conv2d(&x[0], &x[1], conv));
        }
    }
}

/// Each gradient is the same where the other is not asked for.
#[test]
fn gradients_of_a_convolution_alone() {
    for (images, channels, size) in [(3, 4, 6), (3, 16, 6), (32, 128, 8)] {
        let [x, weight] = inputs([images, channels, size, size], [channels, channels, 3, 3]);
        let conv = Conv { stride: 1, padding: 1 };
        let (_, both) =
            super::gradients(&[x.clone(), weight.clone()], |x| conv2d(&x[0], &x[1], conv));
        let (_, of_x) =
            super::gradients(std::slice::from_ref(&x), |x| conv2d(&x[0], &weight, conv));
        let (_, of_weight) =
            super::gradients(std::slice::from_ref(&weight), |w| conv2d(&x, &w[0], conv));
        assert_eq!(super::values(&of_x[0]), super::values(&both[0]));
        assert_eq!(super::values(&of_weight[0]), super::values(&both[1]));
    }
}

/// What Winograd's form is not for: other kernels and strides, few channels, more than its buffers may hold, no elements.
#[test]
fn what_is_not_winograds() {
    let is = |x: [usize; 4], weight: [usize; 4], stride: usize, padding: usize| {
        let conv = Conv { stride, padding };
        Geometry::new(&Shape::from(&x), &Shape::from(&weight), conv).unwrap().is_winograd()
    };
    assert!(is([1, 16, 8, 8], [16, 16, 3, 3], 1, 1));
    assert!(!is([1, 16, 8, 8], [16, 16, 3, 3], 2, 1));
    assert!(!is([1, 16, 8, 8], [16, 16, 1, 3], 1, 1));
    assert!(!is([1, 15, 8, 8], [16, 15, 3, 3], 1, 1));
    assert!(!is([1, 16, 8, 8], [15, 16, 3, 3], 1, 1));
    assert!(is([1, 512, 4, 4], [512, 512, 3, 3], 1, 1));
    assert!(!is([1, 512, 8, 2048], [512, 512, 3, 3], 1, 1));
    assert!(!is([0, 16, 8, 8], [16, 16, 3, 3], 1, 1));
    let inputs = inputs([1, 16, 0, 5], [16, 16, 3, 3]);
    let (y, grads) =
        super::gradients(&inputs, |x| conv2d(&x[0], &x[1], Conv { stride: 1, padding: 2 }));
    assert_eq!(y.dims(), [1, 16, 2, 7]);
    assert!(super::values(&y).iter().chain(&super::values(&grads[1])).all(|&x| x == 0.0));
}

#[test]
fn convolution_refuses_what_does_not_fit() {
    let [x, weight] = inputs([1, 2, 3, 3], [1, 3, 3, 3]);
    let message = conv2d(&x, &weight, Conv::default()).unwrap_err().to_string();
    assert!(message.contains("it must be (O, 2, kh, kw)"), "{message}");
    let [x, weight] = inputs([1, 2, 3, 3], [1, 2, 4, 4]);
    let message = conv2d(&x, &weight, Conv::default()).unwrap_err().to_string();
    assert!(message.contains("holds a kernel of 4×4"), "{message}");
    assert!(conv2d(&x, &weight, Conv { stride: 0, padding: 1 }).is_err());
    let [x, weight] = inputs([1, 0, 3, 3], [1, 0, 3, 3]);
    let message = conv2d(&x, &weight, Conv::default()).unwrap_err().to_string();
    assert!(message.contains("each at least 1"), "{message}");
}

#[test]
fn max_pools() {
    for (x, kernel, stride, padding) in [
        ([2, 3, 4, 4], 2, 2, 0),
        ([1, 2, 7, 5], 3, 2, 1),
        ([2, 1, 5, 6], 3, 1, 1),
        ([1, 1, 3, 3], 2, 3, 1),
        ([3, 2, 1, 1], 1, 1, 0),
        ([1, 2, 6, 6], 4, 1, 2),
    ] {
        let inputs = [random(3, &x, 1.0)];
        let pool = Pool { kernel, stride, padding };
        let name = format!("{x:?} {pool:?}");
        check(&name, &inputs, |x| max_pool2d(&x[0], pool));
        compare(&name, &inputs, |x| max_pool2d(&x[0], pool), |x| pool::composed(&x[0], pool));
    }
}

#[test]
fn max_pool_passes_a_gradient_once_and_keeps_nan() {
    let x = Tensor::new(&[[[[1.0_f64, 1.0], [1.0, 0.0]]]], &candle_core::Device::Cpu).unwrap();
    let (_, grads) = super::gradients(&[x], |x| max_pool2d(&x[0], Pool::tiles(2)));
    let weight = super::values(&random(99, &[1], 1.0))[0];
    assert_eq!(super::values(&grads[0]), [weight, 0.0, 0.0, 0.0]);
    let x = Tensor::new(&[[[[1.0_f32, f32::NAN], [2.0, 0.0]]]], &candle_core::Device::Cpu).unwrap();
    assert!(super::values(&max_pool2d(&x, Pool::tiles(2)).unwrap())[0].is_nan());
    for pool in [
        Pool::tiles(3),
        Pool { stride: 0, ..Pool::tiles(2) },
        Pool { padding: 2, ..Pool::tiles(2) },
    ] {
        assert!(max_pool2d(&x, pool).is_err());
    }
}
