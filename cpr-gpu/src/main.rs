//! The `cpr-gpu` command.

use std::{
    error::Error,
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use cpr_gpu::cli;
use cpr_host::{cli::CliError, signals, sweep::command::Ending};

/// Exit status of a command that failed.
const FAILED: u8 = 1;
/// Exit status of a command line or a configuration that is refused.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(CliError::Shown(shown)) => {
            // A reader that has closed its end, as `head` does, has seen what it wanted.
            let asked_for = !shown.use_stderr();
            let _ = shown.print();
            return ExitCode::from(if asked_for { 0 } else { REFUSED });
        }
        Err(error) => {
            complain(&error, error.hint());
            return ExitCode::from(REFUSED);
        }
    };
    match cli::run(command, &mut io::stdout().lock()) {
        Ok(Ending::Completed) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::from(FAILED),
        Ok(Ending::Interrupted) => ExitCode::from(signals::INTERRUPTED),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error, None);
            ExitCode::from(FAILED)
        }
    }
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

/// Whether the reader of the output has gone.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    })
}
