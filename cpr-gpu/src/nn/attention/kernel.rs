//! The attention of one head over slices, in blocks of queries.

use cpr_core::Real;
use cpr_host::model::layers::linear::{Matrix, MatrixMut, multiply_into};

use super::rotary::Angles;
use crate::nn::{
    dropout::Mask,
    element::{Element, WORKERS, count, narrow, wide, zeros},
    simd::{largest, sum, sum_pairs, vectorized},
};

/// Queries of a block: its scores fit the cache.
const BLOCK: usize = 64;

/// Sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Heads {
    pub(in crate::nn) batch: usize,
    pub(in crate::nn) length: usize,
    pub(in crate::nn) heads: usize,
    /// Numbers of a head.
    pub(in crate::nn) size: usize,
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forward<'a, T> {
    pub(super) qkv: &'a [T],
    pub(super) y: &'a [T],
    pub(super) normalizers: &'a [f64],
}

/// Queries (scaled), keys and values of one head, (T, d) each.
struct Head<T> {
    q: Vec<T>,
    k: Vec<T>,
    v: Vec<T>,
}

impl Heads {
    const fn width(self) -> usize {
        self.heads * self.size
    }

    /// Elements of one head: (T, d).
    const fn head(self) -> usize {
        self.length * self.size
    }

    /// Part `part` of head `index` (of B·heads), one row for each position, in rows of `parts` widths.
    fn rows<T>(
        self,
        values: &[T],
        index: usize,
        part: usize,
        parts: usize,
    ) -> impl Iterator<Item = &[T]> {
        let (batch, head) = (index / self.heads, index % self.heads);
        let start = part * self.width() + head * self.size;
        (0..self.length).map(move |position| {
            let row = (batch * self.length + position) * parts * self.width();
            &values[row + start..][..self.size]
        })
    }

    fn gather<T: Element>(self, values: &[T], index: usize, part: usize, parts: usize) -> Vec<T> {
        let mut gathered = Vec::with_capacity(self.head());
        for row in self.rows(values, index, part, parts) {
            gathered.extend_from_slice(row);
        }
        gathered
    }

    fn load<T: Element>(self, qkv: &[T], index: usize, angles: Option<&Angles<T>>) -> Head<T> {
        let [mut q, mut k, v] = [0, 1, 2].map(|part| self.gather(qkv, index, part, 3));
        let scale = self.scale();
        if let Some(angles) = angles {
            for part in [&mut q, &mut k] {
                for (position, row) in part.chunks_exact_mut(self.size).enumerate() {
                    angles.turn(position, row);
                }
            }
        }
        for q in &mut q {
            *q *= scale;
        }
        Head { q, k, v }
    }

    fn scale<T: Element>(self) -> T {
        narrow(1.0 / count(self.size).sqrt())
    }

    /// Copies (B, heads, parts, T, d) to (B, T, parts, heads, d).
    fn interleave<T: Element>(self, heads: &[T], parts: usize) -> Vec<T> {
        let mut rows = zeros(heads.len());
        let width = parts * self.width();
        WORKERS.for_each_chunk(&mut rows, BLOCK * width, |block, rows| {
            for (row, out) in (block * BLOCK..).zip(rows.chunks_exact_mut(width)) {
                let (batch, position) = (row / self.length, row % self.length);
                for (place, out) in out.chunks_exact_mut(self.size).enumerate() {
                    let (part, head) = (place / self.heads, place % self.heads);
                    let start = ((batch * self.heads + head) * parts + part) * self.head();
                    out.copy_from_slice(&heads[start + position * self.size..][..self.size]);
                }
            }
        });
        rows
    }

    /// y in (B, T, C), and ln Σ e^score of each query in (B, heads, T).
    pub(super) fn forward<T: Element>(
        self,
        qkv: &[T],
        angles: Option<&Angles<T>>,
        mask: Option<&Mask>,
    ) -> (Vec<T>, Vec<f64>) {
        let mut heads = zeros(self.batch * self.heads * self.head());
        let mut normalizers = vec![0.0; self.batch * self.heads * self.length];
        let mut tasks: Vec<(&mut [T], &mut [f64])> = heads
            .chunks_mut(self.head().max(1))
            .zip(normalizers.chunks_mut(self.length.max(1)))
            .collect();
        WORKERS.for_each_item(&mut tasks, |index, (out, normalizers)| {
            let head = self.load(qkv, index, angles);
            let mut scores = vec![<T as Real>::ZERO; BLOCK.min(self.length) * self.length];
            let blocks = out.chunks_mut(BLOCK * self.size).zip(normalizers.chunks_mut(BLOCK));
            for (block, (out, normalizers)) in blocks.enumerate() {
                let first = block * BLOCK;
                let keys = first + normalizers.len();
                let scores = &mut scores[..normalizers.len() * keys];
                self.scores(&head, first, scores, keys);
                let rows = scores.chunks_exact_mut(keys).zip(normalizers.iter_mut());
                for (query, (row, normalizer)) in (first..).zip(rows) {
                    *normalizer = vectorized!(exponentials(row, query + 1));
                    if let Some(mask) = mask {
                        mask.apply(index * self.length + query, &mut row[..=query]);
                    }
                }
                let p = Matrix::new(scores, keys);
                let v = Matrix::new(&head.v, self.size).rows(0, keys);
                multiply_into(p, v, MatrixMut::new(out, self.size), false);
            }
        });
        (self.interleave(&heads, 1), normalizers)
    }

