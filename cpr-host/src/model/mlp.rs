//! A multilayer perceptron: linear maps with rectifiers between them, and a softmax over classes.
//!
//! ```text
//! a₀ = x,   aₗ = max(Wₗ aₗ₋₁ + bₗ, 0) for l < L,   logits = W_L a_{L−1} + b_L
//! loss = mean over the examples of −ln softmax(logits)[label]
//! ```
//!
//! Examples are cut into tiles of 64 rows, whatever the number of threads, and each sum over
//! examples has a fixed order: the same bits for any number of threads.

use super::Outcome;
use super::layers::cross_entropy;
use super::layers::exp::Exp;
use super::layers::linear::{Matrix, multiply};
use super::layers::relu;
use super::layers::vector::{add, column_sums};
use crate::parallel::Workers;
use crate::param::{LayoutError, ParamKind, ParamLayout};
use crate::random::{Random, Stream};

/// Rows of a tile.
const TILE: usize = 64;

/// An evaluation deals its tiles out to this many workspaces.
const SHARES: usize = 16;

/// Elements of a weight gradient that make one task.
const GRADIENT_TASK: usize = 12288;

/// Why there is no such model, or no pass over these examples.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MlpError {
    /// Fewer widths than an input and an output.
    #[error(
        "a perceptron needs the width of its input and that of its output, and {given} widths were given"
    )]
    Widths {
        /// How many there were.
        given: usize,
    },
    /// A width of 0, or more weights than fit into memory.
    #[error(transparent)]
    Layout(#[from] LayoutError),
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
    /// A label beyond the classes.
    #[error(
        "a label is {given}, and the model has {classes} classes: make it with the classes of the data"
    )]
    Label {
        /// The first such label.
        given: usize,
        /// Number of classes.
        classes: usize,
    },
}

/// Where the examples of a pass come from.
pub trait Examples<T>: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// The label of the example of this index.
    fn label(&self, index: usize) -> usize;
    /// Writes the input of the example of this index, all of it.
    fn input(&self, index: usize, out: &mut [T]);
}

/// How often each class was predicted for each label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// Number of classes.
    pub classes: usize,
    /// The count of label l predicted as class c at l·classes + c.
    pub counts: Vec<u64>,
}

/// What a tile holds of its examples.
#[derive(Debug)]
struct Tile<T> {
    /// Input and activations, a row for each example; the last are the logits, and later the powers
    /// of cross-entropy, and later their gradient.
    activations: Vec<Vec<T>>,
    /// Gradients of the activations between the first and the last.
    gradients: Vec<Vec<T>>,
    loss: f64,
    correct: usize,
    confusion: Vec<u64>,
}

/// The model: its layout and its workspace. The parameters are the caller's.
#[derive(Debug)]
pub struct Mlp<T> {
    widths: Vec<usize>,
    layout: ParamLayout,
    tiles: Vec<Tile<T>>,
}

/// One linear map in the flat buffer.
struct Layer<'a, T> {
    weight: &'a [T],
    bias: &'a [T],
    inputs: usize,
}

impl<T: Exp> Mlp<T> {
    /// A model of these widths: input, hidden layers, classes.
    ///
    /// The parameters of the linear map number l, from 0 on, are `layers.l.weight` [outputs, inputs]
    /// and `layers.l.bias` of `[outputs]`.
    ///
    /// # Errors
    ///
    /// [`MlpError::Widths`], [`MlpError::Layout`].
    pub fn new(widths: &[usize]) -> Result<Self, MlpError> {
        if widths.len() < 2 {
            return Err(MlpError::Widths { given: widths.len() });
        }
        let mut declared = Vec::new();
        for (index, pair) in widths.windows(2).enumerate() {
            let [inputs, outputs] = [pair[0], pair[1]];
            let name = |part: &str| format!("layers.{index}.{part}");
            declared.push((name("weight"), vec![outputs, inputs], ParamKind::Matrix));
            declared.push((name("bias"), vec![outputs], ParamKind::Bias));
        }
        let layout = ParamLayout::new(declared)?;
        Ok(Self { widths: widths.to_vec(), layout, tiles: Vec::new() })
    }

