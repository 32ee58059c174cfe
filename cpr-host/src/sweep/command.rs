//! `cpr sweep`: the plan, the runs, the final tables.

use std::{
    env,
    fmt::Write as _,
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    Catalog, Manifest, PlannedRun, Progress, Shard, State, SweepError, SweepFile, SweepFolder,
    data,
    execute::{Pace, Tally, execute},
    plan::plan,
    results,
};
use crate::report;

/// What a sweep is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepPlan {
    /// The file.
    pub file: PathBuf,
    /// Runs at a time; `None` for what the file says, or the machine's own pace.
    pub jobs: Option<usize>,
    /// Threads of a run; `None` as above.
    pub threads: Option<usize>,
    /// The part of the runs that this process does.
    pub shard: Option<Shard>,
    /// Start runs over that have failed.
    pub retry: bool,
    /// List the runs and stop.
    pub dry_run: bool,
}

/// How a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every run of this process is done.
    Completed,
    /// Some have failed; the others are done.
    Failed,
    /// It was stopped; its runs have saved their state.
    Interrupted,
}

/// Runs a sweep with the experiments of `catalog`, each run a child of this very program, until `stop` is set.
///
/// # Errors
/// [`SweepError`] for the file and for what belongs to the sweep itself; a run that fails is recorded.
pub fn run(
    asked: &SweepPlan,
    catalog: &dyn Catalog,
    program: &str,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<Ending, SweepError> {
    let experiments = catalog.experiments();
    let file = SweepFile::read(&asked.file, &experiments, |name| catalog.keys(name))?;
    let runs = plan(&file, catalog)?;
    let mine: Vec<&PlannedRun> = (runs.iter().enumerate())
        .filter(|(place, _)| asked.shard.is_none_or(|shard| shard.has(*place)))
        .map(|(_, run)| run)
        .collect();
    let pace =
        Pace::of(&runs, Pace::cores(), asked.jobs.or(file.jobs), asked.threads.or(file.threads));
    let folder = SweepFolder::at(&file);
    let filled_in = catalog.filled_in(&file.experiment);
    for run in &runs {
        folder.check_unchanged(run, filled_in)?;
    }
    let say = |out: &mut dyn Write, text: String| {
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(SweepError::Output)
    };
    let head = format!(
        "{}: {} runs of {} in {}, {} at a time on {} thread{} each{}\n",
        file.path.display(),
        runs.len(),
        file.experiment,
        file.out.display(),
        pace.jobs,
        pace.threads,
        if pace.threads == 1 { "" } else { "s" },
        asked
            .shard
            .map_or_else(String::new, |shard| format!("; part {shard}: {} runs", mine.len())),
    );
    say(out, head)?;
    if asked.dry_run {
        say(out, listing(&folder, &mine))?;
        return Ok(Ending::Completed);
    }

    // What is not there for one run is not there for all that share it: better said once, before the first.
    let to_do: Vec<&PlannedRun> = (mine.iter().copied())
        .filter(|run| match folder.state(&run.name) {
            State::New | State::Begun => true,
            State::Failed(_) => asked.retry,
            State::Busy | State::Done => false,
        })
        .collect();
    data::find(&file, &to_do, catalog)?;

    let folder = SweepFolder::open(&file)?;
    let manifest = Manifest::of(&file, &runs, program);
    results::write(&folder, &manifest)?;
    let binary = env::current_exe().map_err(SweepError::io("find", "this program"))?;
    let mut progress = Progress::stderr(mine.len(), pace.jobs);
    let tally = execute(
        &folder,
        &file.experiment,
        &mine,
        &binary,
        (pace, asked.retry),
        stop,
        &mut progress,
    );
    // Whatever happened: the tables are those of the runs that have ended.
    results::write(&folder, &manifest)?;
    let Tally { done, failed, left } = tally?;

    let mut text = format!("{done} of {} runs done", mine.len());
    if failed > 0 {
        let logs = folder.path().join("logs");
        let _ =
            write!(text, ", {failed} failed (see {}; --retry starts them over)", logs.display());
    }
    text.push('\n');
    if left > 0 || stop.load(Ordering::Relaxed) {
        let _ =
            writeln!(text, "stopped with {left} runs to go; go on with: {}", again(asked, program));
        say(out, text)?;
        return Ok(Ending::Interrupted);
    }
    // A table is a courtesy; that the outcome of one run does not read is no failure of the sweep.
    if let Ok(summary) = report::summary(folder.path()) {
        let _ = write!(text, "\n{summary}");
    }
    let results = folder.path().join("results.csv");
    let _ = writeln!(text, "\nresults  {}, results.json", results.display());
    // Of runs none of which has ended there is no report.
    if runs.iter().any(|run| results::outcomes(&folder.run(&run.name)).is_some()) {
        let _ = writeln!(text, "report   {program} report {}", folder.path().display());
    }
    say(out, text)?;
    Ok(if failed > 0 { Ending::Failed } else { Ending::Completed })
}

/// The command that goes on.
fn again(asked: &SweepPlan, program: &str) -> String {
    let mut command = format!("{program} sweep {}", asked.file.display());
    for (flag, value) in [("--jobs", asked.jobs), ("--threads", asked.threads)] {
        if let Some(value) = value {
            let _ = write!(command, " {flag} {value}");
        }
    }
    if let Some(shard) = asked.shard {
        let _ = write!(command, " --shard {shard}");
    }
    command
}

/// Every run with its state.
fn listing(folder: &SweepFolder, runs: &[&PlannedRun]) -> String {
    let longest = runs.iter().map(|run| run.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for run in runs {
        let state = match folder.state(&run.name) {
            State::New => "to do".to_owned(),
            State::Begun => "to go on".to_owned(),
            State::Busy => "at work".to_owned(),
            State::Done => "done".to_owned(),
            State::Failed(message) => format!("failed: {message}"),
        };
        let _ = writeln!(text, "{:<longest$}  {state}", run.name);
    }
    text
}
