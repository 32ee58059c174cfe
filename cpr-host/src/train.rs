//! The training loop of every experiment: one run, from its first step or from a checkpoint.

mod differ;
mod error;
mod open;
mod take;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

pub use self::{
    error::TrainError,
    open::{Opened, load},
    take::{Constraints, Take, Taken, Target, start_from},
};
use cpr_core::base::DecaySchedule;

use crate::{
    checkpoint::{Best, CheckpointError, CheckpointFolder, Keep, Meta, NonFinite},
    config::{ExperimentConfig, RunConfig},
    experiment::{Experiment, Step, Weights},
    observe::{Observe, Observers, Position, Progress, Row},
    run_folder::{Environment, RunFolder, RunName},
    schedule::Schedule,
    store::Shared,
};

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
pub struct Resumed<E> {
    /// The run.
    pub run: Run<E>,
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
pub struct Run<E> {
    experiment: E,
    schedule: Schedule,
    /// Of the weight decay.
    decay: DecaySchedule,
    total: u64,
    /// Steps so far, skipped ones included.
    taken: u64,
    folder: RunFolder,
    checkpoints: CheckpointFolder<Shared>,
    observers: Observers,
    /// The configuration as it stands in the folder.
    config_text: String,
    best: Option<Best>,
    bad_in_a_row: u64,
}

impl<E: Experiment> Run<E> {
    /// Starts a run in a new folder.
    ///
    /// # Errors
    /// [`TrainError`]; a folder that was made stays, without a checkpoint.
    pub fn create(experiment: E) -> Result<Self, TrainError> {
        Self::create_on(&Shared::default(), experiment)
    }

    /// As [`create`](Self::create), its files written through `store`.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_on(store: &Shared, experiment: E) -> Result<Self, TrainError> {
        let config = experiment.config();
        let (summary, run) = (config.summary(), config.run());
        let name = match &run.name {
            Some(name) => RunName::Given(name),
            None => RunName::Made { summary: &summary, seed: run.seed },
        };
        let config_text = config.to_toml()?;
        let total = experiment.total_steps();
        let schedule = config.optim().schedule(total)?;
        let decay = config.optim().decay_schedule(total)?;
        let folder = RunFolder::create(&run.out, E::Config::EXPERIMENT, name)?.on(store);
        folder.write("config.toml", config_text.as_bytes())?;
        folder.write("env.json", Environment::current(run.seed).to_json().as_bytes())?;
        let checkpoints =
            CheckpointFolder::open_with(folder.checkpoints(), keep(run), store.clone())?;
        let observers = Observers::create_on(store, folder.path())?;
        let mut run = Self {
            experiment,
            schedule,
            decay,
            total,
            taken: 0,
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

    /// Opens a run where its newest whole checkpoint left it: [`Opened::resume`].
    ///
    /// # Errors
    /// [`TrainError`]; for a length or a checkpoint that is refused, nothing was changed.
    pub fn resume(path: &Path, how: Resume) -> Result<Resumed<E>, TrainError> {
        Self::resume_on(&Shared::default(), path, how)
    }

    /// As [`resume`](Self::resume), its files written through `store`.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub fn resume_on(store: &Shared, path: &Path, how: Resume) -> Result<Resumed<E>, TrainError> {
        Opened::at(store, path, E::Config::PROGRAM)?.resume(how, |_| ())
    }

    /// How the run ended, if it has.
    pub fn ended(&self) -> Option<Ending> {
        if reached(self.config(), self.best.as_ref()).is_some() {
            Some(Ending::Reached)
        } else {
            (self.taken >= self.total).then_some(Ending::Completed)
        }
    }

