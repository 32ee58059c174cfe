//! Adam alone, without a constraint.
#![no_std]
#![no_main]

use cpr_embedded::board::check;
use cpr_embedded::expected;
use cpr_embedded::problem::{Buffers, adam, train_free};

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut BUFFERS: Buffers<2> = Buffers::ZERO;
    check(|| [(train_free(adam(), BUFFERS), expected::ADAM)])
}
