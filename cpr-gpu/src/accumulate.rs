//! Gradient accumulation over micro-batches.

use candle_core::{DType, Tensor, Var, backprop::GradStore};

use crate::Error;

/// Sums the gradients of several backward passes, to be stepped as one.
///
/// With k equal micro-batches whose losses are means, [`take`](Self::take) gives the gradient of the mean over all of
/// them: Σg/k. Gradients of bf16 and f16 variables are summed in f32, and stay in it. One pass alone passes through
/// unchanged, to the bit.
///
/// ```
/// use candle_core::{DType, Device, Var};
/// use cpr_gpu::Accumulator;
/// let var = Var::ones(2, DType::F32, &Device::Cpu)?;
/// let mut accumulator = Accumulator::new([&var]);
/// for factor in [1.0, 3.0] {
///     accumulator.add(&(var.as_tensor() * factor)?.sum_all()?.backward()?)?;
/// }
/// let grads = accumulator.take()?;
/// assert_eq!(grads.get(&var).unwrap().to_vec1::<f32>()?, [2.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Accumulator {
    vars: Vec<(Var, Option<Tensor>)>,
    count: u32,
}

impl Accumulator {
    /// For these variables; gradients of others are dropped.
    pub fn new<'a>(vars: impl IntoIterator<Item = &'a Var>) -> Self {
        Self { vars: vars.into_iter().map(|var| (var.clone(), None)).collect(), count: 0 }
    }

    /// Adds the gradients of one backward pass. A variable without one adds nothing.
    ///
    /// # Errors
    /// Those of candle, for gradients of another shape or device than before.
    pub fn add(&mut self, grads: &GradStore) -> Result<(), Error> {
        for (var, sum) in &mut self.vars {
            let Some(grad) = grads.get(var) else { continue };
            let grad = match grad.dtype() {
                DType::BF16 | DType::F16 => grad.to_dtype(DType::F32)?,
                _ => grad.clone(),
            };
            *sum = Some(match sum.take() {
                None => grad,
                Some(sum) => (sum + grad)?,
            });
        }
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// How many passes were added since the last [`take`](Self::take).
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The mean over the passes, and starts anew.
    ///
    /// # Errors
    /// Those of candle.
    pub fn take(&mut self) -> Result<GradStore, Error> {
        let mut grads = GradStore::default();
        for (var, sum) in &mut self.vars {
            let Some(sum) = sum.take() else { continue };
            let mean = if self.count > 1 { (sum / f64::from(self.count))? } else { sum };
            grads.insert(var, mean);
        }
        self.count = 0;
        Ok(grads)
    }
}
