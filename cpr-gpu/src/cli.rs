//! The command line of `cpr-gpu`: arguments in, typed commands out, and what each does.

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use cpr_host::{
    cli::{
        CliError, INSPECT, ResumeArguments, SampleArguments, Study, StudyArguments, TrainArguments,
        Training, explain,
    },
    commands::{self, CommandError, Done},
    config::{ExperimentConfig, GrokkingConfig},
    experiment::{Experiment, lm::Sampling},
    inspect, signals,
    store::Shared,
    sweep::{Known, command::Ending},
    train::{Opened, Resume},
};

use crate::{
    device::DeviceChoice,
    experiment::{
        Cifar, CifarConfig, Finetune, FinetuneKeys, Gpt2Keys, Gpt2Run, Grokking, OnDevice, dry_run,
        evaluated_on, merge, sample,
    },
};

/// The name of the program, for messages.
pub const PROGRAM: &str = "cpr-gpu";

/// A command, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `cpr-gpu grokking`.
    Grokking(Training<OnDevice<GrokkingConfig>>),
    /// `cpr-gpu cifar`.
    Cifar(Training<OnDevice<CifarConfig>>),
    /// `cpr-gpu gpt2`.
    Gpt2(Training<OnDevice<Gpt2Keys>>),
    /// `cpr-gpu finetune`.
    Finetune(Training<OnDevice<FinetuneKeys>>),
    /// `cpr-gpu merge RUN|CHECKPOINT`.
    Merge {
        /// The run folder or checkpoint.
        path: PathBuf,
        /// The folder to make.
        folder: PathBuf,
    },
    /// `cpr-gpu sample RUN|CHECKPOINT`.
    Sample {
        /// The run folder or checkpoint.
        path: PathBuf,
        /// What to make, and how.
        how: Sampling,
        /// Threads, 0 for all cores.
        threads: usize,
        /// Where the network runs.
        device: DeviceChoice,
    },
    /// `cpr-gpu resume RUN`.
    Resume {
        /// The run folder.
        run: PathBuf,
        /// Threads, length, and what to take of its checkpoint.
        how: Resume,
        /// Where the network runs from here on.
        device: DeviceChoice,
    },
    /// `cpr-gpu eval RUN|CHECKPOINT`.
    Eval {
        /// The run folder or checkpoint.
        path: PathBuf,
        /// A file for the logits of all inputs.
        logits: Option<PathBuf>,
        /// Where the network runs.
        device: DeviceChoice,
    },
    /// `cpr-gpu inspect RUN|CHECKPOINT`.
    Inspect {
        /// The run folder or checkpoint.
        path: PathBuf,
    },
    /// `cpr-gpu sweep`, `report`, `list` and `compare`: many runs.
    Study(Study),
}

const EXAMPLES: &str = "\
Examples:
  cpr-gpu grokking
      Train modular addition under AdamCPR in candle, on the CPU.
  cpr-gpu grokking --device cuda:1 --optimizer adamw --weight-decay 1.0
      The same under AdamW on the second GPU.
  cpr-gpu cifar --data cifar-100-binary --device cuda
      A ResNet-18 on CIFAR-100, by the recipe of the paper.

The results of each run go to a folder of their own below runs/, in the form that `cpr` has; either program reads the \
other's runs and checkpoints.";

const GPT2: &str = "\
The flags from --seed on are also the keys of --config and --set, with underscores. The defaults are the paper's recipe \
for OpenWebText. --dry-run (without --from) estimates the memory, of any size, without making a weight.

Examples:
  cpr tokens input.txt --out data && cpr-gpu gpt2 --data data --device cuda
  cpr-gpu gpt2 --data input.txt --layers 4 --heads 4 --width 128 --context 64 --steps 2000 --warmup 100
  cpr-gpu gpt2 --size xl --dry-run
  cpr-gpu gpt2 --data data --rotary 0 --from gpt2/model.safetensors --reset-optimizer";

const FINETUNE: &str = "\
The flags from --seed on are also the keys of --config and --set, with underscores. The model's own weights stay as they \
are; checkpoints hold what is added to them.

Examples:
  cpr-gpu finetune --model gpt2 --data articles.txt --rank 16 --alpha 16 --batch 8
  cpr-gpu merge runs/finetune/RUN --out gpt2-articles";

const KEYS: &str = "\
The flags from --seed on are also the keys of --config and --set, with underscores, as those of `cpr grokking`. \
Later layers win: defaults, --config, flags, --set.

Examples:
  cpr-gpu grokking --reg std --kappa-init dependent=0.9 --stop-at-accuracy 0.99
  cpr-gpu grokking --optimizer adamw --set weight_decay=1.0 --dry-run
  cpr-gpu grokking --from runs/grokking/RUN --kappa-init dependent=0.8";

