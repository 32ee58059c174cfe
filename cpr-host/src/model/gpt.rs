//! A decoder-only transformer over tokens, as GPT-2: a language model.
//!
//! With x the sum of token and position embeddings, for each block
//!
//! ```text
//! x ← x + W_o attention(W_qkv norm(x)),   x ← x + W_down gelu(W_up norm(x))
//! logits = W_head norm(x),   loss = mean over the positions of −ln softmax(logits)[next token]
//! ```
//!
//! A sequence is a task, forward and backward; then each block of rows of a weight's gradient is one,
//! and sums over the sequences in their order: the same bits for any number of threads. Names are
//! nanoGPT's; queries, keys and values are one matrix.
//!
//! Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019;
//! <https://github.com/karpathy/nanoGPT>, `model.py`, with the GELU of GPT-2.

mod config;
mod sequence;

use std::ops::Range;

pub use config::{GptConfig, GptConfigError};
use config::{Params, Places};
use sequence::{Pass, Sequence};

use super::Outcome;
use super::layers::dropout::Dropout;
use super::layers::exp::Exp;
use super::layers::linear::{Matrix, multiply, transpose};
use super::layers::vector::add;
use crate::parallel::Workers;
use crate::param::{ParamKind, ParamLayout};

/// An evaluation deals its sequences out to this many workspaces.
const SHARES: usize = 8;

/// Elements of a weight gradient that make one task.
const GRADIENT_TASK: usize = 12288;

/// What did not fit the model in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GptInputError {
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
    /// A token beyond the vocabulary.
    #[error("token {given} does not belong to a vocabulary of {vocabulary}: use that of the data")]
    Token {
        /// The first such token.
        given: u16,
        /// Its size.
        vocabulary: usize,
    },
    /// A sequence of the wrong length.
    #[error(
        "a sequence has {given} tokens, and the model takes 1 to {context}, and one more as the last target"
    )]
    Sequence {
        /// Its length.
        given: usize,
        /// The longest.
        context: usize,
    },
}

/// The model: its layout and its workspace. The parameters are the caller's.
#[derive(Debug)]
pub struct Gpt<T> {
    config: GptConfig,
    layout: ParamLayout,
    places: Places,
    ranges: Vec<Range<usize>>,
    /// Start of each norm and bias among all of them, by its index in the layout.
    small: Vec<Option<usize>>,
    small_length: usize,
    transposed: Vec<T>,
    sequences: Vec<Sequence<T>>,
}

impl<T: Exp> Gpt<T> {
    /// The model of a configuration.
    ///
    /// # Errors
    ///
    /// [`GptConfigError`].
    pub fn new(config: GptConfig) -> Result<Self, GptConfigError> {
        let (layout, places) = config.layout()?;
        let ranges = layout.params().iter().map(|param| param.range.clone()).collect();
        let mut small_length = 0;
        let small = layout.params().iter().map(|param| {
            matches!(param.kind, ParamKind::Norm | ParamKind::Bias).then(|| {
                small_length += param.range.len();
                small_length - param.range.len()
            })
        });
        let small = small.collect();
        let (transposed, sequences) = (Vec::new(), Vec::new());
        Ok(Self { config, layout, places, ranges, small, small_length, transposed, sequences })
    }

    /// The parameters by their names in nanoGPT.
    pub fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// The configuration.
    pub fn config(&self) -> GptConfig {
        self.config
    }

    /// Initial parameters, as GPT-2's: normal with deviation 0.02, less on the ways back into the
    /// residual stream.
    pub fn init(&self, seed: u64) -> Vec<T> {
        self.config.init(&self.layout, seed)
    }

