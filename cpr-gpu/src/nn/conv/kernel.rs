//! Convolution over slices: blocks of patches times the weights.
//!
//! Work is cut into groups of images; a group lays out the patches of a *tile* at a time, some images or some rows of
//! one, so that memory is bounded by the tile and not by the batch.

use std::ops::Range;

use cpr_core::Real;
use cpr_host::model::layers::linear::{Matrix, MatrixMut, multiply_into};

use super::patches::Geometry;
use crate::nn::{
    element::{Element, WORKERS, zeros},
    simd::vectorized,
};

/// Elements that the patches of a tile may have.
const TILE: usize = 128 << 10;

/// Outputs of a tile at least, where the batch has them: fewer are not worth a product.
const LEAST: usize = 64;

/// Groups that the images are cut into at most.
pub(super) const GROUPS: usize = 16;

/// Outputs whose weights' gradients are summed by a task: those of a line of the cache.
const ROWS: usize = 16;

/// Elements of the partial weight gradients of all tasks together, at least one of each task aside.
const PARTIALS: usize = 2 << 20;

/// The distance of rows of `length` elements, where they are free to lie: a multiple of a large power of two would put
/// them all into the same lines of the cache.
pub(super) const fn spread(length: usize) -> usize {
    if length.is_multiple_of(256) { length + 16 } else { length }
}

/// Images or rows whose patches are laid out at the same time.
#[derive(Clone, Debug)]
enum Tile {
    Images(Range<usize>),
    Rows(usize, Range<usize>),
}

impl Geometry {
    /// The tiles of `images`, for patches of `patch` elements.
    fn tiles(self, images: Range<usize>, patch: usize) -> Vec<Tile> {
        let outputs = (TILE / patch.max(1)).max(LEAST);
        if self.plane() <= outputs {
            let step = outputs / self.plane().max(1);
            let starts = images.clone().step_by(step);
            starts.map(|start| Tile::Images(start..images.end.min(start + step))).collect()
        } else {
            // As many rows in the last tile as in the others, or nearly.
            let tiles = self.rows.div_ceil((outputs / self.columns).max(1));
            let step = self.rows.div_ceil(tiles);
            let of_image = |image| {
                let rows = (0..self.rows).step_by(step);
                rows.map(move |row| Tile::Rows(image, row..self.rows.min(row + step)))
            };
            images.flat_map(of_image).collect()
        }
    }

    /// Outputs of a tile.
    fn outputs_of(self, tile: &Tile) -> usize {
        match tile {
            Tile::Images(images) => images.len() * self.plane(),
            Tile::Rows(_, rows) => rows.len() * self.columns,
        }
    }

    /// Images of a group.
    fn group(self) -> usize {
        self.images.div_ceil(GROUPS).max(1)
    }

    /// The patches of a tile, one column for each output: in place, or laid out in `buffer`.
    fn patches<'a, T: Element>(
        self,
        x: &'a [T],
        tile: &Tile,
        channels: Range<usize>,
        buffer: &'a mut Vec<T>,
    ) -> Option<Matrix<'a, T>> {
        let places = self.outputs_of(tile);
        if self.is_pointwise()
            && let Some(first) = self.first_of(tile, self.image())
        {
            let start = first + channels.start * self.plane();
            return Matrix::strided(&x[start..], channels.len(), places, self.plane());
        }
        let (rows, stride) = (channels.len() * self.taps(), spread(places));
        buffer.resize(rows * stride, <T as Real>::ZERO);
        let out = buffer.as_mut_slice();
        match tile {
            Tile::Images(images) => {
                for (place, image) in images.clone().enumerate() {
                    let x = &x[image * self.image()..][..self.image()];
                    let out = &mut out[place * self.plane()..];
                    vectorized!(self.gather(x, channels.clone(), 0..self.rows, out, stride));
                }
            }
            Tile::Rows(image, rows) => {
                let x = &x[image * self.image()..][..self.image()];
                vectorized!(self.gather(x, channels, rows.clone(), out, stride));
            }
        }
        Matrix::strided(buffer, rows, places, stride)
    }

    /// Where the outputs of a tile begin in planes of which an image has `image` elements, if they lie in one image:
    /// then those of every plane follow one another.
    fn first_of(self, tile: &Tile, image: usize) -> Option<usize> {
        match tile {
            Tile::Rows(index, rows) => Some(index * image + rows.start * self.columns),
            Tile::Images(images) if images.len() == 1 => Some(images.start * image),
            Tile::Images(_) => None,
        }
    }

    /// The outputs of a tile in (N, O, rows, columns) as one matrix, outputs × places: in place, or copied to `buffer`.
    fn outputs<'a, T: Element>(
        self,
        y: &'a [T],
        tile: &Tile,
        buffer: &'a mut Vec<T>,
    ) -> Option<Matrix<'a, T>> {
        let (plane, places) = (self.plane(), self.outputs_of(tile));
        if let Some(first) = self.first_of(tile, self.outputs * plane) {
            return Matrix::strided(&y[first..], self.outputs, places, plane);
        }
        let Tile::Images(images) = tile else { return None };
        buffer.clear();
        for output in 0..self.outputs {
            for image in images.clone() {
                let start = (image * self.outputs + output) * plane;
                buffer.extend_from_slice(&y[start..start + plane]);
            }
        }
        Some(Matrix::new(buffer, places))
    }
}

