//! Cross entropy with label smoothing.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, D, DType, Device, Layout, Result, Shape, Tensor};
use cpr_core::Real;

#[cfg(feature = "cuda")]
use super::fused;
use super::{
    element::{
        Element, Held, Place, WORKERS, count, dtype, for_float, gradient, narrow, output, place,
        view, wide,
    },
    error::{LayerError, range, shape},
    simd::{largest, sum, vectorized},
    softmax::rows_of,
};

const LAYER: &str = "cross entropy";

/// The mean over the rows of −Σⱼ qⱼ·ln pⱼ, with p = softmax(logits) and q = (1 − s)·[j = label] + s/C.
///
/// * `logits`: (…, C).
/// * `labels`: as many integers (u8, u32 or i64) in 0..C as there are rows, in the shape of `logits` without its last
///   dimension, or flat.
/// * `smoothing`: s in [0, 1]; 0 is plain cross entropy. Source: Szegedy et al., "Rethinking the Inception
///   Architecture", 2016, section 7, as PyTorch defines it.
///
/// The loss is a scalar of the type of the logits, for half precision of f32; on the CPU it is summed in f64. There must
/// be at least one row.
///
/// # Errors
/// For labels that are no class (on CUDA the loss is NaN instead) or not one for each row, `smoothing` outside its range, or half precision on the CPU.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let classes = logits.dim(D::Minus1)?;
    let rows = logits.elem_count() / classes.max(1);
    if labels.elem_count() != rows || rows == 0 {
        let expected = format!("one label for each of the {rows} rows, and at least one");
        return Err(shape(LAYER, "tensor of labels", labels.shape(), expected));
    }
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(range(LAYER, "smoothing", smoothing, "from 0 to 1"));
    }
    let labels = labels.flatten_all()?;
    let logits = logits.reshape((rows, classes))?;
    match place(LAYER, &logits, &[])? {
        Place::Cpu => {
            let labels = indices(&labels, classes)?;
            logits.contiguous()?.apply_op1(CrossEntropy {
                labels,
                smoothing,
                normalizers: OnceLock::new(),
            })
        }
        #[cfg(feature = "cuda")]
        Place::Composed if fused::takes(&logits) => {
            let labels = labels.to_device(logits.device())?.to_dtype(DType::U32)?;
            fused::cross_entropy(&logits, &labels, smoothing)?.mean_all()
        }
        Place::Composed => composed(&logits, &labels, smoothing),
    }
}

/// The same by candle's operations; half precision gives f32.
pub(super) fn composed(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let given = logits.dtype();
    let logits = if given == DType::F64 { logits.clone() } else { logits.to_dtype(DType::F32)? };
    let logarithms = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    let labels = labels.to_dtype(DType::U32)?.to_device(logits.device())?.unsqueeze(1)?;
    let label = (logarithms.gather(&labels, 1)?.mean_all()? * (smoothing - 1.0))?;
    let rest = (logarithms.mean_all()? * -smoothing)?;
    label + rest
}

/// The labels as places in a row.
fn indices(labels: &Tensor, classes: usize) -> Result<Vec<usize>> {
    let labels = labels.to_device(&Device::Cpu)?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    let places = labels.into_iter().enumerate().map(|(row, label)| {
        let place = usize::try_from(label).ok().filter(|&place| place < classes);
        place.ok_or_else(|| LayerError::Label { label, row, classes }.into())
    });
    places.collect()
}

#[derive(Debug)]
struct CrossEntropy {
    labels: Vec<usize>,
    smoothing: f64,
    /// Of each row the largest logit t and ln Σ e^(x − t), from the forward pass: apart, for their sum would lose what is
    /// left of the second where the fit is good.
    normalizers: OnceLock<Vec<[f64; 2]>>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, classes) = layout.shape().dims2()?;
        for_float!(LAYER, dtype(storage), T => {
            let logits = view::<T>(storage, layout)?;
            // Loss and normalizer.
            let mut outcomes = vec![(0.0, [0.0; 2]); rows];
            let length = rows_of(classes);
            WORKERS.for_each_chunk(&mut outcomes, length, |chunk, outcomes| {
                let first = chunk * length;
                let mut buffer = vec![<T as Real>::ZERO; classes];
                for (row, outcome) in (first..).zip(outcomes) {
                    let logits = &logits[row * classes..][..classes];
                    *outcome = self.row(logits, &mut buffer, self.labels[row]);
                }
            });
            let loss: f64 = outcomes.iter().map(|(loss, _)| loss).sum();
            // The operation is made anew for each call, so nothing was there.
            let _ = self.normalizers.set(outcomes.into_iter().map(|(_, norm)| norm).collect());
            Ok(output(vec![narrow::<T>(loss / count(rows))], &Shape::from(())))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, classes) = x.dims2()?;
        let normalizers = self.normalizers.get().map(Vec::as_slice).unwrap_or_default();
        let scale = grad.to_dtype(DType::F64)?.to_scalar::<f64>()? / count(rows);
        for_float!(LAYER, x.dtype(), T => {
            let mut dx = Held::new(x).slice::<T>()?.to_vec();
            let length = rows_of(classes);
            WORKERS.for_each_chunk(&mut dx, length * classes, |chunk, dx| {
                let rows = dx.chunks_exact_mut(classes).zip(&normalizers[chunk * length..]);
                for ((dx, &[top, log]), &label) in rows.zip(&self.labels[chunk * length..]) {
                    let uniform = self.smoothing / count(classes);
                    let at_label = (wide(dx[label]) - top) - log;
                    // p − q at the label is p − 1 + s − s/C; p − 1 would cancel where the fit is good.
                    let at_label = libm::expm1(at_label) + (self.smoothing - uniform);
                    let (top, log) = (narrow(top), narrow(log));
                    vectorized!(backward(dx, top, log, narrow(scale), narrow(uniform)));
                    dx[label] = narrow(scale * at_label);
                }
            });
            gradient(dx, x)
        })
    }
}

impl CrossEntropy {
    /// Loss and normalizer of a row.
    fn row<T: Element>(&self, logits: &[T], powers: &mut [T], label: usize) -> (f64, [f64; 2]) {
        let (largest, total, mean) = vectorized!(forward(logits, powers));
        let log = libm::log(total);
        // Differences first: they are exact where the loss is small.
        let top = wide(largest);
        let at_label = log + (top - wide(logits[label]));
        let loss = if self.smoothing > 0.0 {
            (1.0 - self.smoothing) * at_label + self.smoothing * (log + (top - mean))
        } else {
            at_label
        };
        (loss, [top, log])
    }
}

/// Largest logit, Σ e^(x − largest), and the mean of the logits.
#[inline(always)]
fn forward<T: Element>(logits: &[T], powers: &mut [T]) -> (T, f64, f64) {
    let top = largest(logits);
    for (power, &x) in powers.iter_mut().zip(logits) {
        *power = (x - top).exp_nonpositive();
    }
    (top, sum(powers, wide), sum(logits, wide) / count(logits.len()))
}

/// x becomes scale·(e^(x − top − log) − uniform).
#[inline(always)]
fn backward<T: Element>(dx: &mut [T], top: T, log: T, scale: T, uniform: T) {
    for x in dx {
        *x = ((*x - top - log).exp_nonpositive() - uniform) * scale;
    }
}
