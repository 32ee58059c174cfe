//! Every parameter gets a gradient, under the names of the usual checkpoints; the same seed gives the same network.

use candle_core::{DType, Device, Tensor};

use super::{Depth, Gpt2, Gpt2Config, ResNet, ResNetConfig, Store};
use crate::nn::{Draw, cross_entropy};

fn images(count: usize, channels: usize, size: usize) -> Tensor {
    let elements = u32::try_from(count * channels * size * size).unwrap();
    let values = (0..elements).map(|i| (i as f32 * 0.37).sin());
    Tensor::from_iter(values, &Device::Cpu).unwrap().reshape((count, channels, size, size)).unwrap()
}

fn tokens(batch: usize, length: usize, vocabulary: u32) -> Tensor {
    let count = u32::try_from(batch * length).unwrap();
    let values = (0..count).map(|i| i * 7919 % vocabulary);
    Tensor::from_iter(values, &Device::Cpu).unwrap().reshape((batch, length)).unwrap()
}

/// Fails for a trained variable without a gradient, or with a gradient of zeros only.
fn every_parameter_has_a_gradient(store: &Store, loss: &Tensor) {
    let grads = loss.backward().unwrap();
    for (name, var) in store.named() {
        if name.contains("running_") {
            assert!(grads.get(&var).is_none(), "{name} is no parameter");
            continue;
        }
        let grad = grads.get(&var).unwrap_or_else(|| panic!("{name} has no gradient"));
        assert_eq!(grad.dims(), var.dims(), "{name}");
        let total = grad.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(total.is_finite() && total > 0.0, "{name}: Σ|gradient| = {total}");
    }
}

fn shapes(store: &Store) -> Vec<(String, Vec<usize>)> {
    store.named().into_iter().map(|(name, var)| (name, var.dims().to_vec())).collect()
}

/// How many tensors the states of torchvision's networks have, without `num_batches_tracked`.
const TENSORS: [(Depth, usize); 5] = [
    (Depth::D18, 102),
    (Depth::D34, 182),
    (Depth::D50, 267),
    (Depth::D101, 522),
    (Depth::D152, 777),
];

#[test]
fn resnets_of_every_depth() {
    for depth in [Depth::D10, Depth::D18, Depth::D34, Depth::D50, Depth::D101, Depth::D152] {
        let store = Store::new(1);
        let config = ResNetConfig { width: 4, ..ResNetConfig::new(depth, 5) };
        let variables = store.builder(DType::F32, &Device::Cpu);
        let model = ResNet::new(config, &variables).unwrap();
        let logits = model.forward(&images(3, 3, 8), true).unwrap();
        assert_eq!(logits.dims(), [3, 5]);
        let labels = Tensor::new(&[0_u32, 3, 4], &Device::Cpu).unwrap();
        every_parameter_has_a_gradient(&store, &cross_entropy(&logits, &labels, 0.1).unwrap());
        if let Some((_, tensors)) = TENSORS.iter().find(|(known, _)| *known == depth) {
            assert_eq!(store.named().len(), *tensors, "{depth:?}");
        }
        // Another size, and one image, which evaluation takes.
        assert_eq!(model.forward(&images(1, 3, 5), false).unwrap().dims(), [1, 5]);
    }
}

#[test]
fn resnets_have_torchvisions_parameters() {
    let store = Store::new(2);
    ResNet::new(ResNetConfig::new(Depth::D18, 10), &store.builder(DType::F32, &Device::Cpu))
        .unwrap();
    let trained = store.named().into_iter().filter(|(name, _)| !name.contains("running_"));
    let count: usize = trained.map(|(_, var)| var.elem_count()).sum();
    // With a 3×3 stem and 10 classes.
    assert_eq!(count, 11_173_962);
    let shapes = shapes(&store);
    for (name, shape) in [
        ("conv1.weight", &[64, 3, 3, 3][..]),
        ("bn1.running_mean", &[64]),
        ("layer1.1.conv2.weight", &[64, 64, 3, 3]),
        ("layer2.0.downsample.0.weight", &[128, 64, 1, 1]),
        ("layer2.0.downsample.1.bias", &[128]),
        ("layer4.1.bn2.running_var", &[512]),
        ("fc.weight", &[10, 512]),
        ("fc.bias", &[10]),
    ] {
        assert!(shapes.contains(&(name.to_owned(), shape.to_vec())), "{name}");
    }
    let bottleneck = Store::new(2);
    let config = ResNetConfig { width: 8, ..ResNetConfig::new(Depth::D50, 10) };
    ResNet::new(config, &bottleneck.builder(DType::F32, &Device::Cpu)).unwrap();
    let shape = |name: &str| bottleneck.get(name).unwrap().dims().to_vec();
    assert_eq!(shape("layer1.0.downsample.0.weight"), [32, 8, 1, 1]);
    assert_eq!(shape("layer2.0.conv2.weight"), [16, 16, 3, 3]);
    assert_eq!(shape("layer4.2.conv3.weight"), [256, 64, 1, 1]);
}

