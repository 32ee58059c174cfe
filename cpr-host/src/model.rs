//! Networks: forward and backward passes over flat parameter buffers. They know nothing of CPR.

pub mod gpt;
pub mod layers;
pub mod mlp;
pub mod modular;

/// What a pass over a batch or a data set says of the fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The mean loss; NaN over no example.
    pub loss: f64,
    /// How many examples were predicted right.
    pub correct: usize,
    /// The number of examples.
    pub count: usize,
}

impl Outcome {
    /// The share of right predictions, in 0..=1; NaN over no example.
    pub fn accuracy(&self) -> f64 {
        // Counts of examples are far below 2⁵³, so both are exact.
        self.correct as f64 / self.count as f64
    }
}
