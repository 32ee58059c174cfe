//! The command line: arguments in, typed commands out.

mod error;
mod sample;
mod study;
mod tokens;
mod train;

use std::{ffi::OsString, path::PathBuf};

#[cfg(feature = "fetch")]
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use cpr_core::{AnyRegularizer, ConstraintRule};

pub use self::{
    error::{CliError, explain},
    sample::SampleArguments,
    study::{Study, StudyArguments},
    train::{ResumeArguments, TrainArguments, Training},
};
use self::{
    error::{at_most_1024, usage},
    tokens::TokensArguments,
};
#[cfg(feature = "fetch")]
use crate::fetch::DataSet;
use crate::{
    bench::{BenchPlan, Shapes, Variant},
    config::{
        ClassifyConfig, ExperimentConfig, GrokkingConfig, KappaInit, LmConfig, RegularizerChoice,
    },
    experiment::lm::Sampling,
    tokenize::TokenPlan,
    train::{Resume, Take},
};

/// A command, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `cpr grokking`.
    Grokking {
        /// Checked and resolved.
        config: Box<GrokkingConfig>,
        /// A run or checkpoint to start from, and what to take of it.
        from: Option<(PathBuf, Take)>,
        /// Print the parameter groups and stop.
        dry_run: bool,
    },
    /// `cpr classify`.
    Classify(Training<ClassifyConfig>),
    /// `cpr lm`.
    Lm(Training<LmConfig>),
    /// `cpr sample RUN|CHECKPOINT`.
    Sample {
        /// The run folder or checkpoint.
        path: PathBuf,
        /// What to make, and how.
        how: Sampling,
        /// Threads, 0 for all cores.
        threads: usize,
    },
    /// `cpr tokens FILE|FOLDER…`.
    Tokens(TokenPlan),
    /// `cpr resume RUN`.
    Resume {
        /// The run folder.
        run: PathBuf,
        /// Threads, length, and what to take of its checkpoint.
        how: Resume,
    },
    /// `cpr eval RUN|CHECKPOINT`.
    Eval {
        /// The run folder or checkpoint.
        path: PathBuf,
        /// A file for the logits of all pairs.
        logits: Option<PathBuf>,
    },
    /// `cpr import FILE`.
    Import {
        /// The optimizer's state with the weights.
        file: PathBuf,
        /// The checkpoint to write.
        out: PathBuf,
        /// The rule of the constraints, where the state has any.
        rule: Option<ConstraintRule<AnyRegularizer>>,
    },
    /// `cpr sparsify RUN|CHECKPOINT`.
    Sparsify {
        /// The run folder or checkpoint.
        path: PathBuf,
        /// Magnitude up to which a matrix's weights become zero.
        below: f32,
        /// A file for the weights with their zeros.
        dense: Option<PathBuf>,
        /// A file for the weights as compressed sparse rows.
        csr: Option<PathBuf>,
    },
    /// `cpr inspect RUN|CHECKPOINT`.
    Inspect {
        /// The run folder or checkpoint.
        path: PathBuf,
    },
    /// `cpr sweep`, `report`, `list` and `compare`: many runs.
    Study(Study),
    /// `cpr fetch NAME`.
    #[cfg(feature = "fetch")]
    Fetch {
        /// The data set.
        set: &'static DataSet,
        /// Where it goes; `data/NAME` without.
        out: Option<PathBuf>,
    },
    /// `cpr conformance FILE…`.
    Conformance {
        /// The recorded trajectories, at least one.
        files: Vec<PathBuf>,
        /// One JSON object a line in place of a table.
        json: bool,
    },
    /// `cpr bench step`.
    BenchStep {
        /// What to measure.
        plan: BenchPlan,
        /// Threads, 0 for all cores.
        threads: usize,
        /// One JSON object a line in place of tables.
        json: bool,
    },
}

const EXAMPLES: &str = "\
Examples:
  cpr grokking
      Train modular addition under AdamCPR; no data to download.
  cpr grokking --optimizer adamw --weight-decay 1.0 --seed 2
      The same under AdamW: it generalises thousands of steps after it has memorised.

The results of each run go to a folder of their own below runs/.";

const KEYS: &str = "\
The flags from --seed on are also the keys of --config and --set, with underscores: --train-fraction 0.3 is the \
line train_fraction = 0.3 of a TOML file. Later layers win: defaults, --config, flags, --set.

