//! The oracle of the baselines: the papers' formulas as plain loops, and the crate's rules run by whole slices or by
//! chunks.

use cpr_core::{
    CHUNK, L2, Pairwise, Real, Shard, Statistic,
    base::{
        AdaDecay, Adam, AdamConfig, Amos, AmosState, Base, BaseRule, Sgd, SgdConfig, WeightDecay,
        magnitudes,
    },
    base_step, measure,
};

use crate::{noise, oracle::mean, oracle::sum};

/// A base optimizer that the baselines stand on, for the oracle and for the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// Plain SGD.
    Sgd,
    /// Adam with β 0.9 and 0.98, ε 1e-8.
    Adam,
}

impl Under {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sgd, Self::Adam];

    /// The base of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|under| format!("{under:?}").eq_ignore_ascii_case(name))
    }

    /// The crate's Adam.
    ///
    /// # Panics
    /// Never: the options are in range.
    #[must_use]
    pub fn adam(weight_decay: WeightDecay) -> Adam {
        let config = AdamConfig { beta2: 0.98, weight_decay, ..AdamConfig::default() };
        Adam::new(config).expect("in range")
    }

    /// The crate's SGD.
    ///
    /// # Panics
    /// Never: the options are in range.
    #[must_use]
    pub fn sgd(weight_decay: WeightDecay) -> Sgd {
        Sgd::new(SgdConfig { weight_decay, maximize: false }).expect("in range")
    }
}

/// A matrix of the oracle: weights, Adam's moments, t.
#[derive(Clone, Debug)]
pub struct Matrix {
    under: Under,
    /// The weights.
    pub theta: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
    t: i32,
}

impl Matrix {
    /// Before the first step.
    #[must_use]
    pub fn new(under: Under, theta: Vec<f64>) -> Self {
        let zeros = vec![0.0; theta.len()];
        Self { under, theta, m: zeros.clone(), v: zeros, t: 0 }
    }

    /// One step of the base.
    pub fn step(&mut self, grad: &[f64], lr: f64) {
        self.t += 1;
        for (i, (w, &g)) in self.theta.iter_mut().zip(grad).enumerate() {
            if self.under == Under::Sgd {
                *w -= lr * g;
                continue;
            }
            self.m[i] = 0.9 * self.m[i] + 0.1 * g;
            self.v[i] = 0.98 * self.v[i] + 0.02 * g * g;
            let root = (self.v[i] / (1.0 - 0.98f64.powi(self.t))).sqrt();
            *w -= lr * self.m[i] / (1.0 - 0.9f64.powi(self.t)) / (root + 1e-8);
        }
    }

    /// AdaDecay before the base step (arXiv 1907.08931).
    pub fn adadecay(&mut self, grad: &[f64], lr: f64, decay: f64, alpha: f64) {
        let size: Vec<f64> = grad.iter().map(|g| g.abs()).collect();
        let center = mean(&size);
        let deviation =
            (sum(size.iter().map(|s| (s - center) * (s - center))) / size.len() as f64).sqrt();
        for (w, s) in self.theta.iter_mut().zip(size) {
            let normal = if deviation == 0.0 { 0.0 } else { (s - center) / deviation };
            *w *= 1.0 - lr * decay * 2.0 / (1.0 + (-alpha * normal).exp());
        }
        self.step(grad, lr);
    }

    /// Decoupled decay before the base step.
    pub fn decoupled(&mut self, grad: &[f64], lr: f64, decay: f64) {
        self.theta.iter_mut().for_each(|w| *w -= lr * decay * *w);
        self.step(grad, lr);
    }
}

/// The factor of a cosine from 1 to `end` in `steps` steps, at step `t` (DINO's scheduler, arXiv 2104.14294).
#[must_use]
pub fn cosine(end: f64, steps: u64, t: u64) -> f64 {
    let share = (t - 1).min(steps) as f64 / steps as f64;
    end + (1.0 - end) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
}

/// λ̄ of AWD in units of λ_awd, from all weights and gradients (arXiv 2210.00094, algorithm 1).
#[must_use]
pub fn awd(average: f64, weights: &[f64], grads: &[f64]) -> f64 {
    let norm = |x: &[f64]| sum(x.iter().map(|x| x * x)).sqrt();
    let (w, g) = (norm(weights), norm(grads));
    0.1 * average + 0.9 * if w == 0.0 { 0.0 } else { g / w }
}

/// Amos with one v and one b (arXiv 2210.11693, algorithm 1).
#[derive(Clone, Debug)]
pub struct AmosOracle {
    /// The weights.
    pub theta: Vec<f64>,
    average: Vec<f64>,
    /// v and b.
    pub slots: (f64, f64),
    t: i32,
}

impl AmosOracle {
    /// Before the first step.
    #[must_use]
    pub fn new(theta: Vec<f64>) -> Self {
        Self { average: vec![0.0; theta.len()], theta, slots: (0.0, 0.0), t: 0 }
    }

