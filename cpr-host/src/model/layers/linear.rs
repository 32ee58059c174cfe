//! Matrix products: the linear map and its two gradients are one product each.
//!
//! With activations x (one row for each example) and weights W (one row for each output):
//!
//! | | product |
//! |---|---|
//! | forward | y = x·Wᵀ |
//! | gradient of the activations | dx = dy·W |
//! | gradient of the weights | dW = dyᵀ·x |
//!
//! The `gemm` crate computes them on the calling thread. It does not promise the same bits on
//! different processors, but a product of the same shape has the same bits whenever it is run on
//! one machine.

use std::marker::PhantomData;

use cpr_core::Real;
use gemm::Parallelism;

/// A matrix seen in a slice: rows × columns elements, any of the two contiguous.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T: Real> Matrix<'a, T> {
    /// The rows of a slice, each `columns` long; an incomplete last row is left out.
    pub fn new(data: &'a [T], columns: usize) -> Self {
        let columns = columns.max(1);
        let rows = data.len() / columns;
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// `rows` rows of `columns` elements that begin `stride` elements apart; none if `data` ends before the last of
    /// them does, or rows overlap.
    pub fn strided(data: &'a [T], rows: usize, columns: usize, stride: usize) -> Option<Self> {
        let fits = spans(data.len(), rows, columns, stride);
        fits.then_some(Self { data, rows, columns, row_stride: stride, column_stride: 1 })
    }

    /// Rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// The number of columns.
    #[must_use]
    pub fn count_columns(self) -> usize {
        self.columns
    }

    /// `count` columns from `start` on, or as many as there are.
    #[must_use]
    pub fn columns(self, start: usize, count: usize) -> Self {
        self.transposed().rows(start, count).transposed()
    }

    /// `count` rows from `start` on, or as many as there are.
    #[must_use]
    pub fn rows(self, start: usize, count: usize) -> Self {
        let start = start.min(self.rows);
        let rows = count.min(self.rows - start);
        let data = self.data.get(start * self.row_stride..).unwrap_or_default();
        Self { data, rows, ..self }
    }
}

/// Whether a slice of `length` elements holds such rows, one after the other.
fn spans(length: usize, rows: usize, columns: usize, stride: usize) -> bool {
    let end = |rows: usize| (rows - 1).checked_mul(stride)?.checked_add(columns);
    rows == 0 || (columns <= stride && end(rows).is_some_and(|end| end <= length))
}

/// A matrix to be written in a slice; its rows are contiguous.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    /// Of `rows` rows of `columns` elements that begin `row_stride` apart, all of them inside the slice and none of another
    /// matrix: what lies between the rows may be.
    data: *mut T,
    rows: usize,
    columns: usize,
    row_stride: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it is the only way to its elements, as a `&mut [T]` is.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}
// SAFETY: through a shared reference nothing of it can be read or written.
unsafe impl<T: Sync> Sync for MatrixMut<'_, T> {}

impl<'a, T: Real> MatrixMut<'a, T> {
    /// The rows of a slice, each `columns` long; an incomplete last row is left out.
    pub fn new(data: &'a mut [T], columns: usize) -> Self {
        let columns = columns.max(1);
        let rows = data.len() / columns;
        let data = data.as_mut_ptr();
        Self { data, rows, columns, row_stride: columns, slice: PhantomData }
    }

    /// As [`Matrix::strided`].
    pub fn strided(data: &'a mut [T], rows: usize, columns: usize, stride: usize) -> Option<Self> {
        let fits = spans(data.len(), rows, columns, stride);
        let data = data.as_mut_ptr();
        fits.then_some(Self { data, rows, columns, row_stride: stride, slice: PhantomData })
    }

    /// Cut into blocks of `height` × `width`, smaller at the ends; those of the same rows follow one another.
    ///
    /// ```
    /// use cpr_host::model::layers::linear::MatrixMut;
    /// let mut data = [0.0_f32; 12];
    /// let mut blocks = MatrixMut::new(&mut data, 4).blocks(2, 3);
    /// blocks[1].rows_mut().for_each(|row| row.fill(1.0));
    /// assert_eq!(data, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    /// ```
    #[must_use]
    pub fn blocks(self, height: usize, width: usize) -> Vec<Self> {
        let (height, width) = (height.max(1), width.max(1));
        let corners = (0..self.rows)
            .step_by(height)
            .flat_map(|row| (0..self.columns).step_by(width).map(move |column| (row, column)));
        let block = |(row, column)| Self {
            // Inside the slice: the block has an element there.
            data: self.data.wrapping_add(row * self.row_stride + column),
            rows: height.min(self.rows - row),
            columns: width.min(self.columns - column),
            ..self
        };
        corners.map(block).collect()
    }

