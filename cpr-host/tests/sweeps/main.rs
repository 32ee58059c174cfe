//! Sweeps of the real binary: killed, cut into parts, stopped; and what is made of their runs.
#![allow(
    clippy::unwrap_used,
    reason = "what a test and its tools need and do not get fails the test"
)]

mod page;
mod python;
mod study;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;

/// Nine runs of a network so small that each takes a fraction of a second.
const STUDY: &str = r#"
experiment = "grokking"
out = "study"
seeds = 3
jobs = 2
metric = "validation_best"

[set]
p = 11
dim = 16
heads = 2
batch = 16
steps = 60
eval_every = 1
checkpoint_every = 7

[[group]]
name = "AdamW"
set = { optimizer = "adamw" }
grid = { weight_decay = [0.1, 1.0] }

[[group]]
name = "warm start"
set = { kappa_init = "warm-start=9" }
"#;

/// The tables that are a pure function of the runs.
const TABLES: [&str; 3] = ["results.csv", "results.json", "sweep.json"];

/// A folder of its own with the sweep in it.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        Self::with(STUDY)
    }

    fn with(text: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("study.toml"), text).unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cpr"));
        command.current_dir(self.root.path()).args(line.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, line: &str) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    /// The output of a command that has to succeed.
    fn cpr(&self, line: &str) -> String {
        let (status, stdout, stderr) = self.output(line);
        assert_eq!(status, Some(0), "cpr {line}: {stdout}{stderr}");
        stdout
    }

    fn tables(&self) -> [String; 3] {
        TABLES.map(|name| self.read(&format!("study/{name}")))
    }

    /// The same bytes in all tables, and in the metrics of every run.
    #[track_caller]
    fn assert_same(&self, other: &Self, what: &str) {
        for (name, (a, b)) in TABLES.iter().zip(self.tables().into_iter().zip(other.tables())) {
            assert!(a == b, "{what}: {name} differs:\n{a}\n{b}");
        }
        for run in fs::read_dir(self.path("study/grokking")).unwrap() {
            let run = run.unwrap().file_name().into_string().unwrap();
            let file = format!("study/grokking/{run}/metrics.jsonl");
            assert!(self.read(&file) == other.read(&file), "{what}: {file} differs");
        }
    }
}

fn signal(process: u32, name: &str) {
    let kill = format!("kill {name} {process}");
    let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().unwrap();
}

/// The children of a process.
fn children(process: u32) -> Vec<u32> {
    let path = PathBuf::from(format!("/proc/{process}/task/{process}/children"));
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Waits until a file is there, while the process works on it.
fn wait_for(path: &Path, child: &mut Child) {
    while !path.exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before {} was there",
            path.display()
        );
        sleep(Duration::from_millis(2));
    }
}

/// Numbers that look random, for moments.
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        limit.mul_f64((self.0 >> 40) as f64 / f64::from(1 << 24))
    }
}
