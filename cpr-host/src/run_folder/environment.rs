//! What a run ran on.

use std::{fs, thread};

/// Version, commit, machine and seed of a run, the contents of `env.json`.
///
/// Two runs of one build on one machine with one seed have the same: there is no time in it, and
/// no name of a user, a host or a path.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Environment {
    /// Version of this crate.
    pub version: String,
    /// Commit that the program was built from; `None` when it was not built in a git checkout.
    pub git_commit: Option<String>,
    /// Model of the processor; `None` where the system does not tell.
    pub cpu: Option<String>,
    /// Hardware threads that this process may use; `None` where the system does not tell.
    pub cores: Option<usize>,
    /// Operating system, such as `linux`.
    pub os: String,
    /// Instruction set, such as `x86_64`.
    pub arch: String,
    /// Seed of every random stream of the run.
    pub seed: u64,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn current(seed: u64) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: option_env!("CPR_GIT_COMMIT").map(str::to_owned),
            cpu: fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| cpu_model(&text)),
            cores: thread::available_parallelism().ok().map(usize::from),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            seed,
        }
    }

    /// The environment as indented JSON with a line feed at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }
}

/// The first `model name` in the text of Linux's `/proc/cpuinfo`.
pub(super) fn cpu_model(cpuinfo: &str) -> Option<String> {
    let (_, model) = cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "model name")?;
    Some(model.trim().to_owned()).filter(|model| !model.is_empty())
}
