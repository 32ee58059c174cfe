//! The state machine of κ and λ against the oracle's.

use cpr_core::{ConstraintRule, Observed, Order, Statistic, StepRule};

use super::bytes::Bytes;
use crate::{
    cases::{Case, Measure},
    oracle::Scalars,
    tolerance::SINGLE_STEP,
};

/// Any sequence of R under any rule of κ, against the oracle's scalars: λ, κ and the counts, step by step.
///
/// The measure is a sum under a proximal step, which the guard leaves alone.
pub fn bound(data: &[u8]) {
    let mut bytes = Bytes(data);
    let fuzzed = bytes.case();
    let case = Case {
        measure: Measure::L2,
        order: Order::AfterBase,
        step_rule: StepRule::Proximal,
        ..fuzzed
    };
    let count = case.n as u64;
    let mut next = || Statistic::Sum { count, total: bytes.magnitude().abs() };
    let Ok(rule) = ConstraintRule::new(case.config()) else { return };
    let initial = next();
    let Ok(mut constraint) = rule.start(&initial) else { return };
    let mut oracle = Scalars::new(&case, case.n, total(initial));
    if case.n == 0 {
        oracle.kappa = constraint.report().kappa;
    }
    for _ in 0..4 * case.steps {
        let statistic = next();
        let r = total(statistic);
        let correction = constraint.update(&Observed { statistic, stopped: 0 }, case.lr);
        let ell = oracle.update(r, case.lr);
        if oracle.tied {
            return;
        }
        let report = constraint.report();
        assert_eq!(report.step, oracle.step);
        assert_eq!(report.non_finite, oracle.non_finite);
        assert_eq!(correction.is_identity(), ell <= 0.0, "ℓ = {ell}");
        assert_eq!(report.kappa, oracle.kappa, "κ after step {}: {oracle:?}", oracle.step);
        let distance = (report.lambda - oracle.lambda).abs();
        assert!(
            distance <= SINGLE_STEP.limit * oracle.lambda.max(case.mu * r.min(f64::MAX)),
            "λ = {} against {}",
            report.lambda,
            oracle.lambda
        );
    }
}

fn total(statistic: Statistic) -> f64 {
    match statistic {
        Statistic::Sum { total, .. } => total,
        Statistic::Moments { .. } => f64::NAN,
    }
}
