//! Named variables with seeded initial values.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::{Init, VarBuilder, init::NormalOrUniform, var_builder::SimpleBackend};
use cpr_host::random::{Random, Stream};

/// Variables by name, in the order in which a model made them.
///
/// As `candle_nn::VarMap`, but initial values are a function of the seed and of the place in that order, and the names
/// come in that order every time.
///
/// ```
/// use candle_core::{DType, Device};
/// use cpr_gpu::model::{Depth, ResNet, ResNetConfig, Store};
/// let store = Store::new(7);
/// let config = ResNetConfig { width: 8, ..ResNetConfig::new(Depth::D10, 10) };
/// let model = ResNet::new(config, &store.builder(DType::F32, &Device::Cpu))?;
/// assert_eq!(store.named()[0].0, "conv1.weight");
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    seed: u64,
    variables: Arc<Mutex<Vec<(String, Var)>>>,
}

impl Store {
    /// No variables yet; `seed` decides the initial values of those to come.
    pub fn new(seed: u64) -> Self {
        Self { seed, variables: Arc::default() }
    }

    /// Where a model takes its variables from: those that are not there yet are made.
    pub fn builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// All variables: for `Builder::from_named`.
    pub fn named(&self) -> Vec<(String, Var)> {
        self.lock().clone()
    }

    /// The variable of that name.
    pub fn get(&self, name: &str) -> Option<Var> {
        self.lock().iter().find(|(known, _)| known == name).map(|(_, var)| var.clone())
    }

    /// A list of handles is whole at any time: a panic elsewhere cannot have left it half written.
    fn lock(&self) -> MutexGuard<'_, Vec<(String, Var)>> {
        self.variables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleBackend for Store {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let mut variables = self.lock();
        if let Some((_, var)) = variables.iter().find(|(known, _)| known == name) {
            if *var.shape() != shape {
                return Err(candle_core::Error::UnexpectedShape {
                    msg: format!("the variable `{name}` exists already"),
                    expected: shape,
                    got: var.shape().clone(),
                });
            }
            return Ok(var.as_tensor().clone());
        }
        let place = variables.len() as u64;
        let random = Random::new(self.seed, Stream::Init, place);
        let values = initial(&shape, init, random);
        let var = Var::from_vec(values, shape, &Device::Cpu)?;
        // Rounded once, from f64.
        let var = Var::from_tensor(&var.to_dtype(dtype)?.to_device(device)?.detach())?;
        let tensor = var.as_tensor().clone();
        variables.push((name.to_owned(), var));
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        let missing = || candle_core::Error::CannotFindTensor { path: name.to_owned() };
        Store::get(self, name).map(|var| var.as_tensor().clone()).ok_or_else(missing)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        Store::get(self, name).is_some()
    }
}

/// Initial values of a shape, in f64.
pub(super) fn initial(shape: &Shape, init: Init, mut random: Random) -> Vec<f64> {
    let mut values = vec![0.0; shape.elem_count()];
    let uniform = |values: &mut [f64], low: f64, high: f64, random: &mut Random| {
        for value in values {
            *value = low + (high - low) * random.uniform();
        }
    };
    match init {
        Init::Const(value) => values.fill(value),
        Init::Randn { mean, stdev } => {
            random.fill_normal(stdev, &mut values);
            for value in &mut values {
                *value += mean;
            }
        }
        Init::Uniform { lo, up } => uniform(&mut values, lo, up, &mut random),
        Init::Kaiming { dist, fan, non_linearity } => {
            let fan = u32::try_from(fan.for_shape(shape)).unwrap_or(u32::MAX);
            let deviation = non_linearity.gain() / f64::from(fan.max(1)).sqrt();
            match dist {
                NormalOrUniform::Normal => random.fill_normal(deviation, &mut values),
                NormalOrUniform::Uniform => {
                    let bound = 3.0_f64.sqrt() * deviation;
                    uniform(&mut values, -bound, bound, &mut random);
                }
            }
        }
    }
    values
}
