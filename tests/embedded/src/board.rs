//! The machine's side: how a firmware ends, and that it cannot panic.

use core::panic::PanicInfo;

use cortex_m_semihosting::{debug, hio};

use crate::problem::Trained;

#[cfg(not(feature = "lenient"))]
unsafe extern "C" {
    /// Defined nowhere: a firmware in which a panic can be reached does not link.
    safe fn a_panic_can_be_reached() -> !;
}

#[cfg(feature = "lenient")]
fn a_panic_can_be_reached() -> ! {
    cortex_m::asm::udf()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    a_panic_can_be_reached()
}

/// Runs the cases and ends the emulation: with success if every pair has the same bits.
pub fn check<I: IntoIterator<Item = (Option<Trained>, Trained)>>(cases: impl FnOnce() -> I) -> ! {
    run(|| all_same(cases()))
}

/// Runs a case and ends the emulation: with success if it says so.
pub fn run(case: impl FnOnce() -> bool) -> ! {
    #[cfg(feature = "cost")]
    crate::cost::start();
    let same = case();
    #[cfg(feature = "cost")]
    crate::cost::report();
    debug::exit(if same { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}

fn all_same(cases: impl IntoIterator<Item = (Option<Trained>, Trained)>) -> bool {
    let mut same = true;
    for (got, expected) in cases {
        let Some(got) = got else {
            say(b"training stopped\n");
            same = false;
            continue;
        };
        for (name, got, expected) in [
            (&b"theta differs from the host's\n"[..], got.theta, expected.theta),
            (b"lambda differs from the host's\n", got.lambda, expected.lambda),
            (b"kappa differs from the host's\n", got.kappa, expected.kappa),
        ] {
            if got != expected {
                say(name);
                same = false;
            }
        }
    }
    same
}

/// Writes to the host's terminal; where there is none, nothing happens.
pub fn say(text: &[u8]) {
    if let Ok(mut out) = hio::hstdout() {
        let _unheard = out.write_all(text);
    }
}
