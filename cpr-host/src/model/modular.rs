//! The transformer of the modular-addition experiment: one decoder layer that reads (a, b, =) and
//! predicts (a + b) mod p at the last position.
//!
//! For the rows xⱼ = token embedding + position embedding, j = 0, 1, 2, and per head
//!
//! ```text
//! sⱼ = (W_q x₂)·(W_k xⱼ)/√(dim/heads)      α = softmax(s)
//! x  = x₂ + W_o Σⱼ αⱼ W_v xⱼ
//! y  = x + W_down max(W_up x + b_up, 0) + b_down
//! logits = W_head y,   loss = mean over the examples of −ln softmax(logits)[label]
//! ```
//!
//! Only the last position enters the loss, and the causal mask hides nothing from it, so the rows
//! of the other two positions are never computed beyond their keys and values. The last token is
//! always `=`: there is one query for all examples. Keys and values belong to tokens, not to
//! examples, so they are made once a step (see `tables`); what remains for each example is in
//! `tile`.
//!
//! Examples are cut into tiles of 64 rows, whatever the number of threads, and each sum over
//! examples has a fixed order: the same bits for any number of threads.
//!
//! Source: the setting of the modular-addition example of pytorch-cpr, after Power et al.,
//! "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets", 2022.

mod config;
mod folded;
mod tables;
mod tile;

pub use config::{ModularConfig, ModularConfigError};

use config::{Gradients, Weights};
use folded::Folded;
use tables::{HeadGradient, Tables};
use tile::Tile;

use super::Outcome;
use super::layers::exp::Exp;
use super::layers::linear::{Matrix, multiply};
use super::layers::vector::add;
use crate::data::modular::Example;
use crate::parallel::Workers;
use crate::param::{ParamKind, ParamLayout};
use crate::random::{Random, Stream};
use crate::vectorized;

/// Rows of a tile: few enough that a tile stays in the cache of its core, enough that products run
/// at full speed.
const TILE: usize = 64;

/// An evaluation deals its tiles out to this many workspaces, so that many threads can work at it.
const EVALUATION_SHARES: usize = 16;

/// Elements of a weight gradient that make one task.
const GRADIENT_TASK: usize = 12288;

/// What did not fit the model in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModularInputError {
    /// The parameters or the gradients have the wrong length.
    #[error(
        "the {what} have {given} elements, the model has {expected}: use the layout of this model"
    )]
    Length {
        /// `parameters` or `gradients`.
        what: &'static str,
        /// The length given.
        given: usize,
        /// The length of the layout.
        expected: usize,
    },
    /// A summand or a label is not below p.
    #[error("({} + {}) mod p = {} does not belong to p = {p}: make the data with the model's modulus", example.a, example.b, example.label)]
    Example {
        /// The first such example.
        example: Example,
        /// The modulus of the model.
        p: usize,
    },
}

/// What one phase of a step reads: the parameters and what was made of them at its beginning.
#[derive(Clone, Copy)]
struct Step<'a, T> {
    config: ModularConfig,
    weights: Weights<'a, T>,
    tables: &'a Tables<T>,
}

/// The model: its layout and its workspace. The parameters are the caller's.
///
/// ```
/// use cpr_host::data::modular::ModularAddition;
/// use cpr_host::model::modular::{ModularConfig, ModularTransformer};
/// use cpr_host::parallel::Workers;
///
/// let data = ModularAddition::new(7, 0.5, 0)?;
/// let mut model = ModularTransformer::<f32>::new(ModularConfig::new(7, 16, 2, 4)?);
/// let mut params = model.init(0);
/// let mut grads = vec![0.0; params.len()];
/// let workers = Workers::inline();
/// let before = model.loss_and_grad(&workers, &params, &data.train, &mut grads)?;
/// for (param, grad) in params.iter_mut().zip(&grads) {
///     *param -= 0.1 * grad;
/// }
/// let after = model.evaluate(&workers, &params, &data.train)?;
/// assert!(after.loss < before.loss);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ModularTransformer<T> {
    config: ModularConfig,
    layout: ParamLayout,
    tables: Tables<T>,
    folded: Folded<T>,
    tiles: Vec<Tile<T>>,
    heads: Vec<HeadGradient<T>>,
}

impl<T: Exp> ModularTransformer<T> {
    /// The model of a configuration. Its workspace grows to the largest batch that it is given, and by the tables
    /// of the first large evaluation;
    /// from then on a step allocates nothing but the packing buffers of the matrix products.
    pub fn new(config: ModularConfig) -> Self {
        Self {
            config,
            layout: config.layout(),
            tables: Tables::new(config),
            folded: Folded::default(),
            tiles: Vec::new(),
            heads: (0..config.heads()).map(|_| HeadGradient::new(config)).collect(),
        }
    }

