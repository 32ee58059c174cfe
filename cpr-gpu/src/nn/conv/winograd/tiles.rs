//! Tiles taken from images and put back, a row of them at a time; the loops run over tiles that lie side by side.

#![allow(clippy::needless_range_loop, reason = "an index is the same place of several arrays")]

use std::ops::Range;

use cpr_core::Real;

use super::{
    Planes,
    lines::{Lines, lanes},
    maps::{both, input, input_transposed, kernel, kernel_transposed, output, output_transposed},
};
use crate::nn::{conv::patches::Geometry, element::Element};

/// What is done with N tiles side by side, from column `start` on.
trait Side {
    fn run<const N: usize>(&mut self, start: usize);
}

/// Columns of tiles: how many there are, and how many of them lie wholly inside the outputs.
#[derive(Clone, Copy)]
struct Columns {
    all: usize,
    whole: usize,
}

impl Columns {
    const fn of(g: Geometry) -> Self {
        Self { all: g.tile_columns(), whole: g.columns / 2 }
    }

    /// As many at a time as there are vectors for.
    #[inline(always)]
    fn each(self, side: &mut impl Side) {
        let mut start = 0;
        while self.whole - start >= 16 {
            side.run::<16>(start);
            start += 16;
        }
        if self.whole - start >= 8 {
            side.run::<8>(start);
            start += 8;
        }
        if self.whole - start >= 4 {
            side.run::<4>(start);
            start += 4;
        }
        while start < self.all {
            side.run::<1>(start);
            start += 1;
        }
    }
}

/// A 4×4 matrix of N tiles, element by element. What loops over tiles write is first such an array of their own: of slices
/// LLVM cannot tell that they do not overlap, and would not widen the loop.
type Tiles<T, const N: usize> = [[[T; N]; 4]; 4];

impl Planes {
    /// The elements of N tiles, of which the first is element `at` of each plane.
    #[inline(always)]
    fn load<T: Element, const N: usize>(self, from: &[T], at: usize) -> Tiles<T, N> {
        let mut tiles = [[[<T as Real>::ZERO; N]; 4]; 4];
        for (tile, plane) in tiles.as_flattened_mut().iter_mut().zip(from.chunks_exact(self.apart))
        {
            tile.copy_from_slice(&plane[at..at + N]);
        }
        tiles
    }

    #[inline(always)]
    fn store<T: Element, const N: usize>(self, to: &mut [T], at: usize, tiles: &Tiles<T, N>) {
        for (tile, plane) in tiles.as_flattened().iter().zip(to.chunks_exact_mut(self.apart)) {
            plane[at..at + N].copy_from_slice(tile);
        }
    }
}

/// Tile `lane`.
#[inline(always)]
fn tile<T: Element, const N: usize>(tiles: &Tiles<T, N>, lane: usize) -> [[T; 4]; 4] {
    let mut tile = [[<T as Real>::ZERO; 4]; 4];
    for row in 0..4 {
        for column in 0..4 {
            tile[row][column] = tiles[row][column][lane];
        }
    }
    tile
}

/// Tile `lane` becomes `tile`.
#[inline(always)]
fn set<T: Element, const N: usize>(tiles: &mut Tiles<T, N>, lane: usize, tile: [[T; 4]; 4]) {
    for row in 0..4 {
        for column in 0..4 {
            tiles[row][column][lane] = tile[row][column];
        }
    }
}

/// A row of tiles: its image, its place in the image, and the place of its first tile among those of the block.
#[derive(Clone, Copy)]
struct Row {
    image: usize,
    row: usize,
    place: usize,
    /// Whether the row before is not of the same image, or not of the block; and whether the row after is not.
    first: bool,
    last: bool,
}

/// The rows of a block.
#[inline(always)]
fn rows_of(g: Geometry, rows: Range<usize>) -> impl Iterator<Item = Row> {
    rows.clone().map(move |index| {
        let (image, row) = (index / g.tile_rows(), index % g.tile_rows());
        Row {
            image,
            row,
            place: (index - rows.start) * g.tile_columns(),
            first: row == 0 || index == rows.start,
            last: row + 1 == g.tile_rows() || index + 1 == rows.end,
        }
    })
}

