//! The passes of one sequence.

use super::config::{Block, GptConfig, Linear, Norm, Params, Places};
use crate::model::layers::attention::{Attention, Heads};
use crate::model::layers::dropout::Dropout;
use crate::model::layers::exp::Exp;
use crate::model::layers::linear::{Matrix, multiply};
use crate::model::layers::vector::{add, column_sums};
use crate::model::layers::{cross_entropy, gelu, layer_norm};

/// Masks of a block: on α of each head, and on the two ways back into the stream.
const MASKS: u64 = 2;

/// What every sequence of a pass reads.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a, T> {
    pub(super) config: GptConfig,
    pub(super) places: &'a Places,
    pub(super) params: Params<'a, T>,
    /// The transposed matrices, by their index in the layout: products with rows run faster on them.
    pub(super) transposed: Params<'a, T>,
    /// The masks of this step.
    pub(super) dropout: Option<Dropout>,
}

/// What a block keeps of a sequence for its backward pass, a row for each position.
#[derive(Debug, Default)]
pub(super) struct Trace<T> {
    /// The stream before attention, and between attention and MLP.
    stream: [Vec<T>; 2],
    statistics: [Vec<[T; 2]>; 2],
    attention: Attention<T>,
    /// Inputs of the four linear maps.
    pub(super) inputs: [Vec<T>; 4],
    /// Gradients of their outputs.
    pub(super) gradients: [Vec<T>; 4],
    qkv: Vec<T>,
    hidden: Vec<T>,
}

/// One sequence in its workspace.
#[derive(Debug, Default)]
pub(super) struct Sequence<T> {
    pub(super) traces: Vec<Trace<T>>,
    stream: Vec<T>,
    statistics: Vec<[T; 2]>,
    /// Input of the head.
    pub(super) last: Vec<T>,
    /// Logits, later the gradient of the loss by them, [n, vocabulary].
    pub(super) logits: Vec<T>,
    d_branch: Vec<T>,
    /// Gradient of the stream; in the end that of the embeddings.
    pub(super) d_stream: Vec<T>,
    /// Gradients of norms and biases, in the order of the layout.
    pub(super) small: Vec<T>,
    pub(super) loss: f64,
    pub(super) correct: usize,
}

fn sized<T: Exp>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    buffer.resize(length, T::ZERO);
    buffer
}

/// y ← x·Wᵀ + b.
fn linear<T: Exp>(pass: &Pass<'_, T>, linear: Linear, x: &[T], y: &mut Vec<T>) {
    let weight = pass.transposed.get(linear.weight);
    let inputs = linear.inputs;
    let outputs = weight.len() / inputs;
    let y = sized(y, x.len() / inputs * outputs);
    multiply(Matrix::new(x, inputs), Matrix::new(weight, outputs), y, false);
    if let Some(bias) = pass.params.maybe(linear.bias) {
        y.chunks_exact_mut(outputs).for_each(|row| add(row, bias));
    }
}

impl<T: Exp> Pass<'_, T> {
    fn heads(&self) -> Heads {
        Heads { heads: self.config.heads, width: self.config.width / self.config.heads }
    }

    /// The number of the first mask of a block in this sequence.
    fn mask(&self, sequence: usize, layer: usize) -> Option<(Dropout, u64)> {
        let dropout = self.dropout?;
        let per_block = self.config.heads as u64 + MASKS;
        let per_sequence = per_block * self.config.layers as u64 + 1;
        let at = sequence as u64 * per_sequence + 1 + layer as u64 * per_block;
        Some((dropout, at))
    }

    /// The mask of the embeddings, which is before those of the blocks.
    fn embedding_mask(&self, sequence: usize) -> Option<(Dropout, u64)> {
        self.mask(sequence, 0).map(|(dropout, at)| (dropout, at - 1))
    }
}