Examples:
  cpr grokking --reg std --kappa-init dependent=0.9 --stop-at-accuracy 0.99
  cpr grokking --warmup 100 --schedule cosine --kappa-init warm-start=2x
  cpr grokking --optimizer adamw --set weight_decay=1.0 --dry-run";

const CLASSIFY: &str = "\
The flags from --seed on are also the keys of --config and --set, with underscores. --data is a folder with the \
unpacked files of a data set under their own names.

Examples:
  cpr classify --data mnist
  cpr classify --data cifar-10-batches-bin --hidden 512,256 --optimizer adamw --weight-decay 0.1";

const LM: &str = "\
The flags from --seed on are also the keys of --config and --set, with underscores. The defaults are nanoGPT's for a \
CPU, with the matrices under a bound in place of weight decay.

Examples:
  cpr lm --data tinyshakespeare.txt
  cpr lm --data book.txt --unit bytes --layers 6 --dim 256 --context 128 --dropout 0.1
  cpr lm --data tinyshakespeare.txt --optimizer padam --lambda-p 0.01
  cpr sample runs/lm/NAME --prompt \"KING:\" --tokens 300";

const TOKENS: &str = "\
The folder gets train.bin, val.bin and meta.json. nanoGPT's format is the numbers alone, 16 bits each; llm.c's has a \
header. GPT-2's vocabulary is part of the program: no network is needed.

Examples:
  cpr tokens input.txt --out data
  cpr tokens articles/ --out data --format llmc --train-fraction 0.99";

/// What the columns of `inspect` are, after its `--help`.
pub const INSPECT: &str = "\
R is the measure of a matrix that its constraint bounds by kappa; which one it is (--reg of the run) the column `measure` \
says. It is the R of the run's summary and plots and r/NAME of its metrics, as the last step took it: under --order \
after-base before the correction of that step. norm and zeros are of the weights in the file.";

const BENCH: &str = "\
GPT-2's shapes need 2 GB of memory. docs/PERFORMANCE.md explains the figures.

Examples:
  cpr bench step --shapes gpt2
  cpr bench step --shapes modular --threads 1 --only adamcpr-active --json";

/// Train networks under Constrained Parameter Regularization (CPR): each weight matrix under a bound of its own, in
/// place of one weight decay for all.
#[derive(Debug, Parser)]
#[command(name = "cpr", version, after_help = EXAMPLES, max_term_width = 120)]
#[command(arg_required_else_help = true, infer_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    command: Arguments,
}

