//! The file of a sweep: read, with a place for every error.
//!
//! ```toml
//! experiment = "grokking"          # what every run trains
//! out = "runs/study"               # the sweep's folder [default: runs/ and the name of this file]
//! seeds = 5                        # 1 to 5; or a list
//! metric = "validation_learned"    # what tables and heat maps show of a run's summary.json
//! set = { stop_at_accuracy = 0.99 }
//!
//! [[group]]
//! name = "AdamW"
//! set = { optimizer = "adamw" }
//! grid = { weight_decay = [0.1, 1.0], lr = [3e-4, 1e-3] }
//!
//! [[group]]
//! name = "AdamCPR, drawn"
//! random = { lr = { log = [1e-4, 1e-2] }, kappa_init = { linear = [0.5, 1.0], form = "dependent={}" } }
//! samples = 20
//! ```

mod reader;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value, de::DeValue};

use self::reader::Reader;
use super::{Place, SweepError, law::Law};
use crate::config::nearest;

/// Keys at the top of the file.
const TOP: &[&str] =
    &["experiment", "out", "seeds", "metric", "baseline", "jobs", "threads", "set", "group"];
/// The largest file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// A sweep as its file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepFile {
    /// The file.
    pub path: PathBuf,
    /// The experiment that every run trains.
    pub experiment: String,
    /// The sweep's folder.
    pub out: PathBuf,
    /// The outcome that tables and heat maps show; a key of `summary.json`.
    pub metric: Option<String>,
    /// The setting that others are compared with; its label, or the name of a group.
    pub baseline: Option<String>,
    /// Runs at a time; `None` for as many as the machine runs well.
    pub jobs: Option<usize>,
    /// Threads of a run; `None` as above.
    pub threads: Option<usize>,
    /// Settings of all runs.
    pub set: Table,
    /// At least one.
    pub groups: Vec<Group>,
}

/// A part of a sweep with settings and a grid of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name, alone in the file.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// Settings of its runs, over those of the sweep.
    pub set: Table,
    /// Swept keys, each with its values: the product of all.
    pub grid: Vec<(String, Vec<Value>)>,
    /// Swept keys whose values are drawn.
    pub random: Vec<(String, Law)>,
    /// How many draws.
    pub samples: usize,
    /// Seed of the draws.
    pub draw_seed: u64,
    /// Seeds of each setting's runs.
    pub seeds: Vec<u64>,
}

impl SweepFile {
    /// Reads a sweep; `keys_of` gives the keys of an experiment, `None` for one that does not exist.
    ///
    /// # Errors
    /// [`SweepError`] with file, line and key.
    pub fn read(
        path: &Path,
        experiments: &[&str],
        keys_of: impl Fn(&str) -> Option<Vec<String>>,
    ) -> Result<Self, SweepError> {
        let failed = |source| SweepError::Read { path: path.to_owned(), source };
        let length = fs::metadata(path).map_err(failed)?.len();
        if length > LARGEST_FILE {
            return Err(failed(std::io::Error::other(format!(
                "it has {length} bytes, a sweep at most {LARGEST_FILE}"
            ))));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text, path, experiments, keys_of)
    }

    /// As [`read`](Self::read), of a text.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(
        text: &str,
        path: &Path,
        experiments: &[&str],
        keys_of: impl Fn(&str) -> Option<Vec<String>>,
    ) -> Result<Self, SweepError> {
        let syntax = |error: toml::de::Error| SweepError::Syntax {
            place: Place {
                path: path.to_owned(),
                line: line_at(text, error.span().map_or(0, |span| span.start)),
            },
            message: error.message().replace('\n', ", "),
        };
        let mut lines = BTreeMap::new();
        let spanned = toml::de::DeTable::parse(text).map_err(syntax)?;
        for (key, value) in spanned.get_ref() {
            note_lines(text, key.get_ref(), key.span().start, value.get_ref(), &mut lines);
        }
        let table: Table = toml::from_str(text).map_err(syntax)?;
        let mut reader =
            Reader { path, lines: &lines, keys: Vec::new(), experiment: String::new() };
        reader.known("", &table, TOP)?;

        let missing =
            |key, expected: String| SweepError::Missing { path: path.to_owned(), key, expected };
        let listed = format!("one of {}, in quotes", experiments.join(", "));
        let Some(experiment) = reader.text(&table, "", "experiment")? else {
            return Err(missing("experiment", listed));
        };
        let Some(keys) = keys_of(&experiment) else {
            let near = nearest(&experiment, experiments.iter().copied());
            let near = near.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            let expected = format!("there is no experiment `{experiment}`: {listed}{near}");
            return Err(reader.value("experiment", expected));
        };
        reader.keys = keys;
        reader.experiment = experiment;

        let stem = path.file_stem().map_or_else(|| "sweep".into(), |stem| stem.to_os_string());
        let out = reader
            .text(&table, "", "out")?
            .map_or_else(|| Path::new("runs").join(stem), PathBuf::from);
        let set = reader.settings(&table, "", "set")?;
        let seeds = reader.seeds(&table, "")?.unwrap_or_else(|| vec![1]);
        let metric = reader.text(&table, "", "metric")?;
        let baseline = reader.text(&table, "", "baseline")?;
        let jobs = reader.count(&table, "", "jobs", 1024)?;
        let threads = reader.count(&table, "", "threads", 1024)?;
        let groups = match table.get("group") {
            Some(Value::Array(groups)) if !groups.is_empty() => groups,
            Some(_) => {
                return Err(
                    reader.value("group", "each group is a table: write [[group]]".to_owned())
                );
            }
            None => {
                return Err(missing(
                    "group",
                    "give at least one [[group]] with a `name`".to_owned(),
                ));
            }
        };
        let mut read: Vec<Group> = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            let group = reader.group(index, group, &seeds)?;
            if read.iter().any(|other| other.name == group.name) {
                let expected =
                    format!("there are two groups named {:?}: name them apart", group.name);
                return Err(reader.value(&format!("group[{index}].name"), expected));
            }
            read.push(group);
        }
        Ok(Self {
            path: path.to_owned(),
            out,
            metric,
            baseline,
            jobs,
            threads,
            experiment: reader.experiment,
            set,
            groups: read,
        })
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

/// The line of every key, under its path: `group[0].grid.lr`.
fn note_lines(
    text: &str,
    path: &str,
    offset: usize,
    value: &DeValue<'_>,
    lines: &mut BTreeMap<String, usize>,
) {
    lines.insert(path.to_owned(), line_at(text, offset));
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                let path = format!("{path}.{}", key.get_ref());
                note_lines(text, &path, key.span().start, value.get_ref(), lines);
            }
        }
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                note_lines(
                    text,
                    &format!("{path}[{index}]"),
                    value.span().start,
                    value.get_ref(),
                    lines,
                );
            }
        }
        _ => {}
    }
}