fn mask_out<T: Exp>(mask: Option<(Dropout, u64)>, place: u64, x: &mut [T]) {
    if let Some((dropout, at)) = mask {
        dropout.apply(at + place, x);
    }
}

impl<T: Exp> Sequence<T> {
    /// The logits of every position of `tokens`, each below the vocabulary, at most the context of
    /// them. `index` is the sequence's place in the batch.
    pub(super) fn forward(&mut self, pass: &Pass<'_, T>, tokens: &[u16], index: usize) {
        let GptConfig { width, heads, layers, vocabulary, .. } = pass.config;
        let n = tokens.len();
        self.traces.resize_with(layers, Trace::default);
        let (table, positions) =
            (pass.params.get(pass.places.tokens), pass.params.get(pass.places.positions));
        let stream = sized(&mut self.stream, n * width);
        for ((row, &token), position) in
            stream.chunks_exact_mut(width).zip(tokens).zip(positions.chunks_exact(width))
        {
            row.copy_from_slice(&table[usize::from(token) * width..][..width]);
            add(row, position);
        }
        mask_out(pass.embedding_mask(index), 0, stream);
        for (layer, (block, trace)) in pass.places.blocks.iter().zip(&mut self.traces).enumerate() {
            let mask = pass.mask(index, layer);
            let [qkv, out, up, down] = block.linears;
            let [ref mut in_qkv, ref mut in_out, ref mut in_up, ref mut in_down] = trace.inputs;

            trace.stream[0].clone_from(&self.stream);
            normalize(pass, block.norms[0], &self.stream, in_qkv, &mut trace.statistics[0]);
            linear(pass, qkv, in_qkv, &mut trace.qkv);
            let mixed = sized(in_out, n * width);
            trace.attention.forward(pass.heads(), &trace.qkv, mixed, mask);
            linear(pass, out, mixed, &mut self.d_branch);
            mask_out(mask, heads as u64, &mut self.d_branch);
            add(&mut self.stream, &self.d_branch);

            trace.stream[1].clone_from(&self.stream);
            normalize(pass, block.norms[1], &self.stream, in_up, &mut trace.statistics[1]);
            linear(pass, up, in_up, &mut trace.hidden);
            gelu::forward(&trace.hidden, sized(in_down, n * 4 * width));
            linear(pass, down, in_down, &mut self.d_branch);
            mask_out(mask, heads as u64 + 1, &mut self.d_branch);
            add(&mut self.stream, &self.d_branch);
        }
        normalize(pass, pass.places.norm, &self.stream, &mut self.last, &mut self.statistics);
        let head = Matrix::new(pass.transposed.get(pass.places.head), vocabulary);
        let logits = sized(&mut self.logits, n * vocabulary);
        multiply(Matrix::new(&self.last, width), head, logits, false);
    }

    /// Adds the losses of the next tokens; with `scale` the logits become the gradient of
    /// `scale`·loss.
    pub(super) fn score(&mut self, vocabulary: usize, targets: &[u16], scale: Option<f64>) {
        for (logits, &target) in self.logits.chunks_exact_mut(vocabulary).zip(targets) {
            let target = usize::from(target);
            let row = cross_entropy::forward(logits, target);
            self.loss += row.loss;
            self.correct += usize::from(row.correct);
            if let Some(scale) = scale {
                cross_entropy::backward(logits, target, &row, scale);
            }
        }
    }

