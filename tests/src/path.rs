//! The ways to run a case through cpr-core. To add one: a variant of [`Path`], its line in [`Path::ALL`], and its
//! arm in [`Path::step`].

use cpr_core::{
    AnyRegularizer, CHUNK, Constraint, ConstraintRule, Observed, Pairwise, Real, Report, Shard,
    base::{
        Adam, AdamConfig, AmsGrad, Base, BaseRule, Decayed, Momentum, MomentumConfig, Sgd,
        SgdConfig,
    },
    constrained_step,
};

use crate::{
    cases::{Case, Optimizer},
    noise,
};

/// Who runs the phases of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// `constrained_step` on the whole slice.
    Whole,
    /// The phases by hand: chunks in a shuffled order, merged by index.
    ShuffledChunks,
    /// Shards cut at multiples of a chunk, each with its own `run_all` of one chunk after another.
    Shards,
    /// Chunks shared among three threads that take what comes next.
    Threads,
}

/// What a path did in one step, as far as it can be seen from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Chunks in the order in which they were run; empty where the path does not cut.
    pub chunks: Vec<usize>,
    /// First element of each shard.
    pub cuts: Vec<usize>,
    /// Threads other than this one that ran a chunk.
    pub threads: usize,
}

impl Path {
    /// Every path; the first is the one that the others are compared with.
    pub const ALL: [Self; 4] = [Self::Whole, Self::ShuffledChunks, Self::Shards, Self::Threads];

    /// # Panics
    /// Unless this is the path that ran, for n elements.
    pub fn assert_ran(self, ran: &Ran, n: usize) {
        let chunks = n.div_ceil(CHUNK);
        let mut sorted = ran.chunks.clone();
        sorted.sort_unstable();
        match self {
            Self::Whole => assert_eq!(*ran, Ran::default()),
            Self::ShuffledChunks => {
                assert_eq!(sorted, Vec::from_iter(0..chunks));
                assert!(chunks < 3 || sorted != ran.chunks, "chunks were not shuffled");
            }
            Self::Shards => {
                assert!(ran.cuts.iter().all(|cut| cut.is_multiple_of(CHUNK)), "{:?}", ran.cuts);
                assert!(chunks < 2 || ran.cuts.len() >= 2, "the slice was not cut");
            }
            Self::Threads => {
                assert_eq!(sorted, Vec::from_iter(0..chunks));
                assert!(chunks == 0 || ran.threads > 0, "no thread ran");
            }
        }
    }

    /// One step of one matrix.
    ///
    /// # Panics
    /// On slices of different lengths.
    pub fn step<T: Real, B: BaseRule<T, M> + Sync, const M: usize>(
        self,
        constraint: &mut Constraint<AnyRegularizer>,
        base: &B,
        lr: f64,
        matrix: Matrix<'_, T, M>,
    ) -> Ran {
        let Matrix { theta, grad, moments } = matrix;
        let shard = Shard::new(theta, grad, moments.each_mut().map(Vec::as_mut_slice))
            .expect("equal lengths");
        let mut ran = Ran::default();
        let seed = constraint.report().step;
        if self == Self::Whole {
            constrained_step(constraint, base, lr, shard);
            return ran;
        }
        let first = constraint.begin(lr);
        let chunks = shard.len().div_ceil(CHUNK);
        let mut measures: Vec<Option<Observed>> = vec![None; chunks];
        match self {
            Self::Whole => {}
            Self::ShuffledChunks => {
                let mut parts: Vec<_> = shard.chunks().map(Some).collect();
                for index in unsorted(seed, chunks) {
                    let part = parts[index].take().expect("each chunk once");
                    measures[index] = Some(first.run(base, part));
                    ran.chunks.push(index);
                }
            }
            Self::Shards => {
                // The second shard first: a rank that is ahead.
                let cut = chunks / 2;
                let mut parts: Vec<_> = shard.chunks().collect();
                let tail = parts.split_off(cut);
                ran.cuts = vec![0, cut * CHUNK];
                for (offset, parts) in [(cut, tail), (0, parts)] {
                    for (i, part) in parts.into_iter().enumerate() {
                        measures[offset + i] = Some(first.run(base, part));
                    }
                }
            }
            Self::Threads => {
                let queue = std::sync::Mutex::new(shard.chunks().enumerate());
                let work = || {
                    let mut done = Vec::new();
                    loop {
                        let next = queue.lock().expect("no thread panicked").next();
                        let Some((index, part)) = next else { return done };
                        done.push((index, first.run(base, part)));
                    }
                };
                let done: Vec<_> = std::thread::scope(|scope| {
                    let threads = [scope.spawn(work), scope.spawn(work), scope.spawn(work)];
                    threads.into_iter().map(|t| t.join().expect("no panic")).collect()
                });
                ran.threads = done.iter().filter(|chunks| !chunks.is_empty()).count();
                for (index, measure) in done.into_iter().flatten() {
                    ran.chunks.push(index);
                    measures[index] = Some(measure);
                }
            }
        }
        let mut whole = Pairwise::new();
        whole.extend(measures.into_iter().map(|measure| measure.expect("every chunk")));
        let correction = constraint.update(&whole.finish(), lr);
        // Phase 4 in parts of another size than those of phase 1, from the back.
        for part in theta.chunks_mut(3000).rev() {
            let stopped = correction.apply(part);
            constraint.count_stopped(stopped);
        }
        ran
    }
}

