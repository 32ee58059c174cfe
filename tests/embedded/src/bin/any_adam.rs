//! Every regularizer in turn, chosen at run time, and Adam.
#![no_std]
#![no_main]

use cpr_embedded::board::check;
use cpr_embedded::expected;
use cpr_embedded::problem::{Buffers, adam, regularizers, train};

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut BUFFERS: Buffers<2> = Buffers::ZERO;
    check(|| {
        let got = regularizers().map(|regularizer| train(regularizer?, adam(), BUFFERS));
        got.into_iter().zip(expected::ANY_ADAM)
    })
}
