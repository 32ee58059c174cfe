//! The table of cases that every path runs.

use cpr_core::{
    Adaptive, AnyRegularizer, BoundInit, ConstraintConfig, Inflection, Order, Real, Std, StepRule,
    base::{Decay, WeightDecay},
};

use crate::noise;

/// The measures, apart from the crate's own types.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Σθ².
    L2,
    /// Σ|θ|.
    L1,
    /// Σ h(θ) with this δ.
    Huber(f64),
    /// Sample standard deviation.
    Std,
    /// Σ|θ|^p, p neither 1 nor 2.
    Lp(f64),
}

impl Measure {
    /// The crate's regularizer.
    ///
    /// # Panics
    /// For a δ or p that is out of range.
    #[must_use]
    pub fn regularizer(self) -> AnyRegularizer {
        match self {
            Self::L2 => cpr_core::L2.into(),
            Self::L1 => cpr_core::L1.into(),
            Self::Std => Std.into(),
            Self::Huber(delta) => AnyRegularizer::huber(delta).expect("δ in range"),
            Self::Lp(p) => AnyRegularizer::lp(p).expect("p in range"),
        }
    }
}

/// A base optimizer without its decays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// θ − lr·g.
    Sgd,
    /// With a buffer.
    Momentum {
        /// m.
        momentum: f64,
        /// d.
        dampening: f64,
        /// Follow g + m·b.
        nesterov: bool,
    },
    /// Adam or AMSGrad.
    Adam {
        /// β₁.
        beta1: f64,
        /// β₂.
        beta2: f64,
        /// ε.
        eps: f64,
        /// Largest second moment so far.
        amsgrad: bool,
    },
}

/// A base optimizer with its decays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaseSpec {
    /// Which.
    pub optimizer: Optimizer,
    /// Inside the step.
    pub weight_decay: WeightDecay,
    /// Ascend.
    pub maximize: bool,
    /// After the step; over Adam and AMSGrad only.
    pub decay: Option<Decay>,
}

impl BaseSpec {
    /// Without decay.
    #[must_use]
    pub const fn plain(optimizer: Optimizer) -> Self {
        Self { optimizer, weight_decay: WeightDecay::None, maximize: false, decay: None }
    }
}

/// Plain SGD.
pub const SGD: BaseSpec = BaseSpec::plain(Optimizer::Sgd);
/// Adam with β₂ = 0.98.
pub const ADAM: BaseSpec =
    BaseSpec::plain(Optimizer::Adam { beta1: 0.9, beta2: 0.98, eps: 1e-8, amsgrad: false });
/// The same with the maximum of v.
pub const AMSGRAD: BaseSpec =
    BaseSpec::plain(Optimizer::Adam { beta1: 0.9, beta2: 0.9, eps: 1e-8, amsgrad: true });

/// One configuration and the data it runs on.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Unique in the table.
    pub name: String,
    /// R.
    pub measure: Measure,
    /// κ.
    pub bound: BoundInit,
    /// AdaCPR.
    pub adaptive: Adaptive,
    /// μ.
    pub mu: f64,
    /// Order.
    pub order: Order,
    /// Step rule.
    pub step_rule: StepRule,
    /// Overshoot guard.
    pub guard: bool,
    /// ℓ = lr·λ.
    pub scale_by_lr: bool,
    /// The base optimizer.
    pub base: BaseSpec,
    /// Highest learning rate.
    pub lr: f64,
    /// Elements.
    pub n: usize,
    /// Steps.
    pub steps: u64,
}

