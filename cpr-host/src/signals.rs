//! SIGINT and SIGTERM: the first asks the run to finish its step and to write a checkpoint, a second one ends the
//! process at once.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// Exit status of a run that was asked to stop, as shells give it for SIGINT.
pub const INTERRUPTED: u8 = 130;

/// A flag that the first signal sets; the second ends the process with status 130.
///
/// # Errors
/// Where the system refuses a handler.
pub fn watch() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: on the first signal the flag is not set yet, so that only a second one shuts down.
        flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
