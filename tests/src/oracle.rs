//! The naive oracle: the formulas of the design as plain loops over `Vec<f64>`, one line a formula where possible.
//!
//! It shares no code with cpr-core, knows neither chunks nor views, and favours clarity over every other virtue.

use cpr_core::{Adaptive, BoundInit, Order, StepRule, base::Decay, base::WeightDecay};

use crate::cases::{BaseSpec, Case, Measure, Optimizer};

/// Σ, with Neumaier's compensation.
#[must_use]
pub fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0f64, 0.0f64);
    for x in terms {
        let next = total + x;
        lost += if total.abs() >= x.abs() { (total - next) + x } else { (x - next) + total };
        total = next;
    }
    if total.is_finite() { total + lost } else { total }
}

/// Arithmetic mean; 0 for no elements.
#[must_use]
pub fn mean(theta: &[f64]) -> f64 {
    if theta.is_empty() { 0.0 } else { sum(theta.iter().copied()) / theta.len() as f64 }
}

/// sign x, 0 at 0.
#[must_use]
pub fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// R(θ).
#[must_use]
pub fn value(measure: Measure, theta: &[f64]) -> f64 {
    let over = |f: &dyn Fn(f64) -> f64| sum(theta.iter().map(|&x| f(x)));
    match measure {
        Measure::L2 => over(&|x| x * x),
        Measure::L1 => over(&f64::abs),
        Measure::Huber(delta) => over(&|x: f64| {
            if x.abs() <= delta { x * x / 2.0 } else { delta * (x.abs() - delta / 2.0) }
        }),
        Measure::Lp(p) => over(&|x: f64| x.abs().powf(p)),
        Measure::Std if theta.is_empty() => 0.0,
        Measure::Std => {
            let m = mean(theta);
            (over(&|x| (x - m) * (x - m)) / (theta.len() as f64 - 1.0)).sqrt()
        }
    }
}

/// ∇R(θ); for lp the derivative p·sign θ·|θ|^(p − 1), 0 at 0.
#[must_use]
pub fn gradient(measure: Measure, theta: &[f64]) -> Vec<f64> {
    let (r, m, n) = (value(measure, theta), mean(theta), theta.len() as f64);
    let of = |x: f64| match measure {
        Measure::L2 => 2.0 * x,
        Measure::L1 => sign(x),
        Measure::Huber(delta) => x.clamp(-delta, delta),
        Measure::Std if r == 0.0 => 0.0,
        Measure::Std => (x - m) / ((n - 1.0) * r),
        Measure::Lp(p) if x == 0.0 => 0.0 * p,
        Measure::Lp(p) => p * sign(x) * x.abs().powf(p - 1.0),
    };
    theta.iter().map(|&x| of(x)).collect()
}

/// The scalars of a constraint: λ, κ and what sets them.
#[derive(Clone, Debug)]
pub struct Scalars {
    case: Case,
    n: usize,
    /// t.
    pub step: u64,
    /// λ.
    pub lambda: f64,
    /// κ, once set.
    pub kappa: Option<f64>,
    /// Steps without an update because R was not finite.
    pub non_finite: u64,
    /// An inflection of smoothed values hung on their last digits: rounding decides, and either way is right.
    pub tied: bool,
    watched: Vec<f64>,
    risen: bool,
}

impl Scalars {
    /// Before the first step, for n elements with this R.
    #[must_use]
    pub fn new(case: &Case, n: usize, initial: f64) -> Self {
        let kappa = match case.bound {
            BoundInit::Uniform(kappa) => Some(kappa),
            BoundInit::UniformPerElement(kappa) => Some(kappa * n as f64),
            BoundInit::Dependent(k) => Some(k * initial),
            BoundInit::WarmStart(_) | BoundInit::Inflection(_) => None,
        };
        let case = case.clone();
        let watched = Vec::new();
        Self {
            case,
            n,
            step: 0,
            lambda: 0.0,
            kappa,
            non_finite: 0,
            tied: false,
            watched,
            risen: false,
        }
    }

