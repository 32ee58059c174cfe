use super::*;
use crate::random::{Random, Stream};

fn tiny(bias: bool, tied: bool, dropout: f64) -> GptConfig {
    GptConfig { vocabulary: 7, context: 6, layers: 2, heads: 2, width: 8, bias, tied, dropout }
}

/// Parameters that are all far from 0 and from 1.
fn shaken(model: &Gpt<f64>) -> Vec<f64> {
    let mut params = model.init(1);
    let mut noise = vec![0.0; params.len()];
    Random::new(2, Stream::Init, 99).fill_normal(0.3, &mut noise);
    add(&mut params, &noise);
    params
}

#[test]
fn gradients_agree_with_differences_for_every_parameter() {
    let texts: [&[u16]; 3] =
        [&[1, 2, 3, 4, 5, 6, 0], &[0, 0, 6, 2, 2, 1, 3], &[5, 1, 5, 1, 4, 4, 4]];
    let workers = Workers::inline();
    for (bias, tied, dropout) in [(true, true, 0.0), (false, false, 0.0), (true, false, 0.4)] {
        let mut model = Gpt::<f64>::new(tiny(bias, tied, dropout)).unwrap();
        let mut params = shaken(&model);
        let mut grads = vec![f64::NAN; params.len()];
        let outcome = model.loss_and_grad(&workers, &params, &texts, (3, 4), &mut grads).unwrap();
        if dropout == 0.0 {
            let evaluated = model.evaluate(&workers, &params, &texts).unwrap();
            assert!((outcome.loss - evaluated.loss).abs() < 1e-14);
            assert_eq!((outcome.correct, outcome.count), (evaluated.correct, 18));
        }
        let mut scratch = grads.clone();
        for param in model.layout.clone().params() {
            let (mut squares, mut errors) = (0.0, 0.0);
            for index in param.range.clone() {
                let value = params[index];
                let mut at = |h: f64| {
                    params[index] = value + h;
                    let outcome =
                        model.loss_and_grad(&workers, &params, &texts, (3, 4), &mut scratch);
                    outcome.unwrap().loss
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                params[index] = value;
                squares += difference * difference;
                errors += (grads[index] - difference).powi(2);
            }
            let error = (errors / squares).sqrt();
            assert!(error < 1e-6, "{} {bias} {tied} {dropout}: {error}", param.name);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits_and_a_step_has_masks_of_its_own() {
    let config = GptConfig { vocabulary: 20, context: 16, dropout: 0.2, ..tiny(true, true, 0.2) };
    let mut model = Gpt::<f32>::new(config).unwrap();
    let params = model.init(1);
    let texts: Vec<Vec<u16>> =
        (0..5).map(|text| (0..17).map(|at| (at * 3 + text * 7) % 20).collect()).collect();
    let batch: Vec<&[u16]> = texts.iter().map(Vec::as_slice).collect();
    let mut run = |threads: usize, step| {
        let workers = Workers::new(threads.try_into().unwrap()).unwrap();
        let mut grads = vec![0.0; params.len()];
        let masks = (1, step);
        let outcome = model.loss_and_grad(&workers, &params, &batch, masks, &mut grads).unwrap();
        (outcome, model.evaluate(&workers, &params, &batch).unwrap(), grads)
    };
    assert!(run(1, 3) == run(3, 3));
    assert!(run(1, 3).0 != run(1, 4).0);
}

#[test]
fn the_next_token_is_that_of_the_whole_sequence() {
    let mut model = Gpt::<f64>::new(tiny(true, false, 0.0)).unwrap();
    let (params, workers) = (shaken(&model), Workers::inline());
    // −ln p of each possible next token is the loss of a sequence that ends with it.
    let logits = model.next(&workers, &params, &[2]).unwrap();
    let total: f64 = logits.iter().map(|x| libm::exp(*x)).sum();
    for (token, logit) in (0..).zip(&logits) {
        let loss = model.evaluate(&workers, &params, &[&[2, token]]).unwrap().loss;
        assert!((loss - (total.ln() - logit)).abs() < 1e-12);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = tiny(true, true, 0.0);
    let refused = |config| Gpt::<f32>::new(config).unwrap_err().to_string();
    assert!(refused(GptConfig { heads: 3, ..config }).contains("no multiple of the 3 heads"));
    assert!(refused(GptConfig { layers: 0, ..config }).contains("number of layers is 0"));
    assert!(refused(GptConfig { dropout: 1.0, ..config }).contains("in [0, 1)"));
    let mut model = Gpt::<f64>::new(config).unwrap();
    let (params, workers) = (model.init(1), Workers::inline());
    let mut refused = |batch: &[&[u16]]| model.evaluate(&workers, &params, batch).unwrap_err();
    assert_eq!(refused(&[&[1]]), GptInputError::Sequence { given: 0, context: 6 });
    assert_eq!(refused(&[&[1; 8]]), GptInputError::Sequence { given: 7, context: 6 });
    assert_eq!(refused(&[&[1, 7]]), GptInputError::Token { given: 7, vocabulary: 7 });
    assert!(model.evaluate(&workers, &params[1..], &[]).is_err());
    assert!(model.next(&workers, &params, &[]).is_err());
}
