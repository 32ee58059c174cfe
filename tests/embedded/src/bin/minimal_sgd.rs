//! One l2 constraint and SGD.
#![no_std]
#![no_main]

use cpr_core::L2;
use cpr_embedded::board::check;
use cpr_embedded::expected;
use cpr_embedded::problem::{Buffers, sgd, train};

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut BUFFERS: Buffers<0> = Buffers::ZERO;
    check(|| [(train(L2, sgd(), BUFFERS), expected::L2_SGD)])
}