impl Case {
    /// SGD at 0.1 over 37 elements for 50 steps, μ = 1, library defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, measure: Measure, bound: BoundInit) -> Self {
        Self {
            name: name.into(),
            measure,
            bound,
            adaptive: Adaptive::Off,
            mu: 1.0,
            order: Order::AfterBase,
            step_rule: StepRule::Gradient,
            guard: true,
            scale_by_lr: false,
            base: SGD,
            lr: 0.1,
            n: 37,
            steps: 50,
        }
    }

    /// The crate's configuration.
    #[must_use]
    pub fn config(&self) -> ConstraintConfig<AnyRegularizer> {
        ConstraintConfig {
            regularizer: self.measure.regularizer(),
            bound: self.bound,
            adaptive: self.adaptive,
            mu: self.mu,
            order: self.order,
            step_rule: self.step_rule,
            guard: self.guard,
            scale_by_lr: self.scale_by_lr,
        }
    }

    /// The learning rate of step `t` = 1, 2, …: a saw of seven teeth heights.
    #[must_use]
    pub fn lr_at(&self, t: u64) -> f64 {
        self.lr * (1.0 - (t % 7) as f64 / 14.0)
    }

    /// θ before the first step, around ±½ with a mean of ⅛.
    #[must_use]
    pub fn initial<T: Real>(&self) -> Vec<T> {
        let raw = noise::vector(1, self.n);
        raw.into_iter().map(|x| T::from_f64(0.5 * x + 0.125)).collect()
    }

    /// The gradient of step `t`: noise, and a growing swing that lets R rise and fall.
    #[must_use]
    pub fn gradient<T: Real>(&self, t: u64) -> Vec<T> {
        let swing = (t as f64 / 5.0).cos() * (1.0 + t as f64 / 40.0);
        let pairs = noise::vector(1, self.n).into_iter().zip(noise::vector(1 + t, self.n));
        pairs.map(|(x, z)| T::from_f64(0.3 * z - 0.5 * swing * x)).collect()
    }
}

/// Every case: measures × orders × step rules × guard, rules of κ, AdaCPR, base optimizers.
#[must_use]
pub fn table() -> Vec<Case> {
    let mut cases = rules();
    cases.extend(bounds());
    cases.extend(bases());
    cases
}

const MEASURES: [Measure; 7] = [
    Measure::L2,
    Measure::L1,
    Measure::Huber(1.0),
    Measure::Huber(0.25),
    Measure::Std,
    Measure::Lp(0.8),
    Measure::Lp(3.0),
];

fn rules() -> Vec<Case> {
    let mut cases = Vec::new();
    for measure in MEASURES {
        for order in [Order::AfterBase, Order::BeforeBase] {
            if matches!(measure, Measure::Lp(p) if p < 1.0) && order == Order::AfterBase {
                continue;
            }
            for (step_rule, guard) in [
                (StepRule::Gradient, true),
                (StepRule::Gradient, false),
                (StepRule::Proximal, true),
            ] {
                for base in [SGD, ADAM] {
                    let adam = base == ADAM;
                    let kind = if adam { "adam" } else { "sgd" };
                    let name = format!("{measure:?} {order:?} {step_rule:?} {guard} {kind}");
                    let lr = if adam { 0.02 } else { 0.1 };
                    let case = Case::new(name, measure, BoundInit::Dependent(0.7));
                    cases.push(Case { order, step_rule, guard, base, lr, ..case });
                }
            }
        }
    }
    // λ beyond the overshoot limit: the guard itself.
    for (name, measure, mu, order) in [
        ("guard l2", Measure::L2, 20.0, Order::AfterBase),
        ("guard l2 before", Measure::L2, 20.0, Order::BeforeBase),
        ("guard std", Measure::Std, 60.0, Order::AfterBase),
        ("guard std before", Measure::Std, 300.0, Order::BeforeBase),
        ("guard l1", Measure::L1, 0.9, Order::AfterBase),
        ("guard l1 before", Measure::L1, 0.9, Order::BeforeBase),
        ("guard huber", Measure::Huber(0.5), 40.0, Order::AfterBase),
    ] {
        cases.push(Case { mu, order, ..Case::new(name, measure, BoundInit::Dependent(0.6)) });
    }
    for order in [Order::AfterBase, Order::BeforeBase] {
        let case = Case::new(format!("by lr {order:?}"), Measure::L2, BoundInit::Dependent(0.5));
        cases.push(Case { order, scale_by_lr: true, ..case });
    }
    cases
}

