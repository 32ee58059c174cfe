//! The forward pass for many examples at once, with fewer products for each.
//!
//! Between the values and what follows there is nothing but matrices: for head h, with V_h(row) its part of a row of the values
//! and Q_h = [W_up; W_head]·W_o,h,
//!
//! ```text
//! [W_up x + b_up; W_head (x + b_down)] = base + Σ_h Σⱼ α_hj·Q_h V_h(rowⱼ)
//! logits = its second part + (W_head W_down)·max(its first part, 0)
//! ```
//!
//! Q_h V_h(row) is made once for each of the 2p + 1 rows, so that an example costs sums of rows and one product: for the
//! published size 2.2 times fewer operations for all pairs, the table included. A training step needs what lies between for its
//! gradients.

use super::Step;
use super::config::ModularConfig;
use super::tables;
use super::tile::Tile;
use crate::data::modular::Example;
use crate::model::layers::exp::Exp;
use crate::model::layers::linear::{Matrix, MatrixMut, multiply, multiply_into};
use crate::model::layers::relu;
use crate::model::layers::softmax;
use crate::model::layers::vector::add;
use crate::parallel::Workers;
use crate::vectorized;

/// Rows of a table that make one task.
const ROWS: usize = 32;

/// Elements of the largest table: 16 MB of f32, which a last cache may hold.
const LARGEST: f64 = 4_194_304.0;

/// What the evaluation of one set of weights needs.
#[derive(Debug, Default)]
pub(super) struct Folded<T> {
    /// Q, the heads below each other. [dim, hidden + p + 1]
    outward: Vec<T>,
    /// Q_h V_h(row), the heads of a row side by side. [2p + 1, heads, hidden + p + 1]
    rows: Vec<T>,
    /// What an example has before attention adds to it. [hidden + p + 1]
    base: Vec<T>,
    /// (W_head W_down)ᵀ. [hidden, p + 1]
    head: Vec<T>,
}

/// Hidden units and classes together.
fn width(config: ModularConfig) -> usize {
    config.hidden() + config.p() + 1
}

impl<T: Exp> Folded<T> {
    /// Whether it takes fewer operations than `Tile::forward` for so many examples.
    pub(super) fn pays(config: ModularConfig, examples: usize) -> bool {
        let [p, dim, hidden] = [config.p(), config.dim(), config.hidden()];
        let (classes, width) = (p + 1, width(config));
        let floats = |product: [usize; 3]| product.map(|n| n as f64).iter().product::<f64>();
        let table = floats([2 * p + 1, config.heads(), width]);
        let once = floats([dim, dim, width])
            + floats([2 * p + 1, dim, width])
            + floats([classes, dim, hidden]);
        let each = floats([hidden, classes, 1]) + floats([3, config.heads(), width]);
        let plain = floats([dim, dim, 1]) + floats([2, dim, hidden]) + floats([dim, classes, 1]);
        let examples = examples as f64;
        table <= LARGEST && once + examples * each < examples * plain
    }

