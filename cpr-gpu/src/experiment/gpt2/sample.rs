//! Text from a checkpoint.

use std::path::Path;

use candle_core::{D, DType, Tensor};
use cpr_host::{
    checkpoint::Checkpoint,
    config::ExperimentConfig as _,
    experiment::lm::{Sampling, continued},
    parallel::Workers,
    train::TrainError,
};

use super::{Gpt2Keys, evaluated_on, settled};
use crate::{
    device::DeviceChoice,
    experiment::{OnDevice, corpus::tokenizer, failed},
    model::{Gpt2, declared, over},
};

/// Text that the network of a checkpoint makes, after its prompt; the data that it was trained on is not needed. The whole
/// context is computed for each token.
///
/// # Errors
/// [`TrainError`]: a checkpoint of another experiment or that does not fit, a prompt that is not of its alphabet.
pub fn sample(
    path: &Path,
    checkpoint: Checkpoint,
    how: &Sampling,
    workers: &Workers,
    device: DeviceChoice,
) -> Result<Vec<u8>, TrainError> {
    let Checkpoint { meta, mut tensors } = checkpoint;
    if meta.kind != Gpt2Keys::EXPERIMENT {
        return Err(TrainError::OtherExperiment {
            path: path.to_owned(),
            given: meta.kind,
            expected: Gpt2Keys::EXPERIMENT,
        });
    }
    let OnDevice { mut keys, .. } = OnDevice::<Gpt2Keys>::from_toml(&meta.config, path)?;
    let bad = || TrainError::BadMeta { path: path.to_owned(), field: "config" };
    let tokenizer = tokenizer(&keys.corpus).ok_or_else(bad)?;
    evaluated_on(device, &mut keys.precision);
    let device = device.open().map_err(TrainError::other)?;
    let dtype = settled(&mut keys.precision, &device)?;
    let config = keys.model(keys.corpus.vocabulary.ok_or_else(bad)?);
    let mut named = Vec::new();
    for parameter in declared(|variables| Gpt2::new(config, variables)).map_err(failed)? {
        let values = tensors.take_f32(&parameter.name, &parameter.shape)?;
        let tensor = Tensor::from_vec(values, parameter.shape, &device);
        named.push((parameter.name, tensor.and_then(|x| x.to_dtype(dtype)).map_err(failed)?));
    }
    let model = Gpt2::new(config, &over(named, dtype, &device)).map_err(failed)?;
    let next = |seen: &[u16]| {
        let forward = || {
            let seen: Vec<u32> = seen.iter().copied().map(u32::from).collect();
            let length = seen.len();
            let logits = model.forward(&Tensor::from_vec(seen, (1, length), &device)?, None)?;
            let last = logits.narrow(D::Minus2, length - 1, 1)?.flatten_all()?;
            last.to_dtype(DType::F32)?.to_vec1::<f32>()
        };
        let mut logits = workers.run(forward).map_err(failed)?;
        // A vocabulary may be padded: what is no token of the text is not drawn.
        logits.truncate(tokenizer.size());
        Ok(logits)
    };
    let tokens = continued(how, |text| tokenizer.encode(text), config.context, next)?;
    Ok(tokenizer.decode(&tokens))
}
