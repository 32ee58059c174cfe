//! Threads. This is the only file that spawns any.
//!
//! Work whose results are summed is cut into *tasks* by its size alone, never by the number of threads; each task writes its
//! own output, and the caller sums in task order. Which thread does what is free. Results therefore have the same bits for any
//! number of threads.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Why the threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{threads} worker threads could not be started: ask for fewer with `threads`")]
pub struct WorkersError {
    threads: NonZeroUsize,
    source: rayon::ThreadPoolBuildError,
}

/// A fixed set of worker threads. With one thread everything runs on the calling thread.
///
/// A call from outside has to wake the workers (some 10 to 20 µs); calls made inside
/// [`run`](Self::run) cost less than a microsecond on the thread that makes them, and idle workers
/// join within a few. A step therefore enters the pool once. [`for_each_thread`](Self::for_each_thread) alone waits for every
/// worker.
///
/// ```
/// use cpr_host::parallel::Workers;
/// let workers = Workers::new(2.try_into()?)?;
/// let mut squares = vec![0; 5];
/// workers.for_each_chunk(&mut squares, 2, |chunk, out| {
///     for (place, square) in out.iter_mut().enumerate() {
///         *square = (2 * chunk + place).pow(2);
///     }
/// });
/// assert_eq!(squares, [0, 1, 4, 9, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Workers {
    pool: Pool,
}

/// Where tasks run.
#[derive(Debug)]
enum Pool {
    /// On the calling thread.
    Inline,
    /// On threads of its own.
    Own(ThreadPool),
    /// Where the caller runs.
    Shared,
}

impl Workers {
    /// Starts `threads` workers.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the threads.
    pub fn new(threads: NonZeroUsize) -> Result<Self, WorkersError> {
        if threads == NonZeroUsize::MIN { Ok(Self::inline()) } else { Self::apart(threads) }
    }

    /// As [`new`](Self::new), but a single thread is a pool too: code inside [`run`](Self::run) that takes the threads it
    /// is called in, such as that over [`shared`](Self::shared) workers, then has one and not every core.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn apart(threads: NonZeroUsize) -> Result<Self, WorkersError> {
        let builder = ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .thread_name(|index| format!("worker-{index}"));
        let pool = builder.build().map_err(|source| WorkersError { threads, source })?;
        Ok(Self { pool: Pool::Own(pool) })
    }

    /// One worker for each core that this process may use.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn available() -> Result<Self, WorkersError> {
        Self::new(available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    /// No thread but the caller's; cannot fail.
    pub const fn inline() -> Self {
        Self { pool: Pool::Inline }
    }

    /// The workers of the pool that a call is made in, or rayon's global pool (one thread for each core, or
    /// `RAYON_NUM_THREADS`) for calls from outside any: for code that is called by others and must not add threads to
    /// theirs.
    pub const fn shared() -> Self {
        Self { pool: Pool::Shared }
    }

    /// The number of threads.
    pub fn threads(&self) -> NonZeroUsize {
        let threads = match &self.pool {
            Pool::Inline => 1,
            Pool::Own(pool) => pool.current_num_threads(),
            Pool::Shared => rayon::current_num_threads(),
        };
        NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN)
    }

    /// Runs `work` inside the pool, where the other calls are cheap. Nested calls run at once.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Pool::Own(pool) => pool.install(work),
            Pool::Shared => rayon::scope(|_| work()),
            Pool::Inline => work(),
        }
    }

    /// Calls `task(0)`, …, `task(tasks − 1)`, in any order and at the same time.
    pub fn for_each_task(&self, tasks: usize, task: impl Fn(usize) + Send + Sync) {
        let parallel = || (0..tasks).into_par_iter().with_max_len(1).for_each(&task);
        match &self.pool {
            Pool::Own(pool) => pool.install(parallel),
            Pool::Shared => parallel(),
            Pool::Inline => (0..tasks).for_each(task),
        }
    }

    /// Calls `task(index, item)` for every item, each item being a task.
    pub fn for_each_item<I: Send>(
        &self,
        items: &mut [I],
        task: impl Fn(usize, &mut I) + Send + Sync,
    ) {
        let parallel = |items: &mut [I]| {
            let items = items.par_iter_mut().with_max_len(1).enumerate();
            items.for_each(|(index, item)| task(index, item));
        };
        match &self.pool {
            Pool::Own(pool) => pool.install(|| parallel(items)),
            Pool::Shared => parallel(items),
            Pool::Inline => {
                items.iter_mut().enumerate().for_each(|(index, item)| task(index, item));
            }
        }
    }

    /// Calls `task(index, chunk)` for consecutive chunks of `length` elements (the last may be
    /// shorter; a length of 0 counts as 1), each chunk being a task.
    pub fn for_each_chunk<I: Send>(
        &self,
        data: &mut [I],
        length: usize,
        task: impl Fn(usize, &mut [I]) + Send + Sync,
    ) {
        let length = length.max(1);
        let parallel = |data: &mut [I]| {
            let chunks = data.par_chunks_mut(length).with_max_len(1).enumerate();
            chunks.for_each(|(index, chunk)| task(index, chunk));
        };
        match &self.pool {
            Pool::Own(pool) => pool.install(|| parallel(data)),
            Pool::Shared => parallel(data),
            Pool::Inline => {
                data.chunks_mut(length).enumerate().for_each(|(index, chunk)| task(index, chunk));
            }
        }
    }

    /// The results of `task(0)`, …, `task(tasks − 1)` in this order.
    pub fn map<R: Send>(&self, tasks: usize, task: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
        let parallel =
            || -> Vec<R> { (0..tasks).into_par_iter().with_max_len(1).map(&task).collect() };
        match &self.pool {
            Pool::Own(pool) => pool.install(parallel),
            Pool::Shared => parallel(),
            Pool::Inline => (0..tasks).map(task).collect(),
        }
    }

    /// Calls `task(0)`, …, `task(threads − 1)`; with threads of its own each on the thread of that number, the same one in every
    /// such call, and all at the same time.
    ///
    /// Where threads are shared, any may take any number, and several one after the other: they may be busy with what others
    /// have given them.
    pub fn for_each_thread(&self, task: impl Fn(usize) + Send + Sync) {
        match &self.pool {
            Pool::Own(pool) => {
                pool.broadcast(|context| task(context.index()));
            }
            Pool::Shared | Pool::Inline => self.for_each_task(self.threads().get(), task),
        }
    }

    /// Both at the same time: two different kinds of work in one phase.
    pub fn join(&self, first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
        match &self.pool {
            Pool::Own(pool) => {
                pool.join(first, second);
            }
            Pool::Shared => {
                rayon::join(first, second);
            }
            Pool::Inline => {
                first();
                second();
            }
        }
    }
}

#[cfg(test)]
mod tests;
