//! Low-rank additions to the matrices of a network whose own weights stay as they are.

use candle_core::{Result, Tensor};
use candle_nn::Init;

use super::Declared;

/// W + α/r·(B·A)ᵀ for every matrix W (inputs, outputs) of the target modules, with A (r, inputs) and B (outputs, r) trained.
///
/// A starts uniform up to 1/√inputs and B at 0, so that nothing changes at first. Names and orientation are those of
/// peft: `….c_attn.lora_A.weight`, `….c_attn.lora_B.weight`. The sum is formed before the product with the activations,
/// which is the same function; so there is no dropout between the two.
///
/// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// r, at least 1.
    pub rank: usize,
    /// α.
    pub alpha: f64,
    /// Last names of the modules whose matrices get an addition, such as `c_attn`.
    pub targets: Vec<String>,
}

const WEIGHT: &str = ".weight";

impl Lora {
    /// Whether a parameter of the network gets an addition.
    #[must_use]
    pub fn is_target(&self, name: &str, rank: usize) -> bool {
        let module = name.strip_suffix(WEIGHT).and_then(|name| name.rsplit('.').next());
        rank == 2 && module.is_some_and(|module| self.targets.iter().any(|own| own == module))
    }

    /// The parameters that are trained, in the order of the network's.
    #[must_use]
    pub fn declared(&self, network: &[Declared]) -> Vec<Declared> {
        let targets =
            network.iter().filter(|declared| self.is_target(&declared.name, declared.shape.len()));
        let pairs = targets.flat_map(|Declared { name, shape, .. }| {
            let (inputs, outputs) = (shape[0], shape[1]);
            let [a, b] = names(name);
            // A width is far below 2³².
            let bound = 1.0 / f64::from(u32::try_from(inputs).unwrap_or(u32::MAX)).sqrt();
            let init = Init::Uniform { lo: -bound, up: bound };
            [
                Declared { name: a, shape: vec![self.rank, inputs], init },
                Declared { name: b, shape: vec![outputs, self.rank], init: Init::Const(0.0) },
            ]
        });
        pairs.collect()
    }

    /// The weight of this name with its addition out of `trained`; one that is no target as it is.
    ///
    /// # Errors
    /// Those of candle; a target without its pair.
    pub fn merged<'a>(
        &self,
        name: &str,
        weight: &Tensor,
        trained: impl Fn(&str) -> Option<&'a Tensor>,
    ) -> Result<Tensor> {
        if !self.is_target(name, weight.rank()) {
            return Ok(weight.clone());
        }
        let pair = names(name).map(|name| {
            let missing = || candle_core::Error::CannotFindTensor { path: name.clone() };
            trained(&name).ok_or_else(missing)
        });
        let [a, b] = pair;
        // Of A (r, inputs) and B (outputs, r).
        let product = a?.t()?.matmul(&b?.t()?)?;
        let rank = f64::from(u32::try_from(self.rank).unwrap_or(u32::MAX));
        weight + (product * (self.alpha / rank))?
    }
}

/// The names of A and B.
fn names(weight: &str) -> [String; 2] {
    let module = weight.strip_suffix(WEIGHT).unwrap_or(weight);
    ["A", "B"].map(|factor| format!("{module}.lora_{factor}{WEIGHT}"))
}