fn bounds() -> Vec<Case> {
    let watch = |interval, smoothing, burn_in| {
        BoundInit::Inflection(Inflection { interval, smoothing, burn_in })
    };
    let mut cases = Vec::new();
    for (name, bound) in [
        ("uniform", BoundInit::Uniform(3.0)),
        ("uniform zero", BoundInit::Uniform(0.0)),
        ("per element", BoundInit::UniformPerElement(0.05)),
        ("warm start 1", BoundInit::WarmStart(1)),
        ("warm start 12", BoundInit::WarmStart(12)),
        ("inflection 1", watch(1, None, 0)),
        ("inflection 3", watch(3, None, 0)),
        ("inflection 2 smooth", watch(2, Some(0.6), 0)),
        ("inflection burn-in", watch(1, None, 20)),
    ] {
        for order in [Order::AfterBase, Order::BeforeBase] {
            let case = Case::new(format!("{name} {order:?}"), Measure::L2, bound);
            cases.push(Case { order, ..case });
        }
    }
    for adaptive in [Adaptive::OnRelease, Adaptive::WhileInactive] {
        for (measure, mu) in [(Measure::L2, 1.0), (Measure::Std, 0.5), (Measure::L2, 20.0)] {
            let name = format!("{adaptive:?} {measure:?} {mu}");
            let case = Case::new(name, measure, BoundInit::Dependent(0.9));
            cases.push(Case { adaptive, mu, ..case });
        }
    }
    cases
}

fn bases() -> Vec<Case> {
    let momentum = |momentum, dampening, nesterov| {
        BaseSpec::plain(Optimizer::Momentum { momentum, dampening, nesterov })
    };
    let p_norm = |p, late| Decay::PNorm { p, lambda: 0.05, late, flush: true };
    let after = |decay| BaseSpec { decay: Some(decay), ..ADAM };
    let (coupled, decoupled) = (WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1));
    let mut cases = Vec::new();
    for (name, base) in [
        ("sgd coupled", BaseSpec { weight_decay: coupled, ..SGD }),
        ("sgd decoupled", BaseSpec { weight_decay: decoupled, ..SGD }),
        ("sgd maximize", BaseSpec { maximize: true, weight_decay: coupled, ..SGD }),
        ("momentum", momentum(0.9, 0.0, false)),
        ("dampening", momentum(0.8, 0.3, false)),
        ("nesterov", BaseSpec { weight_decay: decoupled, ..momentum(0.8, 0.0, true) }),
        ("nesterov maximize", BaseSpec { maximize: true, ..momentum(0.7, 0.0, true) }),
        ("adam coupled", BaseSpec { weight_decay: coupled, ..ADAM }),
        ("adamw", BaseSpec { weight_decay: decoupled, ..ADAM }),
        ("adam maximize", BaseSpec { maximize: true, ..ADAM }),
        ("amsgrad", AMSGRAD),
        ("amsgrad decoupled", BaseSpec { weight_decay: decoupled, ..AMSGRAD }),
        ("padam 0.8", after(p_norm(0.8, false))),
        ("padam 1", after(p_norm(1.0, false))),
        ("padam 1.5", after(p_norm(1.5, false))),
        ("padam 2", after(p_norm(2.0, false))),
        ("padam 3", after(p_norm(3.0, false))),
        ("padam late 0.8", after(p_norm(0.8, true))),
        ("padam late 1.7", after(p_norm(1.7, true))),
        ("padam amsgrad", BaseSpec { decay: Some(p_norm(1.2, false)), ..AMSGRAD }),
        ("adam l1", after(Decay::L1 { lambda: 0.1, weight_decay: 0.2 })),
        ("adam l3/2", after(Decay::ThreeHalves { lambda: 0.1 })),
    ] {
        let lr = if matches!(base.optimizer, Optimizer::Adam { .. }) { 0.02 } else { 0.05 };
        let bound = BoundInit::UniformPerElement(0.06);
        cases.push(Case { base, lr, ..Case::new(name, Measure::L2, bound) });
    }
    cases
}
