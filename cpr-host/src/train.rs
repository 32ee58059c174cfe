//! The training loop of the modular-addition experiment: one run, from its first step or from a checkpoint.

mod error;
mod experiment;
mod take;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use cpr_core::all_finite;

use self::experiment::load_as;
pub use self::{
    error::TrainError,
    experiment::{Experiment, load},
    take::{Constraints, Take, Taken},
};
use crate::{
    checkpoint::{
        Best, CheckpointError, CheckpointFolder, CheckpointWriter, Keep, Latest, Meta, NonFinite,
        OptimizerMeta,
    },
    config::GrokkingConfig,
    data::{batches::Cursor, modular::Example},
    model::Outcome as Evaluation,
    observe::{Observe, Observers, Position, Progress, Row},
    optim::Outcome,
    param::ParamLayout,
    run_folder::{Environment, RunFolder, RunName},
    schedule::Shape,
    store::Shared,
};

/// The experiment's name, in checkpoints and as the folder of its runs.
pub const EXPERIMENT: &str = "grokking";

/// How long a run is to be that is resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// As long as its configuration says.
    #[default]
    Configured,
    /// That many steps in all, at least 1.
    Steps(u64),
    /// That many passes over the training data in all, at least 1.
    Epochs(u64),
}

/// How to go on with a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Threads, 0 for all cores.
    pub threads: usize,
    /// Length of the whole run.
    pub length: Length,
    /// What to take of its checkpoint.
    pub take: Take,
}

/// A run that goes on.
#[derive(Debug)]
pub struct Resumed {
    /// The run.
    pub run: Run,
    /// What was taken of its checkpoint.
    pub taken: Taken,
    /// Newer checkpoints that were passed over as damaged.
    pub damaged: Vec<CheckpointError>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps were taken.
    Completed,
    /// The validation accuracy that was asked for was reached.
    Reached,
    /// It was asked to stop; a checkpoint was written.
    Interrupted,
}

/// One run: an experiment, its folder, and what watches it.
#[derive(Debug)]
pub struct Run {
    experiment: Experiment,
    folder: RunFolder,
    checkpoints: CheckpointFolder<Shared>,
    observers: Observers,
    /// The configuration as it stands in the folder.
    config_text: String,
    best: Option<Best>,
    bad_in_a_row: u64,
}

impl Run {
    /// Starts a run in a new folder.
    ///
    /// # Errors
    /// [`TrainError`]; a folder that was made stays, without a checkpoint.
    pub fn create(experiment: Experiment) -> Result<Self, TrainError> {
        Self::create_on(&Shared::default(), experiment)
    }

