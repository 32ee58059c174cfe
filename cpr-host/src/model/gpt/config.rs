//! Dimensions and parameters of the language model.

use std::ops::Range;

use crate::param::{LayoutError, ParamKind, ParamLayout};
use crate::random::{Random, Stream};
use cpr_core::Real;

/// Dimensions of a model; each at least 1, and `width` a multiple of `heads`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GptConfig {
    /// Number of tokens.
    pub vocabulary: usize,
    /// Longest sequence.
    pub context: usize,
    /// Blocks of attention and MLP.
    pub layers: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Width of the residual stream; the MLP is four times as wide.
    pub width: usize,
    /// Whether linear maps and normalizations have biases.
    pub bias: bool,
    /// Whether the head is the table of token embeddings.
    pub tied: bool,
    /// Share of activations that are dropped while training, in [0, 1).
    pub dropout: f64,
}

/// Why there is no such model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GptConfigError {
    /// A dimension of 0.
    #[error("{what} is 0: it must be at least 1")]
    Zero {
        /// Which.
        what: &'static str,
    },
    /// Heads of different widths.
    #[error("the width {width} is no multiple of the {heads} heads: choose one that is")]
    Heads {
        /// The width.
        width: usize,
        /// The heads.
        heads: usize,
    },
    /// A share outside [0, 1).
    #[error("dropout {given}: it must be in [0, 1)")]
    Dropout {
        /// The share.
        given: f64,
    },
    /// More parameters than fit into memory.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Places of the parameters in the layout, by their index.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) tokens: usize,
    pub(super) positions: usize,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: Norm,
    /// The table of tokens where it is tied.
    pub(super) head: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Norm {
    pub(super) weight: usize,
    pub(super) bias: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Linear {
    pub(super) weight: usize,
    pub(super) bias: Option<usize>,
    /// Width of its input.
    pub(super) inputs: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) norms: [Norm; 2],
    /// Queries, keys and values; the way out of attention; into the MLP; out of it.
    pub(super) linears: [Linear; 4],
}

impl GptConfig {
    /// The layout under nanoGPT's names, and where each parameter stands in it.
    pub(super) fn layout(self) -> Result<(ParamLayout, Places), GptConfigError> {
        let Self { vocabulary, context, layers, heads, width, bias, tied, dropout } = self;
        for (what, size) in [
            ("the vocabulary", vocabulary),
            ("the context", context),
            ("the number of layers", layers),
            ("the number of heads", heads),
            ("the width", width),
        ] {
            if size == 0 {
                return Err(GptConfigError::Zero { what });
            }
        }
        if !width.is_multiple_of(heads) {
            return Err(GptConfigError::Heads { width, heads });
        }
        if !(0.0..1.0).contains(&dropout) {
            return Err(GptConfigError::Dropout { given: dropout });
        }
        let mut declared: Vec<(String, Vec<usize>, ParamKind)> = Vec::new();
        let mut declare = |name: String, shape: Vec<usize>, kind| {
            declared.push((name, shape, kind));
            declared.len() - 1
        };
        let mut places = Places {
            tokens: declare(name("wte.weight"), vec![vocabulary, width], ParamKind::Embedding),
            positions: declare(name("wpe.weight"), vec![context, width], ParamKind::Embedding),
            ..Places::default()
        };
        for layer in 0..layers {
            let at = |part: &str| name(&format!("h.{layer}.{part}"));
            let mut norm = |part: &str| Norm {
                weight: declare(at(&format!("{part}.weight")), vec![width], ParamKind::Norm),
                bias: bias
                    .then(|| declare(at(&format!("{part}.bias")), vec![width], ParamKind::Norm)),
            };
            let norms = [norm("ln_1"), norm("ln_2")];
            let mut linear = |part: &str, outputs, inputs| Linear {
                weight: declare(
                    at(&format!("{part}.weight")),
                    vec![outputs, inputs],
                    ParamKind::Matrix,
                ),
                bias: bias
                    .then(|| declare(at(&format!("{part}.bias")), vec![outputs], ParamKind::Bias)),
                inputs,
            };
            let linears = [
                linear("attn.c_attn", 3 * width, width),
                linear("attn.c_proj", width, width),
                linear("mlp.c_fc", 4 * width, width),
                linear("mlp.c_proj", width, 4 * width),
            ];
            places.blocks.push(Block { norms, linears });
        }
        places.norm = Norm {
            weight: declare(name("ln_f.weight"), vec![width], ParamKind::Norm),
            bias: bias.then(|| declare(name("ln_f.bias"), vec![width], ParamKind::Norm)),
        };
        places.head = match tied {
            true => places.tokens,
            false => {
                declare("lm_head.weight".to_owned(), vec![vocabulary, width], ParamKind::Matrix)
            }
        };
        Ok((ParamLayout::new(declared)?, places))
    }

    /// Initial parameters: biases 0, normalizations 1, everything else normal with mean 0 and
    /// deviation 0.02, the ways out of attention and MLP 0.02/√(2·layers).
    ///
    /// Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, as in
    /// nanoGPT.
    pub(super) fn init<T: Real>(self, layout: &ParamLayout, seed: u64) -> Vec<T> {
        let mut params = vec![T::ZERO; layout.len()];
        for (index, param) in layout.params().iter().enumerate() {
            let values = &mut params[param.range.clone()];
            match param.kind {
                ParamKind::Matrix | ParamKind::Embedding => {
                    let residual = param.name.ends_with("c_proj.weight");
                    let share = if residual { 2.0 * self.layers as f64 } else { 1.0 };
                    Random::new(seed, Stream::Init, index as u64)
                        .fill_normal(0.02 / share.sqrt(), values);
                }
                ParamKind::Norm if param.name.ends_with("weight") => values.fill(T::ONE),
                ParamKind::Norm | ParamKind::Bias => {}
            }
        }
        params
    }
}

fn name(part: &str) -> String {
    format!("transformer.{part}")
}

/// The parameters of a flat buffer, by their index in the layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params<'a, T> {
    pub(super) values: &'a [T],
    pub(super) ranges: &'a [Range<usize>],
}

impl<'a, T> Params<'a, T> {
    pub(super) fn get(self, index: usize) -> &'a [T] {
        &self.values[self.ranges[index].clone()]
    }

    pub(super) fn maybe(self, index: Option<usize>) -> Option<&'a [T]> {
        index.map(|index| self.get(index))
    }
}
