//! Runs of the real binary, and beside the host's experiment: the same trajectory, the same files.
#![allow(
    clippy::unwrap_used,
    reason = "what a test and its tools need and do not get fails the test"
)]

mod cifar;
mod commands;
mod finetune;
mod gpt2;
mod host;
mod resume;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;

/// A network so small that sixty steps take a fraction of a second. An epoch has three steps, each is evaluated.
const TINY: &str = "--p 11 --dim 16 --heads 2 --batch 16 --steps 60 --eval-every 1 --checkpoint-every 7 --threads 1 \
                    --name run";

/// The command of a tiny run with these flags, in place of its own of that name.
fn grokking(flags: &str) -> String {
    with_flags("grokking", TINY, flags)
}

/// The command of an experiment with these flags, and with those of its `own` that are not among them.
fn with_flags(experiment: &str, own: &str, flags: &str) -> String {
    let mut line = format!("{experiment} {flags}");
    let own: Vec<_> = own.split_whitespace().collect();
    for pair in own.chunks(2) {
        if !flags.split_whitespace().any(|flag| flag == pair[0]) {
            line.push_str(&format!(" {}", pair.join(" ")));
        }
    }
    line
}

/// The files of a run that are the same bytes whatever happened on the way.
const SAME: [&str; 8] = [
    "config.toml",
    "env.json",
    "checkpoints/last.safetensors",
    "checkpoints/best.safetensors",
    "metrics.jsonl",
    "metrics.csv",
    "plot.svg",
    "summary.json",
];

/// A folder of its own to run the binary in, so that `runs/` and with it the configuration is the same in all.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn run(&self) -> PathBuf {
        self.path().join("runs/grokking/run")
    }

    fn last(&self) -> PathBuf {
        self.run().join("checkpoints/last.safetensors")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cpr-gpu"));
        command.current_dir(self.path()).args(line.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The output of a command that has to succeed.
    fn cpr_gpu(&self, line: &str) -> String {
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        let (stdout, stderr) = (text(stdout), text(stderr));
        assert!(status.success(), "cpr-gpu {line}: {status}\n{stdout}{stderr}");
        stdout
    }

    /// What a command says on standard error that has to fail with this status.
    fn error(&self, line: &str, status: i32) -> String {
        let output = self.command(line).output().unwrap();
        let stderr = text(output.stderr);
        assert_eq!(output.status.code(), Some(status), "cpr-gpu {line}: {stderr}");
        // Progress may stand before it.
        let errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert!(errors == 1 && !stderr.contains("panicked"), "{stderr}");
        stderr
    }

    /// A sweep that has to fail before its first run, saying all of these parts in one line.
    #[track_caller]
    fn refused(&self, study: &str, parts: &[&str]) {
        fs::write(self.path().join("study.toml"), study).unwrap();
        let message = self.error("sweep study.toml", 1);
        assert_eq!(message.lines().count(), 1, "{message}");
        for part in parts.iter().chain(&["runs to do in study.toml, none of which was started"]) {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(!self.path().join("study").exists(), "nothing was made");
    }

    /// A tiny run from start to end, with more flags.
    fn whole(flags: &str) -> Self {
        let place = Self::new();
        place.cpr_gpu(&grokking(flags));
        place
    }

    /// A command in the background, as soon as it has evaluated once.
    fn started(&self, line: &str) -> Child {
        let mut child = self.command(line).stderr(Stdio::null()).spawn().unwrap();
        let metrics = self.run().join("metrics.jsonl");
        while !fs::metadata(&metrics).is_ok_and(|file| file.len() > 0) {
            assert!(child.try_wait().unwrap().is_none(), "{line} ended without an evaluation");
            sleep(Duration::from_millis(1));
        }
        child
    }
}

/// Asserts that two run folders have the same bytes in these files.
#[track_caller]
fn assert_same(
    whole: &Path,
    other: &Path,
    what: &str,
    files: impl IntoIterator<Item = &'static str>,
) {
    for file in files {
        let [a, b] = [whole, other].map(|run| fs::read(run.join(file)).unwrap());
        assert!(a == b, "{what}: {file} differs ({} and {} bytes)", a.len(), b.len());
    }
}

/// Those of [`SAME`] that do not say how long a run was to be at that time, as the best of its first part does.
fn same_but_best() -> impl Iterator<Item = &'static str> {
    SAME.into_iter().filter(|file| !file.ends_with("best.safetensors"))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
