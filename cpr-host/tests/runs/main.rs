//! Runs of the real binary: stopped, killed, resumed, looked at, refused.
#![allow(
    clippy::unwrap_used,
    reason = "what a test and its tools need and do not get fails the test"
)]

mod bad_input;
mod commands;
mod experiments;
mod faults;
mod import;
mod kill;
mod length;
mod nonfinite;
mod resume;
mod start;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use cpr_host::observe::{LastLine, read_jsonl};
use tempfile::TempDir;

/// A network so small that sixty steps take a fraction of a second. An epoch has three steps, each is evaluated.
const TINY: &str = "--p 11 --dim 16 --heads 2 --batch 16 --steps 60 --eval-every 1 --checkpoint-every 7 --threads 1 \
                    --name run";

/// The command of a tiny run with these flags, in place of its own of that name.
fn grokking(flags: &str) -> String {
    let mut line = format!("grokking {flags}");
    let own: Vec<_> = TINY.split_whitespace().collect();
    for pair in own.chunks(2) {
        if !flags.split_whitespace().any(|flag| flag == pair[0]) {
            line.push_str(&format!(" {}", pair.join(" ")));
        }
    }
    line
}

/// Every kind of state that a checkpoint has to hold.
const KINDS: [&str; 22] = [
    "",
    "--reg std --kappa-init dependent=0.9 --order before-base",
    "--reg l1 --kappa-init dependent=0.8 --step-rule proximal --order before-base",
    "--kappa-init inflection=3 --inflection-smoothing 0.5 --adaptive on-release",
    "--kappa-init warm-start=9 --adaptive while-inactive --clip 0.5",
    "--kappa-init warm-start=2x --warmup 5 --schedule cosine --scale-by-lr",
    "--reg huber=0.1 --amsgrad",
    "--reg lp=0.8 --kappa-init dependent=0.9",
    "--optimizer adamw --weight-decay 1.0",
    "--optimizer adam --weight-decay 0.1 --amsgrad",
    "--optimizer sgd --momentum 0.9 --nesterov --lr 0.05",
    "--optimizer sgdcpr --momentum 0.9 --dampening 0.1 --lr 0.05",
    "--optimizer padam",
    "--optimizer padam --padam-late",
    "--optimizer rescale --rescale-factor 0.8",
    "--optimizer adaml1 --lambda-p 0.1 --weight-decay 0.1",
    "--optimizer adamw --weight-decay 1.0 --weight-decay-end 0.01",
    "--optimizer adadecay --adadecay-alpha 8 --weight-decay 1.0 --clip 0.5",
    "--optimizer awd --weight-decay 0.2 --weight-decay-end 10",
    "--optimizer amos --lr 0.05",
    "--optimizer amos --beta1 0 --lr 0.05 --weight-decay 0.01",
    // One step throws the weights far away, all others are skipped.
    "--optimizer sgd --momentum 0 --lr 1e30 --max-bad-steps 1000",
];

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
        let mut command = Command::new(env!("CARGO_BIN_EXE_cpr"));
        command.current_dir(self.path()).args(line.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// The output of a command that has to succeed.
    fn cpr(&self, line: &str) -> String {
        let Output { status, stdout, stderr } = self.output(line);
        let (stdout, stderr) = (text(stdout), text(stderr));
        assert!(status.success(), "cpr {line}: {status}\n{stdout}{stderr}");
        stdout
    }

    /// The one line that a command says which has to fail with status 1.
    fn error(&self, line: &str) -> String {
        let Output { status, stderr, .. } = self.output(line);
        let stderr = text(stderr);
        assert_eq!(status.code(), Some(1), "cpr {line}: {stderr}");
        let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "cpr {line}: {stderr}");
        assert!(!stderr.contains("panicked"), "cpr {line}: {stderr}");
        errors[0].to_owned()
    }

    /// A tiny run from start to end, with more flags.
    fn whole(flags: &str) -> Self {
        let place = Self::new();
        place.cpr(&grokking(flags));
        place
    }

    /// A command in the background, as soon as it has evaluated once.
    fn started(&self, line: &str) -> Child {
        self.started_past(line, 0)
    }

    /// A command in the background, as soon as its metrics are longer than that many bytes.
    fn started_past(&self, line: &str, bytes: u64) -> Child {
        let mut child = self.command(line).stderr(Stdio::null()).spawn().unwrap();
        let metrics = self.run().join("metrics.jsonl");
        while !fs::metadata(&metrics).is_ok_and(|file| file.len() > bytes) {
            assert!(child.try_wait().unwrap().is_none(), "cpr {line} ended without an evaluation");
            sleep(Duration::from_millis(1));
        }
        child
    }

    /// Path, bytes and time of the last change of every file.
    fn snapshot(&self) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let changed = fs::metadata(&path).unwrap().modified().unwrap();
                    files.insert(path.clone(), (fs::read(path).unwrap(), changed));
                }
            }
        }
        files
    }
}

/// Asserts that two runs left the same.
#[track_caller]
fn assert_same(whole: &Place, other: &Place, what: &str) {
    for file in SAME {
        let [a, b] = [whole, other].map(|place| fs::read(place.run().join(file)).unwrap());
        assert!(a == b, "{what}: {file} differs ({} and {} bytes)", a.len(), b.len());
    }
    // The clock's files: a line an evaluation, none twice.
    let steps = |file: &str| {
        let rows = read_jsonl(&other.run().join(file), LastLine::Whole).unwrap();
        rows.iter().map(|row| row.step).collect::<Vec<_>>()
    };
    assert_eq!(steps("timing.jsonl"), steps("metrics.jsonl"), "{what}");
    let [a, b] = [whole, other]
        .map(|place| fs::metadata(place.run().join("events.out.tfevents.0.cpr")).unwrap().len());
    assert_eq!(a, b, "{what}: events");
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn signal(child: &Child, name: &str) {
    // The shell's own: not every system has it as a program.
    let kill = format!("kill {name} {}", child.id());
    let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(sent.success());
}

/// Numbers that look random, for moments.
struct Moments(u64);

impl Moments {
    /// A duration below `limit`.
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        limit.mul_f64((self.0 >> 40) as f64 / f64::from(1 << 24))
    }
}
