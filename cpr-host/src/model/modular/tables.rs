//! What a step needs of attention that belongs to tokens and not to examples.
//!
//! All examples share the query q = W_q·x₂. The score of a row x in head h is therefore x·u_h with
//! u_h = W_kᵀ·q/√(dim/heads) over the rows of W_k and q that belong to h: keys are never formed.
//! Values and scores are linear in x, and x is a token's embedding plus a position's: both are made
//! for the p + 4 rows of the embeddings and then added for the 2p + 1 pairs that occur.

use super::config::{ModularConfig, POSITIONS, Weights, query_rows};
use super::tile::Tile;
use super::{Step, TILE};
use crate::data::modular::Example;
use crate::model::layers::exp::Exp;
use crate::model::layers::linear::{Matrix, multiply, transpose};
use crate::model::layers::vector::{add, add_scaled, dot};
use crate::parallel::Workers;

/// Rows of a table that make one task.
const ROWS: usize = 32;

/// Values and scores of the tokens, and the weights in the orientation that the tiles need.
#[derive(Debug)]
pub(super) struct Tables<T> {
    /// x₂, the last row of every sequence. [dim]
    pub query_row: Vec<T>,
    /// q. [dim]
    query: Vec<T>,
    /// u_h. [heads, dim]
    directions: Vec<T>,
    /// W_v times each embedding. [p + 4, dim]
    embedding_values: Vec<T>,
    /// Each embedding times each u_h. [p + 4, heads]
    embedding_scores: Vec<T>,
    /// W_v·x by the rows of [`rows`]. [2p + 1, dim]
    pub values: Vec<T>,
    /// x·u_h by the rows of [`rows`]. [2p + 1, heads]
    pub scores: Vec<T>,
    /// Transposed weights.
    pub out_proj: Vec<T>,
    pub up: Vec<T>,
    pub down: Vec<T>,
    pub head: Vec<T>,
}

/// The rows of `values` and `scores` that an example attends to: a at position 0, b at position 1,
/// and `=` at position 2.
#[inline]
pub(super) fn rows(p: usize, example: &Example) -> [usize; POSITIONS] {
    [usize::from(example.a), p + usize::from(example.b), 2 * p]
}

/// The rows of the embeddings that row number `row` of `values` and `scores` is the sum of.
fn embeddings_of(p: usize, row: usize) -> [usize; 2] {
    let position = row / p;
    let token = if row == 2 * p { p } else { row % p };
    [token, p + 1 + position]
}

impl<T: Exp> Tables<T> {
    pub(super) fn new(config: ModularConfig) -> Self {
        let [p, dim, heads] = [config.p(), config.dim(), config.heads()];
        let zeros = |length| vec![T::ZERO; length];
        Self {
            query_row: zeros(dim),
            query: zeros(dim),
            directions: zeros(heads * dim),
            embedding_values: zeros(config.embeddings() * dim),
            embedding_scores: zeros(config.embeddings() * heads),
            values: zeros((2 * p + 1) * dim),
            scores: zeros((2 * p + 1) * heads),
            out_proj: zeros(dim * dim),
            up: zeros(config.hidden() * dim),
            down: zeros(config.hidden() * dim),
            head: zeros((p + 1) * dim),
        }
    }

