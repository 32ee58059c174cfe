//! What each command does, from typed input to text on `out`.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Instant,
};

use cpr_core::{AnyRegularizer, ConstraintRule};

#[cfg(feature = "fetch")]
use crate::fetch::{self, DataSet, FetchError, Network};
use crate::{
    bench::{self, BenchError, BenchPlan},
    checkpoint::{Checkpoint, CheckpointError, CheckpointWriter, Latest, Meta},
    cli::Study,
    compare,
    config::{ClassifyConfig, ExperimentConfig, GrokkingConfig, LmConfig},
    conformance::{self, ConformanceError},
    experiment::{
        Classify, Experiment, Finish, Grokking, Lm, Weights as _,
        lm::{self, Sampling},
    },
    import::{self, ImportError, Imported},
    inspect::{self, InspectError},
    list,
    observe::{LastLine, ObserveError, read_jsonl},
    parallel::{Workers, WorkersError},
    plot::Figure,
    report::{self, ReportError},
    run_folder::{RunFolderError, run_around},
    schedule::Shape,
    signals,
    sparsify::{Sparse, SparsifyError},
    store::Shared,
    sweep::{Known, SweepError, command as sweep},
    tokenize::{self, TokenPlan, TokenizeError},
    train::{self, Ending, Opened, Resume, Resumed, Run, Take, TrainError},
};

/// The program, in messages of commands that know no experiment yet.
const PROGRAM: &str = GrokkingConfig::PROGRAM;

/// A command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint could not be shown.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The metrics could not be read back.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// A file of the run could not be written.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// The import.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The conformance report.
    #[error(transparent)]
    Conformance(#[from] ConformanceError),
    /// A measurement.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// A sweep.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A report, a list or a comparison.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A data set.
    #[cfg(feature = "fetch")]
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Files of tokens.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The threads could not be started.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// A sparse file.
    #[error(transparent)]
    Sparsify(#[from] SparsifyError),
    /// Signals cannot be caught.
    #[error("cannot watch for SIGINT and SIGTERM: {0}")]
    Signals(#[source] io::Error),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// A file that was to be written is there.
    #[error("{} exists already and is never overwritten: choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The experiment has no logits to write.
    #[error("`{experiment}` has too many inputs for their logits to be of use: leave --logits out")]
    NoLogits {
        /// The experiment.
        experiment: &'static str,
    },
    /// A checkpoint of an experiment that this program does not have.
    #[error(
        "{} is of the experiment `{kind}`, which is none of this program's: use the one that wrote it",
        path.display()
    )]
    OtherProgram {
        /// What was given.
        path: PathBuf,
        /// The experiment.
        kind: String,
    },
    /// A part of a run, and no checkpoint.
    #[error(
        "there is no checkpoint file {}: give the run folder, {1}, or a .safetensors file of {1}/checkpoints",
        path.display(), run.display()
    )]
    Part {
        /// What was given.
        path: PathBuf,
        /// The folder of the run.
        run: PathBuf,
    },
    /// Nothing is there.
    #[error("{} does not exist: check the path, or see `cpr list` for the runs that there are", path.display())]
    Nowhere {
        /// What was given.
        path: PathBuf,
    },
    /// Neither a run nor a checkpoint.
    #[error("{} is neither a run folder nor a checkpoint: give the folder that holds config.toml, or a .safetensors file", path.display())]
    NotFound {
        /// What was given.
        path: PathBuf,
    },
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It did what it was asked to.
    Completed,
    /// It was asked to stop by a signal, and saved its state.
    Interrupted,
}