    /// The parameters by name.
    pub fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.widths.last().copied().unwrap_or_default()
    }

    /// Initial parameters: biases 0, weights normal with mean 0 and deviation √(2/inputs), for the
    /// last layer √(1/inputs).
    ///
    /// Source: He et al., "Delving Deep into Rectifiers", 2015; the last layer has no rectifier.
    pub fn init(&self, seed: u64) -> Vec<T> {
        let mut params = vec![T::ZERO; self.layout.len()];
        let weights = self.widths.len() - 1;
        for (index, &inputs) in self.widths[..weights].iter().enumerate() {
            let gain = if index + 1 == weights { 1.0 } else { 2.0 };
            let range = self.layout.params()[2 * index].range.clone();
            let mut random = Random::new(seed, Stream::Init, 2 * index as u64);
            random.fill_normal((gain / inputs as f64).sqrt(), &mut params[range]);
        }
        params
    }

    /// The loss over a batch, and its gradient, which overwrites `grads`. An empty batch has
    /// gradient 0.
    ///
    /// # Errors
    ///
    /// A wrong length or label; then `grads` is unchanged.
    pub fn loss_and_grad(
        &mut self,
        workers: &Workers,
        params: &[T],
        batch: &impl Examples<T>,
        grads: &mut [T],
    ) -> Result<Outcome, MlpError> {
        self.check("parameters", params.len(), batch)?;
        self.check("gradients", grads.len(), batch)?;
        let count = batch.count();
        let tiles = count.div_ceil(TILE);
        self.grow(tiles);
        let layers = layers(&self.widths, params);
        let (widths, tiles) = (&self.widths, &mut self.tiles[..tiles]);
        Ok(workers.run(|| {
            let scale = 1.0 / count as f64;
            workers.for_each_item(tiles, |index, tile| {
                tile.clear();
                tile.forward(&layers, batch, index, Some(scale));
                tile.backward(&layers);
            });
            gradients(workers, widths, tiles, grads);
            outcome(tiles, count)
        }))
    }

    /// The loss over any number of examples, and what was taken for what.
    ///
    /// # Errors
    ///
    /// As [`loss_and_grad`](Self::loss_and_grad).
    pub fn evaluate(
        &mut self,
        workers: &Workers,
        params: &[T],
        examples: &impl Examples<T>,
    ) -> Result<(Outcome, Confusion), MlpError> {
        self.check("parameters", params.len(), examples)?;
        self.grow(SHARES);
        let (count, classes) = (examples.count(), self.classes());
        let layers = layers(&self.widths, params);
        let tiles = &mut self.tiles[..SHARES];
        workers.run(|| {
            workers.for_each_item(tiles, |share, tile| {
                tile.clear();
                tile.confusion.resize(classes * classes, 0);
                for index in (share..count.div_ceil(TILE)).step_by(SHARES) {
                    tile.forward(&layers, examples, index, None);
                }
            });
        });
        let mut counts = vec![0; classes * classes];
        for tile in tiles.iter() {
            counts.iter_mut().zip(&tile.confusion).for_each(|(sum, count)| *sum += count);
        }
        Ok((outcome(tiles, count), Confusion { classes, counts }))
    }

    fn grow(&mut self, tiles: usize) {
        let widths = &self.widths;
        let tile = || Tile {
            activations: widths.iter().map(|width| vec![T::ZERO; TILE * width]).collect(),
            gradients: widths.iter().map(|width| vec![T::ZERO; TILE * width]).collect(),
            loss: 0.0,
            correct: 0,
            confusion: Vec::new(),
        };
        if self.tiles.len() < tiles {
            self.tiles.resize_with(tiles, tile);
        }
    }

    fn check(
        &self,
        what: &'static str,
        given: usize,
        examples: &impl Examples<T>,
    ) -> Result<(), MlpError> {
        let (expected, classes) = (self.layout.len(), self.classes());
        if given != expected {
            return Err(MlpError::Length { what, given, expected });
        }
        let mut labels = (0..examples.count()).map(|index| examples.label(index));
        match labels.find(|&label| label >= classes) {
            Some(given) => Err(MlpError::Label { given, classes }),
            None => Ok(()),
        }
    }
}

/// The linear maps, in order.
fn layers<'a, T>(widths: &[usize], params: &'a [T]) -> Vec<Layer<'a, T>> {
    let mut rest = params;
    let layers = widths.windows(2).map(|pair| {
        let [inputs, outputs] = [pair[0], pair[1]];
        let (weight, tail) = rest.split_at(inputs * outputs);
        let (bias, tail) = tail.split_at(outputs);
        rest = tail;
        Layer { weight, bias, inputs }
    });
    layers.collect()
}

impl<T: Exp> Tile<T> {
    fn clear(&mut self) {
        (self.loss, self.correct) = (0.0, 0);
        self.confusion.clear();
    }