    /// One step.
    pub fn step(&mut self, rule: &Amos, eta: f64, grad: &[f64], lr: f64) {
        let config = *rule.config();
        self.t += 1;
        let (v, b) = &mut self.slots;
        let square =
            if grad.is_empty() { 0.0 } else { sum(grad.iter().map(|g| g * g)) / grad.len() as f64 };
        *v = config.beta * *v + (1.0 - config.beta) * square;
        let hat = v.max(2f64.powi(-125)) / (1.0 - config.beta.powi(self.t));
        let gamma = lr * lr * square / hat / (1.0 + 0.25 * lr.sqrt() * *b).sqrt();
        let d = 1.0 / (1.0 + 0.25 * (lr * eta).sqrt() * *b);
        for ((w, g), average) in self.theta.iter_mut().zip(grad).zip(&mut self.average) {
            let update = d * (lr * eta * g / hat.sqrt() + (gamma / 2.0 + config.extra_l2) * *w);
            *average = config.momentum * *average + (1.0 - config.momentum) * update;
            *w -= *average;
        }
        *b += gamma * (1.0 + *b);
    }
}

/// How the crate's passes over a matrix are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Whole slices.
    Whole,
    /// Chunk by chunk in an order that the seed picks, for statistics and for steps.
    Chunks(u64),
}

impl Cut {
    /// One measure of `values`.
    pub fn measured<T: Real>(self, values: &[T], of: impl Fn(&[T]) -> Statistic) -> Statistic {
        let Self::Chunks(seed) = self else { return of(values) };
        let parts: Vec<&[T]> = values.chunks(CHUNK).collect();
        let mut found = vec![None; parts.len()];
        for index in noise::shuffled(seed, parts.len()) {
            found[index] = Some(of(parts[index]));
        }
        let mut whole = Pairwise::new();
        whole.extend(found.into_iter().flatten());
        whole.finish()
    }

    /// One step of a slice.
    ///
    /// # Panics
    /// On slices of different lengths.
    pub fn stepped<T: Real, B: BaseRule<T, M>, const M: usize>(
        self,
        step: &B,
        theta: &mut [T],
        grad: &[T],
        moments: &mut [Vec<T>; M],
    ) {
        let views = moments.each_mut().map(Vec::as_mut_slice);
        let shard = Shard::new(theta, grad, views).expect("equal lengths");
        let Self::Chunks(seed) = self else { return base_step(step, shard) };
        let mut parts: Vec<_> = shard.chunks().map(Some).collect();
        for index in noise::shuffled(seed + 1, parts.len()) {
            base_step(step, parts[index].take().expect("each chunk once"));
        }
    }
}

/// The crate's AdaDecay over this base, along `grads` at `rates`: the weights after each step.
pub fn run_adadecay<T: Real>(
    (under, rule, cut): (Under, AdaDecay, Cut),
    start: &[T],
    grads: &[Vec<T>],
    rates: &[f64],
) -> Vec<Vec<T>> {
    let mut theta = start.to_vec();
    let mut moments = [vec![T::ZERO; theta.len()], vec![T::ZERO; theta.len()]];
    let mut trace = Vec::new();
    for ((t, grad), &lr) in (1..).zip(grads).zip(rates) {
        let seen = cut.measured(grad, magnitudes);
        match under {
            Under::Sgd => {
                let step = rule.before(Under::sgd(WeightDecay::None).at(t, lr), lr, &seen);
                cut.stepped(&step, &mut theta, grad, &mut []);
            }
            Under::Adam => {
                let step = rule.before(Under::adam(WeightDecay::None).at(t, lr), lr, &seen);
                cut.stepped(&step, &mut theta, grad, &mut moments);
            }
        }
        trace.push(theta.clone());
    }
    trace
}

/// The crate's Amos: the weights after each step, and the states. Without momentum it keeps no moment.
pub fn run_amos<T: Real>(
    (rule, eta, cut): (Amos, f64, Cut),
    start: &[T],
    grads: &[Vec<T>],
    rates: &[f64],
) -> Vec<(Vec<T>, AmosState)> {
    let mut theta = start.to_vec();
    let mut moments = [vec![T::ZERO; theta.len()]];
    let (mut state, mut trace) = (AmosState::default(), Vec::new());
    for ((t, grad), &lr) in (1..).zip(grads).zip(rates) {
        let step;
        (state, step) = rule.step(state, t, lr, eta, &cut.measured(grad, |g| measure(&L2, g)));
        if rule.config().momentum == 0.0 {
            cut.stepped(&step, &mut theta, grad, &mut []);
        } else {
            cut.stepped(&step, &mut theta, grad, &mut moments);
        }
        trace.push((theta.clone(), state));
    }
    trace
}