    /// The mean loss over a batch, and its gradient, which overwrites `grads`. A sequence holds the
    /// tokens and, as its last, the target of the last; all have the same length. `masks` is the seed of
    /// dropout and the step: the masks of a step are its own.
    ///
    /// # Errors
    ///
    /// [`GptInputError`]; then `grads` is unchanged.
    pub fn loss_and_grad(
        &mut self,
        workers: &Workers,
        params: &[T],
        batch: &[&[u16]],
        masks: (u64, u64),
        grads: &mut [T],
    ) -> Result<Outcome, GptInputError> {
        self.check("parameters", params.len(), batch)?;
        self.check("gradients", grads.len(), &[])?;
        let config = self.config;
        let (seed, step) = masks;
        let dropout = Dropout { share: config.dropout, seed, step };
        let dropout = (config.dropout > 0.0).then_some(dropout);
        let count: usize = batch.iter().map(|tokens| tokens.len() - 1).sum();
        let parts = self.prepare(workers, params, batch.len(), dropout);
        let Prepared { pass, small, sequences } = parts;
        Ok(workers.run(|| {
            let scale = 1.0 / count as f64;
            workers.for_each_item(sequences, |index, sequence| {
                let tokens = batch[index];
                (sequence.loss, sequence.correct) = (0.0, 0);
                sequence.forward(&pass, &tokens[..tokens.len() - 1], index);
                sequence.score(config.vocabulary, &tokens[1..], Some(scale));
                sequence.backward(&pass, small, index);
            });
            gradients(workers, &pass, small, sequences, batch, grads);
            outcome(sequences, count)
        }))
    }

    /// The mean loss over any number of sequences, without dropout; [`Outcome::correct`] counts the
    /// positions where the next token was the likeliest.
    ///
    /// # Errors
    ///
    /// [`GptInputError`].
    pub fn evaluate(
        &mut self,
        workers: &Workers,
        params: &[T],
        batch: &[&[u16]],
    ) -> Result<Outcome, GptInputError> {
        self.check("parameters", params.len(), batch)?;
        let vocabulary = self.config.vocabulary;
        let count: usize = batch.iter().map(|tokens| tokens.len() - 1).sum();
        let Prepared { pass, sequences, .. } = self.prepare(workers, params, SHARES, None);
        workers.run(|| {
            workers.for_each_item(sequences, |share, sequence| {
                (sequence.loss, sequence.correct) = (0.0, 0);
                for tokens in batch.iter().skip(share).step_by(SHARES) {
                    sequence.forward(&pass, &tokens[..tokens.len() - 1], 0);
                    sequence.score(vocabulary, &tokens[1..], None);
                }
            });
        });
        Ok(outcome(sequences, count))
    }

    /// The logits of the token after `tokens`, 1 to the context of them.
    ///
    /// # Errors
    ///
    /// [`GptInputError`].
    pub fn next(
        &mut self,
        workers: &Workers,
        params: &[T],
        tokens: &[u16],
    ) -> Result<Vec<T>, GptInputError> {
        self.check("parameters", params.len(), &[])?;
        let GptConfig { context, vocabulary, .. } = self.config;
        if !(1..=context).contains(&tokens.len()) {
            return Err(GptInputError::Sequence { given: tokens.len(), context });
        }
        self.check_tokens(tokens)?;
        let Prepared { pass, sequences, .. } = self.prepare(workers, params, 1, None);
        sequences[0].forward(&pass, tokens, 0);
        let logits = &sequences[0].logits;
        Ok(logits[logits.len() - vocabulary..].to_vec())
    }

    /// Transposes the matrices and makes room for that many sequences.
    fn prepare<'a>(
        &'a mut self,
        workers: &Workers,
        params: &'a [T],
        count: usize,
        dropout: Option<Dropout>,
    ) -> Prepared<'a, T> {
        let Self { config, layout, places, ranges, small, small_length, transposed, sequences } =
            self;
        transposed.resize(layout.len(), T::ZERO);
        let mut rest = &mut transposed[..];
        let mut matrices = Vec::new();
        for (index, param) in layout.params().iter().enumerate() {
            let (own, tail) = rest.split_at_mut(param.range.len());
            rest = tail;
            if param.kind == ParamKind::Matrix || index == places.head {
                matrices.push((param, own));
            }
        }
        workers.for_each_item(&mut matrices, |_, (param, out)| {
            transpose(&params[param.range.clone()], param.shape[1], 0, out);
        });
        if sequences.len() < count {
            sequences.resize_with(count, Sequence::default);
        }
        for sequence in &mut sequences[..count] {
            sequence.small.resize(*small_length, T::ZERO);
        }
        let pass = Pass {
            config: *config,
            places,
            params: Params { values: params, ranges },
            transposed: Params { values: transposed, ranges },
            dropout,
        };
        Prepared { pass, small, sequences: &mut sequences[..count] }
    }

    fn check(
        &self,
        what: &'static str,
        given: usize,
        batch: &[&[u16]],
    ) -> Result<(), GptInputError> {
        let expected = self.layout.len();
        if given != expected {
            return Err(GptInputError::Length { what, given, expected });
        }
        let context = self.config.context;
        for tokens in batch {
            if !(2..=context + 1).contains(&tokens.len()) {
                return Err(GptInputError::Sequence {
                    given: tokens.len().saturating_sub(1),
                    context,
                });
            }
            self.check_tokens(tokens)?;
        }
        Ok(())
    }

    fn check_tokens(&self, tokens: &[u16]) -> Result<(), GptInputError> {
        let vocabulary = self.config.vocabulary;
        match tokens.iter().find(|&&token| usize::from(token) >= vocabulary) {
            Some(&given) => Err(GptInputError::Token { given, vocabulary }),
            None => Ok(()),
        }
    }
}

