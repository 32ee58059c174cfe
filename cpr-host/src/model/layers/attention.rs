//! Causal self-attention over one sequence.
//!
//! For each head with queries q, keys k and values v of width d
//!
//! ```text
//! sᵢⱼ = qᵢ·kⱼ/√d for j ≤ i,   α = softmax over j,   yᵢ = Σⱼ αᵢⱼ vⱼ
//! ```
//!
//! Source: Vaswani et al., "Attention Is All You Need", 2017, with the mask of a decoder.

use super::dropout::Dropout;
use super::exp::Exp;
use super::linear::{Matrix, multiply};
use super::vector::{dot, largest, sum};

/// What a sequence keeps between the passes, and what a pass needs.
#[derive(Debug, Default)]
pub struct Attention<T> {
    /// α of every head, [heads, n, n], after dropout where there is any.
    weights: Vec<T>,
    /// α before dropout; empty without.
    plain: Vec<T>,
    /// Queries, keys, values, outputs of one head, [n, d] each, and their gradients.
    parts: [Vec<T>; 4],
    gradients: [Vec<T>; 3],
    scores: Vec<T>,
}

/// Sizes of a call.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
}

impl<T: Exp> Attention<T> {
    /// out ← the attended values, [n, heads·width]; `qkv` is [n, 3·heads·width]: queries, keys,
    /// values, each head by head. `dropout` acts on α, with the mask number beside it plus the head.
    pub fn forward(
        &mut self,
        heads: Heads,
        qkv: &[T],
        out: &mut [T],
        dropout: Option<(Dropout, u64)>,
    ) {
        let Heads { heads, width } = heads;
        let row = 3 * heads * width;
        let n = qkv.len() / row;
        self.weights.resize(heads * n * n, T::ZERO);
        if dropout.is_some() {
            self.plain.resize(heads * n * n, T::ZERO);
        }
        self.parts.iter_mut().for_each(|part| part.resize(n * width, T::ZERO));
        let scale = T::from_f64(1.0 / (width as f64).sqrt());
        for (head, weights) in self.weights.chunks_exact_mut(n * n).enumerate() {
            let [q, k, v, y] = &mut self.parts;
            gather(qkv, row, [q, k, v], heads, head);
            multiply(Matrix::new(q, width), Matrix::new(k, width).transposed(), weights, false);
            for (i, scores) in weights.chunks_exact_mut(n).enumerate() {
                let (seen, hidden) = scores.split_at_mut(i + 1);
                softmax(seen, scale);
                hidden.fill(T::ZERO);
            }
            if let Some((dropout, index)) = dropout {
                self.plain[head * n * n..][..n * n].copy_from_slice(weights);
                dropout.apply(index + head as u64, weights);
            }
            multiply(Matrix::new(weights, n), Matrix::new(v, width), y, false);
            let outputs = out.chunks_exact_mut(heads * width);
            for (out, y) in outputs.zip(y.chunks_exact(width)) {
                out[head * width..][..width].copy_from_slice(y);
            }
        }
    }

    /// d_qkv ← the gradient of queries, keys and values, from that of the output, after
    /// [`forward`](Self::forward) of the same `qkv` and `dropout`.
    pub fn backward(
        &mut self,
        heads: Heads,
        qkv: &[T],
        d_out: &[T],
        d_qkv: &mut [T],
        dropout: Option<(Dropout, u64)>,
    ) {
        let Heads { heads, width } = heads;
        let row = 3 * heads * width;
        let n = qkv.len() / row;
        self.gradients.iter_mut().for_each(|part| part.resize(n * width, T::ZERO));
        self.scores.resize(n * n, T::ZERO);
        let scale = T::from_f64(1.0 / (width as f64).sqrt());
        for (head, weights) in self.weights.chunks_exact(n * n).enumerate() {
            let [q, k, v, d_y] = &mut self.parts;
            gather(qkv, row, [q, k, v], heads, head);
            let outputs = d_out.chunks_exact(heads * width);
            for (d_out, d_y) in outputs.zip(d_y.chunks_exact_mut(width)) {
                d_y.copy_from_slice(&d_out[head * width..][..width]);
            }
            let [d_q, d_k, d_v] = &mut self.gradients;
            let (d_y, scores) = (Matrix::new(d_y, width), &mut self.scores);
            multiply(Matrix::new(weights, n).transposed(), d_y, d_v, false);
            multiply(d_y, Matrix::new(v, width).transposed(), scores, false);
            let plain = match dropout {
                Some((dropout, index)) => {
                    dropout.apply(index + head as u64, scores);
                    &self.plain[head * n * n..][..n * n]
                }
                None => weights,
            };
            let rows = scores.chunks_exact_mut(n).zip(plain.chunks_exact(n));
            for (i, (d_scores, weights)) in rows.enumerate() {
                let (seen, hidden) = d_scores.split_at_mut(i + 1);
                let mean = dot(seen, &weights[..=i]);
                for (d_score, &weight) in seen.iter_mut().zip(weights) {
                    *d_score = weight * (*d_score - mean) * scale;
                }
                hidden.fill(T::ZERO);
            }
            let scores = Matrix::new(scores, n);
            multiply(scores, Matrix::new(k, width), d_q, false);
            multiply(scores.transposed(), Matrix::new(q, width), d_k, false);
            for (place, part) in [d_q, d_k, d_v].into_iter().enumerate() {
                let start = (place * heads + head) * width;
                for (d_qkv, part) in d_qkv.chunks_exact_mut(row).zip(part.chunks_exact(width)) {
                    d_qkv[start..][..width].copy_from_slice(part);
                }
            }
        }
    }
}