    /// Makes everything anew from the parameters.
    pub(super) fn compute(
        &mut self,
        workers: &Workers,
        config: ModularConfig,
        weights: Weights<'_, T>,
    ) {
        let [p, dim, hidden] = [config.p(), config.dim(), config.hidden()];
        let Self { query_row, query, directions, embedding_values, embedding_scores, .. } = self;
        let embeddings = Matrix::new(weights.embeddings, dim);
        let value = Matrix::new(weights.value, dim).transposed();
        let project = || {
            workers.for_each_chunk(embedding_values, ROWS * dim, |block, values| {
                multiply(embeddings.rows(block * ROWS, ROWS), value, values, false);
            });
        };
        let score = || {
            let [equals, position] = query_rows(p).map(|row| &weights.embeddings[row * dim..]);
            query_row.copy_from_slice(&equals[..dim]);
            add(query_row, &position[..dim]);
            for (query, row) in query.iter_mut().zip(weights.query.chunks_exact(dim)) {
                *query = dot(row, query_row);
            }
            directions.fill(T::ZERO);
            let scale = T::from_f64(1.0 / (config.head_dim() as f64).sqrt());
            for (unit, (&query, key)) in query.iter().zip(weights.key.chunks_exact(dim)).enumerate()
            {
                let head = unit / config.head_dim();
                add_scaled(&mut directions[head * dim..][..dim], scale * query, key);
            }
            multiply(
                embeddings,
                Matrix::new(directions, dim).transposed(),
                embedding_scores,
                false,
            );
        };
        workers.join(
            || workers.join(project, score),
            || {
                workers.join(
                    || transpose_in_tasks(workers, weights.up, dim, &mut self.up),
                    || transpose_in_tasks(workers, weights.down, hidden, &mut self.down),
                );
                transpose_in_tasks(workers, weights.out_proj, dim, &mut self.out_proj);
                transpose_in_tasks(workers, weights.head, dim, &mut self.head);
            },
        );

        for (row, values) in self.values.chunks_exact_mut(dim).enumerate() {
            let [token, position] = embeddings_of(p, row).map(|row| row * dim);
            values.copy_from_slice(&self.embedding_values[token..][..dim]);
            add(values, &self.embedding_values[position..][..dim]);
        }
        let heads = config.heads();
        for (row, scores) in self.scores.chunks_exact_mut(heads).enumerate() {
            let [token, position] = embeddings_of(p, row).map(|row| row * heads);
            scores.copy_from_slice(&self.embedding_scores[token..][..heads]);
            add(scores, &self.embedding_scores[position..][..heads]);
        }
    }
}

/// The transpose of a matrix of `columns` columns, in tasks of some rows of the result.
fn transpose_in_tasks<T: Exp>(workers: &Workers, source: &[T], columns: usize, out: &mut [T]) {
    let rows = source.len() / columns;
    workers.for_each_chunk(out, ROWS * rows, |block, out| {
        transpose(source, columns, block * ROWS, out);
    });
}

/// The gradients of what one head takes from the tables, summed over the examples.
#[derive(Debug)]
pub(super) struct HeadGradient<T> {
    /// Of the head's values of the embeddings. [p + 4, dim/heads]
    values: Vec<T>,
    /// Of the head's scores of the embeddings. [p + 4]
    scores: Vec<T>,
    /// Of u_h. [dim]
    direction: Vec<T>,
    /// Of the head's part of q. [dim/heads]
    query: Vec<T>,
}

impl<T: Exp> HeadGradient<T> {
    pub(super) fn new(config: ModularConfig) -> Self {
        Self {
            values: vec![T::ZERO; config.embeddings() * config.head_dim()],
            scores: vec![T::ZERO; config.embeddings()],
            direction: vec![T::ZERO; config.dim()],
            query: vec![T::ZERO; config.head_dim()],
        }
    }

