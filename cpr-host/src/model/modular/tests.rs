mod reference;

use super::*;
use crate::data::modular::ModularAddition;
use crate::model::layers::vector::add_scaled;

fn workers(threads: usize) -> Workers {
    Workers::new(threads.try_into().unwrap()).unwrap()
}

/// A model with biases that are not 0, so that they take part.
fn small(config: ModularConfig) -> (ModularTransformer<f64>, Vec<f64>) {
    let model = ModularTransformer::new(config);
    let mut params = model.init(3);
    for param in model.layout().params() {
        if param.kind == ParamKind::Bias {
            Random::new(5, Stream::Init, 0).fill_normal(0.1, &mut params[param.range.clone()]);
        }
    }
    (model, params)
}

#[test]
fn names_shapes_and_count_are_the_published_ones() {
    let model = ModularTransformer::<f32>::new(ModularConfig::default());
    let named: Vec<(&str, &[usize])> =
        model.layout().params().iter().map(|p| (p.name.as_str(), p.shape.as_slice())).collect();
    let expected: [(&str, &[usize]); 9] = [
        ("token_embeddings.weight", &[114, 128]),
        ("position_embeddings.weight", &[3, 128]),
        ("layers.0.attn.in_proj_weight", &[384, 128]),
        ("layers.0.attn.out_proj.weight", &[128, 128]),
        ("layers.0.mlp.0.weight", &[512, 128]),
        ("layers.0.mlp.0.bias", &[512]),
        ("layers.0.mlp.2.weight", &[128, 512]),
        ("layers.0.mlp.2.bias", &[128]),
        ("head.weight", &[114, 128]),
    ];
    assert_eq!(named, expected);
    assert_eq!(model.layout().len(), 226_816);
}

#[test]
fn initial_parameters_have_the_published_deviation() {
    let model = ModularTransformer::<f32>::new(ModularConfig::default());
    let params = model.init(1);
    for param in model.layout().params() {
        let values = &params[param.range.clone()];
        let squares: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        let deviation = (squares / values.len() as f64).sqrt();
        if param.kind == ParamKind::Bias {
            assert_eq!(deviation, 0.0);
        } else {
            let error = deviation * 128.0_f64.sqrt() - 1.0;
            assert!(error.abs() < 5.0 / (2.0 * values.len() as f64).sqrt(), "{}", param.name);
        }
    }
    assert_ne!(model.init(2), params);
    assert_eq!(model.init(1), params);
}

