//! Why a run could not be made or had to stop.

use std::path::{Path, PathBuf};

use crate::{
    checkpoint::CheckpointError,
    config::ConfigError,
    data::modular::ModularError,
    model::modular::{ModularConfigError, ModularInputError},
    observe::ObserveError,
    optim::{OptimError, StateError},
    parallel::WorkersError,
    run_folder::RunFolderError,
};

/// Why a run could not be made or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data.
    #[error(transparent)]
    Data(#[from] ModularError),
    /// A data file.
    #[error(transparent)]
    File(#[from] crate::data::DataError),
    /// The language model.
    #[error(transparent)]
    Gpt(#[from] crate::model::gpt::GptConfigError),
    /// The language model's input; says that the program is wrong.
    #[error(transparent)]
    GptInput(#[from] crate::model::gpt::GptInputError),
    /// A prompt with a character that the model does not know.
    #[error(
        "the prompt has the character {character:?}, which is not in the model's alphabet: leave it out"
    )]
    Prompt {
        /// The first such character.
        character: char,
    },
    /// The perceptron.
    #[error(transparent)]
    Mlp(#[from] crate::model::mlp::MlpError),
    /// The model's dimensions.
    #[error(transparent)]
    Model(#[from] ModularConfigError),
    /// The model's input; says that the program is wrong.
    #[error(transparent)]
    Input(#[from] ModularInputError),
    /// The optimizer.
    #[error(transparent)]
    Optimizer(#[from] OptimError),
    /// The optimizer's state in a checkpoint.
    #[error(transparent)]
    State(#[from] StateError),
    /// Threads.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// The run folder.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// Metrics.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The figure.
    #[error(transparent)]
    Plot(#[from] crate::plot::curves::CurvesError),
    /// Whatever an experiment of another crate says.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
    /// The folder of a run has no checkpoint.
    #[error(
        "the run {0} has no checkpoint, so there is nothing to go on from: start it anew with \
         `{program} {1} --config {0}/config.toml --name NEW`, or remove the folder",
        path.display(), experiment_of(path)
    )]
    NoCheckpoint {
        /// The run.
        path: PathBuf,
        /// The program that was to go on.
        program: &'static str,
    },
    /// The checkpoint is of another experiment.
    #[error("the checkpoint {} is of the experiment `{given}`, not of `{expected}`", path.display())]
    OtherExperiment {
        /// The checkpoint.
        path: PathBuf,
        /// Its experiment.
        given: String,
        /// The one that was to read it.
        expected: &'static str,
    },
    /// Of what fits nothing is left.
    #[error(
        "{} has no parameter of this model (it is of `{kind}`): give a checkpoint of the same experiment and model, or leave --from out",
        path.display()
    )]
    NothingFits {
        /// The checkpoint.
        path: PathBuf,
        /// Its experiment.
        kind: String,
    },
    /// The checkpoint is of another model, and its configuration tells in what.
    #[error(
        "{} is of another model: {settings}; give the settings it was written with, or load what fits with --partial",
        path.display()
    )]
    OtherModel {
        /// The checkpoint.
        path: PathBuf,
        /// Each setting that differs, with its value there and here.
        settings: String,
    },
    /// A field of the checkpoint's metadata is not what this experiment writes.
    #[error("the checkpoint {} has a bad `{field}` in its metadata: take an older one", path.display())]
    BadMeta {
        /// The checkpoint.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
    /// A run without a step left has no use for another state.
    #[error(
        "the run {} has ended, so --reset-optimizer and --partial change nothing: make it longer with --steps, or \
         start a run from its checkpoint with `--from`", path.display()
    )]
    Ended {
        /// The run.
        path: PathBuf,
    },
    /// A run cannot end before the step that it is at.
    #[error("the run {} has taken {taken} steps already, and {given} were asked for: ask for more", path.display())]
    Taken {
        /// The run.
        path: PathBuf,
        /// Steps that it was to have.
        given: u64,
        /// Steps that it has.
        taken: u64,
    },
    /// The run stopped because it had what was asked for: it would not take another step.
    #[error(
        "the run {} stopped at step {step} because it reached the validation accuracy {accuracy} of its \
         --stop-at-accuracy, so it cannot be made longer: start a run without that, or with a higher one",
        path.display()
    )]
    Reached {
        /// The run.
        path: PathBuf,
        /// Steps that it has.
        step: u64,
        /// The accuracy that was asked for.
        accuracy: f64,
    },
    /// The learning rate of the steps taken would have been another one in a run of another length.
    #[error(
        "the run {} has a learning rate that follows its length (--schedule {schedule}): only a run with \
         --schedule constant can be made longer", path.display()
    )]
    Length {
        /// The run.
        path: PathBuf,
        /// Its schedule.
        schedule: String,
    },
    /// The weight decay of a run follows its length.
    #[error(
        "the run {} has a weight decay that follows its length (--weight-decay-end {end}): only a run with \
         --weight-decay-end 1 can be made longer", path.display()
    )]
    DecayLength {
        /// The run.
        path: PathBuf,
        /// Its decay at the end.
        end: f64,
    },
    /// Gradients or losses were not finite too many times in a row.
    #[error(
        "step {step}: {what} was not finite (bad steps in a row: {in_a_row}); they were skipped, and the state \
         before them is in {}: lower the learning rate, clip the gradient (`--clip`), or look at the data",
        checkpoint.display()
    )]
    NonFinite {
        /// The step.
        step: u64,
        /// The loss, or the gradient of a parameter.
        what: String,
        /// How many steps were skipped in a row, this one included.
        in_a_row: u64,
        /// The checkpoint of the last good state.
        checkpoint: PathBuf,
    },
    /// R(θ) was not finite after a step.
    #[error(
        "step {step}: R of `{parameter}` is not finite any more; the last good state is in {}: \
         start a run with a lower learning rate, or clip the gradient (`--clip`)", checkpoint.display()
    )]
    NonFiniteStatistic {
        /// The step.
        step: u64,
        /// The parameter.
        parameter: String,
        /// The checkpoint of the last good state.
        checkpoint: PathBuf,
    },
    /// A parameter is not finite: no step can mend it, so it is neither evaluated nor saved.
    #[error(
        "step {step}: `{parameter}` is not finite any more; the last good state is in {}: \
         start a run with a lower learning rate, or clip the gradient (`--clip`)", checkpoint.display()
    )]
    NonFiniteParameter {
        /// The step after which it was found.
        step: u64,
        /// The first such parameter.
        parameter: String,
        /// The checkpoint of the last good state.
        checkpoint: PathBuf,
    },
}

impl TrainError {
    /// An error that this crate does not know.
    pub fn other(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Other(Box::new(error))
    }
}

/// The experiment of a run, by its folder's name.
fn experiment_of(run: &Path) -> String {
    let folder = run.parent().and_then(Path::file_name);
    folder.map_or_else(|| "EXPERIMENT".to_owned(), |name| name.to_string_lossy().into_owned())
}
