//! A classifier head learns from recorded windows, says how it ended, and checks it against the host.
#![no_std]
#![no_main]

use cpr_embedded::board::{run, say};
use cpr_embedded::expected;
use cpr_embedded::head::Head;
use cpr_embedded::windows::{FRESH, TRAINING};

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut HEAD: Head = Head::ZERO;
    run(|| match HEAD.learn(&TRAINING, &FRESH) {
        Some(learnt) => {
            learnt.tell(say);
            learnt == expected::HEAD
        }
        None => {
            say(b"learning stopped\n");
            false
        }
    })
}
