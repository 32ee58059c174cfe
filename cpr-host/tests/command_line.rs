//! The binary from outside: help, exit status, and what goes to which stream.

use std::process::{Command, Output, Stdio};

use cpr_host::config::{ExperimentConfig as _, GrokkingConfig};

fn cpr(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cpr")).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn help_and_version_are_output() {
    for arguments in [&["--help"][..], &["--version"], &["grokking", "--help"], &["help"]] {
        let Output { status, stdout, stderr } = cpr(arguments);
        assert!(status.success() && stderr.is_empty(), "{arguments:?}");
        assert!(text(&stdout).ends_with('\n'), "{arguments:?}");
    }
    let version = cpr(&["--version"]).stdout;
    assert_eq!(text(&version), format!("cpr {}\n", env!("CARGO_PKG_VERSION")));
    let help = cpr(&["--help"]).stdout;
    for command in ["grokking", "resume", "eval", "inspect", "conformance", "Examples:"] {
        assert!(text(&help).contains(command), "{command}");
    }
}

#[test]
fn help_names_every_key_under_its_heading() {
    let help = cpr(&["grokking", "--help"]).stdout;
    let help = text(&help);
    for key in GrokkingConfig::keys() {
        let flag = format!("--{} ", key.replace('_', "-"));
        let lines = help.lines().filter(|line| line.trim_start().starts_with(&flag)).count();
        assert_eq!(lines, 1, "{flag}");
    }
    let headings = ["\nRun:", "\nData:", "\nModel:", "\nOptimizer:", "\nConstraint:"];
    let places: Vec<_> = headings.iter().filter_map(|heading| help.find(heading)).collect();
    assert!(places.len() == headings.len() && places.is_sorted(), "{places:?}");
    for form in [
        "adamcpr",
        "adamw",
        "sgdcpr",
        "padam",
        "rescale",
        "cosine",
        "polynomial=",
        "wsd=",
        "l1",
        "std",
        "huber=",
        "lp=",
        "dependent=",
        "uniform=",
        "per-element=",
        "warm-start=",
        "inflection=",
        "on-release",
        "while-inactive",
        "after-base",
        "before-base",
        "gradient",
        "proximal",
        "[default: 1e-8]",
        "[default: dependent=0.8]",
    ] {
        assert!(help.contains(form), "{form}");
    }
}

#[test]
fn a_refusal_is_an_error_line_and_a_hint_with_status_2() {
    for arguments in [
        &["grokking", "--lr", "-1"][..],
        &["grokking", "--optimizer", "adamw", "--mu", "1"],
        &["grokking", "--set", "lrr=1"],
        &["grokking", "--config", "/nowhere/run.toml"],
        &["grokin"],
        &["resume"],
        &["resume", "a", "--threads", "5000"],
        &["resume", "a", "b"],
        &["resume", "a", "--steps", "0"],
        &["resume", "a", "--epochs", "0"],
        &["resume", "a", "--steps", "5", "--epochs", "5"],
        &["conformance"],
    ] {
        let Output { status, stdout, stderr } = cpr(arguments);
        assert_eq!(status.code(), Some(2), "{arguments:?}");
        assert!(stdout.is_empty(), "{arguments:?}");
        let lines: Vec<_> = text(&stderr).lines().collect();
        assert_eq!(lines.len(), 2, "{arguments:?}: {lines:?}");
        assert!(lines[0].starts_with("error: ") && lines[1].starts_with("hint: "), "{lines:?}");
    }
    assert_eq!(cpr(&[]).status.code(), Some(2));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cpr"))
        .args(["grokking", "--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert!(status.success());
    assert_eq!(text(&stderr), "");
}
