//! The decay of a p-norm that goes along with a base step, in its loop and some blocks behind it.
//!
//! A step waits for its divisions, a power for its own chain of operations: side by side each fills the waits of the other,
//! and the streams from memory never stand still, as they do while a strip is worked on.

use super::step::{Beside, Thetas};
use crate::{power::ElementPower, real::Real, reduce::LANES, shrink::Shrunk};

/// Blocks from a block's step to the first half of its powers, and from there to the second, at least 1: what a half reads
/// was written long before. 8 and 16 are no better.
const LAG: usize = 4;

/// Blocks that are under way.
pub(super) const UNDER_WAY: usize = 2 * LAG;

/// What there is of the blocks under way, each at its place modulo their number.
pub(super) struct Room<T> {
    /// The weights whose magnitudes decide.
    deciding: [[T; LANES]; UNDER_WAY],
    /// Whether those of a block are [ordinary](crate::power::General).
    ordinary: [bool; UNDER_WAY],
    /// The first halves of their powers.
    halves: [[[T; LANES]; UNDER_WAY]; 2],
    /// The weights of the tail before their step, padded.
    tail: [T; LANES],
}

impl<T: Real> Room<T> {
    /// With nothing in it.
    pub(super) const fn new() -> Self {
        let nothing = [[T::ZERO; LANES]; UNDER_WAY];
        Self {
            deciding: nothing,
            ordinary: [true; UNDER_WAY],
            halves: [nothing; 2],
            tail: [T::ZERO; LANES],
        }
    }
}

/// The decay of what the step writes: with block i of the step the powers of block i − [`LAG`] are begun, those of block
/// i − [`UNDER_WAY`] are made, and it is decayed by them.
pub(super) struct Decaying<'a, T> {
    rule: Shrunk<T>,
    /// The caller's, for it is too much to be moved.
    room: &'a mut Room<T>,
}

impl<'a, T: Real> Decaying<'a, T> {
    pub(super) const fn new(rule: Shrunk<T>, room: &'a mut Room<T>) -> Self {
        Self { rule, room }
    }

    /// Takes the weights that decide on a block.
    #[inline(always)]
    fn take(&mut self, place: usize, deciding: &[T; LANES]) {
        let slot = place % UNDER_WAY;
        self.room.deciding[slot] = *deciding;
        self.room.ordinary[slot] = T::are_ordinary(deciding, &self.rule.power);
    }

    /// Begins the powers of a block.
    #[inline(always)]
    fn begin(&mut self, place: usize) {
        let slot = place % UNDER_WAY;
        if self.room.ordinary[slot] {
            self.begin_as::<true>(slot);
        } else {
            core::hint::cold_path();
            self.begin_as::<false>(slot);
        }
    }

    #[inline(always)]
    fn begin_as<const ORDINARY: bool>(&mut self, slot: usize) {
        let Room { deciding, halves: [shifted, rests], .. } = &mut *self.room;
        let halves = shifted[slot].iter_mut().zip(&mut rests[slot]);
        for (x, (shifted, rest)) in deciding[slot].iter().zip(halves) {
            let logarithm = x.abs().logarithm::<ORDINARY>();
            [*shifted, *rest] = T::exponent::<ORDINARY>(logarithm, self.rule.power);
        }
    }

    /// Decays a block whose powers are begun.
    #[inline(always)]
    fn end(&self, place: usize, theta: &mut [T; LANES]) {
        let slot = place % UNDER_WAY;
        if self.room.ordinary[slot] {
            self.end_as::<true>(slot, theta);
        } else {
            core::hint::cold_path();
            self.end_as::<false>(slot, theta);
        }
    }

    #[inline(always)]
    fn end_as<const ORDINARY: bool>(&self, slot: usize, theta: &mut [T; LANES]) {
        let Room { deciding, halves: [shifted, rests], .. } = &*self.room;
        let halves = shifted[slot].iter().zip(&rests[slot]);
        for ((w, x), (&shifted, &rest)) in theta.iter_mut().zip(&deciding[slot]).zip(halves) {
            let power = x.abs().scaled::<ORDINARY>(T::mantissa([shifted, rest]));
            *w = self.rule.of::<ORDINARY>(*w, power);
        }
    }
}

impl<T: Real> Beside<T> for Decaying<'_, T> {
    type Output = ();

    const FINISHES: bool = true;

    #[inline(always)]
    fn block(&mut self, before: &[T; LANES], place: Option<(Thetas<'_, T>, usize)>) {
        let Some((thetas, place)) = place else {
            self.room.tail = *before;
            return;
        };
        if let Some(theta) = thetas.get(place.wrapping_sub(UNDER_WAY)) {
            let mut block = theta.get();
            self.end(place, &mut block);
            theta.set(block);
        } else {
            core::hint::cold_path();
        }
        // Of the first blocks, what stood in the room is begun, and never ended.
        let begun = place.wrapping_sub(LAG);
        if self.rule.late
            && let Some(theta) = thetas.get(begun)
        {
            self.take(begun, &theta.get());
        }
        self.begin(begun);
        if !self.rule.late {
            self.take(place, before);
        }
    }

    /// What no block came after.
    #[inline(always)]
    fn finish(mut self, theta: &mut [T]) {
        let (blocks, tail) = theta.as_chunks_mut::<LANES>();
        for place in blocks.len()..blocks.len() + UNDER_WAY {
            if let Some(block) = blocks.get_mut(place.wrapping_sub(UNDER_WAY)) {
                self.end(place, block);
            }
            let begun = place.wrapping_sub(LAG);
            if let Some(block) = blocks.get(begun) {
                if self.rule.late {
                    self.take(begun, block);
                }
                self.begin(begun);
            }
        }
        for (w, &before) in tail.iter_mut().zip(&self.room.tail) {
            let deciding = if self.rule.late { *w } else { before };
            *w = self.rule.of::<false>(*w, self.rule.power.of(deciding.abs()));
        }
    }
}