    /// As [`create`](Self::create), its files written through `store`.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_on(store: &Shared, experiment: Experiment) -> Result<Self, TrainError> {
        let config = &experiment.config;
        let summary = config.summary();
        let name = match &config.name {
            Some(name) => RunName::Given(name),
            None => RunName::Made { summary: &summary, seed: config.seed },
        };
        let config_text = config.to_toml()?;
        let folder = RunFolder::create(&config.out, EXPERIMENT, name)?.on(store);
        folder.write("config.toml", config_text.as_bytes())?;
        folder.write("env.json", Environment::current(config.seed).to_json().as_bytes())?;
        let checkpoints =
            CheckpointFolder::open_with(folder.checkpoints(), keep(config), store.clone())?;
        let observers = Observers::create_on(store, folder.path())?;
        let mut run = Self {
            experiment,
            folder,
            checkpoints,
            observers,
            config_text,
            best: None,
            bad_in_a_row: 0,
        };
        // Killed before its first interval is over, a run starts again from here.
        run.checkpoint()?;
        Ok(run)
    }

    /// Opens a run where its newest whole checkpoint left it. Another length than that of its configuration is stored
    /// at once, and so is the state where the checkpoint was not taken whole.
    ///
    /// Made longer at a step that is evaluated anyhow, a run leaves the bytes of one that had the length from its
    /// start; at any other step, the evaluation of its first end stays in the metrics.
    ///
    /// # Errors
    /// [`TrainError`]; for a length or a checkpoint that is refused, nothing was changed.
    pub fn resume(path: &Path, how: Resume) -> Result<Resumed, TrainError> {
        Self::resume_on(&Shared::default(), path, how)
    }

    /// As [`resume`](Self::resume), its files written through `store`.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub fn resume_on(store: &Shared, path: &Path, how: Resume) -> Result<Resumed, TrainError> {
        let Resume { length, take, .. } = how;
        let folder = RunFolder::open(path)?.on(store);
        let path = || folder.path().to_owned();
        let newest = Latest::read(&folder.checkpoints())?;
        let newest = newest.ok_or_else(|| TrainError::NoCheckpoint { path: path() })?;
        let (experiment, meta, taken) = load_as(&newest.path, newest.checkpoint, how)?;
        if take != Take::default() && has_ended(&experiment, meta.best.as_ref()) {
            return Err(TrainError::Ended { path: path() });
        }
        if length != Length::Configured {
            if let Some(accuracy) = reached(&experiment.config, meta.best.as_ref()) {
                return Err(TrainError::Reached { path: path(), step: meta.step, accuracy });
            }
            let (given, taken) = (experiment.total, meta.step);
            if given <= taken {
                return Err(TrainError::Taken { path: path(), given, taken });
            }
            let schedule = experiment.config.schedule;
            if schedule.0 != Shape::Constant {
                return Err(TrainError::Length { path: path(), schedule: schedule.to_string() });
            }
        }
        let config_text = match length {
            Length::Configured => meta.config,
            Length::Steps(_) | Length::Epochs(_) => experiment.config.to_toml()?,
        };
        let positions: Vec<Position> =
            meta.files.into_iter().map(|(file, length)| Position { file, length }).collect();
        let observers = Observers::open_on(store, folder.path(), &positions, meta.step)?;
        let kept = keep(&experiment.config);
        let mut checkpoints =
            CheckpointFolder::open_with(folder.checkpoints(), kept, store.clone())?;
        checkpoints.prune(meta.step)?;
        let mut run = Self {
            experiment,
            folder,
            checkpoints,
            observers,
            config_text,
            best: meta.best,
            bad_in_a_row: meta.non_finite.in_a_row,
        };
        if length != Length::Configured || take != Take::default() {
            run.checkpoint()?;
        }
        // The checkpoint's word counts: a kill may have come between the two.
        run.folder.update("config.toml", run.config_text.as_bytes())?;
        Ok(Resumed { run, taken, damaged: newest.damaged })
    }

    /// How the run ended, if it has.
    pub fn ended(&self) -> Option<Ending> {
        if reached(&self.experiment.config, self.best.as_ref()).is_some() {
            Some(Ending::Reached)
        } else {
            (self.taken() >= self.experiment.total).then_some(Ending::Completed)
        }
    }

    /// Shows progress on standard error from here on.
    pub fn show_progress(&mut self) {
        self.observers.push(Progress::stderr(self.experiment.total, self.taken()));
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder, to write what came out.
    pub const fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// The experiment as it stands.
    pub const fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// Steps so far, skipped ones included.
    pub fn taken(&self) -> u64 {
        let Cursor { epoch, batch } = self.experiment.batches.cursor();
        epoch * self.experiment.batches.per_epoch() + batch
    }

    /// Trains to the end, or until `stop` is set: then the step is finished and a checkpoint written. A run that
    /// has ended stays as it is.
    ///
    /// # Errors
    /// [`TrainError`]; what was written before stays.
    pub fn train(&mut self, stop: &AtomicBool) -> Result<Ending, TrainError> {
        if let Some(ending) = self.ended() {
            return Ok(ending);
        }
        let mut grads = vec![0.0; self.experiment.theta.len()];
        let mut batch: Vec<Example> = Vec::with_capacity(self.experiment.config.batch);
        let per_epoch = self.experiment.batches.per_epoch();
        let mut taken = self.taken();
        let mut ending = Ending::Completed;
        while taken < self.experiment.total {
            // One step: batch, gradient, update.
            let run = &mut self.experiment;
            batch.clear();
            batch.extend(run.batches.next_batch().iter().map(|&index| run.data.train[index]));
            let loss = run.model.loss_and_grad(&run.workers, &run.theta, &batch, &mut grads)?.loss;
            taken += 1;
            if loss.is_finite() {
                let lr = run.schedule.lr(taken);
                match run.optimizer.step(&run.workers, lr, &mut run.theta, &mut grads)? {
                    Outcome::Stepped => self.bad_in_a_row = 0,
                    Outcome::Skipped { parameter } => {
                        let name = run.optimizer.parameter(parameter).unwrap_or_default();
                        let what = format!("the gradient of `{name}`");
                        self.skipped(taken, what)?;
                    }
                }
            } else {
                run.optimizer.skip();
                let what = match first_non_finite(run.model.layout(), &grads) {
                    Some(name) => format!("the loss and with it the gradient of `{name}`"),
                    None => "the loss".to_owned(),
                };
                // Where it is the parameters, waiting helps nothing.
                self.check_parameters(taken)?;
                self.skipped(taken, what)?;
            }
            self.check_statistics(taken)?;
            self.observers.advance(taken)?;

            // Evaluation at the end of every `eval_every`-th epoch, the first one included, and at the very end.
            let epoch_ends = taken.is_multiple_of(per_epoch);
            let epoch = taken / per_epoch;
            let scheduled =
                epoch_ends && (epoch - 1).is_multiple_of(self.experiment.config.eval_every);
            if scheduled || taken == self.experiment.total {
                let accuracy = self.evaluate(taken)?;
                if self.experiment.config.stop_at_accuracy.is_some_and(|at| accuracy >= at) {
                    ending = Ending::Reached;
                    break;
                }
            }

            if stop.load(Ordering::Relaxed) && taken < self.experiment.total {
                self.checkpoint()?;
                self.observers.finish()?;
                return Ok(Ending::Interrupted);
            }
            if taken.is_multiple_of(self.experiment.config.checkpoint_every) {
                self.checkpoint()?;
            }
        }
        self.checkpoint()?;
        self.observers.finish()?;
        Ok(ending)
    }

    /// Counts a skipped step; after too many in a row the run ends, its good state saved.
    fn skipped(&mut self, step: u64, what: String) -> Result<(), TrainError> {
        self.bad_in_a_row += 1;
        if self.bad_in_a_row < self.experiment.config.max_bad_steps {
            return Ok(());
        }
        let checkpoint = self.checkpoint()?;
        let in_a_row = self.bad_in_a_row;
        Err(TrainError::NonFinite { step, what, in_a_row, checkpoint })
    }

    /// An R that is not finite cannot be mended: the last checkpoint is what is good.
    fn check_statistics(&self, step: u64) -> Result<(), TrainError> {
        match self.experiment.optimizer.non_finite_statistic() {
            None => Ok(()),
            Some(parameter) => Err(TrainError::NonFiniteStatistic {
                step,
                parameter: parameter.to_owned(),
                checkpoint: self.checkpoints.last_path(),
            }),
        }
    }

    /// What is not finite is neither evaluated nor saved. Without a constraint on it, no R tells.
    fn check_parameters(&self, step: u64) -> Result<(), TrainError> {
        match first_non_finite(self.experiment.model.layout(), &self.experiment.theta) {
            None => Ok(()),
            Some(parameter) => Err(TrainError::NonFiniteParameter {
                step,
                parameter: parameter.to_owned(),
                checkpoint: self.checkpoints.last_path(),
            }),
        }
    }

    /// Evaluates, records a row, keeps the best; returns the validation accuracy.
    fn evaluate(&mut self, taken: u64) -> Result<f64, TrainError> {
        self.check_parameters(taken)?;
        self.check_statistics(taken)?;
        let [train, validation] = self.experiment.evaluate()?;
        let accuracy = validation.accuracy();
        let row = self.row(taken, train, validation);
        self.observers.record(&row)?;
        if self.best.as_ref().is_none_or(|best| accuracy > best.value) {
            let metric = "validation/accuracy".to_owned();
            self.best = Some(Best { step: taken, metric, value: accuracy });
            let optimizer = self.experiment.optimizer.state();
            let meta = self.meta(Vec::new());
            self.checkpoints.save_best(&writer(&self.experiment, &optimizer, meta))?;
        }
        Ok(accuracy)
    }

    /// What is recorded of an evaluation.
    fn row(&self, taken: u64, train: Evaluation, validation: Evaluation) -> Row {
        let run = &self.experiment;
        let epoch = taken.div_ceil(run.batches.per_epoch());
        let norm = run.squares().map(|(_, squares)| squares).sum::<f64>().sqrt();
        let mut row = Row::new(taken)
            .with("epoch", epoch as f64)
            .with("train/loss", train.loss)
            .with("train/accuracy", train.accuracy())
            .with("validation/loss", validation.loss)
            .with("validation/accuracy", validation.accuracy())
            .with("norm", norm)
            .with("lr", run.schedule.lr(taken))
            .with("skipped", run.optimizer.skipped() as f64);
        let constrained: Vec<_> = run.optimizer.reports().collect();
        for (name, report) in &constrained {
            row = row.with(format!("r/{name}"), report.value);
        }
        if constrained.is_empty() {
            for (name, squares) in run.squares() {
                row = row.with(format!("r/{name}"), squares);
            }
        }
        for (name, report) in &constrained {
            row = row.with(format!("kappa/{name}"), report.kappa);
        }
        for (name, report) in &constrained {
            row = row.with(format!("lambda/{name}"), report.lambda);
        }
        for (name, report) in &constrained {
            row = row.with(format!("guarded/{name}"), report.guarded as f64);
        }
        row
    }

    /// Writes a checkpoint of this step; metrics first, so that it never speaks of lines that are not there.
    fn checkpoint(&mut self) -> Result<PathBuf, TrainError> {
        self.check_parameters(self.taken())?;
        self.check_statistics(self.taken())?;
        let positions = self.observers.sync()?;
        let meta = self.meta(positions);
        let optimizer = self.experiment.optimizer.state();
        Ok(self.checkpoints.save_step(&writer(&self.experiment, &optimizer, meta))?)
    }

    fn meta(&self, positions: Vec<Position>) -> Meta {
        let run = &self.experiment;
        let mut hyperparameters = serde_json::Map::new();
        if let Some(norm) = run.optimizer.rescale_norm() {
            hyperparameters.insert("rescale_norm".to_owned(), norm.into());
        }
        let (t, skipped) = (run.optimizer.steps(), run.optimizer.skipped());
        if t + skipped != self.taken() {
            hyperparameters.insert("t".to_owned(), t.into());
        }
        Meta {
            step: self.taken(),
            config: self.config_text.clone(),
            cursor: serde_json::json!(run.batches.cursor()),
            optimizer: Some(OptimizerMeta {
                name: run.config.optimizer.to_string(),
                hyperparameters: hyperparameters.into(),
            }),
            best: self.best.clone(),
            files: positions.into_iter().map(|at| (at.file, at.length)).collect(),
            non_finite: NonFinite { steps: run.optimizer.skipped(), in_a_row: self.bad_in_a_row },
            ..Meta::new(EXPERIMENT)
        }
    }
}