#[derive(Debug, Subcommand)]
enum Arguments {
    /// Train a transformer on modular addition and watch it grok, or not have to
    #[command(after_help = KEYS, allow_negative_numbers = true)]
    Grokking(Box<TrainArguments<GrokkingConfig>>),
    /// Train a perceptron on labelled images: MNIST, Fashion-MNIST, CIFAR-10 or CIFAR-100
    #[command(after_help = CLASSIFY, allow_negative_numbers = true)]
    Classify(Box<TrainArguments<ClassifyConfig>>),
    /// Train a transformer on the characters or bytes of a text
    #[command(after_help = LM, allow_negative_numbers = true)]
    Lm(Box<TrainArguments<LmConfig>>),
    /// Make text from a checkpoint of `cpr lm`
    Sample(SampleArguments),
    /// Make files of tokens from texts, for `cpr-gpu gpt2`: GPT-2's pieces, characters or bytes
    #[command(after_help = TOKENS)]
    Tokens(TokensArguments),
    /// Go on with a run from its last checkpoint, to the same bytes as without the break; or make it longer
    Resume(ResumeArguments),
    /// Evaluate a run's last checkpoint, or a checkpoint file
    Eval {
        /// The run folder or checkpoint file
        #[arg(value_name = "RUN|CHECKPOINT")]
        path: PathBuf,
        /// Write the logits of all pairs to a safetensors file
        #[arg(long, value_name = "FILE")]
        logits: Option<PathBuf>,
    },
    /// Make a checkpoint of a pytorch-cpr optimizer's state (docs/CHECKPOINT.md has the lines that save one)
    Import(Box<ImportArguments>),
    /// Count the weights that are exactly zero, and write the checkpoint without them
    Sparsify {
        /// The run folder or checkpoint file
        #[arg(value_name = "RUN|CHECKPOINT")]
        path: PathBuf,
        /// Set the weights of matrices to zero whose magnitude is at most X, finite and at least 0
        #[arg(long, value_name = "X", default_value_t = 0.0)]
        below: f32,
        /// Write the weights, zeros and all, as a checkpoint: `cpr eval` reads it
        #[arg(long, value_name = "FILE")]
        dense: Option<PathBuf>,
        /// Write the matrices as compressed sparse rows, in the safetensors format
        #[arg(long, value_name = "FILE")]
        csr: Option<PathBuf>,
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
    /// Download the official files of a data set, check and unpack them; without a network, say what to put where
    #[cfg(feature = "fetch")]
    Fetch {
        /// cifar10, cifar100, mnist, fashion-mnist or tinyshakespeare
        #[arg(value_name = "NAME", hide_possible_values = true, value_parser = data_set())]
        set: &'static DataSet,
        /// The folder that they go to [default: data/NAME]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Replay recorded trajectories of the reference and compare step by step
    Conformance {
        /// The recorded trajectories
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Measure what a step costs on this machine
    Bench {
        #[command(subcommand)]
        command: BenchArguments,
    },
}

#[derive(Debug, Subcommand)]
enum BenchArguments {
    /// Time optimizer steps: AdamCPR and PAdam against AdamW, and a plain loop over the same memory
    #[command(after_help = BENCH)]
    Step {
        /// The models whose shapes are measured [default: all]
        #[arg(long, value_enum, value_name = "MODEL", value_delimiter = ',')]
        shapes: Vec<Shapes>,
        /// One variant alone in the process, for a comparison with another program
        #[arg(long, value_enum, value_name = "VARIANT")]
        only: Option<Variant>,
        /// Rounds, up to 10000; in each of them every variant is timed beside an AdamW
        #[arg(long, value_name = "N", default_value_t = 31)]
        pairs: usize,
        /// Threads, up to 1024; 0: all cores
        #[arg(long, value_name = "N", default_value_t = 0)]
        threads: usize,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct ImportArguments {
    /// The state with the weights: .safetensors, or .json
    file: PathBuf,
    /// The checkpoint to write; must not exist yet
    #[arg(long, value_name = "CHECKPOINT")]
    out: PathBuf,
    /// The measure that the run had, for the state does not hold it: l2, l1, std or huber
    #[arg(long, value_name = "FORM")]
    reg: Option<RegularizerChoice>,
    /// The bound that the run had, for the state does not hold it: as for `cpr grokking`
    #[arg(long, value_name = "FORM")]
    kappa_init: Option<KappaInit>,
    /// Set a key of the constraint as for `cpr grokking`, such as mu=0.5 or warmup=100
    #[arg(long, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    set: Vec<String>,
}

/// The commands, each experiment's flags with its own defaults.
fn command() -> clap::Command {
    Cli::command()
        .mut_subcommand(GrokkingConfig::EXPERIMENT, GrokkingConfig::adapted)
        .mut_subcommand(ClassifyConfig::EXPERIMENT, ClassifyConfig::adapted)
        .mut_subcommand(LmConfig::EXPERIMENT, LmConfig::adapted)
}

/// The data set of a name.
#[cfg(feature = "fetch")]
fn data_set() -> impl TypedValueParser<Value = &'static DataSet> {
    let names = PossibleValuesParser::new(DataSet::ALL.map(|set| set.name));
    names.try_map(|name| DataSet::named(&name).ok_or("there is no such data set"))
}

/// What a key of an experiment means.
fn help_of(command: &str, key: &str) -> Option<String> {
    match command {
        GrokkingConfig::EXPERIMENT => GrokkingConfig::help_of(key),
        ClassifyConfig::EXPERIMENT => ClassifyConfig::help_of(key),
        LmConfig::EXPERIMENT => LmConfig::help_of(key),
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
        explain(error, GrokkingConfig::PROGRAM, |key| help_of(command.unwrap_or_default(), key))
    };
    let matches = command().try_get_matches_from(&arguments).map_err(refused)?;
    let Cli { command } = Cli::from_arg_matches(&matches).map_err(refused)?;
    // Every command line that is none has been refused.
    let (_, given) = matches.subcommand().unwrap_or(("", &matches));
    Ok(match command {
        Arguments::Grokking(arguments) => {
            let Training { config, from, dry_run } = arguments.typed(given)?;
            Command::Grokking { config, from, dry_run }
        }
        Arguments::Classify(arguments) => Command::Classify(arguments.typed(given)?),
        Arguments::Lm(arguments) => Command::Lm(arguments.typed(given)?),
        Arguments::Sample(arguments) => {
            let (path, how, threads) = arguments.typed()?;
            Command::Sample { path, how, threads }
        }
        Arguments::Tokens(arguments) => Command::Tokens(arguments.typed()?),
        Arguments::Resume(arguments) => {
            let (run, how) = arguments.typed()?;
            Command::Resume { run, how }
        }
        Arguments::Eval { path, logits } => Command::Eval { path, logits },
        Arguments::Import(arguments) => import(*arguments)?,
        Arguments::Sparsify { path, below, dense, csr } => {
            if !(below >= 0.0 && below.is_finite()) {
                let message = format!("--below {below}: it must be finite and at least 0");
                return Err(usage(message, "0 counts the weights that are zero as they are"));
            }
            Command::Sparsify { path, below, dense, csr }
        }
        Arguments::Inspect { path } => Command::Inspect { path },
        Arguments::Study(arguments) => Command::Study(arguments.typed()?),
        #[cfg(feature = "fetch")]
        Arguments::Fetch { set, out } => Command::Fetch { set, out },
        Arguments::Bench { command } => {
            let BenchArguments::Step { mut shapes, only, pairs, threads, json } = command;
            at_most_1024(threads)?;
            if !(1..=10_000).contains(&pairs) {
                let message = format!("--pairs {pairs}: it must be from 1 to 10000");
                return Err(usage(message, "31 rounds give a usable interval"));
            }
            if shapes.is_empty() {
                shapes = Shapes::ALL.to_vec();
            }
            Command::BenchStep { plan: BenchPlan { shapes, only, pairs }, threads, json }
        }
        Arguments::Conformance { files, json } => Command::Conformance { files, json },
    })
}

/// `cpr import`: what the state does not hold is given by flags, or missing.
fn import(arguments: ImportArguments) -> Result<Command, CliError> {
    let ImportArguments { file, out, reg, kappa_init, set } = arguments;
    let rule = match (reg, kappa_init) {
        (None, None) if set.is_empty() => None,
        (Some(reg), Some(kappa_init)) => {
            let own = [format!("reg={reg}"), format!("kappa_init={kappa_init}")];
            Some(GrokkingConfig::constraint_of(own.iter().chain(&set))?)
        }
        _ => {
            let hint = "give both as the run had them: the state holds neither";
            return Err(usage("--reg and --kappa-init go together, and --set with them", hint));
        }
    };
    Ok(Command::Import { file, out, rule })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Length;

    #[test]
    fn commands_are_typed() {
        let command = |line: &str| parse(line.split(' ')).unwrap();
        let run = PathBuf::from("runs/a");
        let resume = |threads, length| Command::Resume {
            run: run.clone(),
            how: Resume { threads, length, take: Take::default() },
        };
        assert_eq!(command("cpr resume runs/a"), resume(0, Length::Configured));
        assert_eq!(command("cpr resume runs/a --threads 2"), resume(2, Length::Configured));
        assert_eq!(command("cpr resume runs/a --steps 9"), resume(0, Length::Steps(9)));
        assert_eq!(command("cpr resume runs/a --epochs 9"), resume(0, Length::Epochs(9)));
        assert_eq!(command("cpr eval runs/a"), Command::Eval { path: run.clone(), logits: None });
        assert_eq!(command("cpr inspect runs/a"), Command::Inspect { path: run.clone() });
        let files = vec![PathBuf::from("a"), PathBuf::from("b")];
        assert_eq!(
            command("cpr conformance a b --json"),
            Command::Conformance { files, json: true }
        );
        let partial = Take { partial: true, ..Take::default() };
        let how = Resume { take: partial, ..Resume::default() };
        let resumed = Command::Resume { run: run.clone(), how };
        assert_eq!(command("cpr resume runs/a --partial"), resumed);
        let line = "cpr grokking --dry-run --seed 4 --from runs/a --partial";
        let Command::Grokking { config, from, dry_run } = command(line) else { panic!("grokking") };
        assert_eq!((config.run.seed, from, dry_run), (4, Some((run, partial)), true));
    }

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn misspellings_are_recognised() {
        let hint = |line: &str| parse(line.split(' ')).unwrap_err().hint().unwrap();
        assert!(hint("cpr grokking --lr -1e-3").contains("--key=-1e-3"));
        assert_eq!(hint("cpr grokin"), "did you mean `grokking`?");
        assert_eq!(hint("cpr grokking --kapa-init uniform=1"), "did you mean `--kappa-init`?");
    }
}
