//! A least-squares problem whose solution lies outside the bound: the same code on the host and on the target.

use cpr_core::base::{Adam, AdamConfig, Base, Decay, Decayed, Sgd, SgdConfig};
use cpr_core::{
    AnyRegularizer, BoundInit, ConstraintConfig, ConstraintRule, ConstraintSet, L1, L2, Outcome,
    Regularizer, Report, Shard, Std, base_step, constrained_step,
};

/// Parameters: two blocks of 16 lanes and a tail.
pub const PARAMETERS: usize = 40;
/// Parameters of [`train_set`] that are under the bound; the others are free.
pub const CONSTRAINED: usize = 24;
const SAMPLES: u32 = 64;
const STEPS: u64 = 100;
const LR: f64 = 0.02;
/// κ as a part of R at the start. At the solution R is larger.
const FACTOR: f64 = 0.8;

/// What came out: bits, so that equality is equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trained {
    /// A digest of the bits of θ, in which no single change can hide.
    pub theta: u64,
    /// The bits of λ.
    pub lambda: u64,
    /// The bits of κ.
    pub kappa: u64,
}

/// All memory that training takes, with M moments a parameter.
#[derive(Debug)]
pub struct Buffers<const M: usize> {
    /// The parameters.
    pub theta: [f32; PARAMETERS],
    grad: [f32; PARAMETERS],
    moments: [[f32; PARAMETERS]; M],
}

/// Adam with its default hyperparameters; `None` never comes.
pub fn adam() -> Option<Adam> {
    Adam::new(AdamConfig::default()).ok()
}

/// PAdam with an exponent that needs the general power, and AdamL1.
pub fn decayed() -> [Option<Decayed<Adam>>; 2] {
    [
        Decay::PNorm { p: 0.8, lambda: 1e-2, late: false, flush: true },
        Decay::L1 { lambda: 1e-2, weight_decay: 1e-2 },
    ]
    .map(|decay| Decayed::new(adam()?, decay).ok())
}

/// SGD without momentum; `None` never comes.
pub fn sgd() -> Option<Sgd> {
    Sgd::new(SgdConfig::default()).ok()
}

/// Every regularizer, the last with an exponent that needs the general power.
pub fn regularizers() -> [Option<AnyRegularizer>; 5] {
    [
        Some(L2.into()),
        Some(L1.into()),
        Some(Std.into()),
        AnyRegularizer::huber(1.0).ok(),
        AnyRegularizer::lp(1.3).ok(),
    ]
}

/// Trains all parameters under one bound.
pub fn train<R: Regularizer, B: Base<f32, M>, const M: usize>(
    regularizer: R,
    base: Option<B>,
    buffers: &mut Buffers<M>,
) -> Option<Trained> {
    let base = base?;
    buffers.start();
    let rule = rule(regularizer)?;
    let mut constraint = rule.start_from(&buffers.theta).ok()?;
    for t in 1..=STEPS {
        buffers.differentiate();
        constrained_step(&mut constraint, &base.at(t, LR), LR, buffers.shard()?);
    }
    Some(buffers.trained(&constraint.report()))
}

/// Trains without a bound: what the base optimizer alone costs.
pub fn train_free<B: Base<f32, M>, const M: usize>(
    base: Option<B>,
    buffers: &mut Buffers<M>,
) -> Option<Trained> {
    let base = base?;
    buffers.start();
    for t in 1..=STEPS {
        buffers.differentiate();
        base_step(&base.at(t, LR), buffers.shard()?);
    }
    Some(Trained { theta: digest(&buffers.theta), lambda: 0, kappa: 0 })
}

/// Computes the gradient as often as the others and trains nothing: what the problem itself costs.
pub fn differentiate_only(buffers: &mut Buffers<0>) -> Option<Trained> {
    buffers.start();
    for _ in 0..STEPS {
        buffers.differentiate();
    }
    Some(Trained { theta: digest(&buffers.grad), lambda: 0, kappa: 0 })
}

/// Trains two groups in one [`ConstraintSet`]: the first parameters under an l2 bound, the others free.
pub fn train_set(base: Option<Adam>, buffers: &mut Buffers<2>) -> Option<Trained> {
    let base = base?;
    buffers.start();
    let mut set = ConstraintSet::<L2, 2>::new();
    set.add(&rule(L2)?, buffers.theta.get(..CONSTRAINED)?).ok()?;
    set.add_free(PARAMETERS - CONSTRAINED).ok()?;
    for _ in 0..STEPS {
        buffers.differentiate();
        let Buffers { theta, grad, moments: [m, v] } = buffers;
        let (weights, rest) = theta.split_at_mut_checked(CONSTRAINED)?;
        let (weights_grad, rest_grad) = grad.split_at_checked(CONSTRAINED)?;
        let (weights_m, rest_m) = m.split_at_mut_checked(CONSTRAINED)?;
        let (weights_v, rest_v) = v.split_at_mut_checked(CONSTRAINED)?;
        let mut shards = [
            Shard::new(weights, weights_grad, [weights_m, weights_v]).ok()?,
            Shard::new(rest, rest_grad, [rest_m, rest_v]).ok()?,
        ];
        if set.step(&base, LR, &mut shards).ok()? != Outcome::Stepped {
            return None;
        }
    }
    Some(buffers.trained(&set.constraint(0)?.report()))
}

fn rule<R: Regularizer>(regularizer: R) -> Option<ConstraintRule<R>> {
    ConstraintRule::new(ConstraintConfig::new(regularizer, BoundInit::Dependent(FACTOR))).ok()
}

impl<const M: usize> Buffers<M> {
    /// Zeros, so that they lie in `.bss`.
    pub const ZERO: Self =
        Self { theta: [0.0; PARAMETERS], grad: [0.0; PARAMETERS], moments: [[0.0; PARAMETERS]; M] };

    /// Random weights, zero moments.
    fn start(&mut self) {
        let mut random = Random(1);
        self.theta = [(); PARAMETERS].map(|()| random.next());
        self.moments = [[0.0; PARAMETERS]; M];
    }

    /// The gradient of the mean of (x·(θ − θ*))²/2 over all samples.
    ///
    /// A sample's x and the solution θ* are drawn anew each time, from the same seeds.
    fn differentiate(&mut self) {
        self.grad = [0.0; PARAMETERS];
        let mut samples = Random(2);
        for _ in 0..SAMPLES {
            let x = [(); PARAMETERS].map(|()| samples.next());
            let mut solution = Random(3);
            let mut residual = 0.0;
            for (x, theta) in x.iter().zip(&self.theta) {
                residual += x * (theta - 1.5 * solution.next());
            }
            for (grad, x) in self.grad.iter_mut().zip(&x) {
                *grad += x * residual * (1.0 / 64.0);
            }
        }
    }

    fn shard(&mut self) -> Option<Shard<'_, f32, M>> {
        let moments = self.moments.each_mut().map(|moment| moment.as_mut_slice());
        Shard::new(&mut self.theta, &self.grad, moments).ok()
    }

    fn trained(&self, report: &Report) -> Trained {
        Trained {
            theta: digest(&self.theta),
            lambda: report.lambda.to_bits(),
            kappa: report.kappa.map_or(0, f64::to_bits),
        }
    }
}

/// FNV-1a over the bits of the elements.
fn digest(theta: &[f32]) -> u64 {
    theta.iter().fold(0xcbf2_9ce4_8422_2325, |hash, x| {
        (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Numbers in [−1, 1) of 16 bits, by a linear congruence.
struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, _, low, high] = self.0.to_le_bytes();
        f32::from(i16::from_le_bytes([low, high])) * (1.0 / 32_768.0)
    }
}
