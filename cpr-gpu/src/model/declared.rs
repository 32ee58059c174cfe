//! A model's parameters before there are any, and a model over tensors that are there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};
use cpr_core::Real;
use cpr_host::{
    param::{LayoutError, ParamLayout},
    random::{Random, Stream},
};

use super::store::initial;
use crate::grouping::kind;

/// A parameter as a model asks for it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    pub(super) init: Init,
}

/// The parameters of a model in the order in which `make` asks for them; none of them takes memory.
///
/// ```
/// use cpr_gpu::model::{Gpt2, Gpt2Config, declared};
/// let parameters = declared(|variables| Gpt2::new(Gpt2Config::xl(), variables))?;
/// assert_eq!(parameters[0].name, "transformer.wte.weight");
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of the model.
pub fn declared<M>(make: impl FnOnce(&VarBuilder<'_>) -> Result<M>) -> Result<Vec<Declared>> {
    let list = Recorder::default();
    let variables =
        VarBuilder::from_backend(Box::new(list.clone()), DType::F32, Device::Cpu.clone());
    make(&variables)?;
    let declared = list.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(declared)
}

/// Names, shapes and kinds of these parameters, in their order.
///
/// # Errors
/// [`LayoutError`].
pub fn layout(declared: &[Declared]) -> std::result::Result<ParamLayout, LayoutError> {
    ParamLayout::new(
        declared.iter().map(|Declared { name, shape, .. }| {
            (name.clone(), shape.clone(), kind(name, shape.len()))
        }),
    )
}

/// Their initial values, one after the other: those of a [`Store`](super::Store) of this seed, rounded to f32.
#[must_use]
pub fn start(declared: &[Declared], seed: u64) -> Vec<f32> {
    let mut values = Vec::new();
    for (place, Declared { shape, init, .. }) in (0..).zip(declared) {
        let random = Random::new(seed, Stream::Init, place);
        let own = initial(&Shape::from(shape.as_slice()), *init, random);
        values.extend(own.into_iter().map(<f32 as Real>::from_f64));
    }
    values
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Declared>>>);

impl SimpleBackend for Recorder {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let place = Tensor::zeros((), dtype, device)?.broadcast_as(&shape)?;
        let declared = Declared { name: name.to_owned(), shape: shape.into_dims(), init };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(declared);
        Ok(place)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(candle_core::Error::CannotFindTensor { path: name.to_owned() })
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

/// Where a model takes tensors that are there: variables, or what was computed of them.
///
/// # Errors
/// The model's, later, for a name that is not among them or has another shape.
pub fn over(
    tensors: impl IntoIterator<Item = (String, Tensor)>,
    dtype: DType,
    device: &Device,
) -> VarBuilder<'static> {
    let tensors = Named(tensors.into_iter().collect());
    VarBuilder::from_backend(Box::new(tensors), dtype, device.clone())
}

struct Named(BTreeMap<String, Tensor>);

impl SimpleBackend for Named {
    fn get(&self, shape: Shape, name: &str, _: Init, _: DType, _: &Device) -> Result<Tensor> {
        let missing = || candle_core::Error::CannotFindTensor { path: name.to_owned() };
        let tensor = self.0.get(name).ok_or_else(missing)?;
        if *tensor.shape() != shape {
            return Err(candle_core::Error::UnexpectedShape {
                msg: format!("the tensor `{name}`"),
                expected: shape,
                got: tensor.shape().clone(),
            });
        }
        Ok(tensor.clone())
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        let missing = || candle_core::Error::CannotFindTensor { path: name.to_owned() };
        self.0.get(name).cloned().ok_or_else(missing)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
