//! Replays of recorded trajectories, and proofs that the checker can fail.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

mod refusals;

use cpr_host::conformance::{
    ConformanceError, Precision, Report, TrajectoryError, check_file, check_text, run,
};
use serde_json::{Value, json};

fn selection() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/trajectories")
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

fn text(name: &str) -> String {
    fs::read_to_string(selection().join(name)).unwrap()
}

fn read(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

/// The outcome for a recording after `alter`.
fn altered(name: &str, alter: impl FnOnce(&mut Value)) -> Result<Report, TrajectoryError> {
    let mut value = read(name);
    alter(&mut value);
    check_text(&value.to_string())
}

fn shift(value: &mut Value, by: f64) {
    *value = json!(value.as_f64().unwrap() + by);
}

/// The message for a recording that is refused after `alter`.
fn refusal(name: &str, alter: impl FnOnce(&mut Value)) -> String {
    match altered(name, alter) {
        Ok(report) => panic!("{name} was not refused: {report:?}"),
        Err(error) => error.to_string(),
    }
}

/// adamcpr, l1, f64, 10 steps: the smallest of the selection.
const L1: &str = "c_l1_mu10.0.f64.json";
const L2_F32: &str = "c_l2_mu10.0.f32.json";
const SCHEDULE: &str = "j_AdamW_amsgrad_lrsched.f32.json";
const WRAPPER: &str = "h_wrap_SGD_std_warm_start_adapt.f32.json";
const INFLECTION: &str = "g_l2_inflection_S5.f32.json";

#[test]
fn the_selection_passes() {
    let files = recordings(&selection());
    let mut kinds = BTreeSet::new();
    for file in &files {
        let report = check_file(file).unwrap();
        assert!(report.passed, "{}: {:?}", file.display(), report.complaints());
        kinds.insert((report.kind, report.precision == Precision::F64));
        assert!(report.largest.theta.is_some() && report.steps >= 10);
    }
    let kinds: BTreeSet<_> = kinds.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(Vec::from_iter(kinds), ["adamcpr", "cpr_wrapper", "padam", "torch"]);
    assert_eq!(files.len(), 11);
}

#[test]
fn the_example_of_the_documentation_passes() {
    let page = include_str!("../../../docs/CONFORMANCE.md");
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let report = check_text(example).unwrap();
    assert!(report.passed, "{:?}", report.complaints());
    assert!(!check_text(&example.replace("1.25", "1.26")).unwrap().passed);
}

#[test]
fn every_shared_recording_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden/trajectories");
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return;
    }
    let files = recordings(&folder);
    assert!(files.len() >= 178, "only {} recordings in {}", files.len(), folder.display());
    let mut out = Vec::new();
    let passed = run(&files, &mut out, false).unwrap();
    assert!(passed, "{}", String::from_utf8_lossy(&out));
}

#[test]
fn one_wrong_number_fails_and_is_located() {
    let fails = |alter: fn(&mut Value), start: &str| {
        let report = altered(L1, alter).unwrap();
        assert!(!report.passed);
        let complaints = report.complaints();
        assert!(complaints.iter().any(|c| c.starts_with(start)), "{complaints:?} lacks {start:?}");
        report
    };
    let report = fails(
        |v| shift(&mut v["trajectory"][6]["params"][2][11], 2e-9),
        "theta of t[11] at step 7 is ",
    );
    let peak = report.largest.theta.unwrap();
    assert_eq!((peak.step, peak.parameter.as_str(), peak.element), (7, "t", Some(11)));
    assert!((peak.deviation - 2e-9).abs() < 1e-11);

    fails(|v| shift(&mut v["trajectory"][3]["lagmul"][1], 2e-9), "lambda of b at step 4 is ");
    fails(|v| shift(&mut v["trajectory"][9]["kappa"][0], 1e-8), "kappa of w at step 10 is ");
    fails(|v| shift(&mut v["trajectory"][0]["reg"][2], 1e-8), "R of t at step 1 is ");
    fails(
        |v| shift(&mut v["final_state"][3]["exp_avg_sq"][2], 2e-9),
        "moments of free.exp_avg_sq[2]",
    );
    fails(
        |v| v["meta"]["kappa_first_change_step"][0] = json!(3),
        "kappa_first_change_step of w is never, recorded 3",
    );
    // A wrong input shows in what follows from it.
    fails(|v| shift(&mut v["grads"][4][0][0], 1e-3), "theta of w[0] at step ");
    fails(|v| shift(&mut v["params"][0]["init"][5], 1e-6), "theta of w[");
    fails(|v| v["meta"]["hp"]["kappa_update"] = json!(10.001), "lambda of ");
    fails(|v| v["meta"]["hp"]["betas"] = json!([0.9, 0.999]), "theta of ");
    fails(|v| v["meta"]["hp"]["reg_by_lr"] = json!(true), "theta of ");
}

#[test]
fn a_deviation_within_the_tolerance_passes() {
    let report = altered(L1, |v| shift(&mut v["trajectory"][6]["params"][2][11], 5e-10)).unwrap();
    assert!(report.passed, "{:?}", report.complaints());
    // The tolerance is on max(1, |b|): not relative below 1, relative above.
    assert!(report.largest.theta.unwrap().deviation > 4e-10);
}

