//! A set of two groups, one under an l2 constraint, and Adam.
#![no_std]
#![no_main]

use cpr_embedded::board::check;
use cpr_embedded::expected;
use cpr_embedded::problem::{Buffers, adam, train_set};

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut BUFFERS: Buffers<2> = Buffers::ZERO;
    check(|| [(train_set(adam(), BUFFERS), expected::SET)])
}
