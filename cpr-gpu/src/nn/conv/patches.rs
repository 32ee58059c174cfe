//! Where a kernel reaches, and its patches as the columns of a matrix.

use std::ops::Range;

use candle_core::{Result, Shape};
use cpr_core::Real;

use crate::nn::{conv::Conv, element::Element};

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Geometry {
    pub(super) images: usize,
    pub(super) inputs: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) outputs: usize,
    pub(super) kernel: [usize; 2],
    pub(super) stride: usize,
    pub(super) padding: usize,
    /// Rows and columns of an output plane.
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Geometry {
    /// # Errors
    /// Where the shapes do not fit.
    pub(in crate::nn) fn new(x: &Shape, weight: &Shape, conv: Conv) -> Result<Self> {
        super::check(x, weight, conv)?;
        let (images, inputs, height, width) = x.dims4()?;
        let (outputs, _, kernel_rows, kernel_columns) = weight.dims4()?;
        let Conv { stride, padding } = conv;
        let places = |length: usize, kernel: usize| (length + 2 * padding - kernel) / stride + 1;
        Ok(Self {
            images,
            inputs,
            height,
            width,
            outputs,
            kernel: [kernel_rows, kernel_columns],
            stride,
            padding,
            rows: places(height, kernel_rows),
            columns: places(width, kernel_columns),
        })
    }

    pub(in crate::nn) fn output(self) -> Shape {
        Shape::from((self.images, self.outputs, self.rows, self.columns))
    }

    /// Rows and columns at the end that no kernel reaches.
    pub(super) const fn unreached(self) -> [usize; 2] {
        [
            (self.height + 2 * self.padding - self.kernel[0]) % self.stride,
            (self.width + 2 * self.padding - self.kernel[1]) % self.stride,
        ]
    }

    /// Elements of an input image.
    pub(super) const fn image(self) -> usize {
        self.inputs * self.input_plane()
    }

    /// Elements of an input plane.
    pub(super) const fn input_plane(self) -> usize {
        self.height * self.width
    }

    /// Elements of an output plane.
    pub(super) const fn plane(self) -> usize {
        self.rows * self.columns
    }

    /// Elements of the kernel of one input and one output.
    pub(super) const fn taps(self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Elements of a patch: of the kernel of one output.
    pub(in crate::nn) const fn patch(self) -> usize {
        self.inputs * self.taps()
    }

    /// Places of the kernel in all images.
    #[cfg(feature = "cuda")]
    pub(in crate::nn) const fn places(self) -> usize {
        self.images * self.plane()
    }

    /// (N, O, rows, columns).
    #[cfg(feature = "cuda")]
    pub(in crate::nn) const fn output_dims(self) -> [usize; 4] {
        [self.images, self.outputs, self.rows, self.columns]
    }

    /// The words of `Geometry` of kernels/layers.cu.
    #[cfg(feature = "cuda")]
    pub(in crate::nn) const fn words(self) -> [u64; 5] {
        const fn pair(low: usize, high: usize) -> u64 {
            low as u64 | (high as u64) << 32
        }
        let [rows, columns] = self.kernel;
        [
            pair(self.inputs, self.images),
            pair(self.height, self.width),
            pair(rows, columns),
            pair(self.rows, self.columns),
            pair(self.stride, self.padding),
        ]
    }

    /// Whether the patches are the image itself.
    pub(super) const fn is_pointwise(self) -> bool {
        self.taps() == 1 && self.stride == 1 && self.padding == 0
    }

    /// The outputs along a row for which tap `tap` lies inside, and where the first of them finds it.
    fn inside(self, tap: usize) -> (Range<usize>, usize) {
        let start = self.padding.saturating_sub(tap).div_ceil(self.stride).min(self.columns);
        // The last output x with x·s + tap − p < width.
        let end = match (self.width + self.padding).checked_sub(tap + 1) {
            Some(last) => (last / self.stride + 1).min(self.columns),
            None => 0,
        };
        let end = end.max(start);
        let first = (start * self.stride + tap).saturating_sub(self.padding);
        (start..end, first.min(self.width))
    }

    /// The input row that tap row `tap` of output row `row` lies on.
    fn input_row(self, row: usize, tap: usize) -> Option<usize> {
        (row * self.stride + tap).checked_sub(self.padding).filter(|&row| row < self.height)
    }

    /// Elements of a row with its padding.
    const fn padded_width(self) -> usize {
        self.width + 2 * self.padding
    }

    /// The rows of a padded plane that `rows` output rows reach at stride 1: zeros.
    fn padded<T: Element>(self, rows: usize) -> Vec<T> {
        vec![<T as Real>::ZERO; (rows + self.kernel[0] - 1) * self.padded_width()]
    }

    /// Lays out the patches of output rows `rows` of an image: row (i, kh, kw) of `out`, for the given input channels, is
    /// `stride` elements after the one before and holds one element for each output.
    #[inline(always)]
    pub(super) fn gather<T: Element>(
        self,
        image: &[T],
        channels: Range<usize>,
        rows: Range<usize>,
        out: &mut [T],
        stride: usize,
    ) {
        let zero = <T as Real>::ZERO;
        let mut lines = out.chunks_mut(stride);
        if self.stride == 1 {
            let mut padded = self.padded::<T>(rows.len());
            for channel in channels {
                let plane =
                    &image[channel * self.height * self.width..][..self.height * self.width];
                for (row, line) in padded.chunks_exact_mut(self.padded_width()).enumerate() {
                    let line = &mut line[self.padding..][..self.width];
                    match (rows.start + row).checked_sub(self.padding) {
                        Some(row) if row < self.height => {
                            line.copy_from_slice(&plane[row * self.width..][..self.width]);
                        }
                        _ => line.fill(zero),
                    }
                }
                for down in 0..self.kernel[0] {
                    for across in 0..self.kernel[1] {
                        let Some(line) = lines.next() else { return };
                        let line = &mut line[..rows.len() * self.columns];
                        let source = &padded[down * self.padded_width() + across..];
                        copy_rows(line, self.columns, source, self.padded_width());
                    }
                }
            }
            return;
        }
        for channel in channels {
            let plane = &image[channel * self.height * self.width..][..self.height * self.width];
            for down in 0..self.kernel[0] {
                for across in 0..self.kernel[1] {
                    let Some(line) = lines.next() else { return };
                    let (inside, first) = self.inside(across);
                    for (row, out) in rows.clone().zip(line.chunks_exact_mut(self.columns)) {
                        let Some(row) = self.input_row(row, down) else {
                            out.fill(zero);
                            continue;
                        };
                        out[..inside.start].fill(zero);
                        out[inside.end..].fill(zero);
                        let source = &plane[row * self.width..][..self.width];
                        let out = &mut out[inside.clone()];
                        let source = source[first..].iter();
                        for (out, &x) in out.iter_mut().zip(source.step_by(self.stride)) {
                            *out = x;
                        }
                    }
                }
            }
        }
    }

    /// Adds the elements of patches to the places that [`gather`](Self::gather) took them from.
    #[inline(always)]
    pub(super) fn scatter<T: Element>(
        self,
        patches: &[T],
        stride: usize,
        rows: Range<usize>,
        image: &mut [T],
    ) {
        let mut lines = patches.chunks(stride);
        if self.stride == 1 {
            let mut padded = self.padded::<T>(rows.len());
            for plane in image.chunks_exact_mut(self.height * self.width) {
                padded.fill(<T as Real>::ZERO);
                for down in 0..self.kernel[0] {
                    for across in 0..self.kernel[1] {
                        let Some(line) = lines.next() else { return };
                        let line = &line[..rows.len() * self.columns];
                        let target = &mut padded[down * self.padded_width() + across..];
                        add_rows(line, self.columns, target, self.padded_width());
                    }
                }
                for (row, line) in padded.chunks_exact(self.padded_width()).enumerate() {
                    let Some(row) = (rows.start + row).checked_sub(self.padding) else { continue };
                    if row < self.height {
                        let line = &line[self.padding..][..self.width];
                        let target = plane[row * self.width..][..self.width].iter_mut();
                        for (x, &sum) in target.zip(line) {
                            *x += sum;
                        }
                    }
                }
            }
            return;
        }
        for plane in image.chunks_exact_mut(self.height * self.width) {
            for down in 0..self.kernel[0] {
                for across in 0..self.kernel[1] {
                    let Some(line) = lines.next() else { return };
                    let (inside, first) = self.inside(across);
                    for (row, line) in rows.clone().zip(line.chunks_exact(self.columns)) {
                        let Some(row) = self.input_row(row, down) else { continue };
                        let target = &mut plane[row * self.width..][..self.width];
                        let line = &line[inside.clone()];
                        let target = target[first..].iter_mut();
                        for (x, &patch) in target.step_by(self.stride).zip(line) {
                            *x += patch;
                        }
                    }
                }
            }
        }
    }
}

/// Copies rows of `width` elements to `out` that begin `stride` elements apart in `source`.
#[inline(always)]
fn copy_rows<T: Copy>(out: &mut [T], width: usize, source: &[T], stride: usize) {
    // The usual widths as constants: calls of `memcpy` would cost more than the copies.
    match width {
        4 => copy_arrays::<T, 4>(out, source, stride),
        8 => copy_arrays::<T, 8>(out, source, stride),
        16 => copy_arrays::<T, 16>(out, source, stride),
        32 => copy_arrays::<T, 32>(out, source, stride),
        _ => {
            for (out, source) in out.chunks_exact_mut(width).zip(source.chunks(stride)) {
                out.copy_from_slice(&source[..width]);
            }
        }
    }
}

#[inline(always)]
fn copy_arrays<T: Copy, const N: usize>(out: &mut [T], source: &[T], stride: usize) {
    for (out, source) in out.as_chunks_mut::<N>().0.iter_mut().zip(source.chunks(stride)) {
        if let Some(source) = source.first_chunk::<N>() {
            *out = *source;
        }
    }
}

/// Adds rows of `width` elements to those that begin `stride` elements apart in `target`.
#[inline(always)]
fn add_rows<T: Element>(rows: &[T], width: usize, target: &mut [T], stride: usize) {
    match width {
        4 => add_arrays::<T, 4>(rows, target, stride),
        8 => add_arrays::<T, 8>(rows, target, stride),
        16 => add_arrays::<T, 16>(rows, target, stride),
        32 => add_arrays::<T, 32>(rows, target, stride),
        _ => {
            for (row, target) in rows.chunks_exact(width).zip(target.chunks_mut(stride)) {
                for (x, &patch) in target.iter_mut().zip(row) {
                    *x += patch;
                }
            }
        }
    }
}

#[inline(always)]
fn add_arrays<T: Element, const N: usize>(rows: &[T], target: &mut [T], stride: usize) {
    for (row, target) in rows.as_chunks::<N>().0.iter().zip(target.chunks_mut(stride)) {
        if let Some(target) = target.first_chunk_mut::<N>() {
            for lane in 0..N {
                target[lane] += row[lane];
            }
        }
    }
}