/// (N, O, rows, columns) of x and (O, I, kh, kw).
pub(super) fn forward<T: Element>(g: Geometry, x: &[T], weight: &[T]) -> Vec<T> {
    let image = g.outputs * g.plane();
    let mut y = zeros(g.images * image);
    let weights = Matrix::new(weight, g.patch());
    WORKERS.for_each_chunk(&mut y, g.group() * image, |group, y| {
        let first = group * g.group();
        let images = y.len() / image.max(1);
        let x = &x[first * g.image()..];
        let (mut buffer, mut product) = (Vec::new(), Vec::new());
        for tile in g.tiles(0..images, g.patch()) {
            let places = g.outputs_of(&tile);
            let Some(columns) = g.patches(x, &tile, 0..g.inputs, &mut buffer) else { continue };
            if let Some(first) = g.first_of(&tile, image) {
                let out = MatrixMut::strided(&mut y[first..], g.outputs, places, g.plane());
                if let Some(out) = out {
                    multiply_into(weights, columns, out, false);
                }
            } else if let Tile::Images(images) = tile {
                product.resize(g.outputs * places, <T as Real>::ZERO);
                multiply_into(weights, columns, MatrixMut::new(&mut product, places), false);
                let y = &mut y[images.start * image..images.end * image];
                for (place, y) in y.chunks_exact_mut(image).enumerate() {
                    let lines = product.chunks_exact(places);
                    for (y, line) in y.chunks_exact_mut(g.plane()).zip(lines) {
                        y.copy_from_slice(&line[place * g.plane()..][..g.plane()]);
                    }
                }
            }
        }
    });
    y
}

/// dx: the patches' gradients Wᵀ·g, added where the patches were taken from.
pub(super) fn input_gradient<T: Element>(g: Geometry, weight: &[T], grad: &[T]) -> Vec<T> {
    let mut dx = zeros(g.images * g.image());
    let weights = Matrix::new(weight, g.patch()).transposed();
    WORKERS.for_each_chunk(&mut dx, (g.group() * g.image()).max(1), |group, dx| {
        let grad = &grad[group * g.group() * g.outputs * g.plane()..];
        let images = dx.len() / g.image();
        let mut patches = Vec::new();
        let mut buffer = Vec::new();
        for tile in g.tiles(0..images, g.patch()) {
            let places = g.outputs_of(&tile);
            let Some(grad) = g.outputs(grad, &tile, &mut buffer) else { continue };
            if g.is_pointwise()
                && let Some(first) = g.first_of(&tile, g.image())
            {
                let out = MatrixMut::strided(&mut dx[first..], g.inputs, places, g.plane());
                if let Some(out) = out {
                    multiply_into(weights, grad, out, false);
                }
                continue;
            }
            let stride = spread(places);
            patches.resize(g.patch() * stride, <T as Real>::ZERO);
            let Some(out) = MatrixMut::strided(&mut patches, g.patch(), places, stride) else {
                continue;
            };
            multiply_into(weights, grad, out, false);
            match tile {
                Tile::Rows(image, rows) => {
                    let dx = &mut dx[image * g.image()..][..g.image()];
                    vectorized!(g.scatter(&patches, stride, rows, dx));
                }
                Tile::Images(images) => {
                    for (place, image) in images.enumerate() {
                        let dx = &mut dx[image * g.image()..][..g.image()];
                        let patches = &patches[place * g.plane()..];
                        vectorized!(g.scatter(patches, stride, 0..g.rows, dx));
                    }
                }
            }
        }
    });
    dx
}

/// dW = Σ over tiles of g·patchesᵀ, made as its transpose.
///
/// A task has a block of input channels and a part of the images. Parts are few where the weights are large, so that
/// the partial sums stay small; they are added in their order.
pub(super) fn weight_gradient<T: Element>(g: Geometry, x: &[T], grad: &[T]) -> Vec<T> {
    let weights = g.outputs * g.patch();
    let parts = (PARTIALS / weights.max(1)).clamp(1, GROUPS.min(g.images.max(1)));
    let blocks = (GROUPS / 2 / parts).clamp(1, g.inputs.max(1));
    let (images, inputs) = (g.images.div_ceil(parts).max(1), g.inputs.div_ceil(blocks).max(1));
    let blocks = g.inputs.div_ceil(inputs);
    let partial = WORKERS.map(parts * blocks, |task| {
        let (part, block) = (task / blocks, task % blocks);
        let channels = block * inputs..g.inputs.min((block + 1) * inputs);
        let images = (part * images).min(g.images)..((part + 1) * images).min(g.images);
        let patch = channels.len() * g.taps();
        let mut sums = vec![<T as Real>::ZERO; g.outputs * patch];
        let mut patches = Vec::new();
        let mut buffer = Vec::new();
        for tile in g.tiles(images, patch) {
            let grad = g.outputs(grad, &tile, &mut buffer);
            let columns = g.patches(x, &tile, channels.clone(), &mut patches);
            if let (Some(grad), Some(columns)) = (grad, columns) {
                // The weights turned: `gemm` is faster with the patches at the left.
                let out = MatrixMut::new(&mut sums, g.outputs);
                multiply_into(columns, grad.transposed(), out, true);
            }
        }
        sums
    });
    let mut dweight = zeros(weights);
    WORKERS.for_each_chunk(&mut dweight, ROWS * g.patch(), |chunk, dweight| {
        let outputs = chunk * ROWS..(chunk * ROWS + ROWS).min(g.outputs);
        for (task, sums) in partial.iter().enumerate() {
            let start = task % blocks * inputs * g.taps();
            for (place, sums) in sums.chunks_exact(g.outputs).enumerate() {
                let column = dweight[start + place..].iter_mut().step_by(g.patch());
                for (weight, &sum) in column.zip(&sums[outputs.clone()]) {
                    *weight += sum;
                }
            }
        }
    });
    dweight
}
