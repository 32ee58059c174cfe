//! Layers on a CUDA device: the kernels of kernels/layers.cu as operations of candle, in f32 and bf16.
//!
//! Every function is the layer of its name with its arguments already checked. A pass allocates what it returns and
//! nothing else of that size; nothing waits for the device.

use std::{fmt, sync::Mutex};

use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp1, CustomOp2, CustomOp3, D, DType, Error, Layout,
    Result, Shape, Storage, Tensor, backend::BackendStorage as _,
};

use super::{
    attention::{Heads, Rotary},
    backward::handed,
    conv::Geometry,
    dropout::Mask,
    element::count,
};
use crate::kernel::{BLOCK, address, empty, fresh, run_layer};

/// Elements of a block of the element-wise kernels: SPAN of kernels/layers.cu.
const SPAN: usize = 4 * BLOCK;
/// Rows that a block sums: ROWS.
const ROWS: usize = 64;
/// Columns that the gradient of an embedding may have: WIDEST.
const WIDEST: usize = 4096;

/// Whether the kernels take a tensor of this type, device and size.
pub(super) fn takes(x: &Tensor) -> bool {
    x.device().is_cuda()
        && matches!(x.dtype(), DType::F32 | DType::BF16)
        && x.elem_count() > 0
        && u32::try_from(x.elem_count()).is_ok()
}

/// Whether they take this convolution or batch norm, which are for f32 alone, with `patches` elements between.
pub(super) fn takes_image(x: &Tensor, patches: usize) -> bool {
    takes(x) && x.dtype() == DType::F32 && u32::try_from(patches).is_ok()
}

/// Whether they take this embedding.
pub(super) fn takes_embedding(table: &Tensor) -> bool {
    takes(table) && table.dim(D::Minus1).is_ok_and(|columns| columns <= WIDEST)
}

type Gradients = Result<Vec<Option<Tensor>>>;
type Backward = Box<dyn Fn(&[&Tensor], &Tensor, &Tensor) -> Gradients + Send + Sync>;

/// An operation whose output was computed before candle asks for it.
struct Ready {
    name: &'static str,
    output: Mutex<Option<(CudaStorage, Shape)>>,
    /// From the arguments, the output and its gradient to the arguments' gradients.
    backward: Backward,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Ready {
    /// With a copy of a contiguous output: candle owns what it is given, and is to own it alone.
    fn new(
        name: &'static str,
        output: &Tensor,
        backward: impl Fn(&[&Tensor], &Tensor, &Tensor) -> Gradients + Send + Sync + 'static,
    ) -> Result<Self> {
        let (storage, layout) = output.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            return Err(Error::msg(format!("{name} on CUDA has an output on another device")));
        };
        let output = Mutex::new(Some((storage.try_clone(layout)?, output.shape().clone())));
        Ok(Self { name, output, backward: Box::new(backward) })
    }

    fn take(&self) -> Result<(CudaStorage, Shape)> {
        let mut output = self.output.lock().map_err(|_| Error::msg("a layer has panicked"))?;
        output.take().ok_or_else(|| Error::msg("the output of a layer is asked for twice"))
    }

    fn on_cpu<T>(&self) -> Result<T> {
        Err(Error::msg(format!("{} on CUDA was given a tensor of the CPU", self.name)))
    }

    fn gradients<const N: usize>(
        &self,
        arguments: [&Tensor; N],
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; N]> {
        let gradients = (self.backward)(&arguments, output, &grad.contiguous()?)?;
        let mut gradients: [Option<Tensor>; N] = gradients
            .try_into()
            .map_err(|_| Error::msg("a layer has another number of gradients"))?;
        for (gradient, argument) in gradients.iter_mut().zip(arguments) {
            if let Some(whole) = gradient.take() {
                *gradient = handed(argument, whole)?;
            }
        }
        Ok(gradients)
    }
}

impl CustomOp1 for Ready {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.take()
    }

    fn bwd(&self, a: &Tensor, output: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [gradient] = self.gradients([a], output, grad)?;
        Ok(gradient)
    }
}

