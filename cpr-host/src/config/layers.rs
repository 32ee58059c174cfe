//! Layers: defaults, file, flags, `--set`.

use std::{collections::BTreeMap, ffi::OsStr, fs::File, io::Read as _, path::Path};

use clap::{ArgMatches, FromArgMatches as _, parser::ValueSource};
use cpr_core::{AnyRegularizer, ConstraintRule, Regularizer as _};

use super::{
    ConfigError, Given, GrokkingConfig, Origin,
    error::{expected_by_clap, expected_by_serde, flag, given},
    flags, keys,
};

/// The largest configuration file, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// Names further away than this are no misspellings (Damerau-Levenshtein, 1 for equal).
const NEAR: f64 = 0.55;

impl GrokkingConfig {
    /// The configuration of a command line: defaults, then `file`, then the flags in `matches` that were
    /// written out, then each `key=value` of `assignments`. Checked and resolved.
    ///
    /// # Errors
    /// See [`ConfigError`]. A flag or `--set` that has no effect is refused; a key of a file may have none.
    pub fn layered(
        file: Option<&Path>,
        matches: &ArgMatches,
        assignments: &[String],
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        if let Some(path) = file {
            layers.read(path)?;
        }
        layers.overlay_flags(matches)?;
        for assignment in assignments {
            layers.assign(assignment)?;
        }
        layers.finish()
    }

    /// The configuration in a file, over the defaults. Checked and resolved.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        layers.read(path)?;
        layers.finish()
    }

    /// The configuration in a TOML text, over the defaults, checked and resolved; `path` is what errors name.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        layers.overlay_toml(text, path)?;
        layers.finish()
    }

    /// The rule of the constraints that these `key=value` make, over the defaults.
    ///
    /// # Errors
    /// See [`ConfigError`]; a key that has no effect on a constraint's rule is taken and does nothing.
    pub fn constraint_of<'a>(
        assignments: impl IntoIterator<Item = &'a String>,
    ) -> Result<ConstraintRule<AnyRegularizer>, ConfigError> {
        let mut layers = Layers::default();
        for assignment in assignments {
            layers.assign(assignment)?;
        }
        layers.finish()?.constraint()
    }

    /// The same configuration with the defaults of the optimizer and of the regularizer filled in, and every key
    /// that has no effect at its default. Resolving twice changes nothing more.
    ///
    /// # Errors
    /// A regularizer outside its range.
    pub fn resolved(&self) -> Result<Self, ConfigError> {
        let mut kept = self.to_table()?;
        kept.retain(|key, _| self.inert(key).is_none());
        // Every value was a field's: it fits.
        let unfit = |error: toml::de::Error| {
            ConfigError::Write(<toml::ser::Error as serde::ser::Error>::custom(error))
        };
        let mut config: Self = kept.try_into().map_err(unfit)?;
        if config.inert("weight_decay").is_none() {
            config.weight_decay = Some(config.effective_decay());
        }
        if config.optimizer.is_constrained() {
            let defaults = config.regularizer()?.defaults();
            config.mu.get_or_insert(defaults.mu);
            config.order.get_or_insert(defaults.order.into());
            config.scale_by_lr.get_or_insert(defaults.scale_by_lr);
        }
        Ok(config)
    }

    /// The flat TOML of a run's `config.toml`: every key that has an effect, one a line, in the order of
    /// `--help`, with its headings as comments.
    ///
    /// Of a resolved configuration it reads back as the same value, `threads` aside: that is a matter of the
    /// process, and the bytes of a run do not tell how many it had.
    ///
    /// # Errors
    /// [`ConfigError::Write`] for an `out` that is not UTF-8 or an integer above 2⁶³ − 1; neither passes
    /// [`GrokkingConfig::check`].
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        let table = self.to_table()?;
        let mut text = String::new();
        let mut section = None;
        for flag in flags().get_arguments() {
            let key = flag.get_id().as_str();
            if key != "threads"
                && let Some(value) = table.get(key)
                && self.inert(key).is_none()
            {
                let heading = flag.get_help_heading();
                if heading != section {
                    let gap = if text.is_empty() { "" } else { "\n" };
                    text.push_str(&format!("{gap}# {}\n", heading.unwrap_or_default()));
                    section = heading;
                }
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        Ok(text)
    }

    fn to_table(&self) -> Result<toml::Table, ConfigError> {
        Ok(toml::Table::try_from(self)?)
    }
}