/// The first parameter, in the order of the layout, with a value that is not finite.
fn first_non_finite<'a>(layout: &'a ParamLayout, values: &[f32]) -> Option<&'a str> {
    let mut params = layout.params().iter();
    let bad = params.find(|param| !all_finite(&values[param.range.clone()]))?;
    Some(&bad.name)
}

/// The validation accuracy at which the run was to stop, if it was reached.
fn reached(config: &GrokkingConfig, best: Option<&Best>) -> Option<f64> {
    config.stop_at_accuracy.filter(|&accuracy| best.is_some_and(|best| best.value >= accuracy))
}

/// Whether no step is left, of a run that is loaded.
fn has_ended(experiment: &Experiment, best: Option<&Best>) -> bool {
    let Cursor { epoch, batch } = experiment.batches.cursor();
    let taken = epoch * experiment.batches.per_epoch() + batch;
    taken >= experiment.total || reached(&experiment.config, best).is_some()
}

fn keep(config: &GrokkingConfig) -> Keep {
    NonZeroUsize::new(config.keep).map_or(Keep::None, Keep::Newest)
}

/// A checkpoint of parameters, moments and constraint records.
fn writer<'a>(
    experiment: &'a Experiment,
    optimizer: &'a crate::optim::OptimizerState,
    meta: Meta,
) -> CheckpointWriter<'a> {
    let layout: &ParamLayout = experiment.model.layout();
    let mut writer = CheckpointWriter::new(meta);
    for param in layout.params() {
        let values = &experiment.theta[param.range.clone()];
        writer = writer.tensor(&param.name, &param.shape, values);
    }
    experiment.optimizer.write(layout, optimizer, writer)
}