fn small() -> Gpt2Config {
    Gpt2Config { context: 12, vocabulary: 31, ..Gpt2Config::new(16, 2, 2) }
}

#[test]
fn gpt2_of_every_kind() {
    for rotary in [0.0, 0.5, 1.0] {
        for (bias, tied) in [(true, true), (false, false)] {
            let config = Gpt2Config { rotary, bias, tied, ..small() };
            let store = Store::new(3);
            let model = Gpt2::new(config, &store.builder(DType::F32, &Device::Cpu)).unwrap();
            let count: usize = store.named().iter().map(|(_, var)| var.elem_count()).sum();
            assert_eq!(count, config.parameters(), "{config:?}");
            let (tokens, targets) = (tokens(2, 12, 31), tokens(2, 12, 29));
            let draw = Draw { seed: 1, step: 0 };
            let loss = model.loss(&tokens, &targets, Some(draw)).unwrap();
            // Close to a guess among 31.
            assert!((loss.to_scalar::<f32>().unwrap() - 31_f32.ln()).abs() < 0.3);
            every_parameter_has_a_gradient(&store, &loss);
            let again = model.loss(&tokens, &targets, Some(draw)).unwrap();
            assert_eq!(again.to_scalar::<f32>().unwrap(), loss.to_scalar::<f32>().unwrap());
        }
    }
}

#[test]
fn gpt2_has_hugging_faces_parameters() {
    let store = Store::new(4);
    let config = Gpt2Config { tied: false, ..small() }.learned_positions();
    Gpt2::new(config, &store.builder(DType::F32, &Device::Cpu)).unwrap();
    let shapes = shapes(&store);
    for (name, shape) in [
        ("transformer.wte.weight", &[31, 16][..]),
        ("transformer.wpe.weight", &[12, 16]),
        ("transformer.h.1.ln_1.bias", &[16]),
        ("transformer.h.0.attn.c_attn.weight", &[16, 48]),
        ("transformer.h.0.attn.c_attn.bias", &[48]),
        ("transformer.h.1.attn.c_proj.weight", &[16, 16]),
        ("transformer.h.0.mlp.c_fc.weight", &[16, 64]),
        ("transformer.h.1.mlp.c_proj.weight", &[64, 16]),
        ("transformer.ln_f.weight", &[16]),
        ("lm_head.weight", &[31, 16]),
    ] {
        assert!(shapes.contains(&(name.to_owned(), shape.to_vec())), "{name}");
    }
    // OpenAI's sizes.
    assert_eq!(Gpt2Config::s().learned_positions().parameters(), 124_439_808);
    assert_eq!(Gpt2Config::m().learned_positions().parameters(), 354_823_168);
    assert_eq!(Gpt2Config::l().learned_positions().parameters(), 774_030_080);
}

#[test]
fn gpt2_does_not_see_the_future_and_refuses_what_does_not_fit() {
    let store = Store::new(5);
    let variables = store.builder(DType::F64, &Device::Cpu);
    let model = Gpt2::new(small(), &variables).unwrap();
    let long = tokens(1, 12, 31);
    let all = model.forward(&long, None).unwrap().narrow(1, 0, 5).unwrap();
    let part = model.forward(&long.narrow(1, 0, 5).unwrap(), None).unwrap();
    let difference = (all - part).unwrap().abs().unwrap().max_all().unwrap();
    assert!(difference.to_scalar::<f64>().unwrap() < 1e-12);
    let message = model.forward(&tokens(1, 13, 31), None).unwrap_err().to_string();
    assert!(message.contains("the context is 12"), "{message}");
    for config in [
        Gpt2Config { heads: 3, ..small() },
        Gpt2Config { rotary: 0.01, ..small() },
        Gpt2Config { dropout: 1.0, ..small() },
        Gpt2Config { layers: 0, ..small() },
    ] {
        assert!(Gpt2::new(config, &Store::new(0).builder(DType::F32, &Device::Cpu)).is_err());
    }
}

