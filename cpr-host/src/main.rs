//! The `cpr` command.

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use cpr_host::{
    cli::{self, CliError, Command, Training},
    commands::{self, Done},
    config::ConfigError,
    experiment::{Classify, Grokking, Lm},
    signals,
    sweep::command::Ending,
    train::Take,
};

/// Exit status of a command that failed.
const FAILED: u8 = 1;
/// Exit status of a command line or a configuration that is refused.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(command) => match run(command) {
            Ok(status) => ExitCode::from(status),
            Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                let refused = error.downcast_ref::<ConfigError>();
                let hint = refused.and_then(ConfigError::hint);
                complain(&in_full(&error), hint);
                ExitCode::from(if refused.is_some() { REFUSED } else { FAILED })
            }
        },
        Err(CliError::Shown(shown)) => {
            // A reader that has closed its end, as `head` does, has seen what it wanted.
            let asked_for = !shown.use_stderr();
            let _ = shown.print();
            ExitCode::from(if asked_for { 0 } else { REFUSED })
        }
        Err(error) => {
            complain(&error, error.hint());
            ExitCode::from(REFUSED)
        }
    }
}

/// Runs a command and returns its exit status.
fn run(command: Command) -> anyhow::Result<u8> {
    let out = &mut io::stdout().lock();
    let done = match command {
        Command::Grokking { config, from, dry_run } => {
            commands::train::<Grokking>(&config, start(&from), dry_run, out)?
        }
        Command::Classify(Training { config, from, dry_run }) => {
            commands::train::<Classify>(&config, start(&from), dry_run, out)?
        }
        Command::Lm(Training { config, from, dry_run }) => {
            commands::train::<Lm>(&config, start(&from), dry_run, out)?
        }
        Command::Sample { path, how, threads } => {
            commands::sample(&path, &how, threads, out)?;
            Done::Completed
        }
        Command::Tokens(plan) => {
            commands::tokens(&plan, out)?;
            Done::Completed
        }
        Command::Resume { run, how } => commands::resume(&run, how, out)?,
        Command::Eval { path, logits } => {
            commands::eval(&path, logits.as_deref(), out)?;
            Done::Completed
        }
        Command::Import { file, out: checkpoint, rule } => {
            commands::import(&file, rule, &checkpoint, out)?;
            Done::Completed
        }
        Command::Sparsify { path, below, dense, csr } => {
            commands::sparsify(&path, below, dense.as_deref(), csr.as_deref(), out)?;
            Done::Completed
        }
        Command::Inspect { path } => {
            commands::inspect(&path, out)?;
            Done::Completed
        }
        Command::Study(study) => {
            return Ok(match commands::study(&study, out)? {
                Ending::Completed => 0,
                Ending::Failed => FAILED,
                Ending::Interrupted => signals::INTERRUPTED,
            });
        }
        #[cfg(feature = "fetch")]
        Command::Fetch { set, out: folder } => {
            commands::fetch(set, folder.as_deref(), out)?;
            Done::Completed
        }
        Command::Conformance { files, json } => {
            let passed = commands::conformance(&files, json, out)?;
            return Ok(if passed { 0 } else { FAILED });
        }
        Command::BenchStep { plan, threads, json } => {
            commands::bench_step(&plan, threads, json, out)?;
            Done::Completed
        }
    };
    Ok(match done {
        Done::Completed => 0,
        Done::Interrupted => signals::INTERRUPTED,
    })
}

/// The checkpoint that a run starts from, borrowed.
fn start(from: &Option<(PathBuf, Take)>) -> Option<(&Path, Take)> {
    from.as_ref().map(|(path, take)| (path.as_path(), *take))
}

/// One line `error: …`, and one `hint: …` where there is one.
fn complain(error: &dyn Display, hint: Option<String>) {
    let mut stderr = io::stderr().lock();
    // Nobody is left to tell if this fails.
    let _ = writeln!(stderr, "error: {error}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

/// The error and what caused it, without causes that it tells itself.
fn in_full(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// Whether the reader of the output has gone.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    })
}
