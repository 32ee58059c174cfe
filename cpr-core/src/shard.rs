//! Views of the slices that a step works on; equal lengths are proven when a view is built.

use crate::{
    error::{LengthError, Slice},
    reduce::CHUNK,
};

/// One worker's part of a matrix: parameters, their gradient, and the M moment buffers of the base rule.
///
/// M is 0 for plain SGD, 1 for momentum, 2 for Adam, 3 for AMSGrad.
///
/// ```
/// use cpr_core::Shard;
/// let (mut theta, grad) = ([1.0f32; 3], [0.5; 3]);
/// let (mut m, mut v) = ([0.0; 3], [0.0; 3]);
/// assert!(Shard::new(&mut theta, &grad, [&mut m, &mut v]).is_ok());
/// assert!(Shard::new(&mut theta, &grad[1..], [&mut m, &mut v]).is_err());
/// ```
#[derive(Debug)]
pub struct Shard<'a, T, const M: usize> {
    pub(crate) theta: &'a mut [T],
    pub(crate) grad: &'a [T],
    pub(crate) moments: [&'a mut [T]; M],
}

impl<'a, T, const M: usize> Shard<'a, T, M> {
    /// A view of slices of one length.
    ///
    /// # Errors
    /// [`LengthError`] names the first slice whose length is not that of `theta`.
    pub fn new(
        theta: &'a mut [T],
        grad: &'a [T],
        moments: [&'a mut [T]; M],
    ) -> Result<Self, LengthError> {
        let expected = theta.len();
        let equal = |slice, given| {
            if given == expected { Ok(()) } else { Err(LengthError { slice, given, expected }) }
        };
        equal(Slice::Gradient, grad.len())?;
        for (index, moment) in moments.iter().enumerate() {
            equal(Slice::Moment(index), moment.len())?;
        }
        Ok(Self { theta, grad, moments })
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.theta.len()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.theta.is_empty()
    }

    /// The same view for a shorter time.
    pub fn reborrow(&mut self) -> Shard<'_, T, M> {
        Shard {
            theta: self.theta,
            grad: self.grad,
            moments: self.moments.each_mut().map(|moment| &mut **moment),
        }
    }

    /// Cuts it into chunks of [`CHUNK`] elements, the last one shorter.
    ///
    /// The cut depends on the length alone. To share a matrix among threads, hand out chunks, and merge what
    /// comes back in the order of the chunks.
    pub fn chunks(self) -> impl ExactSizeIterator<Item = Shard<'a, T, M>> {
        self.cut::<CHUNK>()
    }

    /// Cuts it into parts of `LENGTH` elements, at least 1, the last one shorter.
    #[inline(always)]
    pub(crate) fn cut<const LENGTH: usize>(self) -> Parts<'a, T, M, LENGTH> {
        Parts(self)
    }
}

/// What is left to cut.
///
/// Not `chunks_mut`, which divides by the length of a chunk: where that is not inlined whole, as in a firmware with
/// two base optimizers, a panic stays in it.
pub(crate) struct Parts<'a, T, const M: usize, const LENGTH: usize>(Shard<'a, T, M>);

impl<'a, T, const M: usize, const LENGTH: usize> Iterator for Parts<'a, T, M, LENGTH> {
    type Item = Shard<'a, T, M>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Shard { theta, grad, moments } = &mut self.0;
        let length = theta.len().min(LENGTH);
        if length == 0 {
            return None;
        }
        Some(Shard {
            theta: theta.split_off_mut(..length)?,
            grad: grad.split_off(..length)?,
            moments: moments
                .each_mut()
                .map(|moment| moment.split_off_mut(..length).unwrap_or_default()),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let parts = self.0.len().div_ceil(LENGTH);
        (parts, Some(parts))
    }
}

impl<T, const M: usize, const LENGTH: usize> ExactSizeIterator for Parts<'_, T, M, LENGTH> {}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    #[test]
    fn a_short_moment_is_named() {
        let error = Shard::new(&mut [0.0; 3], &[0.0; 3], [&mut [0.0; 3], &mut [0.0; 2]]).err();
        assert_eq!(error, Some(LengthError { slice: Slice::Moment(1), given: 2, expected: 3 }));
    }

    #[test]
    fn chunks_cover_every_element_once() {
        for n in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5] {
            let (mut theta, grad, mut m) = (vec![0.0f32; n], vec![0.0; n], vec![0.0; n]);
            let shard = Shard::new(&mut theta, &grad, [&mut m]).unwrap();
            let chunks = shard.chunks();
            let count = chunks.len();
            let lengths: Vec<usize> = chunks
                .map(|chunk| {
                    assert_eq!(chunk.grad.len(), chunk.len());
                    assert_eq!(chunk.moments[0].len(), chunk.len());
                    chunk.len()
                })
                .collect();
            assert_eq!(lengths.len(), count);
            assert_eq!(lengths.iter().sum::<usize>(), n);
            assert!(lengths.iter().rev().skip(1).all(|&l| l == CHUNK));
        }
    }
}