    /// The tile of this index of the examples, forward; with `scale` the logits become the gradient
    /// of `scale`·loss. What is left of a short tile holds zeros.
    fn forward(
        &mut self,
        layers: &[Layer<'_, T>],
        examples: &impl Examples<T>,
        index: usize,
        scale: Option<f64>,
    ) {
        let first = index * TILE;
        let rows = TILE.min(examples.count() - first);
        for (width, activation) in widths_of(layers).zip(&mut self.activations) {
            activation.resize(rows * width, T::ZERO);
        }
        let inputs = layers[0].inputs;
        for (row, input) in self.activations[0].chunks_exact_mut(inputs).enumerate() {
            examples.input(first + row, input);
        }
        for (index, layer) in layers.iter().enumerate() {
            let [input, output] = &mut self.activations[index..index + 2] else { return };
            let weight = Matrix::new(layer.weight, layer.inputs).transposed();
            multiply(Matrix::new(input, layer.inputs), weight, output, false);
            if index + 1 < layers.len() {
                relu::forward_with_bias(output, layer.bias);
            } else {
                output.chunks_exact_mut(layer.bias.len()).for_each(|row| add(row, layer.bias));
            }
        }
        let (Some(last), Some(logits)) = (layers.last(), self.activations.last_mut()) else {
            return;
        };
        let classes = last.bias.len();
        for (row, logits) in logits.chunks_exact_mut(classes).enumerate() {
            let label = examples.label(first + row);
            if let Some(count) = self.confusion.get_mut(label * classes + largest(logits)) {
                *count += 1;
            }
            let outcome = cross_entropy::forward(logits, label);
            self.loss += outcome.loss;
            self.correct += usize::from(outcome.correct);
            if let Some(scale) = scale {
                cross_entropy::backward(logits, label, &outcome, scale);
            }
        }
    }

    /// The gradients of all activations but the input, from that of the logits.
    fn backward(&mut self, layers: &[Layer<'_, T>]) {
        let last = layers.len();
        for (activation, gradient) in self.activations.iter().zip(&mut self.gradients).skip(1) {
            gradient.resize(activation.len(), T::ZERO);
        }
        self.gradients[last].copy_from_slice(&self.activations[last]);
        for index in (1..last).rev() {
            let [inner, outer] = &mut self.gradients[index..index + 2] else { return };
            let Layer { weight, bias, inputs } = layers[index];
            multiply(Matrix::new(outer, bias.len()), Matrix::new(weight, inputs), inner, false);
            relu::backward(&self.activations[index], inner);
        }
    }
}

fn widths_of<'a, T>(layers: &'a [Layer<'_, T>]) -> impl Iterator<Item = usize> + 'a {
    let first = layers.first().map(|layer| layer.inputs);
    first.into_iter().chain(layers.iter().map(|layer| layer.bias.len()))
}

/// The class with the largest logit, of equal ones the first.
fn largest<T: Exp>(logits: &[T]) -> usize {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    best
}

/// The sum over tiles, in their order.
fn outcome<T>(tiles: &[Tile<T>], count: usize) -> Outcome {
    let loss: f64 = tiles.iter().map(|tile| tile.loss).sum();
    let correct = tiles.iter().map(|tile| tile.correct).sum();
    Outcome { loss: loss / count as f64, correct, count }
}

/// The gradients of all parameters: dW = Σ over the tiles of dyᵀ·x, in blocks of rows that are a
/// task each; db = Σ of dy.
fn gradients<T: Exp>(workers: &Workers, widths: &[usize], tiles: &[Tile<T>], grads: &mut [T]) {
    if tiles.is_empty() {
        grads.fill(T::ZERO);
    }
    let mut rest = grads;
    for (index, pair) in widths.windows(2).enumerate() {
        let [inputs, outputs] = [pair[0], pair[1]];
        let (weight, tail) = rest.split_at_mut(inputs * outputs);
        let (bias, tail) = tail.split_at_mut(outputs);
        rest = tail;
        let rows = GRADIENT_TASK.div_ceil(inputs);
        workers.for_each_chunk(weight, rows * inputs, |block, weight| {
            for (place, tile) in tiles.iter().enumerate() {
                let d_output = Matrix::new(&tile.gradients[index + 1], outputs).transposed();
                let input = Matrix::new(&tile.activations[index], inputs);
                multiply(d_output.rows(block * rows, rows), input, weight, place > 0);
            }
        });
        let mut sums = vec![T::ZERO; outputs];
        bias.fill(T::ZERO);
        for tile in tiles {
            column_sums(&tile.gradients[index + 1], &mut sums);
            add(bias, &sums);
        }
    }
}

#[cfg(test)]
mod tests;