#[test]
fn a_store_is_seeded_and_keeps_its_order() {
    let make = |seed: u64| {
        let store = Store::new(seed);
        let variables = store.builder(DType::F32, &Device::Cpu);
        Gpt2::new(small(), &variables).unwrap();
        store
    };
    let values = |store: &Store| -> Vec<Vec<f32>> {
        let flat = |(_, var): (String, candle_core::Var)| var.flatten_all()?.to_vec1::<f32>();
        store.named().into_iter().map(|named| flat(named).unwrap()).collect()
    };
    let (first, again, other) = (make(6), make(6), make(7));
    assert_eq!(values(&first), values(&again));
    assert_ne!(values(&first), values(&other));
    assert_eq!(shapes(&first), shapes(&other));
    assert_eq!(first.named()[0].0, "transformer.wte.weight");
    // Taken again, a variable is the same one; in another shape it is refused.
    let variables = first.builder(DType::F32, &Device::Cpu);
    let wte = variables.get((31, 16), "transformer.wte.weight").unwrap();
    assert_eq!(wte.id(), first.get("transformer.wte.weight").unwrap().id());
    assert!(variables.get((16, 31), "transformer.wte.weight").is_err());
}

#[test]
fn blocks_computed_again_have_the_gradients_of_blocks_that_were_kept() {
    for (rotary, tied) in [(0.5, true), (0.0, false)] {
        let config = Gpt2Config { rotary, tied, ..small() };
        let store = Store::new(8);
        let model = Gpt2::new(config, &store.builder(DType::F64, &Device::Cpu)).unwrap();
        let (tokens, targets) = (tokens(3, 12, 31), tokens(3, 12, 29));
        let draw = Some(Draw { seed: 2, step: 5 });
        let kept = model.loss(&tokens, &targets, draw).unwrap();
        let expected = kept.backward().unwrap();
        let (loss, grads) =
            model.recomputed(&tokens, draw, |logits| cross_entropy(logits, &targets, 0.0)).unwrap();
        let value = |loss: &Tensor| loss.to_scalar::<f64>().unwrap();
        assert_eq!(value(&loss), value(&kept));
        for (name, var) in store.named() {
            let (own, expected) = (grads.get(&var).unwrap(), expected.get(&var).unwrap());
            let apart = (own - expected).unwrap().abs().unwrap().max_all().unwrap();
            let largest = expected.abs().unwrap().max_all().unwrap();
            assert!(value(&apart) <= 1e-12 * value(&largest), "{name}: {apart}");
        }
    }
}

#[test]
fn what_is_declared_is_what_a_store_makes() {
    let store = Store::new(9);
    Gpt2::new(small(), &store.builder(DType::F32, &Device::Cpu)).unwrap();
    let declared = super::declared(|variables| Gpt2::new(small(), variables)).unwrap();
    let of_store: Vec<_> = shapes(&store);
    let own: Vec<_> = declared.iter().map(|d| (d.name.clone(), d.shape.clone())).collect();
    assert_eq!(own, of_store);
    let flat = |var: candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let values: Vec<f32> = store.named().into_iter().flat_map(|(_, var)| flat(var)).collect();
    assert_eq!(super::start(&declared, 9), values);
    // Over tensors that are there the network is the same; one that is missing or of another shape is named.
    let named = store.named().into_iter().map(|(name, var)| (name, var.as_detached_tensor()));
    let mut named: Vec<_> = named.collect();
    let over = |named: &[(String, Tensor)]| {
        Gpt2::new(small(), &super::over(named.to_vec(), DType::F32, &Device::Cpu))
    };
    assert!(over(&named).is_ok());
    named[3].1 = Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap();
    let wrong = over(&named).unwrap_err().to_string();
    assert!(wrong.contains(&named[3].0), "{wrong}");
    let (name, _) = named.remove(3);
    let missing = over(&named).unwrap_err().to_string();
    assert!(missing.contains(&name), "{missing}");
}
