//! A 3×3 convolution at stride 1 in Winograd's form F(2×2, 3×3): 16 multiplications for 4 outputs in place of 36.
//!
//! The 2×2 outputs y of the 4×4 *tile* d of one input are Aᵀ·[(G·w·Gᵀ) ⊙ (Bᵀ·d·B)]·A, and the sum over the inputs
//! can be taken before A. So each of the 16 elements ⊙ multiplies is a matrix product of its own, outputs × inputs times
//! inputs × tiles, and the rest is additions. The gradients are the transposes of the same maps:
//!
//! | | maps | product of each element |
//! |---|---|---|
//! | forward | V = Bᵀ·x·B, U = G·w·Gᵀ, y = Aᵀ·M·A | M = U·V |
//! | gradient of the input | Z = A·dy·Aᵀ, dx = B·dV·Bᵀ | dV = Uᵀ·Z |
//! | gradient of the weights | dw = Gᵀ·dU·G | dU = Z·Vᵀ |
//!
//! Its error in floats is that of the direct sum (constants 1 and ½ alone), but for values near overflow: of an infinite one
//! the outputs of its tiles may be NaN.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, equations 7 and 8.

mod lines;
mod maps;
mod tiles;

use std::ops::Range;

use cpr_core::Real;
use cpr_host::model::layers::{
    linear::{Matrix, MatrixMut, multiply_into},
    vector,
};

use self::{
    lines::Lines,
    tiles::{
        grad_tiles, input_tiles, input_tiles_transposed, kernel_tiles, kernel_tiles_transposed,
        output_tiles,
    },
};
use super::{
    kernel::{GROUPS, spread},
    patches::Geometry,
};
use crate::nn::{
    element::{Element, Spare, WORKERS, zeros},
    simd::vectorized,
};

/// Elements of a transformed tile.
const ELEMENTS: usize = 16;

/// Elements of the transformed inputs and outputs that are worked on at a time.
const BLOCK: usize = 256 << 10;

/// Tiles of a block at least, where there are as many: fewer are not worth a product.
const LEAST: usize = 64;

/// Elements that they may have where a row of tiles or LEAST of them are more than BLOCK.
const LARGEST: usize = 4 * BLOCK;

/// Inputs and outputs from which on the products are worth the maps.
const CHANNELS: usize = 16;

/// Elements of the partial weight gradients of all groups together: room for PARTS of 128 outputs of 128 inputs.
const SUMS: usize = 9 << 18;

/// Groups that they leave at least, for the threads.
const PARTS: usize = 8;

impl Geometry {
    /// Whether this form is for it.
    pub(in crate::nn) fn is_winograd(self) -> bool {
        let channels = self.inputs + self.outputs;
        self.kernel == [3, 3]
            && self.stride == 1
            && self.inputs.min(self.outputs) >= CHANNELS
            && ELEMENTS * channels * self.tile_columns().max(LEAST) <= LARGEST
            && self.images * self.input_plane() > 0
    }

    /// Whether it is for the gradient of the weights too: partial sums of all groups are in memory at the same time.
    pub(in crate::nn) fn is_winograd_of_weights(self) -> bool {
        self.is_winograd() && Planes::new(self.outputs, self.inputs).length() * PARTS <= SUMS
    }

    /// Rows of tiles in an image.
    const fn tile_rows(self) -> usize {
        self.rows.div_ceil(2)
    }

    /// Tiles in a row.
    const fn tile_columns(self) -> usize {
        self.columns.div_ceil(2)
    }

    /// The tile rows of `images`, those of one image after those of the one before, cut into blocks.
    fn blocks(self, images: usize) -> impl Iterator<Item = Range<usize>> {
        let tiles = (BLOCK / (ELEMENTS * (self.inputs + self.outputs))).max(LEAST);
        let rows = images * self.tile_rows();
        // As many rows in the last block as in the others, or nearly.
        let blocks = rows.div_ceil((tiles / self.tile_columns()).max(1)).max(1);
        let step = rows.div_ceil(blocks).max(1);
        (0..rows).step_by(step).map(move |start| start..rows.min(start + step))
    }
}

/// The place of a matrix for each element, rows × columns, one after the other in a buffer.
#[derive(Clone, Copy, Debug)]
struct Planes {
    rows: usize,
    columns: usize,
    /// Distance of the rows of a matrix.
    stride: usize,
    /// Distance of the matrices.
    apart: usize,
}

