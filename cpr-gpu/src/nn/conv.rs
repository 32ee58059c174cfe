//! Two-dimensional convolution without bias.

mod kernel;
mod patches;
mod winograd;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

pub(super) use self::{patches::Geometry, winograd::Scratch};
use super::{
    element::{Element, Held, Place, WORKERS, dtype, for_float, gradient, output, place, view},
    error::{range, shape},
};

const LAYER: &str = "conv2d";

/// How the kernel of a [`conv2d`] moves; the same along both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Distance of the outputs; at least 1.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub padding: usize,
}

impl Default for Conv {
    fn default() -> Self {
        Self { stride: 1, padding: 0 }
    }
}

/// Σ over channels and kernel of x·W: (N, I, H, W) and (O, I, kh, kw) to
/// (N, O, ⌊(H + 2p − kh)/s⌋ + 1, ⌊(W + 2p − kw)/s⌋ + 1).
///
/// On the CPU a kernel of 3×3 at stride 1 from 16 channels to 16 and more takes Winograd's form F(2×2, 3×3), which has fewer
/// multiplications and errors of the same size; of every other the patches of a few images or rows at a time are laid out and
/// multiplied. What is kept between the passes is x alone. On CUDA all patches are laid out, in f32; the other types are left
/// to candle.
///
/// Source of the form: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
///
/// # Errors
/// Where the shapes do not fit or have no channels, the stride is 0, or for half precision on the CPU.
pub fn conv2d(x: &Tensor, weight: &Tensor, conv: Conv) -> Result<Tensor> {
    let geometry = Geometry::new(x.shape(), weight.shape(), conv)?;
    match place(LAYER, x, &[weight])? {
        Place::Cpu => x.contiguous()?.apply_op2(&weight.contiguous()?, ConvOp { conv }),
        #[cfg(feature = "cuda")]
        Place::Composed if super::fused::takes_image(x, geometry.patch() * geometry.places()) => {
            super::fused::conv2d(x, weight, geometry)
        }
        Place::Composed => composed(x, weight, conv, geometry),
    }
}

/// The same by candle's operations.
pub(super) fn composed(
    x: &Tensor,
    weight: &Tensor,
    conv: Conv,
    geometry: Geometry,
) -> Result<Tensor> {
    // The gradient of candle's own takes the rows that no kernel reaches for those of the columns as well. Zeros at the
    // end make them equal, and change no output.
    let [down, right] = geometry.unreached();
    let most = down.max(right);
    let x = x.pad_with_zeros(2, 0, most - down)?.pad_with_zeros(3, 0, most - right)?;
    x.conv2d(weight, conv.padding, conv.stride, 1, 1)
}

#[derive(Debug)]
struct ConvOp {
    conv: Conv,
}

impl CustomOp2 for ConvOp {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let geometry = Geometry::new(layout.shape(), weight_layout.shape(), self.conv)?;
        for_float!(LAYER, dtype(x), T => {
            let (x, weight) = (view::<T>(x, layout)?, view::<T>(weight, weight_layout)?);
            let y = WORKERS.run(|| forward(geometry, x, weight));
            Ok(output(y, &geometry.output()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let geometry = Geometry::new(x.shape(), weight.shape(), self.conv)?;
        let grad = grad.contiguous()?;
        for_float!(LAYER, x.dtype(), T => {
            let (held, held_weight, held_grad) = (Held::new(x), Held::new(weight), Held::new(&grad));
            let (x_, w_, g_) = (held.slice::<T>()?, held_weight.slice()?, held_grad.slice()?);
            // Of the images themselves nobody wants a gradient.
            let asked = [x.track_op(), weight.track_op()];
            let [dx, dweight] = WORKERS.run(|| gradients(geometry, x_, w_, g_, asked));
            Ok((gradient(dx, x)?, gradient(dweight, weight)?))
        })
    }
}

/// (N, O, rows, columns) of x and (O, I, kh, kw).
pub(super) fn forward<T: Element>(geometry: Geometry, x: &[T], weight: &[T]) -> Vec<T> {
    if geometry.is_winograd() {
        winograd::forward(geometry, x, weight)
    } else {
        kernel::forward(geometry, x, weight)
    }
}

/// The gradients that are asked for, of the input and of the weights.
pub(super) fn gradients<T: Element>(
    geometry: Geometry,
    x: &[T],
    weight: &[T],
    grad: &[T],
    [of_input, of_weights]: [bool; 2],
) -> [Option<Vec<T>>; 2] {
    if !geometry.is_winograd() {
        let dx = of_input.then(|| kernel::input_gradient(geometry, weight, grad));
        return [dx, of_weights.then(|| kernel::weight_gradient(geometry, x, grad))];
    }
    if geometry.is_winograd_of_weights() {
        return winograd::backward(geometry, x, weight, grad, [of_input, of_weights]);
    }
    let [dx, _] = winograd::backward(geometry, x, weight, grad, [of_input, false]);
    [dx, of_weights.then(|| kernel::weight_gradient(geometry, x, grad))]
}

/// # Errors
/// Where no output exists.
fn check(x: &Shape, weight: &Shape, conv: Conv) -> Result<()> {
    if conv.stride == 0 {
        return Err(range(LAYER, "stride", 0.0, "at least 1"));
    }
    let (_, channels, height, width) = x.dims4()?;
    let (_, given, rows, columns) = weight.dims4()?;
    if given != channels || weight.elem_count() == 0 {
        let expected = format!("(O, {channels}, kh, kw), each at least 1");
        return Err(shape(LAYER, "weight", weight, expected));
    }
    if height + 2 * conv.padding < rows || width + 2 * conv.padding < columns {
        let expected = format!("(N, I, H, W) that holds a kernel of {rows}×{columns}");
        return Err(shape(LAYER, "input", x, expected));
    }
    Ok(())
}
