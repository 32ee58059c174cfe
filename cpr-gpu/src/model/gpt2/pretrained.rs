//! Weights in Hugging Face's format, in and out.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use cpr_host::{
    data::DataError,
    run_folder::{make_folder, replace},
    store::Disk,
};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};

use super::{EPS, Gpt2Config};
use crate::model::{Declared, declared};

const WEIGHTS: &str = "model.safetensors";
/// What [`Pretrained`] is read from.
const WANTED: &str =
    "a GPT-2 as Hugging Face saves it: model.safetensors, or the folder that holds it";
const CONFIG: &str = "config.json";
const BODY: &str = "transformer.";
const HEAD: &str = "lm_head.weight";

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PretrainedError {
    /// The file cannot be read.
    #[error("{}: {source}; give {WANTED}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: candle_core::Error,
    },
    /// The file's configuration cannot be read.
    #[error("{}: {source}; it must be the config.json of the model", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is no GPT-2, or one that this model cannot be.
    #[error("{}: {what}: only GPT-2 as OpenAI published it (`GPT2LMHeadModel`) is read", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The folder cannot be written.
    #[error("{}: {source}; give a folder that can be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A GPT-2 that was trained elsewhere: sizes and weights.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// Sizes; positions are learned, dropout is 0.
    pub config: Gpt2Config,
    /// The weights in f32 under the names of [`Gpt2`](super::Gpt2), on the CPU.
    pub weights: HashMap<String, Tensor>,
}

impl Pretrained {
    /// The file of the weights: this one, or that in this folder.
    fn file(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(WEIGHTS) } else { path.to_owned() }
    }

    /// Looks whether the file that [`read`](Self::read) reads can be opened; it may be large.
    ///
    /// # Errors
    /// [`DataError::Read`].
    pub fn find(path: &Path) -> Result<(), DataError> {
        let path = Self::file(path);
        let next = format!("give {WANTED}");
        File::open(&path).map(drop).map_err(|source| DataError::Read { path, source, next })
    }

    /// Reads `model.safetensors` (f32, f16 or bf16), or the folder that holds it. Names are those of `GPT2LMHeadModel`, with
    /// or without `transformer.`; matrices have the orientation of its Conv1D, (inputs, outputs), which is this
    /// model's too. Masks that old files hold are left out. A head beside `wte` is taken for tied where it is equal.
    ///
    /// The number of heads stands in the `config.json` beside it; without one it is the width over 64, as in all
    /// published sizes.
    ///
    /// # Errors
    /// [`PretrainedError`] names the file, and what differs.
    pub fn read(path: &Path) -> Result<Self, PretrainedError> {
        let path = Self::file(path);
        let read = |source| PretrainedError::Read { path: path.clone(), source };
        let other = |what: String| PretrainedError::Other { path: path.clone(), what };
        let mut weights = HashMap::new();
        for (name, tensor) in candle_core::safetensors::load(&path, &Device::Cpu).map_err(read)? {
            let name = match name.strip_prefix(BODY) {
                Some(_) => name,
                None if name == HEAD => name,
                None => format!("{BODY}{name}"),
            };
            // Constants of the architecture.
            if !name.ends_with(".attn.bias") && !name.ends_with(".attn.masked_bias") {
                weights.insert(name, tensor.to_dtype(DType::F32).map_err(read)?);
            }
        }
        let size = |name: &str, dimension: usize| {
            let weight = weights.get(&format!("{BODY}{name}.weight"));
            let size = weight.and_then(|weight: &Tensor| weight.dims().get(dimension));
            size.copied().ok_or_else(|| other(format!("it has no matrix `{BODY}{name}.weight`")))
        };
        let (vocabulary, width, context) = (size("wte", 0)?, size("wte", 1)?, size("wpe", 0)?);
        let layers = (0..)
            .take_while(|layer| weights.contains_key(&format!("{BODY}h.{layer}.ln_1.weight")))
            .count();
        let config = path.with_file_name(CONFIG);
        let heads = if config.is_file() { heads(&config, layers)? } else { width / 64 };
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(other(format!("{heads} heads do not divide its width {width}")));
        }
        let equal = |head: &Tensor| -> candle_core::Result<bool> {
            let wte = &weights[&format!("{BODY}wte.weight")];
            Ok(head.dims() == wte.dims()
                && (head - wte)?.abs()?.max_all()?.to_scalar::<f32>()? == 0.0)
        };
        let tied = match weights.get(HEAD) {
            None => true,
            Some(head) => equal(head).map_err(read)?,
        };
        if tied {
            weights.remove(HEAD);
        }
        let bias = weights.contains_key(&format!("{BODY}h.0.attn.c_attn.bias"));
        let sizes = Gpt2Config {
            context,
            vocabulary,
            bias,
            tied,
            dropout: 0.0,
            ..Gpt2Config::new(width, layers, heads)
        };
        let config = sizes.learned_positions();
        let declared = declared(|variables| super::Gpt2::new(config, variables));
        for Declared { name, shape, .. } in &declared.map_err(read)? {
            match weights.get(name) {
                Some(weight) if weight.dims() == shape => {}
                Some(weight) => {
                    return Err(other(format!("`{name}` is {:?}, not {shape:?}", weight.dims())));
                }
                None => return Err(other(format!("it has no `{name}`"))),
            }
        }
        Ok(Self { config, weights })
    }
}