/// Trains an experiment, from the state of another run's checkpoint where `from` names one; with `dry_run` it
/// prints the parameter groups and stops.
///
/// # Errors
/// [`CommandError`].
pub fn train<E: Experiment>(
    config: &E::Config,
    from: Option<(&Path, Take)>,
    dry_run: bool,
    out: &mut dyn Write,
) -> Result<Done, CommandError> {
    let mut experiment = E::new(config.clone())?;
    let program = E::Config::PROGRAM;
    let taken = match from {
        Some((path, take)) => {
            Some(train::start_from(&mut experiment, &checkpoint_at(path, program)?, take)?)
        }
        None => None,
    };
    let (summary, seed) = (config.summary(), config.run().seed);
    writeln!(out, "{}\n{summary}, seed {seed}\n", experiment.heading())?;
    writeln!(out, "{}", experiment.weights().groups())?;
    if let Some(taken) = taken {
        writeln!(
            out,
            "{taken}\n  schedule, order of the data and metrics are those of a new run\n"
        )?;
    }
    if dry_run {
        return Ok(Done::Completed);
    }
    // Before there is a folder: a signal while it is made leaves a run that can be resumed.
    let stop = signals::watch().map_err(CommandError::Signals)?;
    let run = Run::create(experiment)?;
    writeln!(out, "run folder: {}", run.path().display())?;
    go(run, &stop, out)
}

/// Goes on with the run in this folder; of a run that has ended it prints the summary.
///
/// # Errors
/// [`CommandError`].
pub fn resume(folder: &Path, how: Resume, out: &mut dyn Write) -> Result<Done, CommandError> {
    let stop = signals::watch().map_err(CommandError::Signals)?;
    let opened = Opened::at(&Shared::default(), folder, PROGRAM)?;
    match opened.kind() {
        GrokkingConfig::EXPERIMENT => resume_as::<Grokking>(opened, how, |_| (), &stop, out),
        ClassifyConfig::EXPERIMENT => resume_as::<Classify>(opened, how, |_| (), &stop, out),
        LmConfig::EXPERIMENT => resume_as::<Lm>(opened, how, |_| (), &stop, out),
        kind => Err(other(folder, kind)),
    }
}

