//! Causal attention.

use candle_core::{DType, Tensor};

use super::{check, compare, distance, random};
use crate::nn::{
    Attention, Draw, Rotary,
    attention::{Heads, composed},
    causal_attention,
    dropout::Mask,
};

const DRAW: Draw = Draw { seed: 5, step: 8 };

fn ours(options: Attention) -> impl Fn(&[Tensor]) -> candle_core::Result<Tensor> {
    move |x: &[Tensor]| causal_attention(&x[0], options)
}

fn composition(options: Attention) -> impl Fn(&[Tensor]) -> candle_core::Result<Tensor> {
    move |x: &[Tensor]| {
        let (batch, length, width) = x[0].dims3()?;
        let heads = options.heads;
        let shape = Heads { batch, length, heads, size: width / (3 * heads) };
        let mask = match options.dropout {
            Some((p, draw, layer)) => Mask::new(p, draw, layer)?,
            None => None,
        };
        composed(&x[0], shape, options.rotary, mask.as_ref())
    }
}

#[test]
fn heads_rotary_and_dropout() {
    for (batch, length, heads, size) in [(2, 5, 2, 4), (1, 1, 1, 2), (1, 7, 3, 2)] {
        let x = [random(1, &[batch, length, 3 * heads * size], 1.5)];
        for rotary in [None, Rotary::fraction(0.5, size), Rotary::fraction(1.0, size)] {
            for dropout in [None, Some((0.3, DRAW, 2))] {
                let options = Attention { heads, rotary, dropout };
                let name = format!("{length} {options:?}");
                check(&name, &x, ours(options));
                compare(&name, &x, ours(options), composition(options));
            }
        }
    }
}

#[test]
fn many_blocks_of_queries() {
    let x = [random(2, &[2, 150, 3 * 16], 2.0)];
    let rotary = Rotary::fraction(0.5, 8);
    let options = Attention { heads: 2, rotary, dropout: Some((0.1, DRAW, 0)) };
    compare("150 positions", &x, ours(options), composition(options));
}

#[test]
fn the_past_does_not_see_the_future() {
    let x = random(3, &[1, 70, 12], 1.0);
    let y = causal_attention(&x, Attention::new(2)).unwrap();
    let other =
        Tensor::cat(&[&x.narrow(1, 0, 66).unwrap(), &random(4, &[1, 4, 12], 1.0)], 1).unwrap();
    let seen = causal_attention(&other, Attention::new(2)).unwrap();
    let past = |y: &Tensor| y.narrow(1, 0, 66).unwrap();
    assert!(distance(&past(&y), &past(&seen)) < 1e-15);
    assert!(distance(&y, &seen) > 0.01);
}

#[test]
fn rotary_scores_depend_on_the_distance_alone() {
    // The same token everywhere: with v = token, y is the token, so the scores are looked at through a marked value.
    let rotary = Rotary { dims: 4, base: 100.0 };
    let near = rotary_score(rotary, 3, 5);
    let far = rotary_score(rotary, 9, 11);
    assert!((near - far).abs() < 1e-12);
    assert!((near - rotary_score(rotary, 3, 6)).abs() > 1e-3);
}

/// The product of a turned query and a turned key at two positions.
fn rotary_score(rotary: Rotary, key: usize, query: usize) -> f64 {
    let x = random(5, &[1, 4], 1.0).broadcast_as((12, 4)).unwrap().contiguous().unwrap();
    let turned = rotary.composed(&x).unwrap();
    let row = |position: usize| super::values(&turned.get(position).unwrap());
    row(key).iter().zip(row(query)).map(|(k, q)| k * q).sum()
}

#[test]
fn attention_refuses_what_does_not_fit() {
    let x = random(6, &[1, 3, 12], 1.0);
    let message = causal_attention(&x, Attention::new(3)).unwrap_err().to_string();
    assert!(message.contains("a multiple of the 3 heads"), "{message}");
    for rotary in [
        Rotary { dims: 3, base: 10.0 },
        Rotary { dims: 4, base: 10.0 },
        Rotary { dims: 2, base: 1.0 },
    ] {
        let options = Attention { rotary: Some(rotary), ..Attention::new(2) };
        assert!(causal_attention(&x, options).is_err());
    }
    assert!(causal_attention(&x, Attention::new(0)).is_err());
    let half = x.to_dtype(DType::F16).unwrap();
    assert!(causal_attention(&half, Attention::new(2)).is_err());
    assert_eq!(Rotary::fraction(0.2, 4), None);
    assert_eq!(Rotary::fraction(0.5, 64), Some(Rotary { dims: 32, base: 10_000.0 }));
}