    /// The parameters by their published names.
    pub fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// The configuration.
    pub fn config(&self) -> ModularConfig {
        self.config
    }

    /// Initial parameters: biases 0, everything else normal with mean 0 and deviation 1/√dim.
    pub fn init(&self, seed: u64) -> Vec<T> {
        let mut params = vec![T::ZERO; self.layout.len()];
        let deviation = 1.0 / (self.config.dim() as f64).sqrt();
        for (index, param) in self.layout.params().iter().enumerate() {
            if param.kind != ParamKind::Bias {
                let mut random = Random::new(seed, Stream::Init, index as u64);
                random.fill_normal(deviation, &mut params[param.range.clone()]);
            }
        }
        params
    }

    /// The loss over a batch, and its gradient, which overwrites `grads`.
    ///
    /// `params` and `grads` have the length of the layout. An empty batch has gradient 0.
    ///
    /// # Errors
    ///
    /// A wrong length, or an example that does not belong to p; then `grads` is unchanged.
    pub fn loss_and_grad(
        &mut self,
        workers: &Workers,
        params: &[T],
        batch: &[Example],
        grads: &mut [T],
    ) -> Result<Outcome, ModularInputError> {
        self.check("parameters", params.len(), batch)?;
        self.check("gradients", grads.len(), &[])?;
        let tiles = batch.len().div_ceil(TILE);
        self.grow(tiles);
        let Self { config, tables, tiles: workspace, heads, .. } = self;
        let (config, tiles) = (*config, &mut workspace[..tiles]);
        let weights = Weights::of(config, params);

        Ok(workers.run(|| {
            tables.compute(workers, config, weights);
            let step = Step { config, weights, tables };

            let scale = 1.0 / batch.len() as f64;
            workers.for_each_item(tiles, |index, tile| {
                let examples = part(batch, index);
                tile.clear();
                tile.forward(&step, examples);
                tile.score(examples);
                tile.backward(&step, examples, scale);
            });

            if batch.is_empty() {
                grads.fill(T::ZERO);
            } else {
                gradients(workers, &step, tiles, heads, batch, Gradients::of(config, grads));
            }
            outcome(tiles, batch.len())
        }))
    }

    /// The loss over any number of examples.
    ///
    /// Of many, it is computed in fewer operations than in [`loss_and_grad`](Self::loss_and_grad): equal to rounding.
    ///
    /// # Errors
    ///
    /// As [`loss_and_grad`](Self::loss_and_grad).
    pub fn evaluate(
        &mut self,
        workers: &Workers,
        params: &[T],
        examples: &[Example],
    ) -> Result<Outcome, ModularInputError> {
        self.check("parameters", params.len(), examples)?;
        self.grow(EVALUATION_SHARES);
        let Self { config, tables, folded, tiles, .. } = self;
        let (config, tiles) = (*config, &mut tiles[..EVALUATION_SHARES]);
        let weights = Weights::of(config, params);
        let folds = Folded::<T>::pays(config, examples.len());

        Ok(workers.run(|| {
            tables.compute(workers, config, weights);
            let step = Step { config, weights, tables };
            if folds {
                folded.compute(workers, &step);
            }
            let folded = &*folded;
            workers.for_each_item(tiles, |share, tile| {
                tile.clear();
                for examples in examples.chunks(TILE).skip(share).step_by(EVALUATION_SHARES) {
                    if folds {
                        folded.forward(tile, &step, examples);
                    } else {
                        tile.forward(&step, examples);
                    }
                    tile.score(examples);
                }
            });
            outcome(tiles, examples.len())
        }))
    }

    /// The logits of the last position of each example, [examples, p + 1].
    ///
    /// # Errors
    ///
    /// As [`loss_and_grad`](Self::loss_and_grad).
    pub fn logits(
        &mut self,
        workers: &Workers,
        params: &[T],
        examples: &[Example],
    ) -> Result<Vec<T>, ModularInputError> {
        self.check("parameters", params.len(), examples)?;
        self.grow(1);
        let Self { config, tables, tiles, .. } = self;
        let config = *config;
        let weights = Weights::of(config, params);
        let mut logits = Vec::with_capacity(examples.len() * (config.p() + 1));
        Ok(workers.run(|| {
            tables.compute(workers, config, weights);
            let step = Step { config, weights, tables };
            for examples in examples.chunks(TILE) {
                tiles[0].clear();
                tiles[0].forward(&step, examples);
                logits.extend_from_slice(&tiles[0].logits);
            }
            logits
        }))
    }

