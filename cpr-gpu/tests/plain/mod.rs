//! The host's models as a Candle user would write them: from tensor operations that have a backward.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{loss::cross_entropy, ops::softmax};
use cpr_core::Real;
use cpr_host::{model::gpt::GptConfig, param::ParamLayout};

/// Named variables.
pub(crate) type Vars = BTreeMap<String, Var>;

/// The parameters of a layout as variables.
pub(crate) fn vars<T: Real + candle_core::WithDType>(
    layout: &ParamLayout,
    theta: &[T],
) -> Result<Vars> {
    let vars = layout.params().iter().map(|param| {
        let values = &theta[param.range.clone()];
        let var = Var::from_slice(values, param.shape.as_slice(), &Device::Cpu)?;
        Ok((param.name.clone(), var))
    });
    vars.collect()
}

/// x·Wᵀ + b, b where there is one.
fn linear(vars: &Vars, name: &str, x: &Tensor) -> Result<Tensor> {
    let y = x.broadcast_matmul(&vars[&format!("{name}.weight")].t()?)?;
    match vars.get(&format!("{name}.bias")) {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// From basic operations: the fused one of `candle_nn` has no backward.
fn layer_norm(vars: &Vars, name: &str, x: &Tensor) -> Result<Tensor> {
    let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = x.sqr()?.mean_keepdim(D::Minus1)?;
    let x = x.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
    let y = x.broadcast_mul(&vars[&format!("{name}.weight")])?;
    match vars.get(&format!("{name}.bias")) {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// The mean loss of sequences whose last token is the target of the one before.
pub(crate) fn gpt_loss(
    config: GptConfig,
    vars: &Vars,
    batch: &[&[u16]],
    dtype: DType,
) -> Result<Tensor> {
    let (b, n) = (batch.len(), batch[0].len() - 1);
    let GptConfig { width, heads, layers, tied, .. } = config;
    let at = |part: &str| format!("transformer.{part}");
    let flat = |from: usize, to: usize| {
        let tokens: Vec<u32> =
            batch.iter().flat_map(|text| text[from..to].iter().map(|&t| u32::from(t))).collect();
        Tensor::from_vec(tokens, b * n, &Device::Cpu)
    };
    let (inputs, targets) = (flat(0, n)?, flat(1, n + 1)?);
    let embedded = vars[&at("wte.weight")].index_select(&inputs, 0)?.reshape((b, n, width))?;
    let mut x = embedded.broadcast_add(&vars[&at("wpe.weight")].narrow(0, 0, n)?)?;
    let hidden: Vec<f64> =
        (0..n * n).map(|at| if at % n > at / n { f64::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(hidden, (n, n), &Device::Cpu)?.to_dtype(dtype)?;
    for layer in 0..layers {
        let at = |part: &str| at(&format!("h.{layer}.{part}"));
        let normal = layer_norm(vars, &at("ln_1"), &x)?;
        let qkv = linear(vars, &at("attn.c_attn"), &normal)?;
        let head = |place: usize| {
            qkv.narrow(D::Minus1, place * width, width)?
                .reshape((b, n, heads, width / heads))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (q, k, v) = (head(0)?, head(1)?, head(2)?);
        let scores = (q.matmul(&k.t()?)? / ((width / heads) as f64).sqrt())?;
        let weights = softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
        let mixed = weights.matmul(&v)?.transpose(1, 2)?.reshape((b, n, width))?;
        x = (x + linear(vars, &at("attn.c_proj"), &mixed)?)?;
        let normal = layer_norm(vars, &at("ln_2"), &x)?;
        let hidden = linear(vars, &at("mlp.c_fc"), &normal)?.gelu()?;
        x = (x + linear(vars, &at("mlp.c_proj"), &hidden)?)?;
    }
    let x = layer_norm(vars, &at("ln_f"), &x)?;
    let head = if tied { at("wte.weight") } else { "lm_head.weight".to_owned() };
    let logits = x.broadcast_matmul(&vars[&head].t()?)?;
    cross_entropy(&logits.reshape((b * n, config.vocabulary))?, &targets)
}

/// The mean loss of a perceptron with as many linear maps as there are weights.
#[allow(dead_code, reason = "the bench has no perceptron")]
pub(crate) fn mlp_loss(vars: &Vars, inputs: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let count = vars.len() / 2;
    let mut x = inputs.clone();
    for layer in 0..count {
        x = linear(vars, &format!("layers.{layer}"), &x)?;
        if layer + 1 < count {
            x = x.relu()?;
        }
    }
    cross_entropy(&x, labels)
}