const CIFAR: &str = "\
The flags from --seed on are also the keys of --config and --set, with underscores. Later layers win: defaults, \
--config, flags, --set. --data is a folder with the unpacked files of a data set under their own names (`cpr fetch \
cifar100` brings them), or one with train/CLASS/*.jpg and test/CLASS/*.jpg (or .png).

Examples:
  cpr-gpu cifar --data cifar-100-binary --device cuda
  cpr-gpu cifar --data cifar-100-binary --optimizer adamw --weight-decay 0.01 --device cuda
  cpr-gpu cifar --data cifar-10 --depth 10 --width-factor 0.125 --image-size 16 --crop-padding 2 \\
      --train-images 5000 --test-images 2000 --steps 400 --warmup 40";

/// Train networks under Constrained Parameter Regularization (CPR) in candle, on the CPU or on CUDA: each weight matrix
/// under a bound of its own, in place of one weight decay for all.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, after_help = EXAMPLES, max_term_width = 120)]
#[command(arg_required_else_help = true, infer_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    command: Arguments,
}

#[derive(Debug, Subcommand)]
enum Arguments {
    /// Train a transformer on modular addition and watch it grok, or not have to
    #[command(after_help = KEYS, allow_negative_numbers = true)]
    Grokking(Box<TrainArguments<OnDevice<GrokkingConfig>>>),
    /// Train a residual network on small images: CIFAR-10, CIFAR-100, MNIST, or a folder of images for each class
    #[command(after_help = CIFAR, allow_negative_numbers = true)]
    Cifar(Box<TrainArguments<OnDevice<CifarConfig>>>),
    /// Train a GPT-2 on a text or on files of tokens
    #[command(after_help = GPT2, allow_negative_numbers = true)]
    Gpt2(Box<TrainArguments<OnDevice<Gpt2Keys>>>),
    /// Train low-rank additions (LoRA) to a GPT-2 from Hugging Face's files
    #[command(after_help = FINETUNE, allow_negative_numbers = true)]
    Finetune(Box<TrainArguments<OnDevice<FinetuneKeys>>>),
    /// Write the network of a `cpr-gpu finetune` run with its additions merged, in Hugging Face's format
    Merge {
        /// The run folder or checkpoint file
        #[arg(value_name = "RUN|CHECKPOINT")]
        path: PathBuf,
        /// The folder to make: model.safetensors and config.json
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Make text from a checkpoint of `cpr-gpu gpt2`
    Sample(SampleOnDevice),
    /// Go on with a run from its last checkpoint, on the CPU to the same bytes as without the break; or make it longer
    Resume(ResumeOnDevice),
    /// Evaluate a run's last checkpoint, or a checkpoint file
    Eval {
        /// The run folder or checkpoint file
        #[arg(value_name = "RUN|CHECKPOINT")]
        path: PathBuf,
        /// Write the logits of all pairs, or of the test images, to a safetensors file
        #[arg(long, value_name = "FILE")]
        logits: Option<PathBuf>,
        /// Where the network runs: cpu, cuda or cuda:N
        #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Cpu)]
        device: DeviceChoice,
    },
    /// Show every matrix: shape, R, kappa, lambda, and when kappa was set
    #[command(after_help = INSPECT)]
    Inspect {
        /// The run folder or checkpoint file
        #[arg(value_name = "RUN|CHECKPOINT")]
        path: PathBuf,
    },
    #[command(flatten)]
    Study(StudyArguments),
}

#[derive(Clone, Debug, Args)]
struct ResumeOnDevice {
    #[command(flatten)]
    arguments: ResumeArguments,
    /// Where the network runs from here on: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Cpu)]
    device: DeviceChoice,
}

#[derive(Clone, Debug, Args)]
struct SampleOnDevice {
    #[command(flatten)]
    arguments: SampleArguments,
    /// Where the network runs: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Cpu)]
    device: DeviceChoice,
}

/// The commands, each experiment's flags with its own defaults.
fn command() -> clap::Command {
    Cli::command()
        .mut_subcommand(GrokkingConfig::EXPERIMENT, OnDevice::<GrokkingConfig>::adapted)
        .mut_subcommand(CifarConfig::EXPERIMENT, OnDevice::<CifarConfig>::adapted)
        .mut_subcommand(Gpt2Keys::EXPERIMENT, OnDevice::<Gpt2Keys>::adapted)
        .mut_subcommand(FinetuneKeys::EXPERIMENT, OnDevice::<FinetuneKeys>::adapted)
}

/// What a key of an experiment means.
fn help_of(command: &str, key: &str) -> Option<String> {
    match command {
        GrokkingConfig::EXPERIMENT => OnDevice::<GrokkingConfig>::help_of(key),
        CifarConfig::EXPERIMENT => OnDevice::<CifarConfig>::help_of(key),
        Gpt2Keys::EXPERIMENT => OnDevice::<Gpt2Keys>::help_of(key),
        FinetuneKeys::EXPERIMENT => OnDevice::<FinetuneKeys>::help_of(key),
        _ => None,
    }
}

/// The command of these arguments; the first is the name of the program.
///
/// # Errors
/// [`CliError::Shown`] for `--help` and `--version`; else what is wrong, and with which argument.
pub fn parse<I>(arguments: I) -> Result<Command, CliError>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let refused = |error| {
        let command = arguments.get(1).and_then(|command| command.to_str());
        explain(error, PROGRAM, |key| help_of(command.unwrap_or_default(), key))
    };
    let matches = command().try_get_matches_from(&arguments).map_err(refused)?;
    let Cli { command } = Cli::from_arg_matches(&matches).map_err(refused)?;
    // Every command line that is none has been refused.
    let (_, given) = matches.subcommand().unwrap_or(("", &matches));
    Ok(match command {
        Arguments::Grokking(arguments) => Command::Grokking(arguments.typed(given)?),
        Arguments::Cifar(arguments) => Command::Cifar(arguments.typed(given)?),
        Arguments::Gpt2(arguments) => Command::Gpt2(arguments.typed(given)?),
        Arguments::Finetune(arguments) => Command::Finetune(arguments.typed(given)?),
        Arguments::Merge { path, out } => Command::Merge { path, folder: out },
        Arguments::Sample(SampleOnDevice { arguments, device }) => {
            let (path, how, threads) = arguments.typed()?;
            device.check()?;
            Command::Sample { path, how, threads, device }
        }
        Arguments::Resume(ResumeOnDevice { arguments, device }) => {
            let (run, how) = arguments.typed()?;
            device.check()?;
            Command::Resume { run, how, device }
        }
        Arguments::Eval { path, logits, device } => {
            device.check()?;
            Command::Eval { path, logits, device }
        }
        Arguments::Inspect { path } => Command::Inspect { path },
        Arguments::Study(arguments) => Command::Study(arguments.typed()?),
    })
}

