//! A long slice, gone along at several places at once, on processors that gain by it: Intel's.
//!
//! A core has more lines under way for several streams than for one: where a loop reads nothing but the slice, and the
//! order of its elements is free, it takes turns among parts of it. An AMD Zen 4 takes up to twice as long for them, for eight streams
//! at whole pages from each other share eight places of its first cache. docs/PERFORMANCE.md says what either gains.

/// Streams that a slice is cut into.
pub(crate) const STREAMS: usize = 8;

/// Elements that a loop takes of each in turn.
pub(crate) const TURN: usize = 64;

/// How many elements in front of a loop its prefetch reads: less than [`half_page`](crate::dispatch::half_page), for there are more
/// streams. At a stream's end that is the next stream's beginning, which has been worked on already.
pub(crate) const LEAD: usize = 256;

/// Cuts streams of one length, whole turns, off the front of `values`; what is left is shorter than a turn of all.
#[inline(always)]
pub(crate) fn cut<'a, T>(values: &mut &'a [T], turn: usize) -> [&'a [T]; STREAMS] {
    let length = values.len() / (STREAMS * turn) * turn;
    core::array::from_fn(|_| values.split_off(..length).unwrap_or_default())
}

/// [`cut`], to write.
#[inline(always)]
pub(crate) fn cut_mut<'a, T>(values: &mut &'a mut [T], turn: usize) -> [&'a mut [T]; STREAMS] {
    let length = values.len() / (STREAMS * turn) * turn;
    core::array::from_fn(|_| values.split_off_mut(..length).unwrap_or_default())
}