impl CustomOp2 for Ready {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.take()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok(self.gradients([a, b], output, grad)?.into())
    }
}

impl CustomOp3 for Ready {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.take()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok(self.gradients([a, b, c], output, grad)?.into())
    }
}

/// A launch whose output, of this type and shape, is a new tensor with a gradient of its own.
struct Launch<'a> {
    name: &'static str,
    kernel: &'static str,
    /// Contiguous, of one device.
    arguments: &'a [&'a Tensor],
    output: (DType, Shape),
    blocks: usize,
}

impl Launch<'_> {
    /// `words` makes those of the kernel from the address of the output.
    fn run(
        self,
        words: impl FnOnce(u64) -> Result<Vec<u64>>,
        backward: impl Fn(&[&Tensor], &Tensor, &Tensor) -> Gradients + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let Self { name, kernel, arguments, output: (dtype, shape), blocks } = self;
        let [first, ..] = arguments else { return Err(Error::msg("a layer has no argument")) };
        let device = first.device().as_cuda_device()?;
        let (storage, at) = fresh(device, dtype, &shape)?;
        run_layer(device, &typed(kernel, first), blocks, &words(at)?)?;
        let output = Mutex::new(Some((storage, shape)));
        let ready = Ready { name, output, backward: Box::new(backward) };
        match arguments {
            [a] => a.apply_op1(ready),
            [a, b] => a.apply_op2(b, ready),
            [a, b, c] => a.apply_op3(b, c, ready),
            _ => Err(Error::msg("a layer has too many arguments")),
        }
    }
}

/// The name of a kernel for the type of a tensor.
fn typed(kernel: &str, x: &Tensor) -> String {
    let images = ["patches", "images"].contains(&kernel) || kernel.starts_with("batch");
    match x.dtype() {
        _ if images => kernel.to_owned(),
        DType::BF16 => format!("{kernel}_bf16"),
        _ => format!("{kernel}_f32"),
    }
}

/// A kernel of the backward pass.
fn launch(kernel: &str, x: &Tensor, blocks: usize, words: &[u64]) -> Result<()> {
    run_layer(device(x)?, &typed(kernel, x), blocks, words)
}

fn device(x: &Tensor) -> Result<&CudaDevice> {
    x.device().as_cuda_device()
}

fn like(x: &Tensor) -> Result<Tensor> {
    empty(x.shape(), x.dtype(), x.device())
}

fn rows_of(x: &Tensor) -> Result<(usize, usize)> {
    let columns = x.dim(D::Minus1)?;
    Ok((x.elem_count() / columns.max(1), columns))
}

/// Writes x, dropped in parts of `part` elements, into y, which may be x.
fn drop_into(y: &Tensor, x: &Tensor, mask: Mask, part: usize) -> Result<()> {
    let blocks = (x.elem_count().div_ceil(part) * part.div_ceil(16)).div_ceil(BLOCK);
    let counts = [x.elem_count() as u64, part as u64];
    let words = [&[address(x)?, address(y)?][..], &counts, &mask.words()].concat();
    launch("dropout", x, blocks, &words)
}

/// Dropout in parts of `part` elements.
pub(super) fn dropout(x: &Tensor, mask: Mask, part: usize) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let y = like(x)?;
    drop_into(&y, x, mask, part)?;
    let backward = move |_: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let dx = like(grad)?;
        drop_into(&dx, grad, mask, part)?;
        Ok(vec![Some(dx)])
    };
    x.apply_op1(Ready::new("dropout", &y, backward)?)
}

