//! Formats a float, and so must be found: the search for such code in the others is no empty one.
#![no_std]
#![no_main]

use core::{fmt::Write, hint::black_box};

use cpr_embedded::board::{run, say};

struct Out;

impl Write for Out {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        say(text.as_bytes());
        Ok(())
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    run(|| write!(Out, "{}", black_box(0.5f32)).is_ok())
}
