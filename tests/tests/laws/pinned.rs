//! Value stability: the bits of a dozen trajectories after 50 steps.
//!
//! A difference here is a change of results for every user. Where that is meant, replace `pinned.txt` by the file
//! that the failing test names, and say so in the change log.

use std::{fmt::Write, fs, path::Path as FilePath};

use cpr_tests::{
    cases::{Case, table},
    path::{Path, Precision},
};

const CASES: [&str; 14] = [
    "L2 AfterBase Gradient true sgd",
    "L2 BeforeBase Proximal true adam",
    "L1 AfterBase Proximal true sgd",
    "L1 BeforeBase Gradient true adam",
    "Huber(0.25) AfterBase Gradient true adam",
    "Std AfterBase Gradient true sgd",
    "Std BeforeBase Proximal true adam",
    "Lp(0.8) BeforeBase Gradient true sgd",
    "guard l2",
    "inflection 2 smooth AfterBase",
    "OnRelease L2 1",
    "nesterov",
    "amsgrad decoupled",
    "padam late 1.7",
];

fn line<T: Precision>(case: &Case, precision: &str) -> String {
    let run = T::run(case, Path::Whole);
    let last = run.reports.last().unwrap();
    let (lambda, kappa) = (last.lambda.to_bits(), last.kappa.unwrap().to_bits());
    // λ has often gone back to 0 by then: its highest value is pinned too.
    let top = run.reports.iter().map(|report| report.lambda).fold(0.0, f64::max).to_bits();
    let mut line = format!("{} | {precision} | {lambda:016x} {top:016x} {kappa:016x} |", case.name);
    for &x in &run.theta {
        write!(line, " {:x}", x.to_f64().to_bits() >> if precision == "f32" { 29 } else { 0 })
            .unwrap();
    }
    line
}

#[test]
fn trajectories_keep_their_bits() {
    let table = table();
    let mut now = String::new();
    for name in CASES {
        let case = table.iter().find(|case| case.name == name).unwrap();
        let case = Case { n: 19, ..case.clone() };
        writeln!(now, "{}\n{}", line::<f32>(&case, "f32"), line::<f64>(&case, "f64")).unwrap();
    }
    let pinned = include_str!("pinned.txt");
    let pairs = now.lines().zip(pinned.lines());
    let changed: Vec<&str> = pairs.filter(|(a, b)| a != b).map(|(a, _)| a).collect();
    if now != pinned {
        let file = FilePath::new(env!("CARGO_TARGET_TMPDIR")).join("pinned.txt");
        fs::write(&file, &now).unwrap();
        panic!("{} lines changed; all lines: {}\n{changed:#?}", changed.len(), file.display());
    }
}
