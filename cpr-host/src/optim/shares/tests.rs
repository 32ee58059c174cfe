use std::sync::{
    Barrier,
    atomic::{AtomicUsize, Ordering},
};

use cpr_core::{CHUNK, LANES, Merge, base::BaseRule, base_step};

use super::*;

/// Chunks of one group after the other, each of as many elements as are given.
fn chunks(groups: &[usize]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut start = 0;
    for (group, &elements) in groups.iter().enumerate() {
        let end = start + elements;
        chunks.extend((start..end).step_by(CHUNK).map(|start| Chunk {
            group,
            start,
            end: end.min(start + CHUNK),
        }));
        start = end;
    }
    chunks
}

/// Adds 1.
#[derive(Clone, Copy)]
struct One;

impl BaseRule<f32, 0> for One {
    fn block(&self, theta: &mut [f32; LANES], _: &[f32; LANES], _: &mut [[f32; LANES]; 0]) {
        theta.iter_mut().for_each(|x| *x += 1.0);
    }
}

/// A pool even of one thread.
fn pool(threads: usize) -> Workers {
    Workers::apart(threads.try_into().unwrap()).unwrap()
}

/// Steps add 1 to θ and corrections double it: what is done twice or not at all shows.
#[test]
fn every_element_is_stepped_once_and_corrected_once() {
    for groups in [&[][..], &[5], &[4096], &[3, CHUNK + 1, 70], &[50 * CHUNK + 7, 1, 9 * CHUNK]] {
        let chunks = chunks(groups);
        let length: usize = groups.iter().sum();
        let pools = [pool(1), pool(2), pool(3), pool(8)];
        for workers in pools.into_iter().chain([Workers::inline(), Workers::shared()]) {
            let (mut theta, grads) = (vec![1.0_f32; length], vec![0.0; length]);
            let mut observed = vec![Observed::NEUTRAL; chunks.len()];
            let flat = Flat { theta: &mut theta, grads: &grads, moments: [] };
            let mut stepped = vec![usize::MAX; chunks.len()];
            let places = (&mut observed[..], &mut stepped[..]);
            first(&workers, &chunks, flat, places, &|chunk, shard| {
                assert_eq!(shard.len(), chunk.end - chunk.start);
                base_step(&One, shard);
                Observed { stopped: chunk.start as u64, ..Observed::NEUTRAL }
            });
            assert!(stepped.iter().all(|&thread| thread < workers.threads().get()));
            for (observed, chunk) in observed.iter().zip(&chunks) {
                assert_eq!(observed.stopped, chunk.start as u64);
            }

            correct(&workers, &stepped, &chunks, &mut theta, &mut observed, &|group, theta| {
                theta.iter_mut().for_each(|x| *x *= 2.0);
                1000 * group as u64 + theta.len() as u64
            });
            assert!(theta.iter().all(|&x| x == 4.0), "{groups:?}");
            for (group, &elements) in groups.iter().enumerate() {
                let of_group = chunks.iter().zip(&observed).filter(|(c, _)| c.group == group);
                let stopped: u64 = of_group.map(|(_, observed)| observed.stopped).sum();
                assert_eq!(stopped % 1000, elements as u64 % 1000, "{groups:?}");
                assert!(stopped >= 1000 * group as u64 + elements as u64);
            }
        }
    }
}

/// Both go step by step together, so that neither has time to help the other.
#[test]
fn a_thread_corrects_what_it_has_stepped_and_begins_with_the_last_of_it() {
    let grain = Correction::<f32>::GRAIN;
    let chunks = chunks(&[6 * grain * CHUNK]);
    let steppers = [0, 1, 1, 0, 1, 0].map(|thread| vec![thread; grain]).concat();
    let mut theta: Vec<f32> = (0..6 * grain).flat_map(|i| [i as f32; CHUNK]).collect();
    let mut observed = vec![Observed::NEUTRAL; chunks.len()];
    let (together, order) = (Barrier::new(2), [const { Mutex::new(Vec::new()) }; 2]);
    correct(&pool(2), &steppers, &chunks, &mut theta, &mut observed, &|_, theta| {
        assert_eq!(theta.len(), grain * CHUNK);
        let part = theta[0] as usize / grain;
        order[rayon::current_thread_index().unwrap()].lock().unwrap().push(part);
        together.wait();
        0
    });
    assert_eq!(order.map(|parts| parts.into_inner().unwrap()), [[5, 3, 0], [4, 2, 1]]);
}

/// The first thread waits in its first chunk until all that it has not begun is done.
#[test]
fn what_a_slow_thread_leaves_the_other_does_from_the_far_end() {
    let grain = Step::<f32, 0>::GRAIN;
    let parts = 8;
    let chunks = chunks(&[parts * grain * CHUNK]);
    let length = parts * grain * CHUNK;
    let (mut theta, grads) = (vec![0.0_f32; length], vec![0.0; length]);
    let mut observed = vec![Observed::NEUTRAL; chunks.len()];
    let mut steppers = vec![usize::MAX; chunks.len()];
    let flat = Flat { theta: &mut theta, grads: &grads, moments: [] };
    let (begun, done) = (Barrier::new(2), AtomicUsize::new(0));
    let places = (&mut observed[..], &mut steppers[..]);
    first(&pool(2), &chunks, flat, places, &|chunk, _| {
        if chunk.start == 0 || chunk.start == length / 2 {
            begun.wait();
        }
        if chunk.start == 0 {
            while done.load(Ordering::Acquire) < (parts - 1) * grain {
                std::thread::yield_now();
            }
        } else if chunk.start >= grain * CHUNK {
            done.fetch_add(1, Ordering::Release);
        }
        Observed::NEUTRAL
    });
    let expected = [vec![0; grain], vec![1; (parts - 1) * grain]].concat();
    assert_eq!(steppers, expected);
}

#[test]
fn too_little_to_be_shared_wakes_nobody() {
    let chunks = chunks(&[Step::<f32, 0>::GRAIN * CHUNK]);
    let length = elements(&chunks);
    let (mut theta, grads) = (vec![0.0_f32; length], vec![0.0; length]);
    let mut observed = vec![Observed::NEUTRAL; chunks.len()];
    let mut steppers = vec![usize::MAX; chunks.len()];
    let flat = Flat { theta: &mut theta, grads: &grads, moments: [] };
    let caller = std::thread::current().id();
    let places = (&mut observed[..], &mut steppers[..]);
    first(&pool(3), &chunks, flat, places, &|_, _| {
        assert_eq!(std::thread::current().id(), caller);
        Observed::NEUTRAL
    });
    assert!(steppers.iter().all(|&thread| thread == 0));
}