/// The number of heads in a config.json that says of everything else what this model does, which has that many layers.
fn heads(path: &Path, layers: usize) -> Result<usize, PretrainedError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| PretrainedError::Config {
        path: path.to_owned(),
        source,
    };
    let text = fs::read(path).map_err(|error| failed(error.into()))?;
    let config: Value = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    let usual = [
        ("activation_function", json!("gelu_new")),
        ("layer_norm_epsilon", json!(EPS)),
        ("scale_attn_weights", json!(true)),
        ("scale_attn_by_inverse_layer_idx", json!(false)),
        // Weights that lack one would be a shallower model.
        ("n_layer", json!(layers)),
    ];
    for (key, usual) in usual {
        if let Some(given) = config.get(key).filter(|&given| *given != usual) {
            let what = format!("its {key} is {given}, not {usual}");
            return Err(PretrainedError::Other { path: path.to_owned(), what });
        }
    }
    let heads = config.get("n_head").and_then(Value::as_u64);
    let heads = heads.and_then(|heads| usize::try_from(heads).ok());
    heads.ok_or_else(|| failed("it has no n_head".into()))
}

/// Writes weights as `GPT2LMHeadModel.from_pretrained` of Hugging Face's transformers reads them: a folder with
/// `model.safetensors` in f32 and `config.json`; it must not exist yet, and appears whole. Positions must be learned and
/// there must be biases, for that model has no other form.
///
/// # Errors
/// [`PretrainedError`].
pub fn write(
    folder: &Path,
    config: Gpt2Config,
    weights: &[(String, Tensor)],
) -> Result<(), PretrainedError> {
    if config.rotary > 0.0 || !config.bias {
        let what = "the model has rotary positions or no biases, which Hugging Face's GPT-2 cannot"
            .to_owned();
        return Err(PretrainedError::Other { path: folder.to_owned(), what });
    }
    let failed = |path: &Path, error: std::io::Error| written(path, Box::new(error));
    make_folder(folder, failed, |folder| fill(folder, config, weights))
}

fn written(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> PretrainedError {
    PretrainedError::Write { path: path.to_owned(), source }
}

/// Writes the two files.
fn fill(
    folder: &Path,
    config: Gpt2Config,
    weights: &[(String, Tensor)],
) -> Result<(), PretrainedError> {
    let failed = written;
    let path = folder.join(WEIGHTS);
    let bytes = weights.iter().map(|(name, weight)| {
        let values = weight.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        Ok((name.as_str(), weight.dims().to_vec(), bytes))
    });
    let bytes: candle_core::Result<Vec<_>> = bytes.collect();
    let bytes = bytes.map_err(|error| failed(&path, error.into()))?;
    let views = bytes.iter().map(|(name, shape, bytes)| {
        Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
    });
    let views: Result<Vec<_>, safetensors::SafeTensorError> = views.collect();
    let views = views.map_err(|error| failed(&path, error.into()))?;
    // Without it transformers refuses the file.
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = serialize(views, Some(about)).map_err(|error| failed(&path, error.into()))?;
    replace(&mut Disk, &path, &file).map_err(|error| failed(&path, error.into()))?;
    let Gpt2Config { layers, width, heads, context, vocabulary, tied, .. } = config;
    let about = json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": EPS,
        "n_embd": width,
        "n_head": heads,
        "n_layer": layers,
        "n_positions": context,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    });
    let path = folder.join(CONFIG);
    replace(&mut Disk, &path, format!("{about:#}\n").as_bytes())
        .map_err(|error| failed(&path, error.into()))
}