impl Planes {
    const fn new(rows: usize, columns: usize) -> Self {
        let stride = spread(columns);
        Self { rows, columns, stride, apart: spread(rows * stride) }
    }

    /// Elements of a buffer for them.
    const fn length(self) -> usize {
        ELEMENTS * self.apart
    }

    /// Makes a buffer as long as they need, at least.
    fn fit<T: Element>(self, buffer: &mut Vec<T>) {
        if buffer.len() < self.length() {
            buffer.resize(self.length(), <T as Real>::ZERO);
        }
    }

    fn matrix<T: Element>(self, buffer: &[T], element: usize) -> Option<Matrix<'_, T>> {
        let data = &buffer[element * self.apart..];
        Matrix::strided(data, self.rows, self.columns, self.stride)
    }

    fn matrix_mut<T: Element>(self, buffer: &mut [T], element: usize) -> Option<MatrixMut<'_, T>> {
        let data = &mut buffer[element * self.apart..];
        MatrixMut::strided(data, self.rows, self.columns, self.stride)
    }
}

/// What calls leave to one another: of each thread the maps of a block, up to LARGEST elements or a little more, and the
/// sums of a backward pass, up to SUMS. What they hold is of no meaning.
#[derive(Debug)]
pub(in crate::nn) struct Scratch<T> {
    buffers: Spare<Buffers<T>>,
    sums: Spare<Vec<T>>,
}

impl<T> Scratch<T> {
    pub(in crate::nn) const fn new() -> Self {
        Self { buffers: Spare::new(), sums: Spare::new() }
    }
}

/// The maps of a task beside its operands.
#[derive(Debug, Default)]
struct Buffers<T> {
    of_inputs: Vec<T>,
    of_outputs: Vec<T>,
}

impl<T: Element> Buffers<T> {
    /// Makes them as long as a block of `rows` rows of tiles needs.
    fn fit(&mut self, g: Geometry, rows: usize) -> [Planes; 2] {
        let tiles = rows * g.tile_columns();
        let (inputs, outputs) = (Planes::new(g.inputs, tiles), Planes::new(g.outputs, tiles));
        inputs.fit(&mut self.of_inputs);
        outputs.fit(&mut self.of_outputs);
        [inputs, outputs]
    }
}

/// (N, O, rows, columns) of x and (O, I, 3, 3).
pub(super) fn forward<T: Element>(g: Geometry, x: &[T], weight: &[T]) -> Vec<T> {
    let image = g.outputs * g.plane();
    let mut y = zeros(g.images * image);
    let (kernels, u) = transformed(g, weight);
    let group = g.images.div_ceil(GROUPS).max(1);
    WORKERS.for_each_chunk(&mut y, group * image, |index, y| {
        let x = &x[index * group * g.image()..];
        T::scratch().buffers.lend(|buffers| forward_group(g, x, kernels, &u, buffers, y));
    });
    y
}

/// y of the images that it has room for.
fn forward_group<T: Element>(
    g: Geometry,
    x: &[T],
    kernels: Planes,
    u: &[T],
    buffers: &mut Buffers<T>,
    y: &mut [T],
) {
    let mut lines = Lines::new(g);
    for rows in g.blocks(y.len() / (g.outputs * g.plane())) {
        let [inputs, outputs] = buffers.fit(g, rows.len());
        let Buffers { of_inputs: v, of_outputs: m } = &mut *buffers;
        vectorized!(input_tiles(g, x, rows.clone(), &mut lines, v, inputs));
        for element in 0..ELEMENTS {
            let (u, v) = (kernels.matrix(u, element), inputs.matrix(v, element));
            if let (Some(u), Some(v), Some(m)) = (u, v, outputs.matrix_mut(m, element)) {
                multiply_into(u, v, m, false);
            }
        }
        vectorized!(output_tiles(g, m, outputs, rows, y));
    }
}

/// What the images of a group have of the gradients: that of themselves, if it is asked for, and their part of dU, if it
/// is.
#[derive(Debug)]
struct Group<'a, T> {
    dx: Option<&'a mut [T]>,
    du: Option<&'a mut [T]>,
}

