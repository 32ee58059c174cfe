//! The whole decoder layer, all three positions, written as loops over its definition.

use super::super::ModularConfig;
use crate::data::modular::Example;
use crate::param::ParamLayout;

type Rows = Vec<Vec<f64>>;

/// Named access to the parameters in f64.
struct Params<'a> {
    layout: &'a ParamLayout,
    values: &'a [f64],
}

impl Params<'_> {
    fn vector(&self, name: &str) -> Vec<f64> {
        self.values[self.layout.get(name).unwrap().range.clone()].to_vec()
    }

    fn matrix(&self, name: &str) -> Rows {
        let columns = self.layout.get(name).unwrap().shape[1];
        self.vector(name).chunks(columns).map(<[f64]>::to_vec).collect()
    }
}

fn linear(weights: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    weights.iter().map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The logits of the last position.
pub(super) fn logits(
    config: ModularConfig,
    layout: &ParamLayout,
    values: &[f64],
    example: Example,
) -> Vec<f64> {
    let params = Params { layout, values };
    let [dim, width] = [config.dim(), config.dim() / config.heads()];
    let tokens = params.matrix("token_embeddings.weight");
    let positions = params.matrix("position_embeddings.weight");
    let sequence = [example.a.into(), example.b.into(), config.p()];
    let mut x: Rows =
        sequence.iter().zip(&positions).map(|(&token, p)| sum(&tokens[token], p)).collect();

    let projection = params.matrix("layers.0.attn.in_proj_weight");
    let project = |part: usize, x: &Rows| -> Rows {
        x.iter().map(|x| linear(&projection[part * dim..(part + 1) * dim], x)).collect()
    };
    let [queries, keys, values] = [0, 1, 2].map(|part| project(part, &x));
    let mut mixed = vec![vec![0.0; dim]; 3];
    for position in 0..3 {
        for head in 0..config.heads() {
            let units = head * width..(head + 1) * width;
            let powers: Vec<f64> = (0..=position)
                .map(|j| {
                    let dot: f64 = units.clone().map(|u| queries[position][u] * keys[j][u]).sum();
                    (dot / (width as f64).sqrt()).exp()
                })
                .collect();
            let total: f64 = powers.iter().sum();
            for (j, power) in powers.iter().enumerate() {
                for unit in units.clone() {
                    mixed[position][unit] += power / total * values[j][unit];
                }
            }
        }
    }
    let out_proj = params.matrix("layers.0.attn.out_proj.weight");
    let [up, down] = ["layers.0.mlp.0.weight", "layers.0.mlp.2.weight"].map(|n| params.matrix(n));
    let [up_bias, down_bias] =
        ["layers.0.mlp.0.bias", "layers.0.mlp.2.bias"].map(|n| params.vector(n));
    for (x, mixed) in x.iter_mut().zip(&mixed) {
        *x = sum(x, &linear(&out_proj, mixed));
        let hidden: Vec<f64> =
            sum(&linear(&up, x), &up_bias).into_iter().map(|h| h.max(0.0)).collect();
        *x = sum(x, &sum(&linear(&down, &hidden), &down_bias));
    }
    linear(&params.matrix("head.weight"), &x[2])
}

/// The mean loss and the number of right predictions.
pub(super) fn loss(
    config: ModularConfig,
    layout: &ParamLayout,
    values: &[f64],
    examples: &[Example],
) -> (f64, usize) {
    let mut total = 0.0;
    let mut correct = 0;
    for &example in examples {
        let logits = logits(config, layout, values, example);
        let label = logits[usize::from(example.label)];
        total += logits.iter().map(|x| x.exp()).sum::<f64>().ln() - label;
        correct += usize::from(logits.iter().all(|&x| x <= label));
    }
    (total / examples.len() as f64, correct)
}
