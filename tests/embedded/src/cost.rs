//! What a run costs: the peak of the stack, and the time on the emulator's clock of one instruction a nanosecond.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use cortex_m::peripheral::{SYST, syst::SystClkSource};

use crate::board::say;

/// The counter has 24 bits and runs down from here; a tick is 40 ns.
const TOP: u32 = 0x00FF_FFFF;

/// How often it came to its end.
static ROUNDS: AtomicU32 = AtomicU32::new(0);

#[cortex_m_rt::exception]
fn SysTick() {
    // Nobody else writes it, and a Cortex-M0 has no atomic addition.
    ROUNDS.store(ROUNDS.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Starts the counter.
pub(crate) fn start() {
    // SAFETY: nobody else takes the counter.
    let mut counter = unsafe { cortex_m::Peripherals::steal() }.SYST;
    counter.set_clock_source(SystClkSource::Core);
    counter.set_reload(TOP);
    counter.clear_current();
    counter.enable_interrupt();
    counter.enable_counter();
}

/// Writes the ticks since the start and the peak of the stack in bytes.
pub(crate) fn report() {
    print(b"ticks ", ticks() as usize);
    print(b"stack ", peak());
}

/// Ticks of 40 instructions since the start.
pub fn ticks() -> u32 {
    loop {
        let rounds = ROUNDS.load(Relaxed);
        let since = TOP - SYST::get_current();
        // Else the counter came to its end in between.
        if rounds == ROUNDS.load(Relaxed) {
            return rounds * (TOP + 1) + since;
        }
    }
}

/// How much of the pattern that `paint-stack` lays down is gone.
fn peak() -> usize {
    /// What cortex-m-rt paints the free stack with.
    const PAINT: u32 = 0xCCCC_CCCC;
    unsafe extern "C" {
        static _stack_end: u32;
        static _stack_start: u32;
    }
    let (mut word, end) = (&raw const _stack_end, &raw const _stack_start);
    // SAFETY: the linker's symbols bound the stack, RAM that start-up code has painted whole.
    while word < end && unsafe { word.read_volatile() } == PAINT {
        word = word.wrapping_add(1);
    }
    end.addr() - word.addr()
}

/// Writes a name and a number in decimal.
pub fn print(name: &[u8], number: usize) {
    let mut left = number;
    let mut digits = *b"          \n";
    for digit in digits.iter_mut().take(10).rev() {
        let [last, ..] = (left % 10).to_le_bytes();
        *digit = b'0' + last;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    say(name);
    say(&digits);
}
