//! GPT-2, under Hugging Face's names.

mod pretrained;
mod recompute;

pub use pretrained::{Pretrained, PretrainedError, write};

use candle_core::{Module, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::nn::{
    Attention, Draw, Gelu, LayerNorm, Rotary, Weights, causal_attention, cross_entropy, dropout,
    embedding, gelu, linear,
};

/// Sizes and options of a [`Gpt2`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gpt2Config {
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream; a multiple of `heads`.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Longest sequence.
    pub context: usize,
    /// Number of tokens.
    pub vocabulary: usize,
    /// Share of each head that rotary positions turn, in [0, 1]; with 0 positions are learned (`wpe`), otherwise there
    /// is no `wpe`.
    pub rotary: f64,
    /// Probability of dropout after the embedding, on the attention's probabilities and at the end of both branches.
    pub dropout: f64,
    /// Biases in the affine maps and normalisations.
    pub bias: bool,
    /// The head is the token embedding (`wte`); otherwise it is `lm_head.weight`.
    pub tied: bool,
}

impl Gpt2Config {
    /// The paper's recipe at a size: context 1024, 50 257 tokens, rotary fraction 0.5, dropout 0.1, biases, tied head.
    pub const fn new(width: usize, layers: usize, heads: usize) -> Self {
        Self {
            layers,
            width,
            heads,
            context: 1024,
            vocabulary: 50_257,
            rotary: 0.5,
            dropout: 0.1,
            bias: true,
            tied: true,
        }
    }

    /// 124M: 768/12/12.
    pub const fn s() -> Self {
        Self::new(768, 12, 12)
    }

    /// 354M: 1024/24/16.
    pub const fn m() -> Self {
        Self::new(1024, 24, 16)
    }

    /// 773M: 1280/36/20.
    pub const fn l() -> Self {
        Self::new(1280, 36, 20)
    }

    /// 1600/36/25, the paper's largest.
    pub const fn xl() -> Self {
        Self::new(1600, 36, 25)
    }

    /// OpenAI's architecture, whose checkpoints fit: learned positions.
    #[must_use]
    pub const fn learned_positions(self) -> Self {
        Self { rotary: 0.0, ..self }
    }

    /// Number of parameters.
    pub fn parameters(self) -> usize {
        let Self { layers, width, context, vocabulary, bias, tied, rotary, .. } = self;
        // qkv, projection, both maps of the MLP; two normalisations.
        let biases = if bias { (3 + 1 + 4 + 1 + 2) * width } else { 0 };
        let block = 12 * width * width + biases + 2 * width;
        let embeddings = vocabulary * width * if tied { 1 } else { 2 };
        let positions = if rotary > 0.0 { 0 } else { context * width };
        let last = if bias { 2 * width } else { width };
        layers * block + embeddings + positions + last
    }

    /// # Errors
    /// Where a size is 0, the width is no multiple of the heads, or a share is out of range.
    fn check(self) -> Result<()> {
        let Self { layers, width, heads, context, vocabulary, rotary, dropout, .. } = self;
        let wrong = if [layers, width, heads, context, vocabulary].contains(&0) {
            "sizes must be at least 1"
        } else if width % heads != 0 {
            "the width must be a multiple of the heads"
        } else if !(0.0..=1.0).contains(&rotary) {
            "the rotary fraction must lie in [0, 1]"
        } else if rotary > 0.0 && Rotary::fraction(rotary, width / heads).is_none() {
            "the rotary fraction must turn at least a pair of a head's numbers"
        } else if !(0.0..1.0).contains(&dropout) {
            "dropout must be at least 0 and below 1"
        } else {
            return Ok(());
        };
        Err(candle_core::Error::msg(format!("gpt2: {wrong} (given: {self:?})")))
    }
}

/// A decoder of blocks x + attention(norm x), x + mlp(norm x), with GELU (tanh) in an MLP of four times the width.
///
/// Names and the orientation of weights are Hugging Face's: `transformer.h.0.attn.c_attn.weight` (inputs, outputs) and so
/// on, `lm_head.weight` where the head is not tied. q, k and v are one matrix, and so one group of an optimizer.
///
/// Weights start normal with deviation 0.02, those at the end of a branch with 0.02/√(2·layers); biases with 0.
///
/// Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
#[derive(Clone, Debug)]
pub struct Gpt2 {
    config: Gpt2Config,
    tokens: Tensor,
    positions: Option<Tensor>,
    blocks: Vec<Block>,
    last: LayerNorm,
    head: Option<Tensor>,
}

#[derive(Clone, Debug)]
struct Block {
    norms: [LayerNorm; 2],
    /// qkv, projection, and the two maps of the MLP.
    maps: [Map; 4],
}

/// An affine map in Hugging Face's orientation.
#[derive(Clone, Debug)]
struct Map {
    weight: Tensor,
    bias: Option<Tensor>,
}

const DEVIATION: f64 = 0.02;
const EPS: f64 = 1e-5;

const fn normal(stdev: f64) -> Init {
    Init::Randn { mean: 0.0, stdev }
}

impl Map {
    fn new(
        [inputs, outputs]: [usize; 2],
        deviation: f64,
        bias: bool,
        variables: &VarBuilder<'_>,
    ) -> Result<Self> {
        let weight = variables.get_with_hints((inputs, outputs), "weight", normal(deviation))?;
        let bias = if bias {
            Some(variables.get_with_hints(outputs, "bias", Init::Const(0.0))?)
        } else {
            None
        };
        Ok(Self { weight, bias })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, self.bias.as_ref(), Weights::InOut)
    }
}