/// An order that is not the sorted one where there are at least two chunks.
fn unsorted(seed: u64, chunks: usize) -> Vec<usize> {
    let mut order = noise::shuffled(seed, chunks);
    if order.is_sorted() {
        order.reverse();
    }
    order
}

/// θ, its gradient and its moments.
#[derive(Debug)]
pub struct Matrix<'a, T, const M: usize> {
    /// θ.
    pub theta: &'a mut [T],
    /// The gradient.
    pub grad: &'a [T],
    /// The moments.
    pub moments: &'a mut [Vec<T>; M],
}

/// What a run leaves behind after each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Run<T> {
    /// θ after the last step.
    pub theta: Vec<T>,
    /// After each step.
    pub reports: Vec<Report>,
    /// θ\[0\] after each step.
    pub first: Vec<T>,
}

impl<T: Real> Run<T> {
    /// Everything as bits: θ, and λ, κ and R of every step.
    #[must_use]
    pub fn bits(&self) -> Vec<u64> {
        let elements = self.theta.iter().chain(&self.first).map(|&x| x.to_f64().to_bits());
        let scalars = self.reports.iter().flat_map(|r| {
            let kappa = r.kappa.map_or(u64::MAX, f64::to_bits);
            [r.lambda.to_bits(), kappa, r.value.to_bits(), r.guarded]
        });
        elements.chain(scalars).collect()
    }
}

/// The two precisions; runs are instantiated here once for all tests.
pub trait Precision: Real {
    /// The case by this path.
    fn run(case: &Case, path: Path) -> Run<Self>;
}

impl Precision for f32 {
    fn run(case: &Case, path: Path) -> Run<Self> {
        run(case, path)
    }
}

impl Precision for f64 {
    fn run(case: &Case, path: Path) -> Run<Self> {
        run(case, path)
    }
}

fn run<T: Real>(case: &Case, path: Path) -> Run<T> {
    with_base(case, Runner { case, path })
}

/// What is done with a base optimizer, whatever its type.
pub trait WithBase<T: Real> {
    /// What comes of it.
    type Output;

    /// Does it.
    fn call<B: Base<T, M>, const M: usize>(self, base: B) -> Self::Output
    where
        B::Step: Sync;
}

/// Makes the crate's base optimizer of the case.
///
/// # Panics
/// For a configuration that is out of range.
pub fn with_base<T: Real, W: WithBase<T>>(case: &Case, then: W) -> W::Output {
    let spec = case.base;
    let (weight_decay, maximize) = (spec.weight_decay, spec.maximize);
    match spec.optimizer {
        Optimizer::Sgd => {
            then.call(Sgd::new(SgdConfig { weight_decay, maximize }).expect("in range"))
        }
        Optimizer::Momentum { momentum, dampening, nesterov } => {
            let config = MomentumConfig { momentum, dampening, nesterov, weight_decay, maximize };
            then.call(Momentum::new(config).expect("in range"))
        }
        Optimizer::Adam { beta1, beta2, eps, amsgrad } => {
            let config = AdamConfig { beta1, beta2, eps, weight_decay, maximize };
            let adam = Adam::new(config).expect("in range");
            match (amsgrad, spec.decay) {
                (false, None) => then.call(adam),
                (true, None) => then.call(AmsGrad(adam)),
                (false, Some(decay)) => then.call(Decayed::new(adam, decay).expect("in range")),
                (true, Some(decay)) => {
                    then.call(Decayed::new(AmsGrad(adam), decay).expect("in range"))
                }
            }
        }
    }
}

struct Runner<'a> {
    case: &'a Case,
    path: Path,
}

impl<T: Real> WithBase<T> for Runner<'_> {
    type Output = Run<T>;

    fn call<B: Base<T, M>, const M: usize>(self, base: B) -> Run<T>
    where
        B::Step: Sync,
    {
        let Self { case, path } = self;
        let mut theta: Vec<T> = case.initial();
        let mut moments: [Vec<T>; M] = std::array::from_fn(|_| vec![T::ZERO; case.n]);
        let rule = ConstraintRule::new(case.config()).expect("a valid case");
        let mut constraint = rule.start_from(&theta).expect("a group that can start");
        let (mut reports, mut first) = (Vec::new(), Vec::new());
        for t in 1..=case.steps {
            let (grad, lr) = (case.gradient(t), case.lr_at(t));
            let matrix = Matrix { theta: &mut theta, grad: &grad, moments: &mut moments };
            let ran = path.step(&mut constraint, &base.at(t, lr), lr, matrix);
            path.assert_ran(&ran, case.n);
            reports.push(constraint.report());
            first.extend(theta.first());
        }
        Run { theta, reports, first }
    }
}
