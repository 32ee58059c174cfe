//! Rotary positions.

use candle_core::{D, Result, Tensor};
use cpr_core::Real;

use crate::nn::{
    element::{Element, count, narrow},
    error::range,
};

/// Rotary positions: of the first `dims` = r numbers of every query and key, the pair (i, i + r/2) is turned by the
/// angle t·base^(−2i/r) at position t = 0, 1, … (the halves of GPT-NeoX, not interleaved pairs).
///
/// Source: Su et al., "RoFormer", 2021.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    /// How many numbers of a head are turned: even, from 2 to the head's size.
    pub dims: usize,
    /// Base of the angles, above 1; 10 000 in the source.
    pub base: f64,
}

impl Rotary {
    /// The share of the numbers of a head that `fraction` says, to the next lower even count, at base 10 000; none for
    /// less than a pair.
    pub fn fraction(fraction: f64, size: usize) -> Option<Self> {
        let pairs = (fraction.clamp(0.0, 1.0) * count(size) / 2.0).floor();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in 0..=size/2"
        )]
        let dims = 2 * pairs as usize;
        (dims > 0).then_some(Self { dims, base: 10_000.0 })
    }

    pub(super) fn check(self, size: usize) -> Result<()> {
        if self.dims < 2 || !self.dims.is_multiple_of(2) || self.dims > size {
            return Err(range(
                "rotary positions",
                "dims",
                count(self.dims),
                "even, from 2 to the size of a head",
            ));
        }
        if !(self.base > 1.0 && self.base.is_finite()) {
            return Err(range("rotary positions", "base", self.base, "above 1"));
        }
        Ok(())
    }

    /// Queries or keys (…, T, d), turned by candle's operations.
    pub(in crate::nn) fn composed(self, x: &Tensor) -> Result<Tensor> {
        let (length, size) = (x.dim(D::Minus2)?, x.dim(D::Minus1)?);
        let half = self.dims / 2;
        let angles = Angles::new(self, length);
        let table = |values: &[f64]| {
            Tensor::from_slice(values, (length, half), x.device())?.to_dtype(x.dtype())
        };
        let (cos, sin) = (table(&angles.cos)?, table(&angles.sin)?);
        let near = x.narrow(D::Minus1, 0, half)?;
        let far = x.narrow(D::Minus1, half, half)?;
        let turned_near = (near.broadcast_mul(&cos)? - far.broadcast_mul(&sin)?)?;
        let turned_far = (near.broadcast_mul(&sin)? + far.broadcast_mul(&cos)?)?;
        let rest = size - self.dims;
        if rest == 0 {
            return Tensor::cat(&[turned_near, turned_far], D::Minus1);
        }
        Tensor::cat(&[turned_near, turned_far, x.narrow(D::Minus1, self.dims, rest)?], D::Minus1)
    }
}

/// Cosine and sine for every position and pair, (T, r/2).
#[derive(Debug)]
pub(super) struct Angles<T = f64> {
    cos: Vec<T>,
    sin: Vec<T>,
    half: usize,
}

impl Angles {
    pub(super) fn new(rotary: Rotary, length: usize) -> Self {
        let half = rotary.dims / 2;
        let slowness: Vec<f64> = (0..half)
            .map(|pair| libm::pow(rotary.base, -count(2 * pair) / count(rotary.dims)))
            .collect();
        let angles = (0..length).flat_map(|position| {
            slowness.iter().map(move |slow| libm::sincos(count(position) * slow))
        });
        let (sin, cos) = angles.unzip();
        Self { cos, sin, half }
    }

    pub(super) fn rounded<T: Element>(&self) -> Angles<T> {
        let round = |values: &[f64]| values.iter().map(|&x| narrow(x)).collect();
        Angles { cos: round(&self.cos), sin: round(&self.sin), half: self.half }
    }
}

impl<T: Element> Angles<T> {
    /// Turns the numbers of one head at `position`.
    #[inline(always)]
    pub(super) fn turn(&self, position: usize, x: &mut [T]) {
        self.by(position, x, <T as Real>::ONE);
    }

    /// Turns them back.
    #[inline(always)]
    pub(super) fn turn_back(&self, position: usize, x: &mut [T]) {
        self.by(position, x, -<T as Real>::ONE);
    }

    #[inline(always)]
    fn by(&self, position: usize, x: &mut [T], sign: T) {
        let row = position * self.half..(position + 1) * self.half;
        let (near, rest) = x.split_at_mut(self.half);
        let angles = self.cos[row.clone()].iter().zip(&self.sin[row]);
        for ((near, far), (&cos, &sin)) in near.iter_mut().zip(rest).zip(angles) {
            let (x, y) = (*near, *far);
            let sin = sin * sign;
            *near = x * cos - y * sin;
            *far = x * sin + y * cos;
        }
    }
}
