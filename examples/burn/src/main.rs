//! A network of Burn, trained by the optimizer of `adam_cpr.rs`.

mod adam_cpr;

use adam_cpr::AdamCpr;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData, activation::tanh};
use cpr_core::base::{Adam, AdamConfig};
use cpr_core::{BoundInit, ConstraintConfig, ConstraintRule, L2};

#[derive(Module, Debug)]
struct Net {
    first: Linear,
    second: Linear,
}

impl Net {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(tanh(self.first.forward(x)))
    }
}

fn main() {
    let device = Device::ndarray().autodiff();
    device.seed(1);
    let mut net = Net {
        first: LinearConfig::new(1, 32).init(&device),
        second: LinearConfig::new(32, 1).init(&device),
    };
    let rule = ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::WarmStart(300)))
        .expect("a valid rule");
    let adam = Adam::new(AdamConfig::default()).expect("valid hyperparameters");
    let mut optimizer = ModuleOptimizer::from(AdamCpr { adam, rule });
    let x: Vec<f32> = (0..64).map(|i| i as f32 / 32.0 - 1.0).collect();
    let y: Vec<f32> = x.iter().map(|x| (3.0 * x).sin()).collect();
    let column = |v: Vec<f32>| Tensor::<2>::from_data(TensorData::new(v, [64, 1]), &device);
    let (x, y) = (column(x), column(y));
    for t in 1..=900 {
        let loss = (net.forward(x.clone()) - y.clone()).square().mean();
        if t % 300 == 0 {
            let square = |w: Tensor<2>| w.square().sum().into_scalar::<f32>();
            let (a, b) = (square(net.first.weight.val()), square(net.second.weight.val()));
            println!(
                "step {t}: loss {:.4}, R of the layers {a:.2}, {b:.2}",
                loss.clone().into_scalar::<f32>()
            );
        }
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(0.01, net, grads);
    }
}