struct Prepared<'a, T> {
    pass: Pass<'a, T>,
    small: &'a [Option<usize>],
    sequences: &'a mut [Sequence<T>],
}

/// The sum over sequences, in their order.
fn outcome<T>(sequences: &[Sequence<T>], count: usize) -> Outcome {
    let loss: f64 = sequences.iter().map(|sequence| sequence.loss).sum();
    let correct = sequences.iter().map(|sequence| sequence.correct).sum();
    Outcome { loss: loss / count as f64, correct, count }
}

/// Rows of the gradient of one matrix.
struct Rows<'a, T> {
    out: &'a mut [T],
    first: usize,
    outputs: usize,
    inputs: usize,
    /// Block and number of its linear map; none for the head.
    of: Option<(usize, usize)>,
}

/// The gradients of all parameters, from what the sequences hold after their backward passes.
fn gradients<T: Exp>(
    workers: &Workers,
    pass: &Pass<'_, T>,
    small: &[Option<usize>],
    sequences: &[Sequence<T>],
    batch: &[&[u16]],
    grads: &mut [T],
) {
    let Places { tokens, positions, blocks, head, .. } = pass.places;
    let GptConfig { width, vocabulary, .. } = pass.config;
    let mut tasks = Vec::new();
    let mut rest = &mut *grads;
    for (index, range) in pass.params.ranges.iter().enumerate() {
        let (own, tail) = rest.split_at_mut(range.len());
        rest = tail;
        let linear = blocks.iter().enumerate().find_map(|(block, places)| {
            let number = places.linears.iter().position(|linear| linear.weight == index)?;
            Some((block, number))
        });
        let [outputs, inputs] = match linear {
            Some((_, 0)) => [3 * width, width],
            Some((_, 1)) => [width, width],
            Some((_, 2)) => [4 * width, width],
            Some(_) => [width, 4 * width],
            None if index == *head => [vocabulary, width],
            None => {
                own.fill(T::ZERO);
                if let Some(start) = small[index] {
                    for sequence in sequences {
                        add(own, &sequence.small[start..]);
                    }
                }
                continue;
            }
        };
        let rows = GRADIENT_TASK.div_ceil(inputs);
        for (place, out) in own.chunks_mut(rows * inputs).enumerate() {
            tasks.push(Rows { out, first: place * rows, outputs, inputs, of: linear });
        }
    }
    workers.for_each_item(&mut tasks, |_, task| {
        let Rows { out, first, outputs, inputs, of } = task;
        let rows = out.len() / *inputs;
        for (place, sequence) in sequences.iter().enumerate() {
            let [d_output, input] = match of {
                Some((block, number)) => {
                    let trace = &sequence.traces[*block];
                    [&trace.gradients[*number], &trace.inputs[*number]]
                }
                None => [&sequence.logits, &sequence.last],
            };
            let d_output = Matrix::new(d_output, *outputs).transposed().rows(*first, rows);
            multiply(d_output, Matrix::new(input, *inputs), out, place > 0);
        }
    });
    for (sequence, text) in sequences.iter().zip(batch) {
        let rows = sequence.d_stream.chunks_exact(width);
        for (position, (row, &token)) in rows.zip(*text).enumerate() {
            let starts = [
                pass.params.ranges[*tokens].start + usize::from(token) * width,
                pass.params.ranges[*positions].start + position * width,
            ];
            starts.into_iter().for_each(|start| add(&mut grads[start..][..width], row));
        }
    }
    if sequences.is_empty() {
        grads.fill(T::ZERO);
    }
}

#[cfg(test)]
mod tests;
