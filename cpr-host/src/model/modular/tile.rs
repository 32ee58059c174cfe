//! The part of a step that belongs to examples: forward and backward for up to 64 of them.

use super::config::{ModularConfig, POSITIONS};
use super::{Step, TILE, tables};
use crate::data::modular::Example;
use crate::model::layers::cross_entropy::{self, RowLoss};
use crate::model::layers::exp::Exp;
use crate::model::layers::linear::{Matrix, multiply};
use crate::model::layers::vector::{add, add_scaled, column_sums, dot};
use crate::model::layers::{relu, softmax};
use crate::vectorized;

/// The activations of one tile and their gradients, one row for each example.
#[derive(Debug)]
pub(super) struct Tile<T> {
    /// α, one triple for each example and head.
    pub probabilities: Vec<[T; POSITIONS]>,
    /// Σⱼ αⱼ·W_v·xⱼ, the heads side by side. [dim]
    pub mixed: Vec<T>,
    /// x. [dim]
    pub residual: Vec<T>,
    /// The hidden units of the MLP. [hidden]
    pub hidden: Vec<T>,
    /// y. [dim]
    pub output: Vec<T>,
    /// The logits; after `score` their powers, after `backward` their gradient. [p + 1]
    pub logits: Vec<T>,
    rows: Vec<RowLoss>,
    pub d_output: Vec<T>,
    pub d_hidden: Vec<T>,
    pub d_residual: Vec<T>,
    pub d_mixed: Vec<T>,
    pub d_scores: Vec<[T; POSITIONS]>,
    /// Sums over the rows: the tile's part of the gradients of the biases and of x₂.
    pub d_up_bias: Vec<T>,
    pub d_down_bias: Vec<T>,
    pub d_query_row: Vec<T>,
    /// The sum of the losses and the number of right predictions since `clear`.
    pub loss: f64,
    pub correct: usize,
}

impl<T: Exp> Tile<T> {
    pub(super) fn new(config: ModularConfig) -> Self {
        let [dim, hidden] = [config.dim(), config.hidden()];
        let zeros = |length| vec![T::ZERO; length];
        let triples = || vec![[T::ZERO; POSITIONS]; TILE * config.heads()];
        Self {
            probabilities: triples(),
            mixed: zeros(TILE * dim),
            residual: zeros(TILE * dim),
            hidden: zeros(TILE * hidden),
            output: zeros(TILE * dim),
            logits: zeros(TILE * (config.p() + 1)),
            rows: Vec::with_capacity(TILE),
            d_output: zeros(TILE * dim),
            d_hidden: zeros(TILE * hidden),
            d_residual: zeros(TILE * dim),
            d_mixed: zeros(TILE * dim),
            d_scores: triples(),
            d_up_bias: zeros(hidden),
            d_down_bias: zeros(dim),
            d_query_row: zeros(dim),
            loss: 0.0,
            correct: 0,
        }
    }

    /// Sets loss and count of right predictions to 0.
    pub(super) fn clear(&mut self) {
        self.loss = 0.0;
        self.correct = 0;
    }

    /// Fits the buffers to the number of examples, at most `TILE`: nothing is allocated.
    pub(super) fn resize(&mut self, config: ModularConfig, rows: usize) {
        let [dim, hidden, heads] = [config.dim(), config.hidden(), config.heads()];
        self.probabilities.resize(rows * heads, [T::ZERO; POSITIONS]);
        self.d_scores.resize(rows * heads, [T::ZERO; POSITIONS]);
        self.hidden.resize(rows * hidden, T::ZERO);
        self.d_hidden.resize(rows * hidden, T::ZERO);
        self.logits.resize(rows * (config.p() + 1), T::ZERO);
        for buffer in [
            &mut self.mixed,
            &mut self.residual,
            &mut self.output,
            &mut self.d_output,
            &mut self.d_residual,
            &mut self.d_mixed,
        ] {
            buffer.resize(rows * dim, T::ZERO);
        }
    }

    /// The logits of up to `TILE` examples.
    pub(super) fn forward(&mut self, step: &Step<'_, T>, examples: &[Example]) {
        let Step { config, weights, tables } = *step;
        let [dim, hidden] = [config.dim(), config.hidden()];
        self.resize(config, examples.len());

        vectorized!(self.attend(step, examples));
        for row in self.residual.chunks_exact_mut(dim) {
            row.copy_from_slice(&tables.query_row);
        }
        let out_proj = Matrix::new(&tables.out_proj, dim);
        multiply(Matrix::new(&self.mixed, dim), out_proj, &mut self.residual, true);

        let up = Matrix::new(&tables.up, hidden);
        multiply(Matrix::new(&self.residual, dim), up, &mut self.hidden, false);
        vectorized!(relu::forward_with_bias(&mut self.hidden, weights.up_bias));

        self.output.copy_from_slice(&self.residual);
        for row in self.output.chunks_exact_mut(dim) {
            add(row, weights.down_bias);
        }
        let down = Matrix::new(&tables.down, dim);
        multiply(Matrix::new(&self.hidden, hidden), down, &mut self.output, true);

        let head = Matrix::new(&tables.head, config.p() + 1);
        multiply(Matrix::new(&self.output, dim), head, &mut self.logits, false);
    }