    /// One update by R at the step's t; returns ℓ, 0 for no correction.
    pub fn update(&mut self, r: f64, lr: f64) -> f64 {
        self.step += 1;
        if self.n == 0 {
            return 0.0;
        }
        if !r.is_finite() {
            self.non_finite += 1;
            return 0.0;
        }
        let Some(kappa) = self.kappa else {
            self.set_bound(r);
            return 0.0;
        };
        if kappa == f64::INFINITY {
            return 0.0;
        }
        let rate = match self.case.measure {
            Measure::Std => self.case.mu,
            _ => self.case.mu / self.n as f64,
        };
        let before = self.lambda;
        self.lambda = (before + rate * (r - kappa)).clamp(0.0, f64::MAX);
        let tighten = match self.case.adaptive {
            Adaptive::Off => false,
            Adaptive::OnRelease => before > 0.0 && self.lambda == 0.0,
            Adaptive::WhileInactive => self.risen && self.lambda == 0.0,
        };
        if tighten {
            self.kappa = Some(kappa.min(r));
        }
        self.risen |= self.lambda > 0.0;
        if self.case.scale_by_lr { lr * self.lambda } else { self.lambda }
    }

    fn set_bound(&mut self, r: f64) {
        match self.case.bound {
            BoundInit::WarmStart(s) if self.step >= s => self.kappa = Some(r),
            BoundInit::Inflection(rule) if self.step.is_multiple_of(rule.interval) => {
                let smooth = |&last: &f64| match rule.smoothing {
                    Some(s) => s * last + (1.0 - s) * r,
                    None => r,
                };
                let watched = self.watched.last().map_or(r, smooth);
                self.watched.push(watched);
                if let [.., a, b, c] = self.watched[..] {
                    // A smoothed value remembers the rounding of the largest one before it.
                    let largest = self.watched.iter().copied().fold(0.0, f64::max);
                    let digits = 1e-13 * largest + f64::MIN_POSITIVE;
                    self.tied |= rule.smoothing.is_some() && ((c - b) - (b - a)).abs() <= digits;
                    if c - b < b - a && self.step > rule.burn_in {
                        self.kappa = Some(r);
                    }
                }
            }
            _ => {}
        }
    }
}

/// One matrix, its moments and its constraint.
#[derive(Clone, Debug)]
pub struct Oracle {
    case: Case,
    /// θ.
    pub theta: Vec<f64>,
    /// The moments: buffer, or m, v and the maximum of v.
    pub moments: [Vec<f64>; 3],
    /// λ, κ.
    pub scalars: Scalars,
    /// R as last taken.
    pub value: f64,
    /// What the guard did.
    pub guarded: u64,
}

impl Oracle {
    /// Before the first step.
    #[must_use]
    pub fn new(case: &Case, theta: Vec<f64>) -> Self {
        let value = value(case.measure, &theta);
        let moments = std::array::from_fn(|_| vec![0.0; theta.len()]);
        let scalars = Scalars::new(case, theta.len(), value);
        Self { case: case.clone(), theta, moments, scalars, value, guarded: 0 }
    }

    /// One step.
    pub fn step(&mut self, grad: &[f64], lr: f64) {
        let before = self.theta.clone();
        match self.case.order {
            Order::AfterBase => {
                self.base(grad, lr, self.scalars.step + 1);
                self.value = value(self.case.measure, &self.theta);
                let ell = self.scalars.update(self.value, lr);
                let at = self.theta.clone();
                self.correct(&at, ell);
            }
            Order::BeforeBase => {
                self.value = value(self.case.measure, &before);
                let ell = self.scalars.update(self.value, lr);
                self.base(grad, lr, self.scalars.step);
                self.correct(&before, ell);
            }
        }
    }

    /// θ ← its correction by ℓ, R and ∇R at `at`.
    fn correct(&mut self, at: &[f64], ell: f64) {
        if ell == 0.0 {
            return;
        }
        let Case { measure, step_rule, guard, order, .. } = self.case;
        let (r, m, n) = (self.value, mean(at), at.len() as f64);
        match (step_rule, measure) {
            (_, Measure::Lp(p)) => {
                for (w, x) in self.theta.iter_mut().zip(at) {
                    *w = p_norm(*w, x.abs(), p, ell);
                }
            }
            (StepRule::Proximal, Measure::Std) => {
                // The deviation in force: of the matrix that is corrected, or, before the base step, what it will be
                // at rest, where the correction takes ℓ/(n − 1) from it.
                let spread = if order == Order::BeforeBase { r + ell / (n - 1.0) } else { r };
                if r > 0.0 {
                    let kept = (1.0 - ell / ((n - 1.0) * spread)).max(0.0);
                    self.theta.iter_mut().for_each(|w| *w = m + (*w - m) * kept);
                }
            }
            (StepRule::Proximal, _) => {
                self.theta.iter_mut().for_each(|w| *w = prox(measure, *w, ell));
            }
            (StepRule::Gradient, Measure::L2 | Measure::Std) => {
                let std = measure == Measure::Std;
                let (share, center) =
                    if std { (ell / ((n - 1.0) * r), m) } else { (2.0 * ell, 0.0) };
                if std && r == 0.0 {
                    return;
                }
                let mut scale = 1.0 - share;
                if guard && share > 1.0 {
                    let kappa = self.scalars.kappa.unwrap_or(f64::INFINITY);
                    let ratio = kappa / r;
                    let landing = if std { ratio } else { ratio.sqrt() };
                    scale = if r <= kappa || kappa == 0.0 { 0.0 } else { landing };
                    self.scalars.lambda = 0.0;
                    self.guarded += 1;
                }
                for (w, x) in self.theta.iter_mut().zip(at) {
                    *w += (center + (x - center) * scale) - x;
                }
            }
            (StepRule::Gradient, _) => {
                let direction = gradient(measure, at);
                for (w, d) in self.theta.iter_mut().zip(direction) {
                    let moved = *w - ell * d;
                    let stopped = guard && *w * moved < 0.0;
                    self.guarded += u64::from(stopped);
                    *w = if stopped { 0.0 } else { moved };
                }
            }
        }
    }