/// V = Bᵀ·d·B of all tiles of a block and every input.
#[inline(always)]
pub(super) fn input_tiles<T: Element>(
    g: Geometry,
    x: &[T],
    rows: Range<usize>,
    lines: &mut Lines<T>,
    v: &mut [T],
    planes: Planes,
) {
    for channel in 0..g.inputs {
        for Row { image, row, place, first, .. } in rows_of(g, rows.clone()) {
            let plane = &x[(image * g.inputs + channel) * g.input_plane()..][..g.input_plane()];
            for row in 2 * row + if first { 0 } else { 2 }..2 * row + 4 {
                lines.read(g, plane, row);
            }
            let lines: [_; 4] = std::array::from_fn(|tap| lines.halves(2 * row + tap));
            let at = channel * planes.stride + place;
            Columns::of(g).each(&mut Input { planes, at, lines, v });
        }
    }
}

struct Input<'a, T> {
    lines: [[&'a [T]; 2]; 4],
    v: &'a mut [T],
    planes: Planes,
    at: usize,
}

impl<T: Element> Side for Input<'_, T> {
    #[inline(always)]
    fn run<const N: usize>(&mut self, start: usize) {
        let mut tiles = [[[<T as Real>::ZERO; N]; 4]; 4];
        for (tiles, [even, odd]) in tiles.iter_mut().zip(self.lines) {
            for column in 0..4 {
                let half = if column % 2 == 0 { even } else { odd };
                tiles[column] = lanes(&half[start + column / 2..]);
            }
        }
        let mut out = tiles;
        for lane in 0..N {
            set(&mut out, lane, both(tile(&tiles, lane), input));
        }
        self.planes.store(self.v, self.at + start, &out);
    }
}

/// dx += B·V·Bᵀ.
#[inline(always)]
pub(super) fn input_tiles_transposed<T: Element>(
    g: Geometry,
    v: &[T],
    planes: Planes,
    rows: Range<usize>,
    lines: &mut Lines<T>,
    dx: &mut [T],
) {
    for channel in 0..g.inputs {
        for Row { image, row, place, first, last } in rows_of(g, rows.clone()) {
            let plane =
                &mut dx[(image * g.inputs + channel) * g.input_plane()..][..g.input_plane()];
            if first {
                lines.sums(2 * row).fill(<T as Real>::ZERO);
                lines.sums(2 * row + 1).fill(<T as Real>::ZERO);
            }
            let at = channel * planes.stride + place;
            Columns::of(g).each(&mut InputTransposed { planes, at, v, row: 2 * row, lines });
            for row in 2 * row..2 * row + if last { 4 } else { 2 } {
                lines.add(g, plane, row);
            }
        }
    }
}

struct InputTransposed<'a, T> {
    v: &'a [T],
    planes: Planes,
    at: usize,
    row: usize,
    lines: &'a mut Lines<T>,
}

impl<T: Element> Side for InputTransposed<'_, T> {
    #[inline(always)]
    fn run<const N: usize>(&mut self, start: usize) {
        let tiles: Tiles<T, N> = self.planes.load(self.v, self.at + start);
        let mut out = tiles;
        for lane in 0..N {
            set(&mut out, lane, both(tile(&tiles, lane), input_transposed));
        }
        let length = self.lines.length;
        for row in 0..4 {
            let sums = self.lines.sums(self.row + row);
            for column in 0..4 {
                let sums = &mut sums[column * length + 1 + start..];
                // The first two rows are the last two of the tiles above.
                if row < 2 {
                    let before: [T; N] = lanes(sums);
                    for lane in 0..N {
                        out[row][column][lane] += before[lane];
                    }
                }
                sums[..N].copy_from_slice(&out[row][column]);
            }
        }
    }
}

/// y = Aᵀ·M·A.
#[inline(always)]
pub(super) fn output_tiles<T: Element>(
    g: Geometry,
    m: &[T],
    planes: Planes,
    rows: Range<usize>,
    y: &mut [T],
) {
    for channel in 0..g.outputs {
        for Row { image, row, place, .. } in rows_of(g, rows.clone()) {
            let plane = &mut y[(image * g.outputs + channel) * g.plane()..][..g.plane()];
            let mut lines = plane[2 * row * g.columns..].chunks_mut(g.columns);
            // Of an odd number of rows the last has nothing below it.
            let lines = [lines.next().unwrap_or_default(), lines.next().unwrap_or_default()];
            let at = channel * planes.stride + place;
            Columns::of(g).each(&mut Output { planes, at, m, lines });
        }
    }
}

struct Output<'a, T> {
    m: &'a [T],
    planes: Planes,
    at: usize,
    lines: [&'a mut [T]; 2],
}

