//! One body for every instruction set, chosen at run time. The only file with `unsafe`.

use crate::real::Real;

/// A loop over slices, written once and compiled for each instruction set.
///
/// `run` is inlined into each shell. It uses no reordering, and no fused multiply-add but of an exact product, so that every
/// shell gives the same bits.
pub(crate) trait Kernel {
    /// What the loop gives back.
    type Output;

    /// The loop.
    fn run(self) -> Self::Output;
}

/// The instruction set that the loops run with: what the processor has at most, in the `std` build; else the
/// target's own. It changes speed, never a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// What the crate was compiled for.
    Baseline,
    /// AVX2 and FMA on x86-64.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, and FMA, on x86-64.
    Avx512,
}

impl Level {
    /// The level in use on this machine.
    #[must_use]
    #[inline]
    pub fn current() -> Self {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            use std::is_x86_feature_detected;
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("fma")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Baseline
    }

    /// Whether a fused multiply-add is one operation here. At the baseline it may be a call.
    #[inline]
    pub(crate) fn fuses(self) -> bool {
        self >= Self::Avx2
    }
}

/// Runs the loop at the widest level of this machine.
#[inline]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    run_at(Level::current(), kernel)
}

/// Runs the loop at `level`, or at the widest below it that this machine has.
#[inline]
#[cfg_attr(all(feature = "std", target_arch = "x86_64"), allow(unsafe_code))]
pub(crate) fn run_at<K: Kernel>(level: Level, kernel: K) -> K::Output {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    match level.min(Level::current()) {
        // SAFETY: `current` found every feature that the shell asks for.
        Level::Avx512 => return unsafe { avx512(kernel) },
        // SAFETY: `current` found these features, or those of the level above, which include them.
        Level::Avx2 => return unsafe { avx2(kernel) },
        Level::Baseline => {}
    }
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    let _ = level;
    kernel.run()
}

/// Whether a loop can ask for what it comes to. Under miri too, which has no prefetch: it is to see the same loops.
pub(crate) const ASKS_AHEAD: bool = cfg!(all(feature = "std", target_arch = "x86_64"));

/// Bytes of a cache line.
#[cfg(all(feature = "std", target_arch = "x86_64", not(miri)))]
const LINE: usize = 64;

/// How many elements in front of a loop over streams its prefetch reads: half a page.
///
/// The processor's own prefetcher starts anew at every page of every stream, and is in step only after some lines. From 1 to
/// 3 KiB made no difference.
pub(crate) const fn half_page<T: Real>() -> usize {
    2048 / size_of::<T>()
}

/// `lead` on a processor whose loops are to ask: Intel's; 0 on others.
///
/// Measured are one Xeon, which gains, and one AMD Zen 4, where a step of Adam on one thread takes 17 % longer with it, and more at
/// other distances or into the second cache. Inlined, so that a loop knows the two leads that there are.
#[inline(always)]
pub(crate) fn where_it_gains(lead: usize) -> usize {
    if is_intel() { lead } else { 0 }
}

/// Whether this is one of Intel's processors; without std, or off x86-64, false.
#[cfg_attr(not(all(feature = "std", target_arch = "x86_64")), inline)]
pub(crate) fn is_intel() -> bool {
    #[cfg(all(feature = "std", target_arch = "x86_64", not(miri)))]
    {
        static IS_INTEL: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *IS_INTEL.get_or_init(|| {
            let vendor = core::arch::x86_64::__cpuid(0);
            let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
            name.as_flattened() == b"GenuineIntel"
        })
    }
    #[cfg(not(all(feature = "std", target_arch = "x86_64", not(miri))))]
    false
}

/// Asks for as many elements as `values` are, `lead` of them further on in the same stream, in the first cache, without
/// waiting; nothing for a `lead` of 0. The stream may end before them.
///
/// Elsewhere than on x86-64, and without std, it does nothing.
#[inline(always)]
pub(crate) fn prefetch_beyond<T>(values: &[T], lead: usize) {
    #[cfg(all(feature = "std", target_arch = "x86_64", not(miri)))]
    if lead > 0 {
        const {
            assert!(size_of::<T>() > 0 && LINE.is_multiple_of(size_of::<T>()), "they fill a line");
        }
        for start in (0..values.len()).step_by(LINE / size_of::<T>()) {
            prefetch_line(values.as_ptr().wrapping_add(start + lead).cast());
        }
    }
    #[cfg(not(all(feature = "std", target_arch = "x86_64", not(miri))))]
    let _ = (values, lead);
}

#[cfg(all(feature = "std", target_arch = "x86_64", not(miri)))]
#[inline(always)]
#[allow(unsafe_code)]
fn prefetch_line(address: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: SSE is part of x86-64; a prefetch of any address whatever never faults, and reads and writes nothing that a
    // program can see.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Name;

    impl Kernel for Name {
        type Output = &'static str;
        fn run(self) -> &'static str {
            "ran"
        }
    }

    #[test]
    fn every_level_runs_and_none_runs_above_the_machine() {
        for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
            assert_eq!(run_at(level, Name), "ran");
        }
        assert_eq!(run(Name), "ran");
    }
}