/// Queries, keys and values of one head, out of the rows of all.
fn gather<T: Exp>(qkv: &[T], row: usize, parts: [&mut Vec<T>; 3], heads: usize, head: usize) {
    let width = row / (3 * heads);
    for (place, part) in parts.into_iter().enumerate() {
        let start = (place * heads + head) * width;
        for (part, qkv) in part.chunks_exact_mut(width).zip(qkv.chunks_exact(row)) {
            part.copy_from_slice(&qkv[start..][..width]);
        }
    }
}

/// scores ← softmax(scale·scores), for scale > 0.
fn softmax<T: Exp>(scores: &mut [T], scale: T) {
    let top = largest(scores);
    for score in scores.iter_mut() {
        *score = ((*score - top) * scale).exp_nonpositive();
    }
    let share = T::ONE / sum(scores);
    scores.iter_mut().for_each(|score| *score = *score * share);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Random, Stream};

    fn loss(heads: Heads, qkv: &[f64], target: &[f64], dropout: Option<(Dropout, u64)>) -> f64 {
        let mut out = vec![0.0; target.len()];
        Attention::default().forward(heads, qkv, &mut out, dropout);
        dot(&out, target)
    }

    #[test]
    fn gradients_agree_with_differences_with_and_without_dropout() {
        let heads = Heads { heads: 2, width: 3 };
        let mut random = Random::new(1, Stream::Init, 0);
        let (mut qkv, mut target) = (vec![0.0; 7 * 18], vec![0.0; 7 * 6]);
        random.fill_normal(1.0, &mut qkv);
        random.fill_normal(1.0, &mut target);
        for dropout in [None, Some((Dropout { share: 0.3, seed: 5, step: 1 }, 40))] {
            let mut attention = Attention::default();
            let (mut out, mut d_qkv) = (vec![0.0; 42], vec![f64::NAN; 126]);
            attention.forward(heads, &qkv, &mut out, dropout);
            attention.backward(heads, &qkv, &target, &mut d_qkv, dropout);
            for i in 0..qkv.len() {
                let value = qkv[i];
                qkv[i] = value + 1e-5;
                let above = loss(heads, &qkv, &target, dropout);
                qkv[i] = value - 1e-5;
                let difference = (above - loss(heads, &qkv, &target, dropout)) / 2e-5;
                qkv[i] = value;
                assert!((d_qkv[i] - difference).abs() < 1e-8, "{i}: {} {difference}", d_qkv[i]);
            }
        }
    }

    #[test]
    fn no_output_depends_on_what_comes_after_it() {
        let heads = Heads { heads: 1, width: 4 };
        let mut qkv: Vec<f64> = (0..60).map(|i| f64::from(i * 7 % 11) / 5.0 - 1.0).collect();
        let (mut before, mut after) = (vec![0.0; 20], vec![0.0; 20]);
        Attention::default().forward(heads, &qkv, &mut before, None);
        qkv[36..].iter_mut().for_each(|x| *x = 9.0 - *x);
        Attention::default().forward(heads, &qkv, &mut after, None);
        assert_eq!(before[..12], after[..12]);
        assert_ne!(before[12..], after[12..]);
        // The first position sees itself alone.
        assert_eq!(before[..4], qkv[8..12]);
    }
}
