//! Max pooling.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::{
    element::{
        Element, Held, Place, WORKERS, dtype, for_float, gradient, output, place, view, zeros,
    },
    error::{range, shape},
};

const LAYER: &str = "max pooling";

/// Windows of a [`max_pool2d`]; the same along both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Side of a window; at least 1.
    pub kernel: usize,
    /// Distance of windows; at least 1.
    pub stride: usize,
    /// Rows and columns around the image that no maximum comes from; at most half of `kernel`.
    pub padding: usize,
}

impl Pool {
    /// Windows side by side.
    pub const fn tiles(kernel: usize) -> Self {
        Self { kernel, stride: kernel, padding: 0 }
    }

    /// Windows along an axis of `length`; none fits where it is shorter than a window.
    fn windows(self, length: usize) -> usize {
        let padded = length + 2 * self.padding;
        if padded < self.kernel { 0 } else { (padded - self.kernel) / self.stride + 1 }
    }

    /// The part of window number `index` that lies inside an axis of `length`.
    fn window(self, index: usize, length: usize) -> std::ops::Range<usize> {
        let start = index * self.stride;
        let end = (start + self.kernel).saturating_sub(self.padding).min(length);
        start.saturating_sub(self.padding).min(end)..end
    }
}

/// The largest value of each window: (N, C, H, W) to (N, C, ⌊(H + 2p − k)/s⌋ + 1, ⌊(W + 2p − k)/s⌋ + 1).
///
/// The gradient goes to the first of equal largest values. A window with NaN gives NaN. (Candle's own has a gradient
/// that is too small by k², and none for windows that overlap.)
///
/// # Errors
/// For images smaller than a window, windows out of range, or half precision on the CPU.
pub fn max_pool2d(x: &Tensor, pool: Pool) -> Result<Tensor> {
    let count = |value: usize| super::element::count(value);
    if pool.kernel == 0 {
        return Err(range(LAYER, "kernel", 0.0, "at least 1"));
    }
    if pool.stride == 0 {
        return Err(range(LAYER, "stride", 0.0, "at least 1"));
    }
    if 2 * pool.padding > pool.kernel {
        return Err(range(LAYER, "padding", count(pool.padding), "at most half of the kernel"));
    }
    let (_, _, height, width) = x.dims4()?;
    if pool.windows(height) == 0 || pool.windows(width) == 0 {
        let expected = format!("(N, C, H, W) with windows of {0}×{0} that fit", pool.kernel);
        return Err(shape(LAYER, "input", x.shape(), expected));
    }
    match place(LAYER, x, &[])? {
        Place::Cpu => x.contiguous()?.apply_op1(pool),
        Place::Composed => composed(x, pool),
    }
}

/// The same by candle's operations: each place of a window picked from all windows, and the largest of the places.
pub(super) fn composed(x: &Tensor, pool: Pool) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    // The nearest row inside is in the window as well: it changes no maximum.
    let picks = |length: usize, offset: usize| {
        let places = (0..pool.windows(length)).map(|index| {
            let place = (index * pool.stride + offset).saturating_sub(pool.padding);
            i64::try_from(place.min(length - 1)).unwrap_or(i64::MAX)
        });
        Tensor::from_iter(places, x.device())
    };
    let mut places = Vec::with_capacity(pool.kernel * pool.kernel);
    for row in 0..pool.kernel {
        let rows = x.index_select(&picks(height, row)?, 2)?;
        for column in 0..pool.kernel {
            places.push(rows.index_select(&picks(width, column)?, 3)?);
        }
    }
    let places = Tensor::stack(&places, 4)?;
    // A comparison in f32 keeps the order of half precision.
    let order = places.detach();
    let order = if x.dtype() == DType::F64 { order } else { order.to_dtype(DType::F32)? };
    places.gather(&order.argmax_keepdim(4)?, 4)?.squeeze(4)
}

/// Planes of an image, before and after.
#[derive(Clone, Copy)]
struct Planes {
    height: usize,
    width: usize,
    rows: usize,
    columns: usize,
}

impl Pool {
    fn planes(self, shape: &Shape) -> Result<Planes> {
        let (_, _, height, width) = shape.dims4()?;
        Ok(Planes { height, width, rows: self.windows(height), columns: self.windows(width) })
    }

    /// Calls `visit(window, place)` with the place of the largest value of every window of a plane.
    #[inline(always)]
    fn largest<T: Element>(self, x: &[T], planes: Planes, mut visit: impl FnMut(usize, usize)) {
        for row in 0..planes.rows {
            for column in 0..planes.columns {
                let across = self.window(column, planes.width);
                let down = self.window(row, planes.height);
                let mut best = down.start * planes.width + across.start;
                for y in down {
                    for place in y * planes.width + across.start..y * planes.width + across.end {
                        let known = x[best];
                        if x[place] > known || (x[place].is_nan() && !known.is_nan()) {
                            best = place;
                        }
                    }
                }
                visit(row * planes.columns + column, best);
            }
        }
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let planes = self.planes(layout.shape())?;
        let (images, channels, height, width) = layout.shape().dims4()?;
        let (before, after) = (height * width, planes.rows * planes.columns);
        for_float!(LAYER, dtype(storage), T => {
            let x = view::<T>(storage, layout)?;
            let mut y = zeros(images * channels * after);
            WORKERS.for_each_chunk(&mut y, channels * after, |image, y| {
                let x = x[image * channels * before..].chunks_exact(before);
                for (y, x) in y.chunks_exact_mut(after).zip(x) {
                    self.largest(x, planes, |window, place| y[window] = x[place]);
                }
            });
            let shape = Shape::from((images, channels, planes.rows, planes.columns));
            Ok(output(y, &shape))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let planes = self.planes(x.shape())?;
        let (_, channels, height, width) = x.dims4()?;
        let (before, after) = (height * width, planes.rows * planes.columns);
        for_float!(LAYER, x.dtype(), T => {
            let (held, held_grad) = (Held::new(x), Held::new(&grad));
            let (x_, grad) = (held.slice::<T>()?, held_grad.slice::<T>()?);
            let mut dx: Vec<T> = zeros(x_.len());
            WORKERS.for_each_chunk(&mut dx, channels * before, |image, dx| {
                let x = x_[image * channels * before..].chunks_exact(before);
                let grad = grad[image * channels * after..].chunks_exact(after);
                for ((dx, x), grad) in dx.chunks_exact_mut(before).zip(x).zip(grad) {
                    self.largest(x, planes, |window, place| dx[place] += grad[window]);
                }
            });
            gradient(dx, x)
        })
    }
}
