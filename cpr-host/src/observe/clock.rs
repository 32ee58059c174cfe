//! Time as the observers see it, so that tests can hold it still.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of time in seconds.
pub trait Clock {
    /// Seconds since an origin that is fixed for the life of the clock.
    fn seconds(&self) -> f64;
}

/// Seconds since the clock was made; never runs backwards.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic {
    origin: Instant,
}

impl Monotonic {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for Monotonic {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Monotonic {
    fn seconds(&self) -> f64 {
        self.origin.elapsed().as_secs_f64()
    }
}

/// Seconds since 1970-01-01 UTC; 0 on a machine whose clock stands before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SinceEpoch;

impl Clock for SinceEpoch {
    fn seconds(&self) -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
    }
}
