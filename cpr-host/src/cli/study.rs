//! The arguments of commands about many runs, for another program too.

use std::path::PathBuf;

use clap::Subcommand;

use super::{CliError, usage};
use crate::{
    report::ReportPlan,
    sweep::{Shard, command::SweepPlan},
};

/// A command about many runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Study {
    /// `sweep FILE`.
    Sweep(SweepPlan),
    /// `report DIR…`.
    Report(ReportPlan),
    /// `list [DIR]`.
    List {
        /// Where runs are looked for.
        folder: PathBuf,
    },
    /// `compare A B`.
    Compare {
        /// The folder of one run.
        a: PathBuf,
        /// That of the other.
        b: PathBuf,
    },
}

const SWEEP: &str = "\
The file names an experiment, seeds, and groups of settings with a grid or random draws; docs/STUDY.md describes it.
Run again, a sweep goes on where it was: what is done is skipped, what was interrupted goes on from its checkpoint.

Examples:
  cpr sweep configs/grokking-study.toml --dry-run
  cpr sweep configs/grokking-study.toml
  cpr sweep configs/grokking-study.toml --shard $SLURM_ARRAY_TASK_ID/8      (a Slurm array of 1-8)";

const REPORT: &str = "\
The report is report/report.html in the first folder, one page without any network, with report.md, tables as CSV, and
each plot as SVG with its data as CSV.

Examples:
  cpr report runs/grokking-study
  cpr report runs/grokking/a runs/grokking/b --metric validation_best --out compared";

/// The commands about many runs.
#[derive(Clone, Debug, Subcommand)]
pub enum StudyArguments {
    /// Train a grid or random draws of settings over seeds, side by side; go on where a sweep was
    #[command(after_help = SWEEP)]
    Sweep {
        /// The sweep, a TOML file
        file: PathBuf,
        /// Runs at a time, 1 to 1024 [default: as the file says, or by the size of the model]
        #[arg(long, value_name = "N")]
        jobs: Option<usize>,
        /// Threads of each run, 1 to 1024 [default: as the file says, or by the size of the model]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
        /// Do part I of N, from 1, for job arrays: 1/8 to 8/8
        #[arg(long, value_name = "I/N")]
        shard: Option<Shard>,
        /// Start runs over that have failed
        #[arg(long)]
        retry: bool,
        /// List the runs and how far each is, and stop
        #[arg(long)]
        dry_run: bool,
    },
    /// Tables with intervals and tests, and one page of plots, of a sweep or of single runs
    #[command(after_help = REPORT)]
    Report {
        /// Folders of sweeps, of runs, or that hold runs
        #[arg(value_name = "DIR", required = true)]
        sources: Vec<PathBuf>,
        /// Where the report goes [default: report in the first folder]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// What the report is about: a number of the runs' summary.json [default: that of the sweep]
        #[arg(long, value_name = "NAME")]
        metric: Option<String>,
        /// The setting or group that others are compared with [default: that of the sweep, or the first]
        #[arg(long, value_name = "NAME")]
        baseline: Option<String>,
    },
    /// List the runs below a folder: state, step, outcomes
    List {
        /// Where runs are looked for
        #[arg(value_name = "DIR", default_value = "runs")]
        folder: PathBuf,
    },
    /// Show in what two runs differ: configuration, outcome, and the first step at which a metric differs
    Compare {
        /// The folder of one run
        a: PathBuf,
        /// The folder of the other
        b: PathBuf,
    },
}

impl StudyArguments {
    /// The command.
    ///
    /// # Errors
    /// What is wrong, and with which argument.
    pub fn typed(self) -> Result<Study, CliError> {
        Ok(match self {
            Self::Sweep { file, jobs, threads, shard, retry, dry_run } => {
                for (flag, count) in [("--jobs", jobs), ("--threads", threads)] {
                    if let Some(count) = count.filter(|count| !(1..=1024).contains(count)) {
                        let hint = "leave it out to have it chosen by the size of the model";
                        return Err(usage(format!("{flag} {count}: it must be 1 to 1024"), hint));
                    }
                }
                Study::Sweep(SweepPlan { file, jobs, threads, shard, retry, dry_run })
            }
            Self::Report { sources, out, metric, baseline } => {
                Study::Report(ReportPlan { sources, out, metric, baseline })
            }
            Self::List { folder } => Study::List { folder },
            Self::Compare { a, b } => Study::Compare { a, b },
        })
    }
}
