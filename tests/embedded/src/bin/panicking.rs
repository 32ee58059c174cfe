//! Can panic, and so must not link: the check that the others cannot is no empty one.
#![no_std]
#![no_main]

use core::hint::black_box;

use cpr_embedded::board::check;

#[cortex_m_rt::entry]
fn main() -> ! {
    let table = [0u8; 4];
    let index = black_box(4);
    black_box(table[index]);
    check(|| [])
}