    /// Sums over all examples, in their order.
    #[inline(always)]
    pub(super) fn gather(
        &mut self,
        step: &Step<'_, T>,
        head: usize,
        tiles: &[Tile<T>],
        batch: &[Example],
    ) {
        let config = step.config;
        let [p, dim, heads, width] = [config.p(), config.dim(), config.heads(), config.head_dim()];
        self.values.fill(T::ZERO);
        self.scores.fill(T::ZERO);
        for (tile, examples) in tiles.iter().zip(batch.chunks(TILE)) {
            for (row, example) in examples.iter().enumerate() {
                let d_mixed = &tile.d_mixed[row * dim + head * width..][..width];
                let probabilities = tile.probabilities[row * heads + head];
                let d_scores = tile.d_scores[row * heads + head];
                let [a, b] = [example.a, example.b].map(usize::from);
                // `=` stands at position 2 and nowhere else: its sums are those of the position.
                let [first, second, third] = [p + 1, p + 2, p + 3];
                let targets = [(a, 0), (b, 1), (first, 0), (second, 1), (third, 2)];
                for (target, position) in targets {
                    let values = &mut self.values[target * width..][..width];
                    add_scaled(values, probabilities[position], d_mixed);
                    self.scores[target] = self.scores[target] + d_scores[position];
                }
            }
        }
        let [equals, position] = query_rows(p);
        self.values.copy_within(position * width..(position + 1) * width, equals * width);
        self.scores[equals] = self.scores[position];

        self.direction.fill(T::ZERO);
        for (&score, row) in self.scores.iter().zip(step.weights.embeddings.chunks_exact(dim)) {
            add_scaled(&mut self.direction, score, row);
        }
        let scale = T::from_f64(1.0 / (width as f64).sqrt());
        let keys = step.weights.key[head * width * dim..].chunks_exact(dim);
        for (query, key) in self.query.iter_mut().zip(keys) {
            *query = scale * dot(key, &self.direction);
        }
    }
}

/// The gradient of the embeddings by way of values and scores.
pub(super) fn embedding_gradient<T: Exp>(
    workers: &Workers,
    step: &Step<'_, T>,
    heads: &[HeadGradient<T>],
    grads: &mut [T],
) {
    let [dim, width] = [step.config.dim(), step.config.head_dim()];
    workers.for_each_chunk(grads, ROWS * dim, |block, grads| {
        let value = Matrix::new(step.weights.value, dim);
        for (head, gradient) in heads.iter().enumerate() {
            let d_values = Matrix::new(&gradient.values, width).rows(block * ROWS, ROWS);
            multiply(d_values, value.rows(head * width, width), grads, head > 0);
        }
        for (row, grads) in grads.chunks_exact_mut(dim).enumerate() {
            let directions = step.tables.directions.chunks_exact(dim);
            for (gradient, direction) in heads.iter().zip(directions) {
                add_scaled(grads, gradient.scores[block * ROWS + row], direction);
            }
        }
    });
}

/// The gradients of W_q, W_k and W_v.
pub(super) fn projection_gradient<T: Exp>(
    workers: &Workers,
    step: &Step<'_, T>,
    heads: &[HeadGradient<T>],
    [query, key, value]: [&mut [T]; 3],
) {
    let [dim, width] = [step.config.dim(), step.config.head_dim()];
    let embeddings = Matrix::new(step.weights.embeddings, dim);
    workers.for_each_chunk(value, width * dim, |head, grads| {
        let d_values = Matrix::new(&heads[head].values, width).transposed();
        multiply(d_values, embeddings, grads, false);
    });
    let scale = T::from_f64(1.0 / (width as f64).sqrt());
    for (unit, grads) in key.chunks_exact_mut(dim).enumerate() {
        let factor = scale * step.tables.query[unit];
        for (grad, &direction) in grads.iter_mut().zip(&heads[unit / width].direction) {
            *grad = factor * direction;
        }
    }
    for (unit, grads) in query.chunks_exact_mut(dim).enumerate() {
        let factor = heads[unit / width].query[unit % width];
        for (grad, &x) in grads.iter_mut().zip(&step.tables.query_row) {
            *grad = factor * x;
        }
    }
}

/// Adds the gradient of x₂ by way of the query to `sum`. [dim]
pub(super) fn add_query_gradient<T: Exp>(
    step: &Step<'_, T>,
    heads: &[HeadGradient<T>],
    sum: &mut [T],
) {
    let factors = heads.iter().flat_map(|head| &head.query);
    for (&factor, row) in factors.zip(step.weights.query.chunks_exact(step.config.dim())) {
        add_scaled(sum, factor, row);
    }
}
