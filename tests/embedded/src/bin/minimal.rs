//! One l2 constraint and Adam.
#![no_std]
#![no_main]

use cpr_core::L2;
use cpr_embedded::board::check;
use cpr_embedded::expected;
use cpr_embedded::problem::{Buffers, adam, train};

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut BUFFERS: Buffers<2> = Buffers::ZERO;
    check(|| [(train(L2, adam(), BUFFERS), expected::L2_ADAM)])
}
