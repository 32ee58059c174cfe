//! One l2 constraint and SGD.
#![no_std]
#![no_main]

use cpr_core::L2;
use cpr_embedded::board::finish;
use cpr_embedded::expected;
use cpr_embedded::problem::{Buffers, sgd, train};

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut BUFFERS: Buffers<0> = Buffers::ZERO;
    finish([(train(L2, sgd(), BUFFERS), expected::L2_SGD)].into_iter())
}
