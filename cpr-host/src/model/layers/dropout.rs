//! Dropout with a mask that depends on a counter alone: the backward pass draws it again.
//!
//! Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
//! 2014, in the form that scales while training.

use cpr_core::Real;

use crate::random::{Random, Stream};

/// Which elements are dropped, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The share of elements that become 0, in [0, 1).
    pub share: f64,
    /// Seed of the run.
    pub seed: u64,
    /// The step: each has masks of its own.
    pub step: u64,
}

impl Dropout {
    /// x ← x/(1 − share), or 0 for the elements that the mask number `index` drops. The same for the
    /// gradient. Nothing happens at a share of 0.
    pub fn apply<T: Real>(self, index: u64, x: &mut [T]) {
        if self.share == 0.0 {
            return;
        }
        let scale = T::from_f64(1.0 / (1.0 - self.share));
        // Exact: a share of [0, 1) in units of 2⁻³², cut to an integer.
        let limit = (self.share * f64::from(u32::MAX)) as u32;
        let mut random = Random::part(self.seed, Stream::Dropout, self.step, index);
        for pair in x.chunks_mut(2) {
            let bits = random.bits();
            for (x, bits) in pair.iter_mut().zip([bits as u32, (bits >> 32) as u32]) {
                *x = if bits < limit { T::ZERO } else { *x * scale };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_the_same_whenever_it_is_drawn_and_keeps_the_mean() {
        let dropout = Dropout { share: 0.25, seed: 3, step: 1 };
        let mask = |index| {
            let mut x = vec![1.0_f32; 40_001];
            dropout.apply(index, &mut x);
            x
        };
        assert_eq!(mask(7), mask(7));
        assert_ne!(mask(7), mask(8));
        let mut other = vec![1.0_f32; 40_001];
        Dropout { step: 2, ..dropout }.apply(7, &mut other);
        assert_ne!(mask(7), other);
        let dropped = mask(7).iter().filter(|&&x| x == 0.0).count() as f64 / 40_001.0;
        assert!((dropped - 0.25).abs() < 0.01, "{dropped}");
        assert!(mask(7).iter().all(|&x| x == 0.0 || x == 1.0 / 0.75));
        let mut x = [5.0];
        Dropout { share: 0.0, ..dropout }.apply(1, &mut x);
        assert_eq!(x, [5.0]);
    }
}
