//! The fixed order in which chunks merge: the same bits for any number of threads.

use heapless::Vec;

use crate::statistic::Merge;

/// Elements of one chunk, the unit of every sum: 4096.
///
/// A chunk is summed in [`LANES`] lanes, element i in lane i mod 16; lanes fold in a fixed tree, and chunks
/// merge pairwise in the order of their index ([`Pairwise`]). Shards that are cut at multiples of it give the
/// same statistics, to the bit, as the whole, when their chunks are pushed one by one in order.
pub const CHUNK: usize = 4096;

/// Lanes of a chunk's sums.
pub const LANES: usize = 16;

/// Levels of the tree: enough for more chunks than there are addresses, and half the stack on a microcontroller.
const LEVELS: usize = usize::BITS as usize;

/// Merges measures pairwise in the order in which they are pushed, in a tree that depends on their number only.
///
/// Push one measure per chunk, in the order of the chunks; [`Pairwise::finish`] gives the whole. Parts of equal
/// size merge first, as in a binary counter, so that the error of a sum of m chunks grows with log m, and
/// storage is one measure for each binary digit of m, on the stack.
///
/// ```
/// use cpr_core::{Merge, Pairwise, Statistic};
/// let mut sum = Pairwise::new();
/// for total in [1.0, 2.0, 4.0] {
///     sum.push(Statistic::Sum { count: 1, total });
/// }
/// assert_eq!(sum.finish(), Statistic::Sum { count: 3, total: 7.0 });
/// ```
#[derive(Clone, Debug)]
pub struct Pairwise<S> {
    /// Parts of falling size; entry i merges 2^k pushes for the i-th highest set bit k of `pushed`.
    parts: Vec<S, LEVELS>,
    pushed: u64,
}

impl<S: Merge> Pairwise<S> {
    /// Nothing pushed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { parts: Vec::new(), pushed: 0 }
    }

    /// Adds the next measure.
    pub fn push(&mut self, measure: S) {
        self.push_part(measure, 0);
    }

    /// Adds what 2^`level` pushes merge to, which divides the number of those before.
    fn push_part(&mut self, measure: S, level: u32) {
        let mut merged = measure;
        for _ in 0..(self.pushed >> level).trailing_ones() {
            let left = self.parts.pop().unwrap_or(S::NEUTRAL);
            merged = left.merge(merged);
        }
        self.pushed = self.pushed.wrapping_add(1 << level);
        // L levels hold the parts of 2^L − 1 pushes: there is always room.
        let _full = self.parts.push(merged);
    }

    /// Pushes each, [`GROUP`] at a time where they lie: how many merge with a single one, a processor can't foresee.
    fn push_groups(&mut self, measures: impl Iterator<Item = S>) {
        let mut group = Vec::<S, GROUP>::new();
        for measure in measures {
            if !self.pushed.is_multiple_of(GROUP as u64) {
                self.push(measure);
                continue;
            }
            // Emptied below when it is full.
            let _full = group.push(measure);
            if let Some(full) = group.first_chunk() {
                self.push_part(whole(full), LEVEL);
                group.clear();
            }
        }
        for measure in group {
            self.push(measure);
        }
    }

    /// The measure of everything pushed; neutral if that was nothing.
    #[must_use]
    pub fn finish(mut self) -> S {
        let mut merged = self.parts.pop().unwrap_or(S::NEUTRAL);
        while let Some(left) = self.parts.pop() {
            merged = left.merge(merged);
        }
        merged
    }
}

impl<S: Merge> Default for Pairwise<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Merge> Extend<S> for Pairwise<S> {
    /// [`push`](Pairwise::push) of each, to the bit.
    fn extend<I: IntoIterator<Item = S>>(&mut self, measures: I) {
        // A microcontroller foresees nothing, has few chunks, and pays for the code.
        if cfg!(feature = "std") {
            self.push_groups(measures.into_iter());
        } else {
            for measure in measures {
                self.push(measure);
            }
        }
    }
}

/// Levels of the tree that [`Pairwise::push_groups`] merges at once.
const LEVEL: u32 = 3;

/// Measures that these have.
const GROUP: usize = 1 << LEVEL;

/// What a group merges to.
fn whole<S: Merge>(&[a, b, c, d, e, f, g, h]: &[S; GROUP]) -> S {
    let [first, second] = [a.merge(b).merge(c.merge(d)), e.merge(f).merge(g.merge(h))];
    first.merge(second)
}

#[cfg(test)]
mod tests {
    use std::{format, string::String};

    use super::*;

    /// Records the tree: a text is no commutative monoid, which makes the order visible.
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Range(u32, u32, u64);

    impl Merge for Range {
        const NEUTRAL: Self = Self(0, 0, 0);
        fn merge(self, other: Self) -> Self {
            assert_eq!(self.1, other.0, "only neighbours merge, in order");
            Self(self.0, other.1, self.2.wrapping_mul(31).wrapping_add(other.2 ^ 0x9e37))
        }
    }

    #[test]
    fn neighbours_merge_in_order_and_nothing_is_lost() {
        for n in 1..200u32 {
            let mut tree = Pairwise::new();
            tree.extend((0..n).map(|i| Range(i, i + 1, u64::from(i))));
            let whole = tree.finish();
            assert_eq!((whole.0, whole.1), (0, n));
        }
    }

    #[test]
    fn many_at_once_merge_as_one_by_one() {
        let range = |i| Range(i, i + 1, u64::from(i));
        for n in 0..70u32 {
            let mut single = Pairwise::new();
            (0..n).for_each(|i| single.push(range(i)));
            for cut in 0..=n {
                let mut tree = Pairwise::new();
                tree.extend((0..cut).map(range));
                tree.extend((cut..n).map(range));
                assert_eq!(tree.finish(), single.clone().finish(), "{cut} and the rest of {n}");
            }
        }
    }

    #[test]
    fn the_tree_of_six_is_pairs_of_pairs_then_the_rest() {
        #[derive(Clone, Copy, Debug)]
        struct Shape(f64);
        impl Merge for Shape {
            const NEUTRAL: Self = Self(0.0);
            fn merge(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }
        // (2^53 + 1) + (1 + 1) is 2^53 + 2 in this order, 2^53 in a running sum.
        let big = 9_007_199_254_740_992.0;
        let mut tree = Pairwise::new();
        tree.extend([big, 1.0, 1.0, 1.0].map(Shape));
        assert_eq!(tree.finish().0, big + 2.0);
        let shown: String = format!("{:?}", Pairwise::<Shape>::new().finish());
        assert_eq!(shown, "Shape(0.0)");
    }
}