    fn base(&mut self, grad: &[f64], lr: f64, t: u64) {
        let BaseSpec { optimizer, weight_decay, maximize, decay } = self.case.base;
        let [first, second, top] = &mut self.moments;
        for (i, w) in self.theta.iter_mut().enumerate() {
            let before = *w;
            let mut g = if maximize { -grad[i] } else { grad[i] };
            match weight_decay {
                WeightDecay::None => {}
                WeightDecay::Coupled(rate) => g += rate * *w,
                WeightDecay::Decoupled(rate) => *w -= lr * rate * *w,
            }
            match optimizer {
                Optimizer::Sgd => *w -= lr * g,
                Optimizer::Momentum { momentum, dampening, nesterov } => {
                    let b = &mut first[i];
                    *b = if t == 1 { g } else { momentum * *b + (1.0 - dampening) * g };
                    *w -= lr * if nesterov { g + momentum * *b } else { *b };
                }
                Optimizer::Adam { beta1, beta2, eps, amsgrad } => {
                    let (m, v, top) = (&mut first[i], &mut second[i], &mut top[i]);
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    *top = top.max(*v);
                    let m_hat = *m / (1.0 - beta1.powf(t as f64));
                    let v_hat = if amsgrad { *top } else { *v } / (1.0 - beta2.powf(t as f64));
                    *w -= lr * m_hat / (v_hat.sqrt() + eps);
                }
            }
            if let Some(decay) = decay {
                *w = decayed(decay, *w, before, lr);
            }
        }
    }
}

/// The prox of ℓR for a sum over elements.
fn prox(measure: Measure, w: f64, ell: f64) -> f64 {
    match measure {
        Measure::L2 => w / (1.0 + 2.0 * ell),
        Measure::L1 => sign(w) * (w.abs() - ell).max(0.0),
        Measure::Huber(delta) if w.abs() <= delta * (1.0 + ell) => w / (1.0 + ell),
        Measure::Huber(delta) => w - ell * delta * sign(w),
        Measure::Std | Measure::Lp(_) => w,
    }
}

/// w·X/(X + p·ℓ), X = `magnitude`^(2 − p).
fn p_norm(w: f64, magnitude: f64, p: f64, ell: f64) -> f64 {
    if ell == 0.0 {
        w
    } else if p >= 2.0 {
        w / (1.0 + p * ell * magnitude.powf(p - 2.0))
    } else {
        let x = magnitude.powf(2.0 - p);
        w * (x / (x + p * ell))
    }
}

/// The decay after a base step.
fn decayed(decay: Decay, w: f64, before: f64, lr: f64) -> f64 {
    match decay {
        Decay::PNorm { p, lambda, late, .. } => {
            p_norm(w, if late { w } else { before }.abs(), p, lr * lambda)
        }
        Decay::L1 { lambda, weight_decay } => {
            sign(w) * (w.abs() - lr * lambda).max(0.0) / (1.0 + lr * weight_decay)
        }
        Decay::ThreeHalves { lambda } if lr * lambda == 0.0 => w,
        Decay::ThreeHalves { lambda } => {
            let c = lr * lambda;
            w + sign(w) * (1.0 - (1.0 + 4.0 * w.abs() / (c * c)).sqrt()) * c * c / 2.0
        }
    }
}