/// Causal attention, (B, T, 3·C) to (B, T, C). What is kept are q, k, v and the probabilities; their gradients overwrite
/// each other.
pub(super) fn attention(
    qkv: &Tensor,
    shape: Heads,
    rotary: Option<Rotary>,
    mask: Option<Mask>,
) -> Result<Tensor> {
    let qkv = &qkv.contiguous()?;
    let Heads { batch, length, heads, size } = shape;
    let rows = batch * heads * length;
    let factor = (1.0 / count(size).sqrt()).to_bits();
    let (dims, base) = rotary.map_or((0, 1.0), |rotary| (rotary.dims, rotary.base));
    let [sizes @ .., dims] = [batch, length, heads, size, dims].map(|size| size as u64);
    let sizes = [&sizes[..], &[dims, base.to_bits()]].concat();
    let blocks = qkv.elem_count().div_ceil(BLOCK);
    let parts = empty(&Shape::from((3, batch, heads, length, size)), qkv.dtype(), qkv.device())?;
    launch("split", qkv, blocks, &[&[address(qkv)?, address(&parts)?][..], &sizes].concat())?;
    let p = parts.get(0)?.matmul(&parts.get(1)?.t()?)?;
    launch("softmax_forward", &p, rows, &[address(&p)?, address(&p)?, length as u64, factor])?;
    let left = move |p: &Tensor| -> Result<Tensor> {
        let Some(mask) = mask else { return Ok(p.clone()) };
        let y = like(p)?;
        drop_into(&y, p, mask, length)?;
        Ok(y)
    };
    let y = left(&p)?.matmul(&parts.get(2)?)?.transpose(1, 2)?;
    let y = y.reshape((batch, length, heads * size))?;
    let backward = move |_: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let grad = grad.reshape((batch, length, heads, size))?.transpose(1, 2)?.contiguous()?;
        let dv = left(&p)?.t()?.matmul(&grad)?;
        let ds = grad.matmul(&parts.get(2)?.t()?)?;
        if let Some(mask) = mask {
            drop_into(&ds, &ds, mask, length)?;
        }
        let words = [address(&p)?, address(&ds)?, address(&ds)?, length as u64, factor];
        launch("softmax_backward", &p, rows, &words)?;
        let (dq, dk) = (ds.matmul(&parts.get(1)?)?, ds.t()?.matmul(&parts.get(0)?)?);
        let dqkv = empty(&Shape::from((batch, length, 3 * heads * size)), ds.dtype(), ds.device())?;
        let words =
            [&[address(&dq)?, address(&dk)?, address(&dv)?, address(&dqkv)?][..], &sizes].concat();
        launch("join", &ds, blocks, &words)?;
        Ok(vec![Some(dqkv)])
    };
    qkv.apply_op1(Ready::new("causal attention", &y, backward)?)
}

/// The losses of all rows, f32: logits (rows, classes), labels (rows) of u32.
pub(super) fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let (x, labels) = (&logits.contiguous()?, labels.contiguous()?);
    let (rows, classes) = rows_of(x)?;
    let (classes, smoothing) = (classes as u64, smoothing.to_bits());
    let output = (DType::F32, Shape::from(rows));
    let (name, kernel) = ("cross entropy", "entropy_forward");
    let at = address(&labels)?;
    Launch { name, kernel, arguments: &[x], output, blocks: rows }.run(
        |losses| Ok(vec![address(x)?, at, losses, classes, smoothing]),
        move |arguments, _, grad| {
            let (x, dx) = (arguments[0], like(arguments[0])?);
            let words =
                [address(x)?, address(&labels)?, address(grad)?, address(&dx)?, classes, smoothing];
            launch("entropy_backward", x, rows, &words)?;
            Ok(vec![Some(dx)])
        },
    )
}