    fn grow(&mut self, tiles: usize) {
        let config = self.config;
        if self.tiles.len() < tiles {
            self.tiles.resize_with(tiles, || Tile::new(config));
        }
    }

    fn check(
        &self,
        what: &'static str,
        given: usize,
        examples: &[Example],
    ) -> Result<(), ModularInputError> {
        let expected = self.layout.len();
        if given != expected {
            return Err(ModularInputError::Length { what, given, expected });
        }
        let p = self.config.p();
        let fits =
            |e: &Example| [e.a, e.b, e.label].into_iter().all(|token| usize::from(token) < p);
        match examples.iter().find(|example| !fits(example)) {
            Some(&example) => Err(ModularInputError::Example { example, p }),
            None => Ok(()),
        }
    }
}

/// The examples of the tile number `index`.
fn part(examples: &[Example], index: usize) -> &[Example] {
    let start = index * TILE;
    &examples[start..(start + TILE).min(examples.len())]
}

/// The sum over tiles, in their order.
fn outcome<T>(tiles: &[Tile<T>], count: usize) -> Outcome {
    let loss: f64 = tiles.iter().map(|tile| tile.loss).sum();
    let correct = tiles.iter().map(|tile| tile.correct).sum();
    Outcome { loss: loss / count as f64, correct, count }
}

/// The gradients of all parameters, from what the tiles hold after their backward passes.
fn gradients<T: Exp>(
    workers: &Workers,
    step: &Step<'_, T>,
    tiles: &[Tile<T>],
    heads: &mut [HeadGradient<T>],
    batch: &[Example],
    grads: Gradients<'_, T>,
) {
    let [p, dim, hidden] = [step.config.p(), step.config.dim(), step.config.hidden()];
    let Gradients { embeddings, query, key, value, .. } = grads;

    // One phase: blocks of the weight gradients, and the sums of attention for each head.
    let gradient = |outputs, inputs, rows: fn(&Tile<T>) -> [&[T]; 2], grads: &mut [T]| {
        weight_gradient(workers, tiles, [outputs, inputs], rows, grads);
    };
    let attention = || {
        gradient(dim, dim, |tile| [&tile.d_residual, &tile.mixed], grads.out_proj);
        workers.for_each_item(heads, |head, sums| {
            vectorized!(sums.gather(step, head, tiles, batch));
        });
    };
    let up = || gradient(hidden, dim, |tile| [&tile.d_hidden, &tile.residual], grads.up);
    let down = || gradient(dim, hidden, |tile| [&tile.d_output, &tile.hidden], grads.down);
    let head = || gradient(p + 1, dim, |tile| [&tile.logits, &tile.output], grads.head);
    workers.join(|| workers.join(up, head), || workers.join(down, attention));

    // What those sums are the gradients of: the table of embeddings and the input projection.
    let heads = &*heads;
    workers.join(
        || tables::embedding_gradient(workers, step, heads, embeddings),
        || tables::projection_gradient(workers, step, heads, [query, key, value]),
    );
    grads.up_bias.fill(T::ZERO);
    grads.down_bias.fill(T::ZERO);
    for tile in tiles {
        add(grads.up_bias, &tile.d_up_bias);
        add(grads.down_bias, &tile.d_down_bias);
    }

    // x₂ is in every row of the residual stream, and in the query.
    let [equals, position] = config::query_rows(p).map(|row| row * dim);
    let (tokens, positions) = embeddings.split_at_mut(position);
    let d_equals = &mut tokens[equals..][..dim];
    for tile in tiles {
        add(d_equals, &tile.d_query_row);
    }
    tables::add_query_gradient(step, heads, d_equals);
    positions[..dim].copy_from_slice(d_equals);
}

/// dW = Σ over the tiles of dyᵀ·x. A task is a block of rows of dW; it sums over all tiles in
/// order.
fn weight_gradient<T: Exp>(
    workers: &Workers,
    tiles: &[Tile<T>],
    [outputs, inputs]: [usize; 2],
    rows_of: impl Fn(&Tile<T>) -> [&[T]; 2] + Sync,
    grads: &mut [T],
) {
    let rows = GRADIENT_TASK.div_ceil(inputs);
    workers.for_each_chunk(grads, rows * inputs, |block, grads| {
        for (index, tile) in tiles.iter().enumerate() {
            let [d_output, input] = rows_of(tile);
            let d_output = Matrix::new(d_output, outputs).transposed().rows(block * rows, rows);
            multiply(d_output, Matrix::new(input, inputs), grads, index > 0);
        }
    });
}

#[cfg(test)]
mod tests;
