//! Gradients without keeping the activations of the blocks.

use candle_core::{Result, Tensor, Var, backprop::GradStore};

use super::Gpt2;
use crate::nn::{Draw, backward};

impl Gpt2 {
    /// The gradients of `loss`, a scalar of the logits, and its value: those of
    /// `loss(&forward(tokens, draw)?)?.backward()`, with no activations kept but the input of each block. A block's
    /// forward pass runs again before its backward pass, under the same dropout masks, so a step takes about a third
    /// longer.
    ///
    /// Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and those of `loss`.
    pub fn recomputed(
        &self,
        tokens: &Tensor,
        draw: Option<Draw>,
        loss: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<(Tensor, GradStore)> {
        // Each part starts from a variable of its own, which cuts the graph there.
        let mut inputs = vec![Var::from_tensor(&self.embed(tokens, draw)?.detach())?];
        for layer in 0..self.blocks.len() {
            let x = self.block(layer, &inputs[layer].as_detached_tensor(), draw)?;
            inputs.push(Var::from_tensor(&x.detach())?);
        }
        let last = inputs.pop().ok_or_else(|| candle_core::Error::msg("gpt2: no blocks"))?;
        let loss = loss(&self.logits(last.as_tensor())?)?;
        let mut grads = backward(&loss)?;
        let mut grad = taken(&mut grads, &last)?;
        for (layer, input) in inputs.iter().enumerate().rev() {
            let mut own = pulled_back(&self.block(layer, input.as_tensor(), draw)?, &grad)?;
            grad = taken(&mut own, input)?;
            grads.extend(own)?;
        }
        grads.extend(pulled_back(&self.embed(tokens, draw)?, &grad)?)?;
        Ok((loss.detach(), grads))
    }
}

fn taken(grads: &mut GradStore, input: &Var) -> Result<Tensor> {
    let missing = || candle_core::Error::msg("gpt2: a block has no gradient at its input");
    grads.remove(input).ok_or_else(missing)
}

/// The gradients of what `output` came from, where its own is `grad`.
fn pulled_back(output: &Tensor, grad: &Tensor) -> Result<GradStore> {
    backward(&(output * grad.detach())?.sum_all()?)
}