/// Layer norm over the last dimension.
pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let (x, weight, bias) = (&x.contiguous()?, &weight.contiguous()?, &bias.contiguous()?);
    let (rows, columns) = rows_of(x)?;
    let eps = eps.to_bits();
    let output = (x.dtype(), x.shape().clone());
    let (name, kernel) = ("layer norm", "norm_forward");
    Launch { name, kernel, arguments: &[x, weight, bias], output, blocks: rows }.run(
        |y| Ok(vec![address(x)?, address(weight)?, address(bias)?, y, columns as u64, eps]),
        move |arguments, _, grad| {
            let (x, weight, dx) = (arguments[0], arguments[1], like(arguments[0])?);
            let statistics = empty(&Shape::from((rows, 2)), DType::F32, x.device())?;
            let at = address(&statistics)?;
            let words = [
                address(x)?,
                address(weight)?,
                address(grad)?,
                address(&dx)?,
                at,
                columns as u64,
                eps,
            ];
            launch("norm_backward", x, rows, &words)?;
            let chunks = rows.div_ceil(ROWS);
            let sums = empty(&Shape::from((chunks, 2, columns)), DType::F32, x.device())?;
            let words =
                [address(x)?, address(grad)?, at, address(&sums)?, rows as u64, columns as u64];
            launch("norm_columns", x, chunks, &words)?;
            let sums = sums.sum(0)?.to_dtype(weight.dtype())?;
            Ok(vec![Some(dx), Some(sums.get(0)?), Some(sums.get(1)?)])
        },
    )
}

/// x + bias over the last dimension.
pub(super) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (x, bias) = (&x.contiguous()?, &bias.contiguous()?);
    let (rows, columns) = rows_of(x)?;
    let output = (x.dtype(), x.shape().clone());
    let blocks = x.elem_count().div_ceil(SPAN);
    Launch { name: "bias", kernel: "bias", arguments: &[x, bias], output, blocks }.run(
        |y| Ok(vec![address(x)?, address(bias)?, y, x.elem_count() as u64, columns as u64]),
        move |arguments, _, grad| {
            let chunks = rows.div_ceil(ROWS);
            let sums = empty(&Shape::from((chunks, columns)), DType::F32, grad.device())?;
            let words = [address(grad)?, address(&sums)?, rows as u64, columns as u64];
            launch("columns", grad, chunks, &words)?;
            let dbias = sums.sum(0)?.to_dtype(arguments[1].dtype())?;
            Ok(vec![Some(grad.clone()), Some(dbias)])
        },
    )
}

/// Which element-wise function: `ActivationKind` of kernels/layers.cu.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    GeluTanh = 0,
    Relu = 1,
}

/// The function of every element.
pub(super) fn activation(x: &Tensor, function: Function) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let (elements, kind) = (x.elem_count() as u64, function as u64);
    let blocks = x.elem_count().div_ceil(SPAN);
    let output = (x.dtype(), x.shape().clone());
    let (name, kernel) = ("activation", "activation_forward");
    Launch { name, kernel, arguments: &[x], output, blocks }.run(
        |y| Ok(vec![address(x)?, y, elements, kind]),
        move |arguments, _, grad| {
            let (x, dx) = (arguments[0], like(arguments[0])?);
            let words = [address(x)?, address(grad)?, address(&dx)?, elements, kind];
            launch("activation_backward", x, blocks, &words)?;
            Ok(vec![Some(dx)])
        },
    )
}

/// The rows `ids` (places) of a table (rows, columns).
pub(super) fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let ids = ids.contiguous()?;
    let selected = table.detach().index_select(&ids, 0)?;
    let (rows, columns) = table.dims2()?;
    // Candle copies the rows as fast as anybody; what it lacks is the way back.
    let gradient = move |_: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let dx = empty(&Shape::from((rows, columns)), grad.dtype(), grad.device())?;
        let places = ids.elem_count() as u64;
        let words = [address(&ids)?, address(grad)?, address(&dx)?, places, columns as u64];
        launch("embedding_backward", grad, rows, &words)?;
        Ok(vec![Some(dx)])
    };
    table.apply_op1(Ready::new("embedding", &selected, gradient)?)
}