/// A configuration as its layers come, and where each key was set.
#[derive(Default)]
struct Layers {
    config: GrokkingConfig,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    fn read(&mut self, path: &Path) -> Result<(), ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mut text = String::new();
        // One byte past the limit tells a file at the limit from a longer one.
        file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(failed)?;
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if bytes > LARGEST_FILE {
            return Err(ConfigError::TooLarge { path: path.to_owned(), limit: LARGEST_FILE });
        }
        self.overlay_toml(&text, path)
    }

    fn overlay_toml(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let line_at = |offset: usize| {
            1 + text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
        };
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_at(error.span().map_or(0, |span| span.start)),
            message: error.message().replace('\n', ", "),
        };
        let spans = toml::de::DeTable::parse(text).map_err(syntax)?;
        let lines: BTreeMap<String, usize> = (spans.get_ref().iter())
            .map(|(key, _)| (key.get_ref().to_string(), line_at(key.span().start)))
            .collect();
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;

        let known = keys();
        let mut merged = self.config.to_table()?;
        for (key, value) in table {
            let line = lines.get(&key).copied().unwrap_or(1);
            let origin = Origin::File { path: path.to_owned(), line };
            if !known.contains(&key) {
                if value.is_table() {
                    return Err(ConfigError::Section { path: path.to_owned(), line, name: key });
                }
                let nearest = nearest(&key, &known);
                return Err(ConfigError::UnknownKey { key, nearest, origin });
            }
            let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
            if let Err(error) = alone.try_into::<GrokkingConfig>() {
                let given = Box::new(Given { key, value: value.to_string(), origin });
                let expected = expected_by_serde(error.message());
                return Err(ConfigError::Value { given, expected });
            }
            self.origins.insert(key.clone(), origin);
            merged.insert(key, value);
        }
        self.config = merged.try_into().map_err(syntax)?;
        Ok(())
    }

    /// The flags that were written out.
    fn overlay_flags(&mut self, matches: &ArgMatches) -> Result<(), ConfigError> {
        for key in keys() {
            if matches.value_source(&key) == Some(ValueSource::CommandLine)
                && let Some(value) = matches.get_raw(&key).and_then(|mut raw| raw.next_back())
            {
                self.overlay_text(&key, value, Origin::Flag)?;
            }
        }
        Ok(())
    }

    /// One `key=value` of `--set`; dashes in the key are read as underscores.
    fn assign(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(ConfigError::NotAnAssignment { text: assignment.to_owned() });
        };
        let key = key.trim().replace('-', "_");
        let known = keys();
        if !known.contains(&key) {
            let nearest = nearest(&key, &known);
            return Err(ConfigError::UnknownKey { key, nearest, origin: Origin::Set });
        }
        self.overlay_text(&key, OsStr::new(value.trim()), Origin::Set)
    }

    /// One key by the text of its flag.
    fn overlay_text(
        &mut self,
        key: &str,
        value: &OsStr,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let mut argument = std::ffi::OsString::from(flag(key));
        argument.push("=");
        argument.push(value);
        // Without defaults an update touches only the key that is given.
        let bare = flags().mut_args(|flag| flag.default_value(None::<&'static str>));
        let updated = (bare.no_binary_name(true).try_get_matches_from([argument]))
            .and_then(|matches| self.config.update_from_arg_matches(&matches));
        if let Err(error) = updated {
            let expected = expected_by_clap(&error).unwrap_or_else(|| error.kind().to_string());
            let value = value.to_string_lossy().into_owned();
            let given = Box::new(Given { key: key.to_owned(), value, origin });
            return Err(ConfigError::Value { given, expected });
        }
        self.origins.insert(key.to_owned(), origin);
        Ok(())
    }

    fn finish(self) -> Result<GrokkingConfig, ConfigError> {
        let Self { config, origins } = self;
        let located = |error: ConfigError| error.located(|key| origins.get(key));
        for (key, origin) in &origins {
            if origin.is_command_line()
                && let Some(inert) = config.inert(key)
            {
                let value = config.to_table()?.get(key).map_or_else(String::new, plain);
                let given = given(key, value);
                let super::effect::Inert { because, remedy } = inert;
                return Err(located(ConfigError::NoEffect { given, because, remedy }));
            }
        }
        config.check().map_err(located)?;
        config.resolved().map_err(located)
    }
}

/// A value as a flag has it: strings without quotes.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The known key nearest to a misspelt one, if one is near.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    let key = key.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&key, name), name))
        .filter(|&(similarity, _)| similarity >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.clone())
}