/// Goes on with a run of this experiment; `adjust` sets what is of the process, such as a device.
///
/// # Errors
/// [`CommandError`].
pub fn resume_as<E: Experiment>(
    opened: Opened,
    how: Resume,
    adjust: impl FnOnce(&mut E::Config),
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<Done, CommandError> {
    let Resumed { run, taken, damaged } = opened.resume::<E>(how, adjust)?;
    tell(damaged, out)?;
    if how.take != Take::default() {
        writeln!(out, "{taken}")?;
    }
    let can_be_longer = run.experiment().config().optim().schedule.0 == Shape::Constant;
    let (path, taken) = (run.path().display(), run.taken());
    match run.ended() {
        None => writeln!(out, "{path} goes on after step {taken}")?,
        Some(Ending::Completed) if can_be_longer => {
            writeln!(out, "{path} has ended at step {taken}; `--steps N` makes a run longer")?;
        }
        Some(_) => writeln!(out, "{path} has ended at step {taken}")?,
    }
    go(run, stop, out)
}

/// A checkpoint of an experiment that this program does not know.
fn other(path: &Path, kind: &str) -> CommandError {
    CommandError::OtherProgram { path: path.to_owned(), kind: kind.to_owned() }
}

/// Names the newer checkpoints that could not be used.
fn tell(damaged: Vec<CheckpointError>, out: &mut dyn Write) -> io::Result<()> {
    damaged
        .into_iter()
        .try_for_each(|error| writeln!(out, "passed over a damaged checkpoint: {error}"))
}

/// Trains to the end, and shows what came out.
fn go<E: Experiment>(
    mut run: Run<E>,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<Done, CommandError> {
    out.flush()?;
    run.show_progress();
    let (from, start) = (run.taken(), Instant::now());
    let ending = run.train(stop)?;
    let seconds = start.elapsed().as_secs_f64();
    if ending == Ending::Interrupted {
        let (step, folder, program) = (run.taken(), run.path().display(), E::Config::PROGRAM);
        writeln!(
            out,
            "\nstopped after step {step}, state saved; go on with: {program} resume {folder}"
        )?;
        return Ok(Done::Interrupted);
    }

    let rows = read_jsonl(&run.folder().file("metrics.jsonl"), LastLine::Whole)?;
    let Finish { json, table, figure } = run.experiment_mut().finish(&rows)?;
    let figure = Figure { subtitle: run.experiment().config().summary(), ..figure };
    run.folder().update("summary.json", json.as_bytes())?;
    run.folder().update("plot.svg", figure.to_svg().as_bytes())?;

    let (folder, steps) = (run.path().display(), run.taken());
    if ending == Ending::Reached {
        writeln!(out, "\nstopped at step {steps}: the validation accuracy asked for was reached")?;
    }
    writeln!(out, "\n{table}")?;
    if steps > from {
        writeln!(out, "{:<26}{seconds:.1} for {} steps", "seconds", steps - from)?;
    }
    writeln!(out, "{:<26}{folder}/plot.svg", "plot")?;
    writeln!(out, "{:<26}{folder}/metrics.jsonl, metrics.csv", "metrics")?;
    writeln!(out, "{:<26}{folder}/checkpoints/", "checkpoints")?;
    Ok(Done::Completed)
}

/// Evaluates a run's last checkpoint, or a checkpoint; writes the logits of all inputs to a file where `logits`
/// names one: a tensor `logits`, for modular addition [p², p + 1], the row of the pair (a, b) at a·p + b.
///
/// # Errors
/// [`CommandError`].
pub fn eval(path: &Path, logits: Option<&Path>, out: &mut dyn Write) -> Result<(), CommandError> {
    let (path, checkpoint) = to_evaluate(path, logits, PROGRAM, out)?;
    match checkpoint.meta.kind.as_str() {
        GrokkingConfig::EXPERIMENT => eval_as::<Grokking>(&path, checkpoint, |_| (), logits, out),
        ClassifyConfig::EXPERIMENT => eval_as::<Classify>(&path, checkpoint, |_| (), logits, out),
        LmConfig::EXPERIMENT => eval_as::<Lm>(&path, checkpoint, |_| (), logits, out),
        kind => Err(other(&path, kind)),
    }
}

/// The checkpoint to be evaluated, where the file for its logits can be written.
///
/// # Errors
/// [`CommandError`].
pub fn to_evaluate(
    path: &Path,
    logits: Option<&Path>,
    program: &'static str,
    out: &mut dyn Write,
) -> Result<(PathBuf, Checkpoint), CommandError> {
    match logits.filter(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(CommandError::Exists { path: path.to_owned() }),
        None => checkpoint_of(path, program, out),
    }
}

/// Evaluates a checkpoint of this experiment: [`eval`]; `adjust` sets what is of the process, such as a device.
///
/// # Errors
/// [`CommandError`].
pub fn eval_as<E: Experiment>(
    path: &Path,
    checkpoint: Checkpoint,
    adjust: impl FnOnce(&mut E::Config),
    logits: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let (mut experiment, meta) = train::load::<E>(path, checkpoint, 0, adjust)?;
    let text = experiment.evaluation()?;
    write!(out, "{} at step {}\n{text}", path.display(), meta.step)?;
    if let Some(file) = logits {
        let Some((shape, values)) = experiment.logits()? else {
            return Err(CommandError::NoLogits { experiment: E::Config::EXPERIMENT });
        };
        CheckpointWriter::new(Meta { step: meta.step, ..Meta::new("logits") })
            .tensor("logits", &shape, &values)
            .write(file)?;
        writeln!(out, "logits      {}", file.display())?;
    }
    Ok(())
}

/// Makes text from a run's last checkpoint, or a checkpoint, with 0 threads on all cores.
///
/// # Errors
/// [`CommandError`].
pub fn sample(
    path: &Path,
    how: &Sampling,
    threads: usize,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    sample_by(path, PROGRAM, threads, out, |path, checkpoint, workers| {
        lm::sample(path, checkpoint, how, workers)
    })
}

/// Makes text from a run's last checkpoint, or a checkpoint, by `make`, with 0 threads on all cores.
///
/// # Errors
/// [`CommandError`].
pub fn sample_by(
    path: &Path,
    program: &'static str,
    threads: usize,
    out: &mut dyn Write,
    make: impl FnOnce(&Path, Checkpoint, &Workers) -> Result<Vec<u8>, TrainError>,
) -> Result<(), CommandError> {
    let (path, checkpoint) = checkpoint_of(path, program, &mut io::sink())?;
    let text = make(&path, checkpoint, &workers(threads)?)?;
    out.write_all(&text)?;
    writeln!(out)?;
    Ok(())
}

/// Makes files of tokens from texts, and says what is in them.
///
/// # Errors
/// [`CommandError`]; nothing was written.
pub fn tokens(plan: &TokenPlan, out: &mut dyn Write) -> Result<(), CommandError> {
    let (meta, texts) = tokenize::write(plan)?;
    let folder = plan.out.display();
    writeln!(out, "{:<12}{texts}, {} of {}", "texts", meta.unit.name(), meta.vocabulary)?;
    writeln!(out, "{:<12}{} tokens in {folder}/train.bin", "train", meta.train)?;
    writeln!(out, "{:<12}{} tokens in {folder}/val.bin", "validation", meta.validation)?;
    writeln!(out, "train a GPT-2 on them with: cpr-gpu gpt2 --data {folder}")?;
    Ok(())
}

/// Counts the weights of a checkpoint that are exactly zero, after those of at most `below` were set to it, and writes
/// what is left: as a checkpoint with its zeros, and as compressed sparse rows.
///
/// # Errors
/// [`CommandError`].
pub fn sparsify(
    path: &Path,
    below: f32,
    dense: Option<&Path>,
    csr: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    if let Some(path) =
        [dense, csr].into_iter().flatten().find(|path| path.symlink_metadata().is_ok())
    {
        return Err(CommandError::Exists { path: path.to_owned() });
    }
    let (_, checkpoint) = checkpoint_of(path, PROGRAM, out)?;
    let sparse = Sparse::new(checkpoint, below)?;
    write!(out, "{}", sparse.table())?;
    if let Some(path) = dense {
        sparse.write_dense(path)?;
        writeln!(out, "dense       {}", path.display())?;
    }
    if let Some(path) = csr {
        sparse.write_csr(path)?;
        writeln!(out, "CSR         {}", path.display())?;
    }
    Ok(())
}

fn workers(threads: usize) -> Result<Workers, WorkersError> {
    match NonZeroUsize::new(threads) {
        Some(threads) => Workers::new(threads),
        None => Workers::available(),
    }
}

/// Shows every parameter of a run's last checkpoint, or of a checkpoint: shape, R, κ, λ, when κ was set, the share of
/// steps on which the constraint was active; and of a run the history of every κ.
///
/// # Errors
/// [`CommandError`].
pub fn inspect(path: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
    let (file, checkpoint) = checkpoint_of(path, PROGRAM, out)?;
    write!(out, "{}", inspect::table(&file, checkpoint)?)?;
    let metrics = path.join("metrics.jsonl");
    if metrics.is_file() {
        let history = inspect::history(&read_jsonl(&metrics, LastLine::MayBeTorn)?);
        if !history.is_empty() {
            write!(out, "\nhistory of kappa, as the evaluations saw it\n{history}")?;
        }
    }
    Ok(())
}

/// Works on many runs.
///
/// # Errors
/// [`CommandError`]; the failure of a run is none.
pub fn study(study: &Study, out: &mut dyn Write) -> Result<sweep::Ending, CommandError> {
    let known =
        Known::default().with::<GrokkingConfig>().with::<ClassifyConfig>().with::<LmConfig>();
    study_of(study, &known, PROGRAM, out)
}

/// Works on many runs of the experiments that this program knows.
///
/// # Errors
/// [`CommandError`]; the failure of a run is none.
pub fn study_of(
    study: &Study,
    known: &Known,
    program: &str,
    out: &mut dyn Write,
) -> Result<sweep::Ending, CommandError> {
    match study {
        Study::Sweep(plan) => {
            let stop = signals::watch().map_err(CommandError::Signals)?;
            return Ok(sweep::run(plan, known, program, &stop, out)?);
        }
        Study::Report(plan) => {
            let report::Written { page, runs, left_out, plots, summary } = report::write(plan)?;
            writeln!(
                out,
                "{summary}
{}: {runs} runs, {plots} plots",
                page.display()
            )?;
            if !left_out.is_empty() {
                writeln!(out, "left out, not ended or failed: {}", left_out.join(", "))?;
            }
        }
        Study::List { folder } => write!(out, "{}", list::table(folder)?)?,
        Study::Compare { a, b } => write!(out, "{}", compare::table(a, b)?)?,
    }
    Ok(sweep::Ending::Completed)
}

/// The path itself where it is a file, or that of the newest whole checkpoint of a run folder.
fn checkpoint_at(path: &Path, program: &'static str) -> Result<PathBuf, CommandError> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    Ok(checkpoint_of(path, program, &mut io::sink())?.0)
}

/// The checkpoint itself, or the newest whole one of a run folder. Nothing is changed: the run may be in progress.
fn checkpoint_of(
    path: &Path,
    program: &'static str,
    out: &mut dyn Write,
) -> Result<(PathBuf, Checkpoint), CommandError> {
    if path.is_file() {
        return Ok((path.to_owned(), Checkpoint::read(path)?));
    }
    let folder = path.join("checkpoints");
    if !path.join("config.toml").is_file() || !folder.is_dir() {
        let (is_there, around) = (path.exists(), run_around(path));
        let path = path.to_owned();
        return Err(match around {
            Some(run) => CommandError::Part { path, run },
            None if is_there => CommandError::NotFound { path },
            None => CommandError::Nowhere { path },
        });
    }
    match Latest::read(&folder)? {
        Some(Latest { path, checkpoint, damaged }) => {
            tell(damaged, out)?;
            Ok((path, checkpoint))
        }
        None => Err(TrainError::NoCheckpoint { path: path.to_owned(), program }.into()),
    }
}

/// Brings a data set into a folder, `data/NAME` without one.
///
/// # Errors
/// [`CommandError::Fetch`].
#[cfg(feature = "fetch")]
pub fn fetch(
    set: &'static DataSet,
    folder: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let own = Path::new("data").join(set.name);
    Ok(fetch::fetch(set, folder.unwrap_or(&own), &Network, out)?)
}

/// Replays recorded trajectories and compares; with `json` one JSON document. Returns whether all passed.
///
/// # Errors
/// [`CommandError`]; a file that cannot be read is a failed file, not an error.
pub fn conformance(
    files: &[PathBuf],
    json: bool,
    out: &mut dyn Write,
) -> Result<bool, CommandError> {
    Ok(conformance::run(files, out, json)?)
}

/// Makes a checkpoint of a pytorch-cpr optimizer's state, and shows it.
///
/// # Errors
/// [`CommandError`]; nothing was written.
pub fn import(
    file: &Path,
    rule: Option<ConstraintRule<AnyRegularizer>>,
    checkpoint: &Path,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let Imported { t, weights, constraints, unset } = import::import(file, rule, checkpoint)?;
    write!(out, "{}", inspect::table(checkpoint, Checkpoint::read(checkpoint)?)?)?;
    writeln!(
        out,
        "\n{}: {weights} weights with their moments at t = {t}, {} constraints",
        checkpoint.display(),
        constraints.len()
    )?;
    if !unset.is_empty() {
        writeln!(
            out,
            "kappa is not set yet, and an inflection is looked for afresh: {}",
            unset.join(", ")
        )?;
    }
    if !constraints.is_empty() {
        writeln!(out, "counts of active and guarded steps start afresh")?;
    }
    writeln!(out, "start a run from it with: cpr grokking --from {}", checkpoint.display())?;
    Ok(())
}

/// Times optimizer steps, with 0 threads on all cores.
///
/// # Errors
/// [`CommandError`].
pub fn bench_step(
    plan: &BenchPlan,
    threads: usize,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    Ok(bench::run(plan, &workers(threads)?, json, out)?)
}
