//! Large buffers on huge pages, where the system gives them.
//!
//! An optimizer step streams through every byte of its buffers once, and has to find each page anew. Systems with
//! transparent huge pages set to `madvise` give pages of 2 MB to whoever asks before the memory is first touched. This is
//! that question.

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
}
