//! Every case of the table by every path, against the oracle and against each other.

use cpr_core::{CHUNK, Real};
use cpr_tests::{
    cases::{Case, table},
    oracle::Oracle,
    path::{Path, Precision},
    tolerance::{SCALARS_F32, TRAJECTORY_F32, TRAJECTORY_F64, Tolerance},
};

fn wide<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&x| x.to_f64()).collect()
}

/// Largest distances of θ and of the scalars from the oracle, over all steps.
fn distances<T: Precision>(case: &Case) -> (f64, f64) {
    let run = T::run(case, Path::Whole);
    let mut oracle = Oracle::new(case, wide(&case.initial::<T>()));
    let (mut theta, mut scalars) = (0.0f64, 0.0f64);
    for (t, (report, &first)) in (1..).zip(run.reports.iter().zip(&run.first)) {
        oracle.step(&wide(&case.gradient::<T>(t)), case.lr_at(t));
        theta = theta.max(Tolerance::distance(first.to_f64(), oracle.theta[0]));
        assert_eq!(report.kappa.is_some(), oracle.scalars.kappa.is_some(), "{}: {t}", case.name);
        assert_eq!(report.guarded, oracle.guarded, "{}: guarded at step {t}", case.name);
        let kappa = (report.kappa.unwrap_or(0.0), oracle.scalars.kappa.unwrap_or(0.0));
        let lambda = (report.lambda, oracle.scalars.lambda);
        for (given, expected) in [kappa, lambda] {
            // λ is a sum of μ·(R − κ): a large μ magnifies the errors of R.
            scalars = scalars.max(Tolerance::distance(given, expected) / case.mu.max(1.0));
        }
    }
    for (&given, &expected) in run.theta.iter().zip(&oracle.theta) {
        theta = theta.max(Tolerance::distance(given.to_f64(), expected));
    }
    (theta, scalars)
}

fn failures<T: Precision>(theta: Tolerance, scalars: Tolerance) -> Vec<String> {
    let mut failures = Vec::new();
    for case in table() {
        let (of_theta, of_scalars) = distances::<T>(&case);
        if of_theta > theta.limit || of_scalars > scalars.limit {
            failures.push(format!("{}: θ {of_theta:.1e}, λ and κ {of_scalars:.1e}", case.name));
        }
    }
    failures
}

#[test]
fn every_case_follows_the_oracle_in_f64() {
    let failures = failures::<f64>(TRAJECTORY_F64, TRAJECTORY_F64);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_case_follows_the_oracle_in_f32() {
    let failures = failures::<f32>(TRAJECTORY_F32, SCALARS_F32);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn same_bits_by_every_path<T: Precision>() {
    for case in table() {
        // Four chunks, the last one neither whole nor a multiple of the lanes.
        let case = Case { n: 3 * CHUNK + 1001, steps: 6, ..case };
        let whole = T::run(&case, Path::Whole).bits();
        for path in &Path::ALL[1..] {
            assert!(T::run(&case, *path).bits() == whole, "{} by {path:?}", case.name);
        }
    }
}

#[test]
fn every_path_gives_the_same_bits_in_f32() {
    same_bits_by_every_path::<f32>();
}

#[test]
fn every_path_gives_the_same_bits_in_f64() {
    same_bits_by_every_path::<f64>();
}

/// The table would prove little if its constraints slept: most cases act, every guard case guards.
#[test]
fn the_table_acts() {
    let cases = table();
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "names are unique");
    let mut asleep = Vec::new();
    for case in &cases {
        let last = *f64::run(case, Path::Whole).reports.last().unwrap();
        let guard = case.name.starts_with("guard");
        let fewest = if guard { 1 } else { 3 };
        if last.kappa.is_none() || last.active_steps < fewest || (guard && last.guarded == 0) {
            asleep.push(format!("{}: {last:?}", case.name));
        }
    }
    assert!(asleep.is_empty(), "{}", asleep.join("\n"));
    for adaptive in ["OnRelease L2 1", "WhileInactive L2 1"] {
        let case = cases.iter().find(|case| case.name == adaptive).unwrap();
        let reports = f64::run(case, Path::Whole).reports;
        assert!(reports.last().unwrap().kappa < reports[0].kappa, "{adaptive}: κ never fell");
    }
}
