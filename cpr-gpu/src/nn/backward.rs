//! Candle's backward pass, without the zeros that it adds a variable's first gradient to.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use candle_core::{Result, Tensor, TensorId, backprop::GradStore};

/// A pass of [`backward`].
#[derive(Debug)]
struct Pass {
    /// The variables that its loss comes from.
    variables: HashSet<TensorId>,
    /// Those of their gradients that layers of this crate have handed over.
    gradients: HashMap<TensorId, Tensor>,
}

thread_local! {
    /// That which runs on this thread.
    static PASS: RefCell<Option<Pass>> = const { RefCell::new(None) };
}

/// Puts the pass before back, however this one ends.
struct Restore {
    before: Option<Pass>,
}

impl Drop for Restore {
    fn drop(&mut self) {
        PASS.set(self.before.take());
    }
}

/// `loss.backward()`, faster: the gradient of every variable that `loss` comes from.
///
/// Candle makes zeros for each variable and adds its gradient to them, three times the memory and five times the traffic of the
/// gradient itself. Here the layers of [`nn`](crate::nn) hand the gradients of variables over as they are; what other
/// operations add to the same variable is added afterwards, so that a sum of three terms and more may differ from candle's in its
/// last bits. `loss` is as for candle: of any shape, each element with the weight 1.
///
/// A `loss.backward()` of candle's own that runs *inside* this pass on the same thread, such as in the `bwd` of an
/// operation that computes its part anew, must not meet the same variables: call this function there too.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use cpr_gpu::nn::{Weights, backward, linear};
///
/// let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// let weight = Var::new(&[[0.5_f32, -1.0]], &Device::Cpu)?;
/// let gradients = backward(&linear(&x, &weight, None, Weights::OutIn)?)?;
/// assert_eq!(gradients.get(&weight).unwrap().to_vec2::<f32>()?, [[1.0, 2.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of the operations.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let variables = loss.sorted_nodes().into_iter().filter(|node| node.is_variable());
    let variables = variables.map(Tensor::id).collect();
    let before = PASS.replace(Some(Pass { variables, gradients: HashMap::new() }));
    let _restore = Restore { before };
    let mut grads = loss.backward()?;
    let handed = PASS.take().map(|pass| pass.gradients).unwrap_or_default();
    for (id, grad) in handed {
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
    PASS.with_borrow_mut(|pass| match pass {
        Some(Pass { variables, gradients }) if variables.contains(&argument.id()) => {
            let sum = match gradients.get(&argument.id()) {
                Some(before) => before.add(&grad)?,
                None => grad,
            };
            gradients.insert(argument.id(), sum);
            Ok(None)
        }
        _ => Ok(Some(grad)),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{
        CpuStorage, CustomOp1, Device, Layout, Shape, Var, backend::BackendStorage as _,
    };

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
        assert!(PASS.with_borrow(Option::is_none));
        assert!(loss().unwrap().backward().unwrap().get(&weight).is_some());
    }

    /// A loss of its own, inside another pass: as an operation that computes its part anew.
    struct Inside(Var);

    impl CustomOp1 for Inside {
        fn name(&self) -> &'static str {
            "inside"
        }

        fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            Ok((storage.try_clone(layout)?, layout.shape().clone()))
        }

        fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
            for pass in [Tensor::backward, backward] {
                let own = pass(&linear(&x.detach(), &self.0, None, Weights::OutIn)?)?;
                let own = own.get(&self.0).unwrap().flatten_all()?.to_vec1::<f64>()?;
                assert_eq!(own, x.flatten_all()?.to_vec1::<f64>()?);
            }
            Ok(Some(grad.clone()))
        }
    }

    #[test]
    fn a_pass_inside_a_pass_keeps_its_gradients() {
        let weight = variable(&[2.0, -1.0], &[2, 1]);
        let inner = variable(&[0.5, 0.25], &[1, 2]);
        let x = Tensor::new(&[[3.0_f64]], &Device::Cpu).unwrap();
        let y = linear(&x, &weight, None, Weights::OutIn).unwrap();
        let grads = backward(&y.apply_op1(Inside(inner.clone())).unwrap()).unwrap();
        let grad = grads.get(&weight).unwrap().flatten_all().unwrap();
        assert_eq!(grad.to_vec1::<f64>().unwrap(), [3.0, 3.0]);
        assert!(grads.get(&inner).is_none());
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
        assert!(PASS.with_borrow(Option::is_none));
        assert!(backward(&y).unwrap().get(&weight).is_some());
    }
}
