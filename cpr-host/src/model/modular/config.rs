//! The sizes of the model, and the place of each parameter in the flat buffer.

use std::mem::take;

use crate::data::modular::ModularAddition;
use crate::param::{ParamKind, ParamLayout};

/// The length of a sequence: a, b, =.
pub(super) const POSITIONS: usize = 3;

/// The sizes of a [`ModularTransformer`](super::ModularTransformer), checked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModularConfig {
    p: usize,
    dim: usize,
    heads: usize,
    mlp_ratio: usize,
}

/// Which size is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModularConfigError {
    /// A size is 0 or too large.
    #[error("{name} = {given}: choose a value from 1 to {limit}")]
    Size {
        /// `p`, `dim` or `mlp_ratio`.
        name: &'static str,
        /// The value given.
        given: usize,
        /// The largest value.
        limit: usize,
    },
    /// The heads do not share the dimensions evenly.
    #[error("heads = {heads}: choose a divisor of dim = {dim}")]
    Heads {
        /// The number of heads given.
        heads: usize,
        /// The dimension given.
        dim: usize,
    },
}

impl ModularConfig {
    /// The largest dimension.
    pub const MAX_DIM: usize = 8192;
    /// The largest ratio of hidden to model dimension.
    pub const MAX_MLP_RATIO: usize = 64;

    /// Addition modulo `p` in 1..=[`ModularAddition::MAX_MODULUS`], with `dim` in
    /// 1..=[`MAX_DIM`](Self::MAX_DIM), `heads` a divisor of `dim`, and `mlp_ratio`·`dim` hidden
    /// units with `mlp_ratio` in 1..=[`MAX_MLP_RATIO`](Self::MAX_MLP_RATIO).
    ///
    /// # Errors
    ///
    /// A size outside its range.
    pub fn new(
        p: usize,
        dim: usize,
        heads: usize,
        mlp_ratio: usize,
    ) -> Result<Self, ModularConfigError> {
        let limits = [
            ("p", p, ModularAddition::MAX_MODULUS),
            ("dim", dim, Self::MAX_DIM),
            ("mlp_ratio", mlp_ratio, Self::MAX_MLP_RATIO),
        ];
        for (name, given, limit) in limits {
            if !(1..=limit).contains(&given) {
                return Err(ModularConfigError::Size { name, given, limit });
            }
        }
        if heads == 0 || !dim.is_multiple_of(heads) {
            return Err(ModularConfigError::Heads { heads, dim });
        }
        Ok(Self { p, dim, heads, mlp_ratio })
    }

    /// The modulus.
    pub fn p(&self) -> usize {
        self.p
    }

    /// The dimension of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of attention heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Hidden units for each dimension of a row.
    pub fn mlp_ratio(&self) -> usize {
        self.mlp_ratio
    }

    /// The number of hidden units.
    pub(super) fn hidden(&self) -> usize {
        self.mlp_ratio * self.dim
    }

    /// The dimension of a head.
    pub(super) fn head_dim(&self) -> usize {
        self.dim / self.heads
    }

    /// Rows of the embeddings: p numbers, `=`, and the positions.
    pub(super) fn embeddings(&self) -> usize {
        self.p + 1 + POSITIONS
    }

    /// The parameters by their published names, in their published order.
    pub(super) fn layout(&self) -> ParamLayout {
        use ParamKind::{Bias, Embedding, Matrix};
        let Self { p, dim, .. } = *self;
        let hidden = self.hidden();
        let declared = [
            ("token_embeddings.weight", vec![p + 1, dim], Embedding),
            ("position_embeddings.weight", vec![POSITIONS, dim], Embedding),
            ("layers.0.attn.in_proj_weight", vec![3 * dim, dim], Matrix),
            ("layers.0.attn.out_proj.weight", vec![dim, dim], Matrix),
            ("layers.0.mlp.0.weight", vec![hidden, dim], Matrix),
            ("layers.0.mlp.0.bias", vec![hidden], Bias),
            ("layers.0.mlp.2.weight", vec![dim, hidden], Matrix),
            ("layers.0.mlp.2.bias", vec![dim], Bias),
            ("head.weight", vec![p + 1, dim], Matrix),
        ];
        // The names differ and the sizes are within their limits, so no declaration is refused.
        ParamLayout::new(declared).unwrap_or_default()
    }

    /// The lengths of the parts that the step works with, in the order of the layout: token and
    /// position embeddings are one table, the input projection is three matrices.
    fn parts(&self) -> [usize; 10] {
        let Self { p, dim, .. } = *self;
        let [square, wide] = [dim * dim, self.hidden() * dim];
        let embeddings = self.embeddings() * dim;
        let head = (p + 1) * dim;
        [embeddings, square, square, square, square, wide, self.hidden(), wide, dim, head]
    }
}

impl Default for ModularConfig {
    /// The published size: p = 113, dim 128, 4 heads, MLP 4×128.
    fn default() -> Self {
        Self { p: 113, dim: 128, heads: 4, mlp_ratio: 4 }
    }
}

/// The rows of the embeddings whose sum is the last row of every sequence: `=` and position 2.
pub(super) fn query_rows(p: usize) -> [usize; 2] {
    [p, p + POSITIONS]
}

/// The parameters, one slice each.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a, T> {
    /// Tokens, then positions: p + 4 rows of dim.
    pub embeddings: &'a [T],
    pub query: &'a [T],
    pub key: &'a [T],
    pub value: &'a [T],
    pub out_proj: &'a [T],
    pub up: &'a [T],
    pub up_bias: &'a [T],
    pub down: &'a [T],
    pub down_bias: &'a [T],
    pub head: &'a [T],
}

impl<'a, T> Weights<'a, T> {
    /// The parts of a buffer of the length of the layout.
    pub(super) fn of(config: ModularConfig, params: &'a [T]) -> Self {
        let mut rest = params;
        let parts = config.parts().map(|length| {
            let (part, after) = rest.split_at(length);
            rest = after;
            part
        });
        let [embeddings, query, key, value, out_proj, up, up_bias, down, down_bias, head] = parts;
        Self { embeddings, query, key, value, out_proj, up, up_bias, down, down_bias, head }
    }
}

/// The gradients, one slice each, as in [`Weights`].
pub(super) struct Gradients<'a, T> {
    pub embeddings: &'a mut [T],
    pub query: &'a mut [T],
    pub key: &'a mut [T],
    pub value: &'a mut [T],
    pub out_proj: &'a mut [T],
    pub up: &'a mut [T],
    pub up_bias: &'a mut [T],
    pub down: &'a mut [T],
    pub down_bias: &'a mut [T],
    pub head: &'a mut [T],
}

impl<'a, T> Gradients<'a, T> {
    /// The parts of a buffer of the length of the layout.
    pub(super) fn of(config: ModularConfig, grads: &'a mut [T]) -> Self {
        let mut rest = grads;
        let parts = config.parts().map(|length| {
            let (part, after) = take(&mut rest).split_at_mut(length);
            rest = after;
            part
        });
        let [embeddings, query, key, value, out_proj, up, up_bias, down, down_bias, head] = parts;
        Self { embeddings, query, key, value, out_proj, up, up_bias, down, down_bias, head }
    }
}