#[test]
fn logits_and_losses_agree_with_the_whole_decoder() {
    for (p, dim, heads, ratio) in [(113, 128, 4, 4), (7, 12, 3, 2), (5, 6, 1, 1), (2, 5, 5, 3)] {
        let config = ModularConfig::new(p, dim, heads, ratio).unwrap();
        let (mut model, params) = small(config);
        let mut examples = ModularAddition::new(p, 1.0, 0).unwrap().train;
        examples.truncate(70);
        let inline = Workers::inline();
        let outcome = model.evaluate(&inline, &params, &examples).unwrap();
        let layout = model.layout.clone();
        let (loss, correct) = reference::loss(config, &layout, &params, &examples);
        assert!((outcome.loss - loss).abs() < 1e-12 * loss, "{} {loss}", outcome.loss);
        assert_eq!((outcome.correct, outcome.count), (correct, examples.len()));

        let weights = Weights::of(config, &params);
        let step = Step { config, weights, tables: &model.tables };
        let tile = &mut model.tiles[0];
        let mut folded = Folded::default();
        folded.compute(&inline, &step);
        for examples in examples.chunks(TILE) {
            for folds in [false, true] {
                if folds {
                    folded.forward(tile, &step, examples);
                } else {
                    tile.forward(&step, examples);
                }
                for (logits, &example) in tile.logits.chunks_exact(p + 1).zip(examples) {
                    let expected = reference::logits(config, &layout, &params, example);
                    for (logit, expected) in logits.iter().zip(expected) {
                        assert!((logit - expected).abs() < 1e-10, "{logit} {expected} {folds}");
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_agree_with_differences_for_every_parameter() {
    for (p, dim, heads, ratio) in [(7, 8, 2, 2), (5, 6, 3, 1)] {
        let config = ModularConfig::new(p, dim, heads, ratio).unwrap();
        let (mut model, mut params) = small(config);
        // More than one tile, and a short one.
        let examples = ModularAddition::new(p, 1.0, 0).unwrap().train.repeat(2);
        let examples = &examples[..(TILE + 3).min(examples.len())];
        let inline = Workers::inline();
        let mut grads = vec![f64::NAN; params.len()];
        model.loss_and_grad(&inline, &params, examples, &mut grads).unwrap();
        for param in model.layout.clone().params() {
            let mut differences = Vec::new();
            for index in param.range.clone() {
                let value = params[index];
                let mut at = |h: f64| {
                    params[index] = value + h;
                    model.evaluate(&inline, &params, examples).unwrap().loss
                };
                let h = 1e-5;
                differences.push((at(h) - at(-h)) / (2.0 * h));
                params[index] = value;
            }
            let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
            let errors: Vec<f64> =
                grads[param.range.clone()].iter().zip(&differences).map(|(g, d)| g - d).collect();
            let error = norm(&errors) / norm(&differences);
            assert!(error < 1e-6, "{}: {error}", param.name);
        }
    }
}

/// Five steps of SGD, the last on a short batch.
fn five_steps<T: Exp>(threads: usize) -> (Vec<T>, Vec<u64>) {
    let config = ModularConfig::default();
    let data = ModularAddition::new(113, 0.3, 0).unwrap();
    let workers = workers(threads);
    let mut model = ModularTransformer::<T>::new(config);
    let mut params = model.init(0);
    let mut grads = vec![T::ZERO; params.len()];
    let mut losses = Vec::new();
    for batch in data.train[..4 * 512 + 246].chunks(512) {
        let outcome = model.loss_and_grad(&workers, &params, batch, &mut grads).unwrap();
        losses.push(outcome.loss.to_bits());
        for (param, &grad) in params.iter_mut().zip(&grads) {
            *param = *param - T::from_f64(0.5) * grad;
        }
    }
    let outcome = model.evaluate(&workers, &params, &data.validation[..1000]).unwrap();
    losses.extend([outcome.loss.to_bits(), outcome.correct as u64]);
    (params, losses)
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let single = five_steps::<f32>(1);
    let double = five_steps::<f64>(1);
    for threads in [2, 3, 8] {
        assert!(five_steps::<f32>(threads) == single, "{threads} threads");
    }
    assert!(five_steps::<f64>(3) == double);
    assert!(f64::from_bits(single.1[4]) < f64::from_bits(single.1[0]), "the loss falls");
    for (&single, &double) in single.0.iter().zip(&double.0) {
        assert!((f64::from(single) - double).abs() < 1e-5, "{single} {double}");
    }
}

#[test]
fn a_batch_is_the_mean_of_its_parts() {
    let config = ModularConfig::new(23, 16, 2, 3).unwrap();
    let (mut model, params) = small(config);
    let data = ModularAddition::new(23, 0.8, 0).unwrap().train;
    let workers = workers(2);
    let mut gradient = |batch: &[Example]| {
        let mut grads = vec![f64::NAN; params.len()];
        let outcome = model.loss_and_grad(&workers, &params, batch, &mut grads).unwrap();
        (outcome, grads)
    };
    for length in [1, 63, 64, 65, 129, 300] {
        // A large batch before leaves nothing behind in the workspace.
        gradient(&data);
        let (outcome, grads) = gradient(&data[..length]);
        let mut loss = 0.0;
        let mut correct = 0;
        let mut mean = vec![0.0; grads.len()];
        for example in &data[..length] {
            let (one, grads) = gradient(std::slice::from_ref(example));
            loss += one.loss / length as f64;
            correct += one.correct;
            add_scaled(&mut mean, 1.0 / length as f64, &grads);
        }
        assert!((outcome.loss - loss).abs() < 1e-13);
        assert_eq!((outcome.correct, outcome.count), (correct, length));
        for (grad, mean) in grads.iter().zip(mean) {
            assert!((grad - mean).abs() < 1e-14, "{grad} {mean}");
        }
    }
}

#[test]
fn evaluation_is_the_forward_pass_of_training() {
    let config = ModularConfig::new(23, 16, 2, 3).unwrap();
    let (mut model, params) = small(config);
    let data = ModularAddition::new(23, 1.0, 0).unwrap().train;
    let inline = Workers::inline();
    let mut grads = vec![0.0; params.len()];
    let trained = model.loss_and_grad(&inline, &params, &data, &mut grads).unwrap();
    assert!(Folded::<f64>::pays(config, data.len()) && !Folded::<f64>::pays(config, 64));
    let evaluated = model.evaluate(&inline, &params, &data).unwrap();
    assert!((trained.loss - evaluated.loss).abs() < 1e-14);
    assert_eq!(trained.correct, evaluated.correct);
    assert_eq!(trained.accuracy(), trained.correct as f64 / 529.0);
}

#[test]
fn nothing_to_learn_from() {
    let (mut model, params) = small(ModularConfig::new(5, 4, 1, 1).unwrap());
    let mut grads = vec![1.0; params.len()];
    let inline = Workers::inline();
    let outcome = model.loss_and_grad(&inline, &params, &[], &mut grads).unwrap();
    assert!(outcome.loss.is_nan() && outcome.count == 0);
    assert!(grads.iter().all(|&grad| grad == 0.0));
    assert!(model.evaluate(&inline, &params, &[]).unwrap().accuracy().is_nan());
}

#[test]
fn what_does_not_fit_is_refused() {
    let size = |name, given, limit| Err(ModularConfigError::Size { name, given, limit });
    assert_eq!(ModularConfig::new(0, 8, 2, 4), size("p", 0, 4096));
    assert_eq!(ModularConfig::new(5, 0, 2, 4), size("dim", 0, 8192));
    assert_eq!(ModularConfig::new(5, 8, 2, 65), size("mlp_ratio", 65, 64));
    for heads in [0, 3, 16] {
        let refused = ModularConfig::new(5, 8, heads, 4);
        assert_eq!(refused, Err(ModularConfigError::Heads { heads, dim: 8 }));
    }

    let (mut model, params) = small(ModularConfig::new(5, 8, 2, 4).unwrap());
    let inline = Workers::inline();
    let expected = params.len();
    let short = model.evaluate(&inline, &params[1..], &[]);
    let refused = ModularInputError::Length { what: "parameters", given: expected - 1, expected };
    assert_eq!(short, Err(refused));
    let mut grads = vec![7.0; expected];
    let example = Example { a: 1, b: 5, label: 1 };
    let refused = model.loss_and_grad(&inline, &params, &[example], &mut grads);
    assert_eq!(refused, Err(ModularInputError::Example { example, p: 5 }));
    assert!(grads.iter().all(|&grad| grad == 7.0));
    let long = model.loss_and_grad(&inline, &params, &[], &mut vec![0.0; expected + 1]);
    assert!(matches!(long, Err(ModularInputError::Length { what: "gradients", .. })));
}