/// The gradients that are asked for, of the input and of the weights.
pub(super) fn backward<T: Element>(
    g: Geometry,
    x: &[T],
    weight: &[T],
    grad: &[T],
    [of_input, of_weights]: [bool; 2],
) -> [Option<Vec<T>>; 2] {
    if !of_input && !of_weights {
        return [None, None];
    }
    let mut dx = zeros(if of_input { x.len() } else { 0 });
    let (kernels, u) = transformed(g, weight);
    // Whether or not they are asked for: groups, and with them the bits, do not depend on it.
    let parts = if g.is_winograd_of_weights() { SUMS / kernels.length() } else { GROUPS };
    let group = g.images.div_ceil(parts.clamp(1, GROUPS)).max(1);
    let groups = g.images.div_ceil(group);
    let dweight = T::scratch().sums.lend(|sums| {
        let length = if of_weights { groups * kernels.length() } else { 0 };
        if sums.len() < length {
            sums.resize(length, <T as Real>::ZERO);
        }
        let sums = &mut sums[..length];
        let mut images = dx.chunks_mut(group * g.image());
        let mut parts = sums.chunks_mut(kernels.length());
        let mut outs: Vec<_> =
            (0..groups).map(|_| Group { dx: images.next(), du: parts.next() }).collect();
        WORKERS.for_each_item(&mut outs, |index, out| {
            let images = index * group..g.images.min((index + 1) * group);
            let x = &x[images.start * g.image()..images.end * g.image()];
            let grad = &grad[images.start * g.outputs * g.plane()..];
            let work = |buffers: &mut _| backward_group(g, x, grad, kernels, &u, buffers, out);
            T::scratch().buffers.lend(work);
        });
        of_weights.then(|| weight_gradient(g, kernels, sums))
    });
    [of_input.then_some(dx), dweight]
}

/// The gradients of the images of x.
fn backward_group<T: Element>(
    g: Geometry,
    x: &[T],
    grad: &[T],
    kernels: Planes,
    u: &[T],
    buffers: &mut Buffers<T>,
    out: &mut Group<'_, T>,
) {
    let mut lines = Lines::new(g);
    for rows in g.blocks(x.len() / g.image()) {
        let [inputs, outputs] = buffers.fit(g, rows.len());
        let Buffers { of_inputs: v, of_outputs: z } = &mut *buffers;
        vectorized!(grad_tiles(g, grad, rows.clone(), z, outputs));
        if let Some(du) = &mut out.du {
            vectorized!(input_tiles(g, x, rows.clone(), &mut lines, v, inputs));
            for element in 0..ELEMENTS {
                let (z, v) = (outputs.matrix(z, element), inputs.matrix(v, element));
                if let (Some(z), Some(v), Some(du)) = (z, v, kernels.matrix_mut(du, element)) {
                    multiply_into(z, v.transposed(), du, rows.start > 0);
                }
            }
        }
        if let Some(dx) = &mut out.dx {
            for element in 0..ELEMENTS {
                let (u, z) = (kernels.matrix(u, element), outputs.matrix(z, element));
                if let (Some(u), Some(z), Some(dv)) = (u, z, inputs.matrix_mut(v, element)) {
                    multiply_into(u.transposed(), z, dv, false);
                }
            }
            vectorized!(input_tiles_transposed(g, v, inputs, rows, &mut lines, dx));
        }
    }
}

/// The kernels as G·w·Gᵀ.
fn transformed<T: Element>(g: Geometry, weight: &[T]) -> (Planes, Vec<T>) {
    let planes = Planes::new(g.outputs, g.inputs);
    let mut u = zeros(planes.length());
    vectorized!(kernel_tiles(weight, &mut u, planes));
    (planes, u)
}

/// Gᵀ·(Σ of the groups' dU, in their order)·G. The sum takes the place of the first.
fn weight_gradient<T: Element>(g: Geometry, planes: Planes, parts: &mut [T]) -> Vec<T> {
    let (sum, others) = parts.split_at_mut(planes.length());
    WORKERS.for_each_chunk(sum, planes.apart, |element, sum| {
        for other in others.chunks_exact(planes.length()) {
            let other = &other[element * planes.apart..];
            // What lies between the rows is added too: it is of no meaning, and nobody reads it.
            vectorized!(vector::add(sum, other));
        }
    });
    let mut dweight = zeros(g.outputs * g.patch());
    vectorized!(kernel_tiles_transposed(sum, planes, &mut dweight));
    dweight
}
