//! Trains nothing: what start-up code, the problem and semihosting take.
#![no_std]
#![no_main]

use cpr_embedded::board::check;
use cpr_embedded::expected;
use cpr_embedded::problem::{Buffers, differentiate_only};

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut BUFFERS: Buffers<0> = Buffers::ZERO;
    check(|| [(differentiate_only(BUFFERS), expected::GRADIENT)])
}
