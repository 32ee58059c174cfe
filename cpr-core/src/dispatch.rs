//! One body for every instruction set.

/// A loop over slices, written once and compiled for each instruction set.
///
/// `run` is inlined into each shell. It uses no fused multiply-add and no reordering, so that every
/// shell gives the same bits.
pub(crate) trait Kernel {
    /// What the loop gives back.
    type Output;

    /// The loop.
    fn run(self) -> Self::Output;
}

/// Runs the loop.
#[inline]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
