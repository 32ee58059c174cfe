//! How far two threads are from each other: whether their cores share a cache.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::parallel::Workers;

/// Round trips that are timed together.
const BATCH: u32 = 50;

/// Batches, of which the fastest counts.
const BATCHES: u32 = 40;

/// Threads that do not run at the same time would wait for each other as long as the system lets them.
const PATIENCE: Duration = Duration::from_millis(50);

/// Waits for a number; whether it came.
fn wait_for(line: &AtomicU32, number: u32, until: Instant) -> bool {
    loop {
        for _ in 0..1000 {
            if line.load(Ordering::Acquire) == number {
                return true;
            }
            spin_loop();
        }
        if Instant::now() > until {
            return false;
        }
    }
}

/// Nanoseconds in which a cache line goes from one of two threads to the other and back, at best; none where there is one
/// thread, or where two did not run at the same time.
pub(super) fn round_trip(workers: &Workers) -> Option<f64> {
    if workers.threads().get() < 2 {
        return None;
    }
    let line = AtomicU32::new(0);
    let until = Instant::now() + PATIENCE;
    let mut best: Option<Duration> = None;
    let there = || {
        for batch in 0..BATCHES {
            let start = Instant::now();
            for trip in batch * BATCH..(batch + 1) * BATCH {
                line.store(2 * trip + 1, Ordering::Release);
                if !wait_for(&line, 2 * trip + 2, until) {
                    return;
                }
            }
            let time = start.elapsed();
            best = Some(best.map_or(time, |best| best.min(time)));
        }
    };
    let back = || {
        for trip in 0..BATCHES * BATCH {
            if !wait_for(&line, 2 * trip + 1, until) {
                return;
            }
            line.store(2 * trip + 2, Ordering::Release);
        }
    };
    workers.run(|| workers.join(there, back));
    best.map(|time| time.as_secs_f64() * 1e9 / f64::from(BATCH))
}
