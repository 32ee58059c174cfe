use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn workers(threads: usize) -> Workers {
    Workers::new(threads.try_into().unwrap()).unwrap()
}

#[test]
fn every_task_runs_once_and_results_keep_their_order() {
    for threads in [1, 2, 3, 8] {
        let workers = workers(threads);
        assert_eq!(workers.threads().get(), threads);
        for tasks in [0, 1, 2, 7, 100] {
            let runs: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            workers.for_each_task(tasks, |task| {
                runs[task].fetch_add(1, Ordering::Relaxed);
            });
            assert!(runs.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            let squares: Vec<usize> = (0..tasks).map(|task| task * task).collect();
            assert_eq!(workers.map(tasks, |task| task * task), squares);
        }
    }
}

#[test]
fn chunks_depend_on_the_length_alone() {
    for threads in [1, 2, 3] {
        let workers = workers(threads);
        let mut data = [0; 10];
        workers.for_each_chunk(&mut data, 4, |index, chunk| chunk.fill(10 * index + chunk.len()));
        assert_eq!(data, [4, 4, 4, 4, 14, 14, 14, 14, 22, 22]);
        workers.for_each_chunk(&mut data, 0, |index, chunk| chunk.fill(index));
        assert_eq!(data, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        workers.for_each_item(&mut data, |index, item| *item += index);
        assert_eq!(data, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    }
}

#[test]
fn calls_nest_and_two_kinds_of_work_run_together() {
    for threads in [1, 2] {
        let workers = workers(threads);
        let (mut left, mut right) = ([0; 6], [0; 3]);
        let sum = workers.run(|| {
            workers.join(
                || workers.for_each_chunk(&mut left, 2, |index, chunk| chunk.fill(index)),
                || workers.for_each_item(&mut right, |index, item| *item = index),
            );
            left.iter().sum::<usize>() + right.iter().sum::<usize>()
        });
        assert_eq!(sum, 9);
    }
}

#[test]
fn one_thread_is_the_caller() {
    let caller = std::thread::current().id();
    for workers in [workers(1), Workers::inline()] {
        workers.for_each_task(3, |_| assert_eq!(std::thread::current().id(), caller));
    }
    assert!(Workers::available().unwrap().threads().get() >= 1);
}

#[test]
fn a_thread_of_a_pool_has_the_same_number_in_every_call() {
    for threads in [1, 2, 3] {
        let workers = Workers::apart(threads.try_into().unwrap()).unwrap();
        let ids = || {
            let ids = std::sync::Mutex::new(vec![None; threads]);
            workers.for_each_thread(|number| {
                assert_eq!(rayon::current_thread_index(), Some(number));
                ids.lock().unwrap()[number] = Some(std::thread::current().id());
            });
            ids.into_inner().unwrap()
        };
        let from_outside = ids();
        assert!(from_outside.iter().all(Option::is_some));
        assert_eq!(workers.run(ids), from_outside);
        let other = Workers::apart(2.try_into().unwrap()).unwrap();
        assert_eq!(other.run(ids), from_outside);

        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            workers.for_each_thread(|number| assert!(number != 0, "as it is to be"));
        }));
        assert!(panicked.is_err());
        assert_eq!(ids(), from_outside);
    }
    for workers in [Workers::inline(), Workers::shared()] {
        let calls: Vec<_> = (0..workers.threads().get()).map(|_| AtomicUsize::new(0)).collect();
        workers.for_each_thread(|number| {
            calls[number].fetch_add(1, Ordering::Relaxed);
        });
        assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1));
    }
}

#[test]
fn shared_workers_are_those_of_the_caller() {
    let shared = Workers::shared();
    for threads in [1, 2, 3] {
        let own = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        own.install(|| {
            assert_eq!(shared.threads().get(), threads);
            assert_eq!(shared.map(10, |task| task * task), Workers::inline().map(10, |t| t * t));
            let mut items = [0; 7];
            shared.for_each_item(&mut items, |index, item| *item += index);
            shared.for_each_chunk(&mut items, 3, |index, chunk| chunk[0] += 100 * index);
            assert_eq!(items, [0, 1, 2, 103, 4, 5, 206]);
            let (mut first, mut second) = (false, false);
            shared.run(|| shared.join(|| first = true, || second = true));
            assert!(first && second);
        });
    }
}
