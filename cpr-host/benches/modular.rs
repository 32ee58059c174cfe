//! Time of a training step's forward and backward pass, and of an evaluation, at the published
//! size; of the matrix products that each example passes in it, by themselves; and of multiply-adds that wait for nothing.
//!
//! `cargo bench -p cpr-host --bench modular`. The throughput of the last two is in floating-point operations: what products reach
//! of the peak is the ratio of the two, what both passes spend in them that of their time and `loss_and_grad`'s.

use std::hint::black_box;
use std::num::NonZeroUsize;

use cpr_host::data::modular::ModularAddition;
use cpr_host::model::layers::linear::{Matrix, multiply};
use cpr_host::model::modular::{ModularConfig, ModularTransformer};
use cpr_host::parallel::Workers;
use cpr_host::vectorized;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BATCH: usize = 512;

/// Examples that pass through the model together.
const TILE: usize = 64;

/// Inputs and outputs of the linear maps that each example passes.
const MAPS: [[usize; 2]; 4] = [[128, 128], [128, 512], [512, 128], [128, 114]];

/// Elements of a gradient that make one task.
const TASK: usize = 12288;

/// A linear map.
struct Map {
    sizes: [usize; 2],
    weights: Vec<f32>,
    transposed: Vec<f32>,
    gradient: Vec<f32>,
}

/// Inputs and outputs of a map for one tile.
type Rows = [Vec<f32>; 2];

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i % 7) as f32 - 3.0).collect()
}

impl Map {
    fn new(sizes: [usize; 2]) -> Self {
        let length = sizes.iter().product();
        let [weights, transposed, gradient] = [length; 3].map(numbers);
        Self { sizes, weights, transposed, gradient }
    }

    /// y = x·Wᵀ and dx = dy·W, in the buffers of each other: the time does not depend on the numbers.
    fn pass(&self, [x, y]: &mut Rows) {
        let [inputs, outputs] = self.sizes;
        multiply(Matrix::new(x, inputs), Matrix::new(&self.transposed, outputs), y, false);
        multiply(Matrix::new(y, outputs), Matrix::new(&self.weights, inputs), x, false);
        x.fill(1.0);
    }

    /// dW = Σ dyᵀ·x over the tiles.
    fn differentiate(&mut self, workers: &Workers, tiles: &[Vec<Rows>], map: usize) {
        let [inputs, outputs] = self.sizes;
        let rows = TASK / inputs;
        workers.for_each_chunk(&mut self.gradient, rows * inputs, |block, gradient| {
            for (index, tile) in tiles.iter().enumerate() {
                let [x, y] = &tile[map];
                let d_output = Matrix::new(y, outputs).transposed().rows(block * rows, rows);
                multiply(d_output, Matrix::new(x, inputs), gradient, index > 0);
            }
        });
    }
}

/// The products of a step without what lies between them.
fn multiply_all(workers: &Workers, maps: &mut [Map], tiles: &mut [Vec<Rows>]) {
    workers.run(|| {
        workers.for_each_item(tiles, |_, tile| {
            for (map, rows) in maps.iter().zip(tile) {
                map.pass(rows);
            }
        });
        workers.for_each_item(maps, |index, map| map.differentiate(workers, tiles, index));
    });
}

/// Rounds of multiply-adds in one task.
const ROUNDS: usize = 20_000;

/// Chains of multiply-adds: twelve vectors of AVX-512, enough to hide the time that one takes. With AVX2 and NEON they do not fit the
/// registers, and what is measured is less than the peak.
const CHAINS: usize = 192;

#[inline(always)]
fn multiply_adds(chains: &mut [f32; CHAINS]) {
    for _ in 0..ROUNDS {
        for chain in chains.iter_mut() {
            *chain = chain.mul_add(0.999, 0.001);
        }
    }
}

fn products(criterion: &mut Criterion) {
    for threads in [1, 2] {
        let count = NonZeroUsize::new(threads).expect("at least one thread");
        let workers = Workers::new(count).expect("threads");
        let mut group = criterion.benchmark_group(format!("products, {threads} threads"));
        group.sample_size(30);
        let mut maps = MAPS.map(Map::new);
        let rows = |sizes: [usize; 2]| sizes.map(|size| numbers(TILE * size));
        let mut tiles: Vec<Vec<Rows>> =
            (0..BATCH / TILE).map(|_| MAPS.map(rows).to_vec()).collect();
        let multiplications: usize = MAPS.iter().map(|[inputs, outputs]| inputs * outputs).sum();
        group.throughput(Throughput::Elements((3 * 2 * BATCH * multiplications) as u64));
        group.bench_function("of 512 examples", |bencher| {
            bencher.iter(|| multiply_all(&workers, &mut maps, &mut tiles));
        });
        let mut chains = vec![[0.5; CHAINS]; threads];
        group.throughput(Throughput::Elements((2 * threads * ROUNDS * CHAINS) as u64));
        group.bench_function("multiply-adds alone", |bencher| {
            bencher.iter(|| {
                workers.for_each_item(&mut chains, |_, chains| {
                    vectorized!(multiply_adds(black_box(chains)));
                });
            });
        });
        group.finish();
    }
}

fn modular(criterion: &mut Criterion) {
    let config = ModularConfig::default();
    let data = ModularAddition::new(config.p(), 0.3, 0).expect("the published split");
    let mut model = ModularTransformer::<f32>::new(config);
    let params = model.init(0);
    let mut grads = vec![0.0; params.len()];
    for threads in [1, 2] {
        let count = NonZeroUsize::new(threads).expect("at least one thread");
        let workers = Workers::new(count).expect("threads");
        let mut group = criterion.benchmark_group(format!("modular, {threads} threads"));
        group.sample_size(30);
        group.bench_function("loss_and_grad of 512", |bencher| {
            let batch = &data.train[..BATCH];
            bencher.iter(|| model.loss_and_grad(&workers, &params, batch, &mut grads));
        });
        group.bench_function("evaluate 8939", |bencher| {
            bencher.iter(|| model.evaluate(&workers, &params, &data.validation));
        });
        group.bench_function("an empty phase", |bencher| {
            let mut items = [0_u8; 8];
            bencher.iter(|| workers.for_each_item(&mut items, |index, item| *item = index as u8));
        });
        group.finish();
    }
}

criterion_group!(benches, modular, products);
criterion_main!(benches);
