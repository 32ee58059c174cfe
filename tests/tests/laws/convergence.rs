//! Convergence on convex quadratics to the points of rest that the design states.

use cpr_core::{BoundInit, Order, StepRule, base_step};
use cpr_core::{
    ConstraintRule, Report, Shard,
    base::{Adam, AdamConfig, Base, Sgd, SgdConfig},
    constrained_step,
};
use cpr_tests::{
    cases::{Case, Measure},
    noise, oracle,
    tolerance::REST,
};

const N: usize = 6;

/// L(x) = ½(x − c)ᵀA(x − c).
struct Quadratic {
    a: [[f64; N]; N],
    center: [f64; N],
}

impl Quadratic {
    /// Eigenvalues from 0.5 to 2, along the axes.
    fn diagonal() -> Self {
        let a = std::array::from_fn(|i| {
            std::array::from_fn(|j| if i == j { 0.5 + 0.3 * i as f64 } else { 0.0 })
        });
        Self { a, center: [0.9, -0.7, 0.5, 1.1, -0.15, 0.4] }
    }

    /// The same, turned in every plane of two axes.
    fn rotated() -> Self {
        let Self { mut a, center } = Self::diagonal();
        for p in 0..N {
            for q in p + 1..N {
                let (sin, cos) = noise::uniform(77, (p * N + q) as u64).sin_cos();
                for row in &mut a {
                    (row[p], row[q]) = (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
                }
                let (mut rp, mut rq) = (a[p], a[q]);
                for (x, y) in rp.iter_mut().zip(&mut rq) {
                    (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
                }
                (a[p], a[q]) = (rp, rq);
            }
        }
        Self { a, center }
    }

    fn gradient(&self, x: &[f64]) -> [f64; N] {
        let d: [f64; N] = std::array::from_fn(|i| x[i] - self.center[i]);
        self.a.map(|row| row.iter().zip(d).map(|(a, d)| a * d).sum())
    }
}

/// Where a run came to rest.
struct Rest {
    x: [f64; N],
    /// ∇L at x.
    gradient: [f64; N],
    /// ℓ.
    ell: f64,
    kappa: f64,
    report: Report,
}

const LR: f64 = 0.1;

fn run<B: Base<f64, M>, const M: usize>(base: B, case: &Case, loss: &Quadratic) -> Rest {
    let mut x = [0.3; N];
    for (i, x) in x.iter_mut().enumerate() {
        *x += 0.2 * noise::uniform(5, i as u64);
    }
    let kappa = 0.5 * oracle::value(case.measure, &loss.center);
    let case = Case { bound: BoundInit::Uniform(kappa), ..case.clone() };
    let mut constraint = ConstraintRule::new(case.config()).unwrap().start_from(&x).unwrap();
    let mut moments: [[f64; N]; M] = [[0.0; N]; M];
    let mut last = x;
    for t in 1..=40_000 {
        last = x;
        let grad = loss.gradient(&x);
        let views = moments.each_mut().map(|moment| moment.as_mut_slice());
        let shard = Shard::new(&mut x, &grad, views).unwrap();
        constrained_step(&mut constraint, &base.at(t, LR), LR, shard);
    }
    let moved = x.iter().zip(last).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(moved < 1e-12, "{}: still moving by {moved:e}", case.name);
    let report = constraint.report();
    assert!(report.lambda > 0.0, "{}: the bound does not act", case.name);
    assert_eq!(report.guarded, 0, "{}: the guard acts at rest", case.name);
    let ell = if case.scale_by_lr { LR * report.lambda } else { report.lambda };
    Rest { x, gradient: loss.gradient(&x), ell, kappa, report }
}

fn sgd(case: &Case, loss: &Quadratic) -> Rest {
    run(Sgd::new(SgdConfig::default()).unwrap(), case, loss)
}

fn close(given: f64, expected: f64, what: &str, case: &Case) {
    let message = format!("{}: {what} is {given}, should be {expected}", case.name);
    assert!((given - expected).abs() < REST.limit, "{message}");
}

/// ∇L(x) + multiplier·∇R(`at`) = 0 in every element; for l1 at 0 any subgradient will do.
fn stationary(case: &Case, rest: &Rest, multiplier: f64, at: &[f64]) {
    let direction = oracle::gradient(case.measure, at);
    for i in 0..N {
        if case.measure == Measure::L1 && at[i] == 0.0 {
            let excess = rest.gradient[i].abs() - multiplier;
            assert!(excess < REST.limit, "{}: subgradient exceeded by {excess}", case.name);
        } else {
            close(rest.gradient[i] + multiplier * direction[i], 0.0, "the residual", case);
        }
    }
}

const MEASURES: [Measure; 4] = [Measure::L2, Measure::L1, Measure::Huber(0.4), Measure::Std];

/// (case, loss) of each measure, order, step rule and scaling that settles.
fn problems(order: Order) -> Vec<(Case, Quadratic)> {
    let mut problems = Vec::new();
    for measure in MEASURES {
        for step_rule in [StepRule::Gradient, StepRule::Proximal] {
            if measure == Measure::L1 && step_rule == StepRule::Gradient {
                continue;
            }
            for scale_by_lr in [false, true] {
                for (shape, loss) in
                    [("diagonal", Quadratic::diagonal()), ("rotated", Quadratic::rotated())]
                {
                    let name = format!("{measure:?} {order:?} {step_rule:?} {scale_by_lr} {shape}");
                    let case = Case::new(name, measure, BoundInit::WarmStart(1));
                    let case = Case { mu: 0.2, order, step_rule, scale_by_lr, n: N, ..case };
                    problems.push((case, loss));
                }
            }
        }
    }
    problems
}

#[test]
fn before_base_rests_at_the_exact_kkt_point() {
    for (case, loss) in problems(Order::BeforeBase) {
        let rest = sgd(&case, &loss);
        close(oracle::value(case.measure, &rest.x), rest.kappa, "R", &case);
        stationary(&case, &rest, rest.ell / LR, &rest.x);
    }
}

#[test]
fn after_base_rests_at_the_kkt_point_of_a_tighter_bound() {
    for (case, loss) in problems(Order::AfterBase) {
        let rest = sgd(&case, &loss);
        let (ell, kappa, n) = (rest.ell, rest.kappa, N as f64);
        // R = κ before the correction.
        close(rest.report.value, kappa, "R before the correction", &case);
        let after_base: Vec<f64> =
            rest.x.iter().zip(rest.gradient).map(|(x, g)| x - LR * g).collect();
        close(oracle::value(case.measure, &after_base), kappa, "R after the base step", &case);
        let bound = oracle::value(case.measure, &rest.x);
        match (case.measure, case.step_rule) {
            (Measure::L2, StepRule::Gradient) => {
                close(bound, kappa * (1.0 - 2.0 * ell).powi(2), "the tightened bound", &case);
                stationary(&case, &rest, ell / (1.0 - 2.0 * ell) / LR, &rest.x);
            }
            (Measure::L2, StepRule::Proximal) => {
                close(bound, kappa / (1.0 + 2.0 * ell).powi(2), "the tightened bound", &case);
                stationary(&case, &rest, ell / LR, &rest.x);
            }
            (Measure::Std, _) => {
                close(bound, kappa - ell / (n - 1.0), "the tightened bound", &case);
                stationary(&case, &rest, ell / LR, &rest.x);
            }
            (_, StepRule::Gradient) => stationary(&case, &rest, ell / LR, &after_base),
            (_, StepRule::Proximal) => stationary(&case, &rest, ell / LR, &rest.x),
        }
        assert!(bound < kappa, "{}: the bound is not tighter", case.name);
    }
}

/// Against a solution by bisection: xᵢ = aᵢcᵢ/(aᵢ + 2Λ) with Σx² = κ.
#[test]
fn the_point_of_rest_is_the_constrained_minimum() {
    let loss = Quadratic::diagonal();
    let name = "l2 against bisection";
    let case = Case::new(name, Measure::L2, BoundInit::WarmStart(1));
    let case = Case { mu: 0.2, order: Order::BeforeBase, n: N, ..case };
    let rest = sgd(&case, &loss);
    let solution = |multiplier: f64| -> [f64; N] {
        std::array::from_fn(|i| loss.a[i][i] * loss.center[i] / (loss.a[i][i] + 2.0 * multiplier))
    };
    let (mut low, mut high) = (0.0, 100.0);
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        let r: f64 = solution(middle).iter().map(|x| x * x).sum();
        if r > rest.kappa { low = middle } else { high = middle }
    }
    close(rest.report.lambda, LR * low, "λ", &case);
    for (given, expected) in rest.x.iter().zip(solution(low)) {
        close(*given, expected, "x", &case);
    }
}

/// Inside the bound nothing acts, and the minimum is the unconstrained one.
#[test]
fn a_bound_that_holds_leaves_the_minimum_alone() {
    let loss = Quadratic::rotated();
    let sgd = Sgd::new(SgdConfig::default()).unwrap();
    let (mut free, mut bound) = ([0.3; N], [0.3; N]);
    let kappa = 1.5 * oracle::value(Measure::L2, &loss.center);
    let case = Case::new("slack", Measure::L2, BoundInit::Uniform(kappa));
    let mut constraint = ConstraintRule::new(case.config()).unwrap().start_from(&bound).unwrap();
    for t in 1..=2000 {
        let grad = loss.gradient(&bound);
        let shard = Shard::new(&mut bound, &grad, []).unwrap();
        constrained_step(&mut constraint, &sgd.at(t, LR), LR, shard);
        let grad = loss.gradient(&free);
        base_step(&sgd.at(t, LR), Shard::new(&mut free, &grad, []).unwrap());
    }
    assert_eq!(free, bound);
    for (x, c) in free.iter().zip(loss.center) {
        close(*x, c, "x", &case);
    }
}

/// Under Adam the residual is its own: lr·g/(|g| + ε) + ℓ·∇R = 0.
#[test]
fn adam_rests_where_its_own_residual_vanishes() {
    let eps = 0.05;
    let config = AdamConfig { beta1: 0.5, beta2: 0.9, eps, ..Default::default() };
    let adam = Adam::new(config).unwrap();
    for order in [Order::AfterBase, Order::BeforeBase] {
        for (shape, loss) in
            [("diagonal", Quadratic::diagonal()), ("rotated", Quadratic::rotated())]
        {
            let case =
                Case::new(format!("adam {order:?} {shape}"), Measure::L2, BoundInit::WarmStart(1));
            let case = Case { mu: 0.02, order, n: N, ..case };
            let rest = run(adam, &case, &loss);
            let base: [f64; N] = rest.gradient.map(|g| LR * g / (g.abs() + eps));
            let taken: Vec<f64> = match order {
                Order::AfterBase => rest.x.iter().zip(base).map(|(x, step)| x - step).collect(),
                Order::BeforeBase => rest.x.to_vec(),
            };
            close(oracle::value(Measure::L2, &taken), rest.kappa, "R", &case);
            for (step, x) in base.iter().zip(&taken) {
                close(step + rest.ell * 2.0 * x, 0.0, "the residual", &case);
            }
        }
    }
}

/// l1 under `Gradient` does not settle, but stays bounded.
#[test]
fn l1_by_gradient_stays_bounded() {
    let loss = Quadratic::rotated();
    let sgd = Sgd::new(SgdConfig::default()).unwrap();
    let kappa = 0.5 * oracle::value(Measure::L1, &loss.center);
    for order in [Order::AfterBase, Order::BeforeBase] {
        let case = Case::new("l1", Measure::L1, BoundInit::Uniform(kappa));
        let case = Case { order, mu: 0.2, ..case };
        let mut x = [0.3; N];
        let mut constraint = ConstraintRule::new(case.config()).unwrap().start_from(&x).unwrap();
        for t in 1..=20_000 {
            let grad = loss.gradient(&x);
            let shard = Shard::new(&mut x, &grad, []).unwrap();
            constrained_step(&mut constraint, &sgd.at(t, LR), LR, shard);
            let r = oracle::value(Measure::L1, &x);
            assert!(r < 3.0 * kappa + 1.0, "R = {r} at step {t}");
            assert!(constraint.report().lambda < 10.0);
        }
    }
}