impl Block {
    fn new(config: Gpt2Config, variables: &VarBuilder<'_>) -> Result<Self> {
        let Gpt2Config { layers, width, bias, .. } = config;
        let layers = f64::from(u32::try_from(layers).unwrap_or(u32::MAX));
        let end = DEVIATION / (2.0 * layers).sqrt();
        let norm = |name: &str| LayerNorm::new(width, EPS, bias, &variables.pp(name));
        let map = |name: &str, inputs: usize, outputs: usize, deviation: f64| {
            Map::new([inputs, outputs], deviation, bias, &variables.pp(name))
        };
        Ok(Self {
            norms: [norm("ln_1")?, norm("ln_2")?],
            maps: [
                map("attn.c_attn", width, 3 * width, DEVIATION)?,
                map("attn.c_proj", width, width, end)?,
                map("mlp.c_fc", width, 4 * width, DEVIATION)?,
                map("mlp.c_proj", 4 * width, width, end)?,
            ],
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        config: Gpt2Config,
        draw: Option<Draw>,
        layer: u32,
    ) -> Result<Tensor> {
        let [qkv, projection, wide, narrow] = &self.maps;
        let attention = Attention {
            heads: config.heads,
            rotary: Rotary::fraction(config.rotary, config.width / config.heads),
            dropout: draw.map(|draw| (config.dropout, draw, layer)),
        };
        let y = causal_attention(&qkv.forward(&self.norms[0].forward(x)?)?, attention)?;
        let x = (x + dropped(&projection.forward(&y)?, config, draw, layer + 1)?)?;
        let y = gelu(&wide.forward(&self.norms[1].forward(&x)?)?, Gelu::Tanh)?;
        x + dropped(&narrow.forward(&y)?, config, draw, layer + 2)?
    }
}

fn dropped(x: &Tensor, config: Gpt2Config, draw: Option<Draw>, layer: u32) -> Result<Tensor> {
    match draw {
        Some(draw) => dropout(x, config.dropout, draw, layer),
        None => Ok(x.clone()),
    }
}

impl Gpt2 {
    /// The network with its parameters from `variables`.
    ///
    /// # Errors
    /// For sizes and options out of range; those of the variables.
    pub fn new(config: Gpt2Config, variables: &VarBuilder<'_>) -> Result<Self> {
        config.check()?;
        let Gpt2Config { layers, width, context, vocabulary, rotary, bias, tied, .. } = config;
        let body = variables.pp("transformer");
        let embedding = |rows: usize, name: &str| {
            body.pp(name).get_with_hints((rows, width), "weight", normal(DEVIATION))
        };
        let tokens = embedding(vocabulary, "wte")?;
        let positions = if rotary > 0.0 { None } else { Some(embedding(context, "wpe")?) };
        let blocks = (0..layers)
            .map(|layer| Block::new(config, &body.pp("h").pp(layer)))
            .collect::<Result<Vec<_>>>()?;
        let last = LayerNorm::new(width, EPS, bias, &body.pp("ln_f"))?;
        let head = if tied {
            None
        } else {
            let head = variables.pp("lm_head");
            Some(head.get_with_hints((vocabulary, width), "weight", normal(DEVIATION))?)
        };
        Ok(Self { config, tokens, positions, blocks, last, head })
    }

    /// Its sizes and options.
    pub const fn config(&self) -> Gpt2Config {
        self.config
    }

    /// The logits (B, T, vocabulary) of tokens (B, T) of u32, T up to the context; dropout is drawn where `draw` says,
    /// and left out without it.
    ///
    /// # Errors
    /// For sequences longer than the context, or tokens beyond the vocabulary.
    pub fn forward(&self, tokens: &Tensor, draw: Option<Draw>) -> Result<Tensor> {
        let mut x = self.embed(tokens, draw)?;
        for layer in 0..self.blocks.len() {
            x = self.block(layer, &x, draw)?;
        }
        self.logits(&x)
    }

    /// What the first block takes.
    fn embed(&self, tokens: &Tensor, draw: Option<Draw>) -> Result<Tensor> {
        let (batch, length) = tokens.dims2()?;
        let Gpt2Config { context, width, .. } = self.config;
        if length > context {
            return Err(candle_core::Error::msg(format!(
                "gpt2: sequences of {length} tokens, but the context is {context}: cut them"
            )));
        }
        let x = embedding(&self.tokens, &tokens.flatten_all()?)?;
        let mut x = x.reshape((batch, length, width))?;
        if let Some(positions) = &self.positions {
            x = x.broadcast_add(&positions.narrow(0, 0, length)?)?;
        }
        // Each use of dropout has a number of its own.
        dropped(&x, self.config, draw, 0)
    }

    fn block(&self, layer: usize, x: &Tensor, draw: Option<Draw>) -> Result<Tensor> {
        let number = u32::try_from(1 + 3 * layer).unwrap_or(u32::MAX);
        self.blocks[layer].forward(x, self.config, draw, number)
    }

    fn logits(&self, x: &Tensor) -> Result<Tensor> {
        let head = self.head.as_ref().unwrap_or(&self.tokens);
        linear(&self.last.forward(x)?, head, None, Weights::OutIn)
    }

    /// The mean cross entropy of predicting `targets` (B, T) from `tokens`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); for targets beyond the vocabulary.
    pub fn loss(&self, tokens: &Tensor, targets: &Tensor, draw: Option<Draw>) -> Result<Tensor> {
        cross_entropy(&self.forward(tokens, draw)?, targets, 0.0)
    }
}