    /// The same matrix, for a call that takes it.
    pub fn reborrow(&mut self) -> MatrixMut<'_, T> {
        MatrixMut { slice: PhantomData, ..*self }
    }

    /// The rows, from the first on.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [T]> {
        (0..self.rows).map(|row| {
            let start = self.data.wrapping_add(row * self.row_stride);
            // SAFETY: the row lies inside the slice, which is borrowed mutably and initialized; the rows do not overlap, and each
            // is given out once while `self` is borrowed.
            unsafe { std::slice::from_raw_parts_mut(start, self.columns) }
        })
    }
}

/// out ← a·b, or out ← out + a·b where `accumulate` is set, in one product.
///
/// # Panics
///
/// If the sizes do not fit together: that is an error in the layer that calls, not in its data.
pub fn multiply_into<T: Real>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: MatrixMut<'_, T>,
    accumulate: bool,
) {
    assert_eq!(a.columns, b.rows, "inner dimensions of a product");
    assert_eq!((a.rows, b.columns), (out.rows, out.columns), "size of a product");
    multiply_rows(a, b, out, accumulate);
}

/// `gemm` packs the right matrix anew for a product of more rows than this. A second
/// product is cheaper than the packing.
const ROWS: usize = 48;

/// out ← a·b, or out ← out + a·b where `accumulate` is set. `out` is row-major.
///
/// # Panics
///
/// If the sizes do not fit together: that is an error in the layer that calls, not in its data.
pub fn multiply<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, out: &mut [T], accumulate: bool) {
    assert_eq!(a.columns, b.rows, "inner dimensions of a product");
    assert_eq!(a.rows * b.columns, out.len(), "size of a product");
    for (block, out) in out.chunks_mut(ROWS * b.columns.max(1)).enumerate() {
        let out = MatrixMut::new(out, b.columns);
        multiply_rows(a.rows(block * ROWS, ROWS), b, out, accumulate);
    }
}