#[test]
fn the_tolerance_follows_the_conditioning() {
    let tolerance = |diff: Value| {
        altered(L2_F32, |v| v["meta"]["f32_vs_f64_max_rel_diff"] = diff).unwrap().tolerance
    };
    assert_eq!(tolerance(json!(0.0)).theta, 3e-6);
    assert_eq!(tolerance(json!(2e-7)).theta, 30.0 * 2e-7);
    assert_eq!(tolerance(json!(2e-7)).constraint, 3.0 * (30.0 * 2e-7));
    assert_eq!(tolerance(Value::Null).theta, 3e-6);
    let exact = altered(L1, |v| v["meta"]["f32_vs_f64_max_rel_diff"] = json!(1e-4)).unwrap();
    assert_eq!((exact.tolerance.theta, exact.tolerance.constraint), (1e-9, 1e-9));
    for lax in [json!(0.5), json!(1e300), json!(-1.0)] {
        let message = refusal(L2_F32, |v| v["meta"]["f32_vs_f64_max_rel_diff"] = lax);
        assert!(message.contains("`meta.f32_vs_f64_max_rel_diff`"), "{message}");
    }
}

#[test]
fn the_learning_rate_of_every_step_counts() {
    assert!(altered(SCHEDULE, |_| {}).unwrap().passed);
    let report = altered(SCHEDULE, |v| shift(&mut v["meta"]["lr_per_step"][20], 1e-3)).unwrap();
    assert!(!report.passed);
    // Before that step nothing differs.
    let rounding = altered(SCHEDULE, |_| {}).unwrap().largest.theta.unwrap();
    let peak = report.largest.theta.unwrap();
    assert!(peak.step >= 21 && peak.deviation > 100.0 * rounding.deviation, "{peak:?}");
    let report = altered(SCHEDULE, |v| v["meta"]["lr_per_step"] = Value::Null).unwrap();
    assert!(!report.passed);
}

#[test]
fn conventions_of_an_unset_bound_are_checked() {
    // adamcpr under inflection writes 1000 until κ is set, the wrapper null.
    let report = altered(INFLECTION, |v| v["trajectory"][0]["kappa"][0] = json!(0.0)).unwrap();
    assert_eq!(report.largest.kappa.as_ref().map(|peak| peak.recorded), Some(0.0));
    assert!(!report.passed);
    let report = altered(WRAPPER, |v| v["trajectory"][0]["kappa"][0] = json!(0.5)).unwrap();
    assert_eq!(report.largest.kappa.as_ref().map(|peak| peak.deviation), Some(f64::INFINITY));
    assert!(!report.passed);
    let report = altered(WRAPPER, |v| v["trajectory"][30]["kappa"][1] = Value::Null).unwrap();
    assert!(!report.passed);
    let report = altered(WRAPPER, |v| v["trajectory"][30]["adapt_flag"][1] = json!(false)).unwrap();
    assert_eq!(report.complaints(), ["adapt_flag of b at step 31 is true, recorded false"]);
    // One step too early is one step too early.
    let report = altered(WRAPPER, |v| v["meta"]["hp"]["kappa_init_param"] = json!(14)).unwrap();
    assert!(!report.passed);
    let report = altered(INFLECTION, |v| v["meta"]["hp"]["reg_step_size"] = json!(10)).unwrap();
    assert!(!report.passed);
    let message = refusal(L1, |v| v["trajectory"][2]["kappa"][1] = Value::Null);
    assert!(message.contains("`trajectory[2].kappa[1]` is null"), "{message}");
}

#[test]
fn many_files_in_one_table_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("cut.json");
    fs::write(&bad, &text(L1)[..500]).unwrap();
    let wrong = folder.path().join("wrong.json");
    let mut value = read(L1);
    shift(&mut value["trajectory"][3]["lagmul"][0], 1e-3);
    fs::write(&wrong, value.to_string()).unwrap();
    // The name says f32 and torch; the content decides.
    let misnamed = folder.path().join("j_SGD.f32.json");
    fs::copy(selection().join(L1), &misnamed).unwrap();
    let absent = folder.path().join("absent.json");

    let mut table = Vec::new();
    let files = [misnamed.clone(), wrong.clone(), bad.clone(), absent.clone()];
    assert!(!run(&files, &mut table, false).unwrap());
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("1 passed, 1 failed, 2 could not be checked"), "{table}");
    assert!(table.contains("lambda of w at step 4 is "), "{table}");
    assert!(table.contains("cut.json: no complete JSON text"), "{table}");
    assert!(table.contains("absent.json: cannot be read"), "{table}");

    let mut out = Vec::new();
    assert!(!run(&files, &mut out, true).unwrap());
    let json: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["passed"], json!(false));
    let first = &json["files"][0];
    assert_eq!((&first["passed"], &first["kind"]), (&json!(true), &json!("adamcpr")));
    assert_eq!(first["precision"], json!("f64"));
    assert_eq!(first["tolerance"]["theta"], json!(1e-9));
    assert_eq!(json["files"][1]["largest"]["lambda"]["step"], json!(4));
    assert_eq!(json["files"][1]["largest"]["lambda"]["parameter"], json!("w"));
    assert!(json["files"][2]["error"].as_str().unwrap().contains("cut short"));
    assert_eq!(json["largest"][0]["files"], json!(2));

    let mut out = Vec::new();
    assert!(run(&[misnamed], &mut out, true).unwrap());
    assert!(matches!(run::<&Path>(&[], &mut out, true), Err(ConformanceError::NoFiles)));
}
