//! A run that exists, and a checkpoint made into the experiment that wrote it.

use std::path::Path;

use super::{Length, Resume, Resumed, Run, Take, Taken, Target, TrainError, keep, reached};
use crate::{
    checkpoint::{Checkpoint, CheckpointFolder, Latest, Meta},
    config::ExperimentConfig,
    experiment::{Experiment, Weights},
    observe::{Observers, Position},
    run_folder::RunFolder,
    schedule::Shape,
    store::Shared,
};

/// The folder of a run and its newest whole checkpoint: enough to see whose it is.
#[derive(Debug)]
pub struct Opened {
    store: Shared,
    folder: RunFolder,
    newest: Latest,
}

impl Opened {
    /// Opens a run, for this process alone; nothing is changed. `program` is what messages name.
    ///
    /// # Errors
    /// [`TrainError`]: no run, one that is in use, or one without a checkpoint.
    pub fn at(store: &Shared, path: &Path, program: &'static str) -> Result<Self, TrainError> {
        let folder = RunFolder::open(path)?.on(store);
        let newest = Latest::read(&folder.checkpoints())?;
        let path = || folder.path().to_owned();
        let newest = newest.ok_or_else(|| TrainError::NoCheckpoint { path: path(), program })?;
        Ok(Self { store: store.clone(), folder, newest })
    }

    /// The name of the experiment that wrote it.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.newest.checkpoint.meta.kind
    }

    /// Goes on where the checkpoint left the run. Another length than that of its configuration is stored at once, and
    /// so is the state where the checkpoint was not taken whole. `adjust` sets what is of the process, such as a
    /// device: it reaches no file.
    ///
    /// Made longer at a step that is evaluated anyhow, a run leaves the bytes of one that had the length from its
    /// start; at any other step, the evaluation of its first end stays in the metrics.
    ///
    /// # Errors
    /// [`TrainError`]; for a length or a checkpoint that is refused, nothing was changed.
    pub fn resume<E: Experiment>(
        self,
        how: Resume,
        adjust: impl FnOnce(&mut E::Config),
    ) -> Result<Resumed<E>, TrainError> {
        let Resume { length, take, .. } = how;
        let Self { store, folder, newest } = self;
        let path = || folder.path().to_owned();
        let (experiment, meta, taken) = load_as::<E>(&newest.path, newest.checkpoint, how, adjust)?;
        let (config, total) = (experiment.config(), experiment.total_steps());
        let has_ended = meta.step >= total || reached(config.run(), meta.best.as_ref()).is_some();
        if take != Take::default() && has_ended {
            return Err(TrainError::Ended { path: path() });
        }
        if length != Length::Configured {
            if let Some(accuracy) = reached(config.run(), meta.best.as_ref()) {
                return Err(TrainError::Reached { path: path(), step: meta.step, accuracy });
            }
            let (given, taken) = (total, meta.step);
            if given <= taken {
                return Err(TrainError::Taken { path: path(), given, taken });
            }
            let schedule = config.optim().schedule;
            if schedule.0 != Shape::Constant {
                return Err(TrainError::Length { path: path(), schedule: schedule.to_string() });
            }
            let end = config.optim().weight_decay_end;
            if end != 1.0 {
                return Err(TrainError::DecayLength { path: path(), end });
            }
        }
        let config_text = match length {
            Length::Configured => meta.config,
            Length::Steps(_) | Length::Epochs(_) => config.to_toml()?,
        };
        let schedule = config.optim().schedule(total)?;
        let decay = config.optim().decay_schedule(total)?;
        let kept = keep(config.run());
        let positions: Vec<Position> =
            meta.files.into_iter().map(|(file, length)| Position { file, length }).collect();
        let observers = Observers::open_on(&store, folder.path(), &positions, meta.step)?;
        let mut checkpoints = CheckpointFolder::open_with(folder.checkpoints(), kept, store)?;
        checkpoints.prune(meta.step)?;
        let mut run = Run {
            experiment,
            schedule,
            decay,
            total,
            taken: meta.step,
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
}

/// Makes the experiment of a checkpoint, with its parameters and state; `path` is what errors name, 0 `threads`
/// are all cores, and `adjust` sets what else is of the process. Of a checkpoint of weights alone the optimizer starts
/// afresh.
///
/// # Errors
/// [`TrainError`].
pub fn load<E: Experiment>(
    path: &Path,
    checkpoint: Checkpoint,
    threads: usize,
    adjust: impl FnOnce(&mut E::Config),
) -> Result<(E, Meta), TrainError> {
    let reset_optimizer = checkpoint.meta.optimizer.is_none();
    let take = Take { reset_optimizer, ..Take::default() };
    let how = Resume { threads, take, ..Resume::default() };
    let (experiment, meta, _) = load_as(path, checkpoint, how, adjust)?;
    Ok((experiment, meta))
}

fn load_as<E: Experiment>(
    path: &Path,
    checkpoint: Checkpoint,
    how: Resume,
    adjust: impl FnOnce(&mut E::Config),
) -> Result<(E, Meta, Taken), TrainError> {
    let Checkpoint { meta, tensors } = checkpoint;
    if meta.kind != E::Config::EXPERIMENT {
        return Err(TrainError::OtherExperiment {
            path: path.to_owned(),
            given: meta.kind,
            expected: E::Config::EXPERIMENT,
        });
    }
    let mut config = E::Config::from_toml(&meta.config, path)?;
    let run = config.run_mut();
    run.threads = how.threads;
    match how.length {
        Length::Configured => {}
        Length::Steps(steps) => run.steps = steps,
        Length::Epochs(epochs) => (run.steps, run.epochs) = (0, epochs),
    }
    adjust(&mut config);
    let mut experiment = E::new(config.resolved()?)?;
    let taken = experiment.weights_mut().take(path, &meta, tensors, how.take, Target::SameRun)?;
    if !experiment.seek(&meta.cursor, meta.step) {
        return Err(TrainError::BadMeta { path: path.to_owned(), field: "cursor" });
    }
    Ok((experiment, meta, taken))
}