/// A product in one call, of matrices whose sizes are known to fit.
fn multiply_rows<T: Real>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: MatrixMut<'_, T>,
    accumulate: bool,
) {
    debug_assert!(a.columns == b.rows && a.rows == out.rows && b.columns == out.columns);
    let (out, stride) = (out.data, out.row_stride);
    // SAFETY: a `Matrix` holds (rows − 1)·row_stride + (columns − 1)·column_stride < data.len()
    // unless it is empty: `new` and `strided` make it so, and the others keep it. So every read lies
    // inside the two slices, and every write inside that of `out`, whose rows do not overlap, by the
    // same rule; it is initialized and borrowed mutably. The callers have checked that the sizes fit.
    // Between the rows of `out` may lie what another thread writes: `gemm` touches the elements of the product alone, as it
    // must for its own threads, which write blocks of one matrix side by side.
    // `Real` is sealed: T is f32 or f64, which `gemm` supports.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
            1,
            stride.cast_signed(),
            accumulate,
            a.data.as_ptr(),
            a.column_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.data.as_ptr(),
            b.column_stride.cast_signed(),
            b.row_stride.cast_signed(),
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The side of the squares that [`transpose`] copies, so that reads and writes share cache lines.
const SQUARE: usize = 16;

/// out ← rows `start`.. of the transpose of `source`, as many as `out` holds; `source` is
/// row-major.
///
/// A product runs faster on a transposed copy of the weights than on the weights, which it would
/// rearrange for every tile of examples anew.
pub fn transpose<T: Real>(source: &[T], columns: usize, start: usize, out: &mut [T]) {
    let rows = source.len() / columns;
    let count = out.len() / rows;
    for row in (0..rows).step_by(SQUARE) {
        for column in (0..count).step_by(SQUARE) {
            for column in column..(column + SQUARE).min(count) {
                for row in row..(row + SQUARE).min(rows) {
                    out[column * rows + row] = source[row * columns + start + column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 7 + seed * 13) % 23) as f64 - 11.0).collect()
    }

    fn naive(a: Matrix<'_, f64>, b: Matrix<'_, f64>) -> Vec<f64> {
        let at =
            |m: Matrix<'_, f64>, i: usize, j: usize| m.data[i * m.row_stride + j * m.column_stride];
        let mut out = Vec::new();
        for i in 0..a.rows {
            for j in 0..b.columns {
                out.push((0..a.columns).map(|k| at(a, i, k) * at(b, k, j)).sum());
            }
        }
        out
    }

    #[test]
    fn products_of_every_orientation() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (64, 114, 33), (17, 128, 2), (1, 40, 9)] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let lefts = [Matrix::new(&a, k), Matrix::new(&a, m).transposed()];
            let rights = [Matrix::new(&b, n), Matrix::new(&b, k).transposed()];
            for left in lefts {
                for right in rights {
                    let mut out = vec![1.0; m * n];
                    multiply(left, right, &mut out, false);
                    assert_eq!(out, naive(left, right));
                    multiply(left, right, &mut out, true);
                    assert!(out.iter().zip(naive(left, right)).all(|(&x, y)| x == 2.0 * y));
                }
            }
        }
    }

    #[test]
    fn products_of_parts() {
        let (a, b) = (numbers(60, 1), numbers(48, 2));
        let part = Matrix::new(&a, 10).transposed().rows(4, 3);
        let mut out = [0.0; 24];
        multiply(part, Matrix::new(&b, 8), &mut out, false);
        assert_eq!(out.to_vec(), naive(part, Matrix::new(&b, 8)));
        let (left, right) = (Matrix::new(&a, 6), Matrix::new(&b, 8).columns(5, 3));
        let mut out = [0.0; 30];
        multiply(left, right, &mut out, false);
        assert_eq!(out.to_vec(), naive(left, right));
        let beyond = Matrix::new(&a, 10).rows(9, 3);
        multiply(beyond, Matrix::new(&b[..10], 1), &mut [], false);
    }

    #[test]
    fn blocks_are_the_matrix() {
        for (rows, columns, stride, height, width) in [
            (5, 7, 9, 2, 3),
            (4, 4, 4, 4, 4),
            (3, 2, 2, 5, 1),
            (1, 6, 6, 1, 4),
            (0, 3, 3, 2, 2),
            (2, 3, 4, 0, 9),
            (2, 0, 3, 1, 1),
        ] {
            let mut data = vec![0.0; rows * stride];
            let matrix = MatrixMut::strided(&mut data, rows, columns, stride).unwrap();
            let mut blocks = matrix.blocks(height, width);
            let (height, width) = (height.max(1), width.max(1));
            assert_eq!(blocks.len(), rows.div_ceil(height) * columns.div_ceil(width));
            std::thread::scope(|scope| {
                for (index, block) in blocks.iter_mut().enumerate() {
                    scope.spawn(move || {
                        for row in block.rows_mut() {
                            row.iter_mut().for_each(|x| *x += 1.0 + index as f64);
                        }
                    });
                }
            });
            let across = columns.div_ceil(width);
            for (place, &x) in data.iter().enumerate() {
                let (row, column) = (place / stride, place % stride);
                let block = row / height * across + column / width;
                assert_eq!(x, if column < columns { 1.0 + block as f64 } else { 0.0 });
            }
        }
    }

    /// Blocks of one matrix, with ragged edges, at the same time.
    #[test]
    fn products_of_blocks_side_by_side() {
        let (rows, columns, inner) = (150, 203, 40);
        let (a, b) = (numbers(rows * inner, 1), numbers(inner * columns, 2));
        let (left, right) = (Matrix::new(&a, inner), Matrix::new(&b, columns));
        let expected = naive(left, right);
        for (height, width) in [(37, 29), (150, 11), (7, 203), (64, 64)] {
            let mut out = vec![f64::NAN; rows * columns];
            let mut blocks = MatrixMut::new(&mut out, columns).blocks(height, width);
            let across = columns.div_ceil(width);
            crate::parallel::Workers::new(4.try_into().unwrap()).unwrap().for_each_item(
                &mut blocks,
                |index, block| {
                    let (row, column) = (index / across * height, index % across * width);
                    let (a, b) = (left.rows(row, height), right.columns(column, width));
                    multiply_into(a, b, block.reborrow(), false);
                },
            );
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn products_between_strided_rows() {
        let (a, b) = (numbers(60, 1), numbers(48, 2));
        let left = Matrix::strided(&a[3..], 4, 5, 13).unwrap();
        let right = Matrix::strided(&b, 5, 4, 9).unwrap();
        let mut out = vec![7.0; 2 + 4 * 6];
        multiply_into(left, right, MatrixMut::strided(&mut out[2..], 4, 4, 6).unwrap(), true);
        let expected = naive(left, right);
        for (place, &value) in out.iter().enumerate() {
            let inside = place >= 2 && (place - 2) % 6 < 4;
            let sum = if inside { expected[(place - 2) / 6 * 4 + (place - 2) % 6] } else { 0.0 };
            assert_eq!(value, 7.0 + sum);
        }
        assert!(Matrix::strided(&a, 4, 15, 15).is_some());
        for (rows, columns, stride) in [(4, 16, 15), (4, 15, 16), (2, 1, usize::MAX)] {
            assert!(Matrix::strided(&a, rows, columns, stride).is_none());
            assert!(MatrixMut::strided(&mut a.clone(), rows, columns, stride).is_none());
        }
    }

    #[test]
    #[should_panic(expected = "size of a product")]
    fn a_wrong_size_is_an_error_of_the_layer() {
        multiply(Matrix::new(&[1.0], 1), Matrix::new(&[1.0], 1), &mut [0.0; 2], false);
    }

    #[test]
    fn a_transpose_made_in_parts() {
        let source = numbers(40 * 37, 3);
        let mut out = vec![0.0; 40 * 37];
        for (part, out) in out.chunks_mut(10 * 40).enumerate() {
            transpose(&source, 37, 10 * part, out);
        }
        for row in 0..40 {
            for column in 0..37 {
                assert_eq!(out[column * 40 + row], source[row * 37 + column]);
            }
        }
    }
}