impl<T: Element> Side for Output<'_, T> {
    #[inline(always)]
    fn run<const N: usize>(&mut self, start: usize) {
        let tiles: Tiles<T, N> = self.planes.load(self.m, self.at + start);
        let mut out = [[[<T as Real>::ZERO; 2]; N]; 2];
        for lane in 0..N {
            let y = both(tile(&tiles, lane), output);
            (out[0][lane], out[1][lane]) = (y[0], y[1]);
        }
        for (line, out) in self.lines.iter_mut().zip(&out) {
            let line = line.get_mut(2 * start..).unwrap_or_default();
            // Of an odd number of columns the last has nothing to its right.
            let inside = line.len().min(2 * N);
            line[..inside].copy_from_slice(&out.as_flattened()[..inside]);
        }
    }
}

/// Z = A·dy·Aᵀ.
#[inline(always)]
pub(super) fn grad_tiles<T: Element>(
    g: Geometry,
    grad: &[T],
    rows: Range<usize>,
    z: &mut [T],
    planes: Planes,
) {
    for channel in 0..g.outputs {
        for Row { image, row, place, .. } in rows_of(g, rows.clone()) {
            let plane = &grad[(image * g.outputs + channel) * g.plane()..][..g.plane()];
            let mut lines = plane[2 * row * g.columns..].chunks(g.columns);
            let lines = [lines.next().unwrap_or_default(), lines.next().unwrap_or_default()];
            let at = channel * planes.stride + place;
            Columns::of(g).each(&mut Grad { planes, at, lines, z });
        }
    }
}

struct Grad<'a, T> {
    lines: [&'a [T]; 2],
    z: &'a mut [T],
    planes: Planes,
    at: usize,
}

impl<T: Element> Side for Grad<'_, T> {
    #[inline(always)]
    fn run<const N: usize>(&mut self, start: usize) {
        let mut pairs = [[[<T as Real>::ZERO; 2]; N]; 2];
        for (line, pairs) in self.lines.iter().zip(&mut pairs) {
            let line = line.get(2 * start..).unwrap_or_default();
            let inside = line.len().min(2 * N);
            pairs.as_flattened_mut()[..inside].copy_from_slice(&line[..inside]);
        }
        let mut out = [[[<T as Real>::ZERO; N]; 4]; 4];
        for lane in 0..N {
            set(&mut out, lane, both([pairs[0][lane], pairs[1][lane]], output_transposed));
        }
        self.planes.store(self.z, self.at + start, &out);
    }
}

/// U = G·w·Gᵀ of kernels (O, I, 3, 3).
#[inline(always)]
pub(super) fn kernel_tiles<T: Element>(weight: &[T], u: &mut [T], planes: Planes) {
    let columns = Columns { all: planes.columns, whole: planes.columns };
    for (row, weight) in weight.chunks_exact(9 * planes.columns).enumerate() {
        let at = row * planes.stride;
        columns.each(&mut Kernel { planes, at, weight, u });
    }
}

struct Kernel<'a, T> {
    weight: &'a [T],
    u: &'a mut [T],
    planes: Planes,
    at: usize,
}

impl<T: Element> Side for Kernel<'_, T> {
    #[inline(always)]
    fn run<const N: usize>(&mut self, start: usize) {
        let mut out = [[[<T as Real>::ZERO; N]; 4]; 4];
        let kernels = self.weight[9 * start..].as_chunks::<3>().0.as_chunks::<3>().0;
        if let Some(kernels) = kernels.first_chunk::<N>() {
            for lane in 0..N {
                set(&mut out, lane, both(kernels[lane], kernel));
            }
        }
        self.planes.store(self.u, self.at + start, &out);
    }
}

/// dw = Gᵀ·dU·G.
#[inline(always)]
pub(super) fn kernel_tiles_transposed<T: Element>(du: &[T], planes: Planes, dweight: &mut [T]) {
    let columns = Columns { all: planes.columns, whole: planes.columns };
    for (row, dweight) in dweight.chunks_exact_mut(9 * planes.columns).enumerate() {
        let at = row * planes.stride;
        columns.each(&mut KernelTransposed { planes, at, du, dweight });
    }
}

struct KernelTransposed<'a, T> {
    du: &'a [T],
    planes: Planes,
    at: usize,
    dweight: &'a mut [T],
}

impl<T: Element> Side for KernelTransposed<'_, T> {
    #[inline(always)]
    fn run<const N: usize>(&mut self, start: usize) {
        let tiles: Tiles<T, N> = self.planes.load(self.du, self.at + start);
        let mut out = [[[<T as Real>::ZERO; 3]; 3]; N];
        for lane in 0..N {
            out[lane] = both(tile(&tiles, lane), kernel_transposed);
        }
        let out = out.as_flattened().as_flattened();
        self.dweight[9 * start..][..9 * N].copy_from_slice(out);
    }
}