    /// The gradients of all outputs of linear maps, of norms and biases, and of the embeddings, from
    /// that of the logits.
    pub(super) fn backward(&mut self, pass: &Pass<'_, T>, small: &[Option<usize>], index: usize) {
        let GptConfig { width, heads, vocabulary, .. } = pass.config;
        let Self { traces, stream, statistics, logits, d_branch, d_stream, small: sums, .. } = self;
        sums.fill(T::ZERO);
        let n = stream.len() / width;
        let head = Matrix::new(pass.params.get(pass.places.head), width);
        multiply(Matrix::new(logits, vocabulary), head, sized(d_branch, n * width), false);
        sized(d_stream, n * width).fill(T::ZERO);
        let mut sums = Sums { sums, places: small, pass };
        sums.normalized(pass.places.norm, stream, statistics, d_branch, d_stream);
        let blocks = pass.places.blocks.iter().zip(traces).enumerate();
        for (layer, (block, trace)) in blocks.rev() {
            let mask = pass.mask(index, layer);
            let Trace { stream, statistics, attention, gradients, qkv, hidden, .. } = trace;
            let [d_qkv, d_out, d_up, d_down] = gradients;
            let Block { norms, linears: [in_qkv, out, up, down] } = *block;

            d_down.clone_from(d_stream);
            mask_out(mask, heads as u64 + 1, d_down);
            sums.back(down, d_down, d_up);
            gelu::backward(hidden, d_up);
            sums.back(up, d_up, d_branch);
            sums.normalized(norms[1], &stream[1], &statistics[1], d_branch, d_stream);

            d_out.clone_from(d_stream);
            mask_out(mask, heads as u64, d_out);
            sums.back(out, d_out, d_branch);
            let d_qkv_rows = sized(d_qkv, qkv.len());
            attention.backward(pass.heads(), qkv, d_branch, d_qkv_rows, mask);
            sums.back(in_qkv, d_qkv, d_branch);
            sums.normalized(norms[0], &stream[0], &statistics[0], d_branch, d_stream);
        }
        mask_out(pass.embedding_mask(index), 0, d_stream);
    }
}

fn normalize<T: Exp>(
    pass: &Pass<'_, T>,
    norm: Norm,
    x: &[T],
    out: &mut Vec<T>,
    statistics: &mut Vec<[T; 2]>,
) {
    let weight = pass.params.get(norm.weight);
    statistics.resize(x.len() / weight.len(), [T::ZERO; 2]);
    let bias = pass.params.maybe(norm.bias);
    layer_norm::forward(x, weight, bias, sized(out, x.len()), statistics);
}

/// Where the gradients of norms and biases of one sequence are summed.
struct Sums<'a, 'p, T> {
    sums: &'a mut [T],
    /// The start of each parameter in the sums, by its index in the layout.
    places: &'a [Option<usize>],
    pass: &'a Pass<'p, T>,
}

impl<T: Exp> Sums<'_, '_, T> {
    fn of(&mut self, index: usize) -> &mut [T] {
        let length = self.pass.params.ranges[index].len();
        // Norms and biases have a place; no other index is asked for.
        let start = self.places[index].unwrap_or_default();
        &mut self.sums[start..][..length]
    }

    /// d_x ← dy·W, and the gradient of the bias.
    fn back(&mut self, linear: Linear, d_y: &[T], d_x: &mut Vec<T>) {
        if let Some(bias) = linear.bias {
            column_sums(d_y, self.of(bias));
        }
        let weight = self.pass.params.get(linear.weight);
        let inputs = linear.inputs;
        let outputs = weight.len() / inputs;
        let d_x = sized(d_x, d_y.len() / outputs * inputs);
        multiply(Matrix::new(d_y, outputs), Matrix::new(weight, inputs), d_x, false);
    }

    fn normalized(
        &mut self,
        norm: Norm,
        x: &[T],
        statistics: &[[T; 2]],
        gradient: &mut [T],
        d_x: &mut [T],
    ) {
        let weight = self.pass.params.get(norm.weight);
        let n = weight.len();
        // A bias follows its weight in the layout, and so in the sums.
        let start = self.places[norm.weight].unwrap_or_default();
        let length = if norm.bias.is_some() { 2 * n } else { n };
        let (d_weight, d_bias) = self.sums[start..][..length].split_at_mut(n);
        let d_bias = norm.bias.is_some().then_some(d_bias);
        layer_norm::backward(x, weight, statistics, gradient, d_x, d_weight, d_bias);
    }
}
