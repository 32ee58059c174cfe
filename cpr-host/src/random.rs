//! Seeded, counter-based random streams.
//!
//! A stream is a pure function of a seed, a purpose and an index, so a checkpoint holds the seed
//! and the position in the run and nothing else. The generator is ChaCha with 8 rounds; every
//! number made from it uses integer arithmetic, exact float operations and `libm`, so it has the
//! same bits on every machine.

use std::f64::consts::TAU;
use std::num::NonZeroU64;

use cpr_core::Real;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What the numbers of a stream are for. Streams of different purposes are independent.
///
/// The discriminants are part of the stability promise: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Stream {
    /// The split of a data set into training and validation; index 0.
    Split = 0,
    /// Initial parameters; the index is the place of the parameter in its layout.
    Init = 1,
    /// The order of the examples; the index is the epoch, or the step where windows are drawn.
    Batches = 2,
    /// Which activations are dropped; the index is the step.
    Dropout = 3,
    /// Text that is made from a model; index 0.
    Sample = 4,
    /// How images are cropped and mirrored; the index is the step, the part the place in its batch.
    Augment = 5,
    /// The random settings of a sweep; the index is the sample.
    Draws = 16,
}

/// A stream of random numbers.
///
/// ```
/// use cpr_host::random::{Random, Stream};
/// let mut first = Random::new(7, Stream::Init, 0);
/// let mut again = Random::new(7, Stream::Init, 0);
/// assert_eq!(first.uniform(), again.uniform());
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    generator: ChaCha8Rng,
}

impl Random {
    /// The stream number `index` of a purpose under a seed.
    ///
    /// The key of the generator is (seed, purpose, index, 0), each as 64 bits in little-endian
    /// order.
    pub fn new(seed: u64, stream: Stream, index: u64) -> Self {
        Self::part(seed, stream, index, 0)
    }

    /// A part of [`new`](Self::new)'s stream that is independent of the others, so that workers can draw from it in
    /// any order; the key is (seed, purpose, index, part).
    pub fn part(seed: u64, stream: Stream, index: u64, part: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(stream as u64).to_le_bytes());
        key[16..24].copy_from_slice(&index.to_le_bytes());
        key[24..].copy_from_slice(&part.to_le_bytes());
        Self { generator: ChaCha8Rng::from_seed(key) }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// The next 32 random bits.
    pub fn word(&mut self) -> u32 {
        self.generator.next_u32()
    }

    /// A number in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        // 53 bits are exact in an f64, and so is the product with a power of two.
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Two independent standard normal numbers, by the transform of Box and Muller:
    /// √(−2 ln u)·(cos 2πv, sin 2πv) with u in (0, 1] and v in [0, 1). None is larger than 8.6.
    pub fn normal_pair(&mut self) -> [f64; 2] {
        let u = 1.0 - self.uniform();
        let v = self.uniform();
        let radius = (-2.0 * libm::log(u)).sqrt();
        let (sin, cos) = libm::sincos(TAU * v);
        [radius * cos, radius * sin]
    }

    /// Fills `out` with normal numbers of mean 0 and the given standard deviation.
    ///
    /// An odd length drops the second number of the last pair.
    pub fn fill_normal<T: Real>(&mut self, deviation: f64, out: &mut [T]) {
        for pair in out.chunks_mut(2) {
            for (value, normal) in pair.iter_mut().zip(self.normal_pair()) {
                *value = T::from_f64(deviation * normal);
            }
        }
    }

    /// An integer in 0..bound, every one equally likely.
    ///
    /// Source: D. Lemire, "Fast random integer generation in an interval", 2019: the high half of
    /// bits·bound, where the 2⁶⁴ mod bound smallest low halves are drawn again.
    pub fn below(&mut self, bound: NonZeroU64) -> u64 {
        let rejected = bound.get().wrapping_neg() % bound;
        loop {
            let product = u128::from(self.bits()) * u128::from(bound.get());
            let [low, high] = [product as u64, (product >> 64) as u64];
            if low >= rejected {
                return high;
            }
        }
    }

    /// Brings the items into a random order, every order equally likely (Fisher and Yates).
    pub fn shuffle<I>(&mut self, items: &mut [I]) {
        for last in (1..items.len()).rev() {
            let bound = NonZeroU64::MIN.saturating_add(last as u64);
            items.swap(last, self.below(bound) as usize);
        }
    }

    /// Overwrites `order` with a random permutation of 0..order.len().
    pub fn permutation(&mut self, order: &mut [usize]) {
        for (place, index) in order.iter_mut().enumerate() {
            *index = place;
        }
        self.shuffle(order);
    }
}

#[cfg(test)]
mod tests;
