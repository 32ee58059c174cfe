//! Candle's backward pass, without the zeros that it adds a variable's first gradient to.

use std::{cell::RefCell, collections::HashMap};

use candle_core::{Result, Tensor, TensorId, backprop::GradStore};

/// Gradients of variables, as the layers of this crate hand them over.
type Gradients = HashMap<TensorId, Tensor>;

thread_local! {
    /// Those of the pass that runs on this thread, if it is one of [`backward`].
    static HANDED: RefCell<Option<Gradients>> = const { RefCell::new(None) };
}

/// Ends a pass however it ends.
struct Pass {
    before: Option<Gradients>,
}

impl Pass {
    fn begin() -> Self {
        Self { before: HANDED.replace(Some(Gradients::new())) }
    }

    fn handed(&self) -> Gradients {
        HANDED.take().unwrap_or_default()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        HANDED.set(self.before.take());
    }
}

/// `loss.backward()`, faster: the same gradients of every variable that `loss` comes from.
///
/// Candle makes zeros for each variable and adds its gradient to a copy of them, three times the memory and five times the
/// traffic of the gradient itself. Here the layers of [`nn`](crate::nn) hand the gradients of variables over as they are; what
/// other operations add to the same variable is added afterwards. `loss` is as for candle: any shape, each element with
/// the weight 1.
///
/// # Errors
/// Those of the operations.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let pass = Pass::begin();
    let mut grads = loss.backward()?;
    for (id, grad) in pass.handed() {
        let grad = match grads.get_id(id) {
            Some(other) => other.add(&grad)?.detach(),
            None => grad,
        };
        grads.insert_id(id, grad);
    }
    Ok(grads)
}

/// What the backward function of a layer returns for an argument with this gradient: nothing, where [`backward`] runs and takes
/// it already.
pub(super) fn handed(argument: &Tensor, grad: Tensor) -> Result<Option<Tensor>> {
    HANDED.with_borrow_mut(|handed| match handed {
        Some(handed) if argument.is_variable() => {
            let sum = match handed.get(&argument.id()) {
                Some(before) => before.add(&grad)?,
                None => grad,
            };
            handed.insert(argument.id(), sum);
            Ok(None)
        }
        _ => Ok(Some(grad)),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Var};

    use super::*;
    use crate::nn::{Weights, layer_norm, linear};

    fn variable(values: &[f64], shape: &[usize]) -> Var {
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        Var::from_tensor(&tensor).unwrap()
    }

    /// A variable of one layer, of two layers, of a layer and an operation of candle's, of such an operation alone, and one
    /// that nothing comes from.
    #[test]
    fn the_gradients_are_those_of_candle() {
        let x = variable(&[0.5, -1.0, 2.0, 0.25, -0.75, 1.5], &[3, 2]);
        let weight = variable(&[1.0, -2.0, 0.5, 3.0], &[2, 2]);
        let bias = variable(&[0.25, -0.5], &[2]);
        let scale = variable(&[1.5, 0.75], &[2]);
        let unused = variable(&[1.0], &[1]);
        let loss = || -> Result<Tensor> {
            let y = linear(&x, &weight, Some(&bias), Weights::OutIn)?;
            let y =
                layer_norm(&linear(&y, &weight, None, Weights::InOut)?, &scale, Some(&bias), 1e-5)?;
            (y.broadcast_mul(&scale)? + x.as_tensor().sqr()?)?.sqr()?.sum_all()
        };
        let expected = loss().unwrap().backward().unwrap();
        let grads = backward(&loss().unwrap()).unwrap();
        for var in [&x, &weight, &bias, &scale] {
            let [grad, expected] =
                [&grads, &expected].map(|grads| grads.get(var).unwrap().flatten_all().unwrap());
            assert_eq!(grad.to_vec1::<f64>().unwrap(), expected.to_vec1::<f64>().unwrap());
            assert!(!grad.track_op());
        }
        assert!(grads.get(&unused).is_none());
        // What was handed over is gone with its pass, and candle's own pass does not hand over.
        assert!(HANDED.with_borrow(Option::is_none));
        assert!(loss().unwrap().backward().unwrap().get(&weight).is_some());
    }

    /// What has no gradient: `bwd` of a custom operation is an error unless it is written.
    struct Opaque;

    impl CustomOp1 for Opaque {
        fn name(&self) -> &'static str {
            "opaque"
        }

        fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
            Ok((CpuStorage::F64(vec![1.0]), Shape::from(1)))
        }
    }

    /// A pass that fails half-way leaves nothing to the next.
    #[test]
    fn a_pass_that_fails_ends() {
        let x = variable(&[1.0, 2.0], &[1, 2]);
        let weight = variable(&[1.0, 2.0], &[1, 2]);
        let y = linear(&x, &weight, None, Weights::OutIn).unwrap();
        let opaque = y.flatten_all().unwrap().apply_op1(Opaque).unwrap();
        let handed_before = linear(&x, &weight, None, Weights::OutIn).unwrap().flatten_all();
        let loss = opaque + handed_before.unwrap();
        assert!(backward(&loss.unwrap()).is_err());
        assert!(HANDED.with_borrow(Option::is_none));
        assert!(backward(&y).unwrap().get(&weight).is_some());
    }
}