    /// The losses of the examples of the last `forward`.
    pub(super) fn score(&mut self, examples: &[Example]) {
        vectorized!(self.score_rows(examples));
    }

    #[inline(always)]
    fn score_rows(&mut self, examples: &[Example]) {
        self.rows.clear();
        let width = self.logits.len() / examples.len();
        for (logits, example) in self.logits.chunks_exact_mut(width).zip(examples) {
            let row = cross_entropy::forward(logits, example.label.into());
            self.loss += row.loss;
            self.correct += usize::from(row.correct);
            self.rows.push(row);
        }
    }

    /// The gradients of `scale` times the sum of the losses, down to the scores of attention.
    pub(super) fn backward(&mut self, step: &Step<'_, T>, examples: &[Example], scale: f64) {
        let Step { config, weights, .. } = *step;
        let [dim, hidden, classes] = [config.dim(), config.hidden(), config.p() + 1];

        let rows = self.logits.chunks_exact_mut(classes).zip(examples).zip(&self.rows);
        vectorized!(for ((powers, example), row) in rows {
            cross_entropy::backward(powers, example.label.into(), row, scale);
        });
        let d_logits = Matrix::new(&self.logits, classes);
        multiply(d_logits, Matrix::new(weights.head, dim), &mut self.d_output, false);
        vectorized!(column_sums(&self.d_output, &mut self.d_down_bias));

        let d_output = Matrix::new(&self.d_output, dim);
        multiply(d_output, Matrix::new(weights.down, hidden), &mut self.d_hidden, false);
        vectorized!({
            relu::backward(&self.hidden, &mut self.d_hidden);
            column_sums(&self.d_hidden, &mut self.d_up_bias);
        });

        self.d_residual.copy_from_slice(&self.d_output);
        let d_hidden = Matrix::new(&self.d_hidden, hidden);
        multiply(d_hidden, Matrix::new(weights.up, dim), &mut self.d_residual, true);
        vectorized!(column_sums(&self.d_residual, &mut self.d_query_row));

        let d_residual = Matrix::new(&self.d_residual, dim);
        multiply(d_residual, Matrix::new(weights.out_proj, dim), &mut self.d_mixed, false);
        vectorized!(self.attend_backward(step, examples));
    }

    /// Attention of the last position to all three: probabilities, and the values mixed by them.
    #[inline(always)]
    fn attend(&mut self, step: &Step<'_, T>, examples: &[Example]) {
        let Step { config, tables, .. } = *step;
        let [p, heads, width] = [config.p(), config.heads(), config.head_dim()];
        let mixed = self.mixed.chunks_exact_mut(config.dim());
        let probabilities = self.probabilities.chunks_exact_mut(heads);
        for ((mixed, probabilities), example) in mixed.zip(probabilities).zip(examples) {
            let rows = tables::rows(p, example);
            let scores = rows.map(|row| &tables.scores[row * heads..][..heads]);
            let values = rows.map(|row| &tables.values[row * config.dim()..][..config.dim()]);
            for head in 0..heads {
                let alpha = softmax::forward(scores.map(|scores| scores[head]));
                let range = head * width..(head + 1) * width;
                let [first, second, third] = values.map(|values| &values[range.clone()]);
                let mixed = &mut mixed[range];
                mixed.fill(T::ZERO);
                add_scaled(mixed, alpha[0], first);
                add_scaled(mixed, alpha[1], second);
                add_scaled(mixed, alpha[2], third);
                probabilities[head] = alpha;
            }
        }
    }

    /// The gradients of the scores.
    #[inline(always)]
    fn attend_backward(&mut self, step: &Step<'_, T>, examples: &[Example]) {
        let Step { config, tables, .. } = *step;
        let [p, dim, heads, width] = [config.p(), config.dim(), config.heads(), config.head_dim()];
        for (row, example) in examples.iter().enumerate() {
            let values = tables::rows(p, example).map(|row| &tables.values[row * dim..][..dim]);
            let d_mixed = &self.d_mixed[row * dim..][..dim];
            for head in 0..heads {
                let range = head * width..(head + 1) * width;
                let d_mixed = &d_mixed[range.clone()];
                let [first, second, third] = values.map(|values| &values[range.clone()]);
                let d_alpha = [dot(d_mixed, first), dot(d_mixed, second), dot(d_mixed, third)];
                let alpha = self.probabilities[row * heads + head];
                self.d_scores[row * heads + head] = softmax::backward(alpha, d_alpha);
            }
        }
    }
}
