//! The peak of the stack: how much of the pattern that `paint-stack` lays down is gone.

use crate::board::say;

/// Writes the peak of the stack in bytes.
pub(crate) fn report() {
    /// What cortex-m-rt paints the free stack with.
    const PAINT: u32 = 0xCCCC_CCCC;
    unsafe extern "C" {
        static _stack_end: u32;
        static _stack_start: u32;
    }
    let (mut word, end) = (&raw const _stack_end, &raw const _stack_start);
    // SAFETY: the linker's symbols bound the stack, RAM that start-up code has painted whole and that is in use
    // from `_stack_start` downwards; nothing below the first used word has a reference.
    while word < end && unsafe { word.read_volatile() } == PAINT {
        word = word.wrapping_add(1);
    }
    let mut left = end.addr() - word.addr();
    let mut digits = *b"stack:           bytes\n";
    for digit in digits.iter_mut().skip(7).take(8).rev() {
        let [last, ..] = (left % 10).to_le_bytes();
        *digit = b'0' + last;
        left /= 10;
    }
    say(&digits);
}
