//! Trains nothing: what start-up code and semihosting alone take.
#![no_std]
#![no_main]

use cpr_embedded::board::finish;

#[cortex_m_rt::entry]
fn main() -> ! {
    finish(core::iter::empty())
}