/// A convolution as the product of the kernel with the patches, which are laid out anew for the backward pass.
pub(super) fn conv2d(x: &Tensor, weight: &Tensor, geometry: Geometry) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let outputs = weight.dim(0)?;
    let patch = geometry.patch();
    let places = geometry.places();
    let [images, _, rows, columns] = geometry.output_dims();
    let lay = move |x: &Tensor| -> Result<Tensor> {
        let patches = empty(&Shape::from((patch, places)), DType::F32, x.device())?;
        let words = [&[address(x)?, address(&patches)?][..], &geometry.words()].concat();
        launch("patches", x, patch * places.div_ceil(SPAN), &words)?;
        Ok(patches)
    };
    // (O, N·rows·columns) to (N, O, rows, columns)
    let matrix = weight.detach().reshape((outputs, patch))?;
    let y = matrix.matmul(&lay(x)?)?.reshape((outputs, images, rows, columns))?;
    let y = y.transpose(0, 1)?.contiguous()?;
    let backward = move |arguments: &[&Tensor], _: &Tensor, grad: &Tensor| {
        let (x, weight) = (arguments[0], arguments[1]);
        let grad = grad.transpose(0, 1)?.contiguous()?.reshape((outputs, places))?;
        let dweight = match weight.track_op() {
            true => Some(grad.matmul(&lay(x)?.t()?)?.reshape(weight.shape())?),
            false => None,
        };
        // Of the images themselves nobody wants a gradient.
        let dx = match x.track_op() {
            true => {
                let matrix = weight.detach().reshape((outputs, patch))?;
                let patches = matrix.t()?.matmul(&grad)?;
                let dx = like(x)?;
                let words = [&[address(&patches)?, address(&dx)?][..], &geometry.words()].concat();
                launch("images", x, x.elem_count().div_ceil(BLOCK), &words)?;
                Some(dx)
            }
            false => None,
        };
        Ok(vec![dx, dweight])
    };
    x.apply_op2(weight, Ready::new("conv2d", &y, backward)?)
}

/// Batch norm in training, with the mean and the variance (over n) of each channel, (2, channels).
pub(super) fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let (x, weight, bias) = (&x.contiguous()?, &weight.contiguous()?, &bias.contiguous()?);
    let [images, channels, ..] = *x.dims() else { return Err(Error::msg("(N, C, …) is needed")) };
    let plane = x.elem_count() / (images * channels);
    let slices = slices(images * plane, channels);
    let sizes = [images, channels, plane, slices].map(|size| size as u64);
    let eps = [eps.to_bits()];
    let moments = empty(&Shape::from((2, channels)), DType::F32, x.device())?;
    let blocks = channels * slices;
    let sums = empty(&Shape::from((blocks, 2)), DType::F64, x.device())?;
    launch("batch_sums", x, blocks, &[&[address(x)?, address(&sums)?][..], &sizes].concat())?;
    let (at, held) = (address(&moments)?, moments.clone());
    let output = (DType::F32, x.shape().clone());
    let (name, kernel) = ("batch norm", "batch_forward");
    let forward = Launch { name, kernel, arguments: &[x, weight, bias], output, blocks };
    let y = forward.run(
        |y| {
            Ok([
                &[address(x)?, address(weight)?, address(bias)?, y, at, address(&sums)?][..],
                &sizes,
                &eps,
            ]
            .concat())
        },
        move |arguments, _, grad| {
            let (x, weight, dx) = (arguments[0], arguments[1], like(arguments[0])?);
            let sums = empty(&Shape::from((blocks, 2)), DType::F64, x.device())?;
            let own = empty(&Shape::from((2, channels)), DType::F32, x.device())?;
            let given = [address(x)?, address(grad)?, address(&held)?, address(&sums)?];
            launch("batch_gradient_sums", x, blocks, &[&given[..], &sizes, &eps].concat())?;
            let given =
                [address(x)?, address(weight)?, address(grad)?, address(&held)?, address(&sums)?];
            let made = [address(&dx)?, address(&own)?];
            launch("batch_backward", x, blocks, &[&given[..], &made, &sizes, &eps].concat())?;
            Ok(vec![Some(dx), Some(own.get(0)?), Some(own.get(1)?)])
        },
    )?;
    Ok((y, moments))
}

/// Parts of the values of each channel: enough blocks for a large device, none with less than what its threads are worth.
fn slices(values: usize, channels: usize) -> usize {
    const ENOUGH: usize = 1024;
    ENOUGH.div_ceil(channels).min(values.div_ceil(4 * BLOCK)).max(1)
}
