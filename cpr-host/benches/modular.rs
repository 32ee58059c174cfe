//! Time of a training step's forward and backward pass, and of an evaluation, at the published
//! size.

use std::num::NonZeroUsize;

use cpr_host::data::modular::ModularAddition;
use cpr_host::model::modular::{ModularConfig, ModularTransformer};
use cpr_host::parallel::Workers;
use criterion::{Criterion, criterion_group, criterion_main};

const BATCH: usize = 512;

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

criterion_group!(benches, modular);
criterion_main!(benches);
