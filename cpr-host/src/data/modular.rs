//! Addition modulo p: all pairs, split at random into training and validation.

use crate::random::{Random, Stream};

/// One pair of summands and its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Example {
    /// The first summand, below p.
    pub a: u16,
    /// The second summand, below p.
    pub b: u16,
    /// (a + b) mod p.
    pub label: u16,
}

/// The two parts of the p² pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModularAddition {
    /// The pairs to train on, in random order.
    pub train: Vec<Example>,
    /// The other pairs, in random order.
    pub validation: Vec<Example>,
}

/// Why there is no such split.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ModularError {
    /// The modulus is outside 1..=4096.
    #[error("modulus p = {given}: choose one from 1 to {}", ModularAddition::MAX_MODULUS)]
    Modulus {
        /// The modulus asked for.
        given: usize,
    },
    /// The fraction is not in 0..=1 or leaves nothing to train on.
    #[error(
        "training fraction {given}: choose one above 0 and at most 1 that leaves at least one pair to train on"
    )]
    Fraction {
        /// The fraction asked for.
        given: f64,
    },
}

impl ModularAddition {
    /// The largest modulus: its 16.8 million pairs take 100 MB.
    pub const MAX_MODULUS: usize = 4096;

    /// Splits all pairs (a, b) with a, b in 0..p: ⌊fraction·p²⌋ of them, chosen by the seed, to
    /// train on, the others for validation (none for a fraction of 1).
    ///
    /// ```
    /// use cpr_host::data::modular::ModularAddition;
    /// let data = ModularAddition::new(113, 0.3, 0)?;
    /// assert_eq!((data.train.len(), data.validation.len()), (3830, 8939));
    /// # Ok::<(), cpr_host::data::modular::ModularError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A modulus outside 1..=[`MAX_MODULUS`](Self::MAX_MODULUS); a fraction outside (0, 1] or one
    /// that leaves no pair to train on.
    pub fn new(p: usize, fraction: f64, seed: u64) -> Result<Self, ModularError> {
        if !(1..=Self::MAX_MODULUS).contains(&p) {
            return Err(ModularError::Modulus { given: p });
        }
        // Exact: p² is at most 2²⁴. The product is rounded once and cut to an integer.
        let count = (fraction * (p * p) as f64) as usize;
        if !(fraction > 0.0 && fraction <= 1.0) || count == 0 {
            return Err(ModularError::Fraction { given: fraction });
        }
        let summands = 0..p as u16;
        let pairs = summands.clone().flat_map(|a| summands.clone().map(move |b| (a, b)));
        let mut train: Vec<Example> =
            pairs.map(|(a, b)| Example { a, b, label: (a + b) % p as u16 }).collect();
        Random::new(seed, Stream::Split, 0).shuffle(&mut train);
        let validation = train.split_off(count);
        Ok(Self { train, validation })
    }
}

#[cfg(test)]
mod tests;