    /// Shows progress on standard error from here on.
    pub fn show_progress(&mut self) {
        self.observers.push(Progress::stderr(self.total, self.taken));
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
    pub const fn experiment(&self) -> &E {
        &self.experiment
    }

    /// The experiment, to be evaluated.
    pub const fn experiment_mut(&mut self) -> &mut E {
        &mut self.experiment
    }

    /// Steps so far, skipped ones included.
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    fn config(&self) -> &RunConfig {
        self.experiment.config().run()
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
        let mut ending = Ending::Completed;
        while self.taken < self.total {
            self.taken += 1;
            let step = self.taken;
            self.experiment.weights_mut().scale_decay(self.decay.factor(step));
            match self.experiment.step(step, self.schedule.lr(step))? {
                Step::Taken => self.bad_in_a_row = 0,
                Step::BadGradient { what } => self.skipped(what)?,
                Step::BadLoss { what } => {
                    // Where it is the parameters, waiting helps nothing.
                    self.check_parameters()?;
                    self.skipped(what)?;
                }
                // Cannot be mended: the last checkpoint is what is good.
                Step::BadStatistic { parameter } => return Err(self.bad_statistic(parameter)),
            }
            self.observers.advance(step)?;

            if self.experiment.is_evaluated(step) || step == self.total {
                let value = self.evaluate()?;
                if self.config().stop_at_accuracy.is_some_and(|at| value >= at) {
                    ending = Ending::Reached;
                    break;
                }
            }

            if stop.load(Ordering::Relaxed) && step < self.total {
                self.checkpoint()?;
                self.observers.finish()?;
                return Ok(Ending::Interrupted);
            }
            if step.is_multiple_of(self.config().checkpoint_every) {
                self.checkpoint()?;
            }
        }
        self.checkpoint()?;
        self.observers.finish()?;
        Ok(ending)
    }

    /// Counts a skipped step; after too many in a row the run ends, its good state saved.
    fn skipped(&mut self, what: String) -> Result<(), TrainError> {
        self.bad_in_a_row += 1;
        if self.bad_in_a_row < self.config().max_bad_steps {
            return Ok(());
        }
        let checkpoint = self.checkpoint()?;
        let (step, in_a_row) = (self.taken, self.bad_in_a_row);
        Err(TrainError::NonFinite { step, what, in_a_row, checkpoint })
    }

    fn bad_statistic(&self, parameter: String) -> TrainError {
        let checkpoint = self.checkpoints.last_path();
        TrainError::NonFiniteStatistic { step: self.taken, parameter, checkpoint }
    }

    /// What is not finite is neither evaluated nor saved. Without a constraint on it, no R tells.
    fn check_parameters(&self) -> Result<(), TrainError> {
        match self.experiment.weights().first_non_finite()? {
            None => Ok(()),
            Some(parameter) => {
                let checkpoint = self.checkpoints.last_path();
                Err(TrainError::NonFiniteParameter { step: self.taken, parameter, checkpoint })
            }
        }
    }

    /// As for the parameters, for R of every step so far.
    fn check_statistics(&self) -> Result<(), TrainError> {
        let bad = self.experiment.weights().reports()?;
        let mut bad = bad
            .into_iter()
            .filter(|(_, report)| report.non_finite > 0 || !report.value.is_finite());
        bad.next().map_or(Ok(()), |(parameter, _)| Err(self.bad_statistic(parameter)))
    }

    /// Evaluates, records a row, keeps the best; returns the figure that decides which it is.
    fn evaluate(&mut self) -> Result<f64, TrainError> {
        self.check_parameters()?;
        self.check_statistics()?;
        let figures = self.experiment.evaluate()?;
        let judge = E::JUDGE;
        let value = figures.iter().find(|(name, _)| name == judge.metric);
        let value = value.map_or(f64::NAN, |&(_, value)| value);
        let row = self.row(figures)?;
        self.observers.record(&row)?;
        if self.best.as_ref().is_none_or(|best| judge.prefers(value, best.value)) {
            self.best = Some(Best { step: self.taken, metric: judge.metric.to_owned(), value });
            let meta = self.meta(Vec::new())?;
            let checkpoints = &mut self.checkpoints;
            self.experiment
                .weights()
                .checkpoint(meta, |writer| checkpoints.save_best(writer))??;
        }
        Ok(value)
    }

    /// What is recorded of an evaluation.
    fn row(&self, figures: Vec<(String, f64)>) -> Result<Row, TrainError> {
        let weights = self.experiment.weights();
        let epoch = self.taken.div_ceil(self.experiment.steps_per_epoch());
        let squares = weights.squares()?;
        let norm = squares.iter().map(|(_, squares)| squares).sum::<f64>().sqrt();
        let mut row = Row::new(self.taken).with("epoch", epoch as f64);
        for (name, value) in figures {
            row = row.with(name, value);
        }
        row = row
            .with("norm", norm)
            .with("lr", self.schedule.lr(self.taken))
            .with("skipped", weights.skipped()? as f64);
        let constrained = weights.reports()?;
        for (name, report) in &constrained {
            row = row.with(format!("r/{name}"), report.value);
        }
        if constrained.is_empty() {
            for (name, squares) in squares {
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
        Ok(row)
    }

    /// Writes a checkpoint of this step; metrics first, so that it never speaks of lines that are not there.
    fn checkpoint(&mut self) -> Result<PathBuf, TrainError> {
        self.check_parameters()?;
        self.check_statistics()?;
        let positions = self.observers.sync()?;
        let meta = self.meta(positions)?;
        let checkpoints = &mut self.checkpoints;
        let weights = self.experiment.weights();
        Ok(weights.checkpoint(meta, |writer| checkpoints.save_step(writer))??)
    }

    fn meta(&self, positions: Vec<Position>) -> Result<Meta, TrainError> {
        let steps = self.experiment.weights().skipped()?;
        Ok(Meta {
            step: self.taken,
            config: self.config_text.clone(),
            cursor: self.experiment.cursor(),
            best: self.best.clone(),
            files: positions.into_iter().map(|at| (at.file, at.length)).collect(),
            non_finite: NonFinite { steps, in_a_row: self.bad_in_a_row },
            ..Meta::new(E::Config::EXPERIMENT)
        })
    }
}

/// The validation accuracy at which the run was to stop, if it was reached.
fn reached(config: &RunConfig, best: Option<&Best>) -> Option<f64> {
    config.stop_at_accuracy.filter(|&accuracy| best.is_some_and(|best| best.value >= accuracy))
}

fn keep(config: &RunConfig) -> Keep {
    NonZeroUsize::new(config.keep).map_or(Keep::None, Keep::Newest)
}
