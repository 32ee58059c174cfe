//! The transformer of modular addition in candle's operations, as `cpr_host::model::modular` defines it.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use cpr_host::{data::modular::Example, model::Outcome, model::modular::ModularConfig};

/// Examples of one pass of an evaluation: what its activations take stays small.
const CHUNK: usize = 2048;

/// The network over its variables.
///
/// Only operations with a right gradient are used. Softmax is composed of them, its maximum held constant, since it
/// cancels. The loss is taken in f64, as on the host, so that a good fit keeps its small gradient.
#[derive(Clone, Debug)]
pub struct Modular {
    config: ModularConfig,
    device: Device,
    tokens: Var,
    positions: Var,
    in_proj: Var,
    out_proj: Var,
    up: Var,
    up_bias: Var,
    down: Var,
    down_bias: Var,
    head: Var,
}

impl Modular {
    /// The network over the variables of the host's layout, in its order; none if there are more or fewer.
    #[must_use]
    pub fn new(config: ModularConfig, device: &Device, vars: &[Var]) -> Option<Self> {
        let [tokens, positions, in_proj, out_proj, up, up_bias, down, down_bias, head] =
            <&[Var; 9]>::try_from(vars).ok()?.clone();
        let device = device.clone();
        Some(Self {
            config,
            device,
            tokens,
            positions,
            in_proj,
            out_proj,
            up,
            up_bias,
            down,
            down_bias,
            head,
        })
    }

    /// Logits of the last position, [examples, p + 1]. Summands are below p.
    ///
    /// # Errors
    /// Those of candle.
    pub fn logits(&self, examples: &[Example]) -> Result<Tensor> {
        let (n, dim, heads) = (examples.len(), self.config.dim(), self.config.heads());
        let width = dim / heads;
        // Below 4096.
        let equals = u32::try_from(self.config.p()).unwrap_or_default();
        let ids: Vec<u32> =
            examples.iter().flat_map(|e| [u32::from(e.a), u32::from(e.b), equals]).collect();
        let ids = Tensor::from_vec(ids, 3 * n, &self.device)?;
        let x = self.tokens.index_select(&ids, 0)?.reshape((n, 3, dim))?;
        let x = x.broadcast_add(&self.positions)?;

        let last = x.narrow(1, 2, 1)?.reshape((n, dim))?;
        let query = last.matmul(&self.in_proj.narrow(0, 0, dim)?.t()?)?;
        let query = query.reshape((n, 1, heads, width))?;
        let rest = self.in_proj.narrow(0, dim, 2 * dim)?.t()?;
        let rest = x.reshape((3 * n, dim))?.matmul(&rest)?;
        let key = rest.narrow(1, 0, dim)?.reshape((n, 3, heads, width))?;
        let value = rest.narrow(1, dim, dim)?.reshape((n, 3, heads, width))?;

        // A width is far below 2⁵³.
        let scale = 1.0 / (width as f64).sqrt();
        let scores = (query.broadcast_mul(&key)?.sum_keepdim(3)? * scale)?;
        let powers = scores.broadcast_sub(&scores.max_keepdim(1)?.detach())?.exp()?;
        let weights = powers.broadcast_div(&powers.sum_keepdim(1)?)?;
        let mixed = weights.broadcast_mul(&value)?.sum(1)?.reshape((n, dim))?;

        let residual = (last + mixed.matmul(&self.out_proj.t()?)?)?;
        let hidden = residual.matmul(&self.up.t()?)?.broadcast_add(&self.up_bias)?.relu()?;
        let output = hidden.matmul(&self.down.t()?)?.broadcast_add(&self.down_bias)?;
        (residual + output)?.matmul(&self.head.t()?)
    }

    /// ln p of each label, [examples, 1] in f64.
    fn log_likelihood(&self, logits: &Tensor, examples: &[Example]) -> Result<Tensor> {
        let labels: Vec<u32> = examples.iter().map(|example| u32::from(example.label)).collect();
        let labels = Tensor::from_vec(labels, (examples.len(), 1), &self.device)?;
        let logits = logits.to_dtype(DType::F64)?;
        let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
        let norm = shifted.exp()?.sum_keepdim(1)?.log()?;
        shifted.gather(&labels, 1)? - norm
    }

    /// The mean loss over at least one example, a scalar in f64.
    ///
    /// # Errors
    /// Those of candle.
    pub fn loss(&self, examples: &[Example]) -> Result<Tensor> {
        let logits = self.logits(examples)?;
        let total = self.log_likelihood(&logits, examples)?.sum_all()?;
        // A batch is far below 2⁵³.
        total * (-1.0 / examples.len() as f64)
    }

    /// The loss over any number of examples, and how many have the largest logit at their label.
    ///
    /// # Errors
    /// Those of candle.
    pub fn evaluate(&self, examples: &[Example]) -> Result<Outcome> {
        let (mut total, mut correct) = (0.0, 0);
        for examples in examples.chunks(CHUNK) {
            let logits = self.logits(examples)?.detach();
            let likelihood = self.log_likelihood(&logits, examples)?.sum_all()?;
            total -= likelihood.to_scalar::<f64>()?;
            let predicted = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
            let labels = examples.iter().map(|example| u32::from(example.label));
            correct += predicted.into_iter().zip(labels).filter(|(p, label)| p == label).count();
        }
        Ok(Outcome { loss: total / examples.len() as f64, correct, count: examples.len() })
    }
}