/// Runs a command; what it says goes to `out`.
///
/// # Errors
/// [`CommandError`].
#[expect(
    clippy::result_large_err,
    reason = "the host's error, made once, at the end of the program"
)]
pub fn run(command: Command, out: &mut dyn Write) -> Result<Ending, CommandError> {
    let done = match command {
        Command::Grokking(training) => train::<Grokking>(&training, out)?,
        Command::Cifar(training) => train::<Cifar>(&training, out)?,
        Command::Gpt2(Training { config, from: None, dry_run: true }) => {
            dry_run(&config, out)?;
            Done::Completed
        }
        Command::Gpt2(training) => train::<Gpt2Run>(&training, out)?,
        Command::Finetune(training) => train::<Finetune>(&training, out)?,
        Command::Merge { path, folder } => {
            let (path, checkpoint) = commands::to_evaluate(&path, None, PROGRAM, out)?;
            merge(&path, checkpoint, &folder, out)?;
            Done::Completed
        }
        Command::Sample { path, how, threads, device } => {
            commands::sample_by(&path, PROGRAM, threads, out, |path, checkpoint, workers| {
                sample(path, checkpoint, &how, workers, device)
            })?;
            Done::Completed
        }
        Command::Resume { run, how, device } => resume(&run, how, device, out)?,
        Command::Eval { path, logits, device } => {
            let logits = logits.as_deref();
            let (path, checkpoint) = commands::to_evaluate(&path, logits, PROGRAM, out)?;
            match checkpoint.meta.kind.as_str() {
                GrokkingConfig::EXPERIMENT => {
                    commands::eval_as::<Grokking>(&path, checkpoint, on(device), logits, out)?;
                }
                CifarConfig::EXPERIMENT => {
                    commands::eval_as::<Cifar>(&path, checkpoint, on(device), logits, out)?;
                }
                Gpt2Keys::EXPERIMENT => {
                    let adjust = |config: &mut OnDevice<Gpt2Keys>| {
                        config.device = device;
                        evaluated_on(device, &mut config.keys.precision);
                    };
                    commands::eval_as::<Gpt2Run>(&path, checkpoint, adjust, logits, out)?;
                }
                FinetuneKeys::EXPERIMENT => {
                    let adjust = |config: &mut OnDevice<FinetuneKeys>| {
                        config.device = device;
                        evaluated_on(device, &mut config.keys.precision);
                    };
                    commands::eval_as::<Finetune>(&path, checkpoint, adjust, logits, out)?;
                }
                kind => return Err(other(&path, kind)),
            }
            Done::Completed
        }
        Command::Inspect { path } => {
            let (path, checkpoint) = commands::to_evaluate(&path, None, PROGRAM, out)?;
            write!(out, "{}", inspect::table(&path, checkpoint)?)?;
            Done::Completed
        }
        Command::Study(study) => {
            let known = Known::default()
                .with::<OnDevice<GrokkingConfig>>()
                .with::<OnDevice<CifarConfig>>()
                .with::<OnDevice<Gpt2Keys>>()
                .with::<OnDevice<FinetuneKeys>>();
            return commands::study_of(&study, &known, PROGRAM, out);
        }
    };
    Ok(match done {
        Done::Completed => Ending::Completed,
        Done::Interrupted => Ending::Interrupted,
    })
}

