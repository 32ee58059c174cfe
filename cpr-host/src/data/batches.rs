//! The order of the examples: one seeded permutation an epoch, cut into batches.

use std::num::NonZeroUsize;

use crate::random::{Random, Stream};

/// A place in the run: the batch that comes next. All that a checkpoint has to hold of the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The batch of the epoch, counted from 0.
    pub batch: u64,
}

/// An endless sequence of batches over a data set.
///
/// The order of an epoch is a permutation that depends on the seed and the epoch alone. The last
/// batch of an epoch is shorter where the batch size does not divide the number of examples.
///
/// ```
/// use cpr_host::data::batches::Batches;
/// let mut batches = Batches::new(10.try_into()?, 4.try_into()?, 0);
/// let lengths: Vec<usize> = (0..4).map(|_| batches.next_batch().len()).collect();
/// assert_eq!(lengths, [4, 4, 2, 4]);
/// assert_eq!(batches.cursor().epoch, 1);
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    seed: u64,
    size: NonZeroUsize,
    cursor: Cursor,
    /// The permutation of the epoch named beside it, so that it is drawn once an epoch.
    order: Vec<usize>,
    drawn: u64,
}

impl Batches {
    /// Batches of `size` examples from `examples`, from the beginning of the first epoch.
    pub fn new(examples: NonZeroUsize, size: NonZeroUsize, seed: u64) -> Self {
        let mut batches = Self {
            seed,
            size,
            cursor: Cursor::default(),
            order: vec![0; examples.get()],
            drawn: 0,
        };
        batches.draw(0);
        batches
    }

    /// The number of batches of an epoch.
    pub fn per_epoch(&self) -> u64 {
        self.order.len().div_ceil(self.size.get()) as u64
    }

    /// The place of the batch that comes next.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Goes on at `cursor`. A batch beyond the end of its epoch counts on into the next ones.
    pub fn seek(&mut self, cursor: Cursor) {
        let skipped = cursor.batch / self.per_epoch();
        self.cursor = Cursor {
            epoch: cursor.epoch.saturating_add(skipped),
            batch: cursor.batch % self.per_epoch(),
        };
    }

    /// The indices of the examples of the next batch, each below the number of examples.
    pub fn next_batch(&mut self) -> &[usize] {
        let Cursor { epoch, batch } = self.cursor;
        if self.drawn != epoch {
            self.draw(epoch);
        }
        self.cursor = if batch + 1 < self.per_epoch() {
            Cursor { epoch, batch: batch + 1 }
        } else {
            Cursor { epoch: epoch.saturating_add(1), batch: 0 }
        };
        // `batch` is below `per_epoch`, so the start lies inside the order.
        let start = batch as usize * self.size.get();
        let end = start.saturating_add(self.size.get()).min(self.order.len());
        &self.order[start..end]
    }

    fn draw(&mut self, epoch: u64) {
        Random::new(self.seed, Stream::Batches, epoch).permutation(&mut self.order);
        self.drawn = epoch;
    }
}

#[cfg(test)]
mod tests;