    /// q·kᵀ of a block of queries and the first `keys` keys; those of the future are to be left out.
    fn scores<T: Element>(self, head: &Head<T>, first: usize, scores: &mut [T], keys: usize) {
        let q = Matrix::new(&head.q, self.size).rows(first, keys - first);
        let k = Matrix::new(&head.k, self.size).rows(0, keys);
        multiply_into(q, k.transposed(), MatrixMut::new(scores, keys), false);
    }

    /// The gradient of (B, T, 3·C).
    pub(super) fn backward<T: Element>(
        self,
        forward: Forward<'_, T>,
        grad: &[T],
        angles: Option<&Angles<T>>,
        mask: Option<&Mask>,
    ) -> Vec<T> {
        // dq, dk and dv of every head.
        let mut heads = zeros(3 * self.batch * self.heads * self.head());
        WORKERS.for_each_chunk(&mut heads, (3 * self.head()).max(1), |index, out| {
            let head = self.load(forward.qkv, index, angles);
            let grad = self.gather(grad, index, 0, 1);
            let normalizers = &forward.normalizers[index * self.length..][..self.length];
            // Σⱼ dpⱼ·pⱼ of each query is the product of its output and its gradient.
            let levels: Vec<T> = self
                .rows(forward.y, index, 0, 1)
                .zip(grad.chunks_exact(self.size))
                .map(|(y, grad)| vectorized!(sum_pairs(y, grad, |y, g| y * g)))
                .collect();
            let (dq, rest) = out.split_at_mut(self.head());
            let (dk, dv) = rest.split_at_mut(self.head());
            let mut buffer = vec![<T as Real>::ZERO; 2 * BLOCK.min(self.length) * self.length];
            for first in (0..self.length).step_by(BLOCK) {
                let queries = BLOCK.min(self.length - first);
                let keys = first + queries;
                let (p, rest) = buffer.split_at_mut(queries * keys);
                let ds = &mut rest[..queries * keys];
                self.scores(&head, first, p, keys);
                let rows = Matrix::new(&grad, self.size).rows(first, queries);
                let v = Matrix::new(&head.v, self.size).rows(0, keys);
                multiply_into(rows, v.transposed(), MatrixMut::new(ds, keys), false);
                let pairs = p.chunks_exact_mut(keys).zip(ds.chunks_exact_mut(keys));
                for (query, (p, ds)) in (first..).zip(pairs) {
                    if let Some(mask) = mask {
                        mask.apply(index * self.length + query, &mut ds[..=query]);
                    }
                    let normalizer = narrow(normalizers[query]);
                    vectorized!(score_gradients(p, ds, query + 1, normalizer, levels[query]));
                    if let Some(mask) = mask {
                        mask.apply(index * self.length + query, &mut p[..=query]);
                    }
                }
                let (p, ds) = (Matrix::new(p, keys), Matrix::new(ds, keys));
                let (seen, size) = (keys * self.size, self.size);
                let dv = MatrixMut::new(&mut dv[..seen], size);
                multiply_into(p.transposed(), rows, dv, true);
                let q = Matrix::new(&head.q, self.size).rows(first, queries);
                let dk = MatrixMut::new(&mut dk[..seen], size);
                multiply_into(ds.transposed(), q, dk, true);
                let k = Matrix::new(&head.k, self.size).rows(0, keys);
                let dq = MatrixMut::new(&mut dq[first * size..seen], size);
                multiply_into(ds, k, dq, false);
            }
            let scale = self.scale();
            for dq in dq.iter_mut() {
                *dq *= scale;
            }
            if let Some(angles) = angles {
                for part in [dq, dk] {
                    for (position, row) in part.chunks_exact_mut(self.size).enumerate() {
                        angles.turn_back(position, row);
                    }
                }
            }
        });
        self.interleave(&heads, 3)
    }
}

/// The first `seen` scores become probabilities, the others 0; returns ln Σ e^score.
#[inline(always)]
fn exponentials<T: Element>(row: &mut [T], seen: usize) -> f64 {
    let (row, future) = row.split_at_mut(seen);
    future.fill(<T as Real>::ZERO);
    let top = largest(row);
    for x in row.iter_mut() {
        *x = (*x - top).exp_nonpositive();
    }
    let total = sum(row, |x| x);
    let inverse = <T as Real>::ONE / total;
    for x in row {
        *x *= inverse;
    }
    wide(top) + libm::log(wide(total))
}

/// The first `seen` scores become probabilities p, and their gradients dp become those of the scores, p·(dp − Σ p·dp);
/// the others 0.
#[inline(always)]
fn score_gradients<T: Element>(p: &mut [T], ds: &mut [T], seen: usize, normalizer: T, level: T) {
    let (p, p_future) = p.split_at_mut(seen);
    let (ds, ds_future) = ds.split_at_mut(seen);
    p_future.fill(<T as Real>::ZERO);
    ds_future.fill(<T as Real>::ZERO);
    for (p, ds) in p.iter_mut().zip(ds) {
        // Rounding may lift a score over its normalizer, where the exponential is not made for.
        let log = *p - normalizer;
        let log = if log > <T as Real>::ZERO { <T as Real>::ZERO } else { log };
        *p = log.exp_nonpositive();
        *ds = *p * (*ds - level);
    }
}