#[expect(
    clippy::result_large_err,
    reason = "the host's error, made once, at the end of the program"
)]
fn train<E: Experiment>(
    Training { config, from, dry_run }: &Training<E::Config>,
    out: &mut dyn Write,
) -> Result<Done, CommandError> {
    let from = from.as_ref().map(|(path, take)| (path.as_path(), *take));
    commands::train::<E>(config, from, *dry_run, out)
}

/// Puts a configuration on a device.
fn on<C: ExperimentConfig>(device: DeviceChoice) -> impl FnOnce(&mut OnDevice<C>) {
    move |config| config.device = device
}

#[expect(
    clippy::result_large_err,
    reason = "the host's error, made once, at the end of the program"
)]
fn resume(
    folder: &Path,
    how: Resume,
    device: DeviceChoice,
    out: &mut dyn Write,
) -> Result<Done, CommandError> {
    let stop = signals::watch().map_err(CommandError::Signals)?;
    let opened = Opened::at(&Shared::default(), folder, PROGRAM)?;
    match opened.kind() {
        GrokkingConfig::EXPERIMENT => {
            commands::resume_as::<Grokking>(opened, how, on(device), &stop, out)
        }
        CifarConfig::EXPERIMENT => {
            commands::resume_as::<Cifar>(opened, how, on(device), &stop, out)
        }
        Gpt2Keys::EXPERIMENT => commands::resume_as::<Gpt2Run>(opened, how, on(device), &stop, out),
        FinetuneKeys::EXPERIMENT => {
            commands::resume_as::<Finetune>(opened, how, on(device), &stop, out)
        }
        kind => Err(other(folder, kind)),
    }
}

/// A checkpoint of an experiment that this program does not know.
fn other(path: &Path, kind: &str) -> CommandError {
    CommandError::OtherProgram { path: path.to_owned(), kind: kind.to_owned() }
}

#[cfg(test)]
mod tests {
    use cpr_host::train::Take;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn flags_are_those_of_the_host_and_the_device() {
        let mut own = OnDevice::<GrokkingConfig>::keys();
        assert_eq!(own.pop().as_deref(), Some("device"));
        assert_eq!(own, GrokkingConfig::keys());
        let line = "cpr-gpu grokking --lr 2e-3 --set p=11 --device cpu --from runs/a";
        let Command::Grokking(Training { config, from, dry_run }) = parse(line.split(' ')).unwrap()
        else {
            panic!("grokking");
        };
        assert_eq!((config.keys.optim.lr, config.keys.p, dry_run), (2e-3, 11, false));
        assert_eq!(from, Some((PathBuf::from("runs/a"), Take::default())));
        // Stored with a run is what the host stores.
        let host = GrokkingConfig { p: 11, ..GrokkingConfig::default() }.resolved().unwrap();
        let own = OnDevice { keys: host.clone(), ..OnDevice::default() };
        assert_eq!(own.to_toml().unwrap(), host.to_toml().unwrap());
    }

    #[test]
    fn devices_that_cannot_be_are_refused_with_what_to_do() {
        let refused = |line: &str| parse(line.split(' ')).unwrap_err().to_string();
        let message = refused("cpr-gpu grokking --device tpu");
        assert!(message.contains("--device tpu: expected cpu, cuda or cuda:N"), "{message}");
        for line in
            ["grokking --device cuda:1", "resume a --device cuda:1", "eval a --device cuda:1"]
        {
            let parsed = parse(format!("cpr-gpu {line}").split(' '));
            if DeviceChoice::Cuda(1).is_compiled_in() {
                assert!(parsed.is_ok());
            } else {
                let message = parsed.unwrap_err().to_string();
                assert!(message.contains("--features cuda"), "{message}");
                assert!(message.contains("cuda:1"), "{message}");
            }
        }
    }

    #[test]
    fn misspellings_are_recognised() {
        let hint = |line: &str| parse(line.split(' ')).unwrap_err().hint().unwrap();
        assert_eq!(hint("cpr-gpu grokin"), "did you mean `grokking`?");
        assert_eq!(hint("cpr-gpu grokking --devise cpu"), "did you mean `--device`?");
    }
}
