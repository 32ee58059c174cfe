//! Large buffers: on huge pages where the system gives them, and apart from each other.
//!
//! An optimizer step streams through every byte of its buffers once, and has to find each page anew. Systems with
//! transparent huge pages set to `madvise` give pages of 2 MB to whoever asks before the memory is first touched. [`zeros`] is
//! that question.
//!
//! Large allocations of one allocator tend to begin at one place in their page (glibc's: 16 bytes into it). A step then writes θ\[i\] and reads g\[i\], m\[i\], v\[i\] at
//! addresses that differ in their high bits alone, which caches and load units that look at the low bits first take for one
//! another: on an AMD Zen 4 a step of GPT-2 small took 1.4 times as long in a third of all processes. A [`Buffer`] begins at a place
//! of its own.

use std::{
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicUsize, Ordering},
};

use cpr_core::Real;

/// From this size on it is worth a system call: two pages of 2 MB.
const LEAST_BYTES: usize = 4 << 20;

/// `elements` zeros, on huge pages where there are enough of them and the system gives such pages.
///
/// ```
/// let moments: Vec<f32> = cpr_host::pages::zeros(3_000_000);
/// assert!(moments.iter().all(|&m| m == 0.0));
/// ```
#[must_use]
pub fn zeros<T: Real>(elements: usize) -> Vec<T> {
    // Zeros of this size come from the system as pages that nothing has touched.
    let mut buffer = vec![T::ZERO; elements];
    if size_of_val(buffer.as_slice()) >= LEAST_BYTES {
        ask(&mut buffer);
    }
    buffer
}

/// Bytes after which the low bits of an address repeat that a processor looks at first, on the x86-64 processors measured.
const PAGE: usize = 4096;

/// How far apart buffers begin in their page: thirteen cache lines, so that 64 made one after the other begin at 64 lines.
const APART: usize = 13 * 64;

/// Where in its page the buffer of this number begins, in bytes.
const fn place(number: usize) -> usize {
    number.wrapping_mul(APART) % PAGE
}

/// Elements of a step's stream, of a length that stays: a slice that knows where it begins in its page.
///
/// Where that is changes how long a step takes, and nothing else.
///
/// ```
/// use cpr_host::pages::Buffer;
/// let mut moments = Buffer::<f32>::zeros(1000);
/// moments[3] = 1.0;
/// assert_eq!(moments.iter().sum::<f32>(), 1.0);
/// assert_eq!(Buffer::from(&moments[..4]).to_vec(), [0.0, 0.0, 0.0, 1.0]);
/// ```
#[derive(Debug)]
pub struct Buffer<T> {
    storage: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Real> Buffer<T> {
    /// `elements` zeros; of 4 KB and more, at a cache line apart from those of the buffers made before and after it, for 8 KB more
    /// memory; of 4 MB and more, on huge pages where there are any.
    #[must_use]
    pub fn zeros(elements: usize) -> Self {
        static BUFFERS: AtomicUsize = AtomicUsize::new(1);
        if elements < PAGE / size_of::<T>() {
            return Self { storage: zeros(elements), start: 0, len: elements };
        }
        // Up to a page to reach the next one, and less than a page from there.
        let storage: Vec<T> = zeros(elements.saturating_add(2 * PAGE / size_of::<T>()));
        let place = place(BUFFERS.fetch_add(1, Ordering::Relaxed));
        let behind = storage.as_ptr().addr() % PAGE;
        let start = ((PAGE - behind) % PAGE + place) / size_of::<T>();
        Self { storage, start, len: elements }
    }
}

impl<T: Real> From<&[T]> for Buffer<T> {
    fn from(values: &[T]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.storage[self.start..][..self.len]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.storage[self.start..][..self.len]
    }
}

/// Asks for huge pages below `buffer`. Where the system has none, or refuses, everything stays as it is.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn ask<T>(buffer: &mut [T]) {
    /// Of every page size of Linux a multiple.
    const ALIGNMENT: usize = 1 << 16;
    let bytes = size_of_val(buffer);
    let start: *mut u8 = buffer.as_mut_ptr().cast();
    let skipped = start.align_offset(ALIGNMENT);
    let Some(inside) = bytes.checked_sub(skipped) else { return };
    // SAFETY: the range lies within `buffer`, which is borrowed exclusively; MADV_HUGEPAGE changes no byte of it. A
    // refusal is no error: the pages stay small.
    let _ = unsafe {
        libc::madvise(
            start.add(skipped).cast(),
            inside / ALIGNMENT * ALIGNMENT,
            libc::MADV_HUGEPAGE,
        )
    };
}

#[cfg(not(target_os = "linux"))]
fn ask<T>(_buffer: &mut [T]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_of_every_size_are_zero_and_writable() {
        for elements in [0, 1, LEAST_BYTES / 4 - 1, LEAST_BYTES / 4, LEAST_BYTES / 4 + 12_345] {
            let mut buffer: Vec<f32> = zeros(elements);
            assert_eq!(buffer.len(), elements);
            assert!(buffer.iter().all(|&x| x.to_bits() == 0));
            buffer.fill(1.0);
            assert!(buffer.iter().all(|&x| x == 1.0));
        }
    }

    #[test]
    fn buffers_in_a_row_begin_at_lines_of_their_own() {
        for first in [0, 1, usize::MAX - 20] {
            let mut lines = [false; PAGE / 64];
            for number in 0..64 {
                let place = place(first.wrapping_add(number));
                assert_eq!(place % 64, 0);
                assert!(!std::mem::replace(&mut lines[place / 64], true), "{first} + {number}");
            }
        }
        for elements in [PAGE / 4, 50_000, LEAST_BYTES / 4 + 1] {
            assert_eq!(Buffer::<f32>::zeros(elements).as_ptr().addr() % 64, 0);
        }
    }

    #[test]
    fn buffers_of_every_length_hold_what_is_written() {
        for elements in [0_u32, 1, 511, 512, 513, 12_345] {
            let values: Vec<f64> = (0..elements).map(f64::from).collect();
            let mut buffer = Buffer::from(values.as_slice());
            assert_eq!(buffer.to_vec(), values);
            buffer.fill(-1.0);
            assert!(buffer.iter().all(|&x| x == -1.0) && buffer.len() == values.len());
        }
    }
}
