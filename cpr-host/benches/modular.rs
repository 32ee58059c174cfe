//! Time of a training step's forward and backward pass, and of an evaluation, at the published
//! size; of the matrix products of the step by themselves; and of multiply-adds that wait for nothing.
//!
//! `cargo bench -p cpr-host --bench modular`. The throughput of the last two is in floating-point operations: what products reach
//! of the peak is the ratio of the two, what the step spends in them that of their time and the step's.

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

/// The matrices of one linear map for one tile.
struct Map {
    sizes: [usize; 2],
    x: Vec<f32>,
    weights: Vec<f32>,
    transposed: Vec<f32>,
    y: Vec<f32>,
    gradient: Vec<f32>,
}

impl Map {
    fn new(sizes: [usize; 2]) -> Self {
        let [inputs, outputs] = sizes;
        let numbers = |count: usize| (0..count).map(|i| (i % 7) as f32 - 3.0).collect();
        let (x, weights) = (numbers(TILE * inputs), numbers(outputs * inputs));
        let (transposed, y) = (numbers(inputs * outputs), numbers(TILE * outputs));
        Self { sizes, x, weights, transposed, y, gradient: numbers(outputs * inputs) }
    }

    /// y = x·Wᵀ, dx = dy·W and dW = dyᵀ·x, in the buffers of each other: the time does not depend on the numbers.
    fn run(&mut self) {
        let [inputs, outputs] = self.sizes;
        let weights = Matrix::new(&self.transposed, outputs);
        multiply(Matrix::new(&self.x, inputs), weights, &mut self.y, false);
        let d_output = Matrix::new(&self.y, outputs);
        multiply(d_output, Matrix::new(&self.weights, inputs), &mut self.x, false);
        let x = Matrix::new(&self.x, inputs);
        multiply(d_output.transposed(), x, &mut self.gradient, false);
        self.x.fill(1.0);
    }

    fn operations(&self) -> u64 {
        let [inputs, outputs] = self.sizes;
        (3 * 2 * TILE * inputs * outputs) as u64
    }
}

/// Rounds of multiply-adds in one task.
const ROUNDS: usize = 20_000;

/// Chains of multiply-adds: twelve of the widest vectors, enough to hide the time that one takes.
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
        let mut tiles: Vec<_> = (0..BATCH / TILE).map(|_| MAPS.map(Map::new)).collect();
        let operations = tiles.iter().flatten().map(Map::operations).sum();
        group.throughput(Throughput::Elements(operations));
        group.bench_function("of 512 examples", |bencher| {
            bencher.iter(|| {
                workers.for_each_item(&mut tiles, |_, maps| maps.iter_mut().for_each(Map::run));
            });
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
