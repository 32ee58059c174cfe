//! Adam with the decay of a p-norm, then with that of l1.
#![no_std]
#![no_main]

use cpr_embedded::board::check;
use cpr_embedded::expected;
use cpr_embedded::problem::{Buffers, decayed, train_free};

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut BUFFERS: Buffers<2> = Buffers::ZERO;
    check(|| decayed().map(|base| train_free(base, BUFFERS)).into_iter().zip(expected::PADAM))
}