    /// Makes everything anew from the tables of `step`.
    pub(super) fn compute(&mut self, workers: &Workers, step: &Step<'_, T>) {
        let Step { config, weights, tables } = *step;
        let [dim, hidden, heads] = [config.dim(), config.hidden(), config.heads()];
        let [classes, head_dim, width] = [config.p() + 1, config.head_dim(), width(config)];
        let up = Matrix::new(&tables.up, hidden);
        let head = Matrix::new(&tables.head, classes);
        self.outward.resize(dim * width, T::ZERO);
        self.rows.resize((2 * config.p() + 1) * heads * width, T::ZERO);
        self.base.resize(width, T::ZERO);
        self.head.resize(hidden * classes, T::ZERO);

        let out_proj = Matrix::new(&tables.out_proj, dim);
        let Self { outward, rows, base, head: folded, .. } = self;
        let fold = || {
            workers.for_each_chunk(outward, ROWS * width, |block, outward| {
                beside(out_proj.rows(block * ROWS, ROWS), [up, head], outward);
            });
        };
        workers.join(fold, || {
            let down = Matrix::new(&tables.down, dim);
            workers.for_each_chunk(folded, ROWS * classes, |block, folded| {
                multiply(down.rows(block * ROWS, ROWS), head, folded, false);
            });
            beside(Matrix::new(&tables.query_row, dim), [up, head], base);
            let (base_hidden, base_logits) = base.split_at_mut(hidden);
            add(base_hidden, weights.up_bias);
            multiply(Matrix::new(weights.down_bias, dim), head, base_logits, true);
        });

        let (values, outward) = (Matrix::new(&tables.values, dim), Matrix::new(outward, width));
        workers.for_each_chunk(rows, ROWS * heads * width, |block, rows| {
            let values = values.rows(block * ROWS, ROWS);
            let count = rows.len() / (heads * width);
            for head in 0..heads {
                let [start, own] = [head * width, head * head_dim];
                // The last row of a block ends with the slice, so that the rows of every head lie in it.
                let out = MatrixMut::strided(&mut rows[start..], count, width, heads * width);
                debug_assert!(out.is_some(), "rows of the table");
                if let Some(out) = out {
                    let values = values.columns(own, head_dim);
                    multiply_into(values, outward.rows(own, head_dim), out, false);
                }
            }
        });
    }

    /// The logits of up to `TILE` examples.
    pub(super) fn forward(&self, tile: &mut Tile<T>, step: &Step<'_, T>, examples: &[Example]) {
        let Step { config, tables, .. } = *step;
        tile.resize(config, examples.len());
        let [classes, hidden] = [config.p() + 1, config.hidden()];
        let outputs =
            tile.hidden.chunks_exact_mut(hidden).zip(tile.logits.chunks_exact_mut(classes));
        for (outputs, example) in outputs.zip(examples) {
            vectorized!(self.attend(outputs, config, &tables.scores, example));
        }
        let head = Matrix::new(&self.head, classes);
        multiply(Matrix::new(&tile.hidden, hidden), head, &mut tile.logits, true);
    }

    /// The hidden units of one example, and what of its logits does not go through them.
    #[inline(always)]
    fn attend(
        &self,
        (hidden, logits): (&mut [T], &mut [T]),
        config: ModularConfig,
        scores: &[T],
        example: &Example,
    ) {
        let (heads, width) = (config.heads(), width(config));
        let rows = tables::rows(config.p(), example);
        let scores = rows.map(|row| &scores[row * heads..][..heads]);
        let rows = rows.map(|row| &self.rows[row * heads * width..][..heads * width]);
        let (base_hidden, base_logits) = self.base.split_at(hidden.len());
        hidden.copy_from_slice(base_hidden);
        logits.copy_from_slice(base_logits);
        for head in 0..heads {
            let alpha = softmax::forward(scores.map(|scores| scores[head]));
            let parts = rows.map(|row| row[head * width..][..width].split_at(hidden.len()));
            mix(hidden, alpha, parts.map(|(first, _)| first));
            mix(logits, alpha, parts.map(|(_, second)| second));
        }
        relu::rectify(hidden);
    }
}

/// out ← out + α₀x₀ + α₁x₁ + α₂x₂, for x of the length of `out`.
#[inline(always)]
fn mix<T: Exp>(out: &mut [T], [a, b, c]: [T; 3], [x, y, z]: [&[T]; 3]) {
    for (((out, &x), &y), &z) in out.iter_mut().zip(x).zip(y).zip(z) {
        *out = ((*out + a * x) + b * y) + c * z;
    }
}

/// The products of `rows` with two matrices, side by side. `out` has as many rows.
fn beside<T: Exp>(rows: Matrix<'_, T>, rights: [Matrix<'_, T>; 2], out: &mut [T]) {
    let width = rights.map(|right| right.count_columns());
    let stride = width[0] + width[1];
    let count = out.len() / stride;
    for (right, start) in rights.into_iter().zip([0, width[0]]) {
        let columns = right.count_columns();
        let out = MatrixMut::strided(&mut out[start..], count, columns, stride);
        debug_assert!(out.is_some(), "rows of a product");
        if let Some(out) = out {
            multiply_into(rows, right, out, false);
        }
    }
}
