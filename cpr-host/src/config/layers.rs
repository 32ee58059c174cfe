//! Layers: defaults, file, flags, `--set`.

use std::{collections::BTreeMap, ffi::OsStr, fs::File, io::Read as _, path::Path};

use clap::{ArgMatches, Args as _, parser::ValueSource};
use serde::Serialize;

use super::{
    ConfigError, ExperimentConfig, Given, Inert, OptimConfig, Origin, RunConfig,
    error::{expected_by_clap, expected_by_serde, flag, given},
    nearest,
};

/// The largest configuration file, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// A configuration with every key that has no effect at its default.
pub(super) fn without_inert<C: ExperimentConfig>(config: &C) -> Result<C, ConfigError> {
    let mut kept = to_table(config)?;
    kept.retain(|key, _| config.inert(key).is_none());
    for (key, value) in to_table(&C::default())? {
        kept.entry(key).or_insert(value);
    }
    from_table(kept)
}

/// The text of [`ExperimentConfig::to_toml`].
pub(super) fn written<C: ExperimentConfig>(config: &C) -> Result<String, ConfigError> {
    let table = to_table(config)?;
    let mut text = String::new();
    let mut section = None;
    for flag in C::flags().get_arguments() {
        let key = flag.get_id().as_str();
        if !C::OF_THE_PROCESS.contains(&key)
            && let Some(value) = table.get(key)
            && config.inert(key).is_none()
        {
            let heading = flag.get_help_heading();
            if heading != section.as_deref() {
                let gap = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}# {}\n", heading.unwrap_or_default()));
                section = heading.map(str::to_owned);
            }
            text.push_str(&format!("{key} = {}\n", one_line(value)));
        }
    }
    Ok(text)
}

/// A value in one line of TOML: a string with line feeds in it becomes one with escapes, which JSON's are too.
fn one_line(value: &toml::Value) -> String {
    match value.as_str().filter(|text| text.contains(['\n', '\r'])) {
        Some(text) => serde_json::json!(text).to_string().replace('\u{7f}', "\\u007f"),
        None => value.to_string(),
    }
}

/// The flags with the defaults of `config` where those are other ones than the flags have.
pub(super) fn with_defaults<C: ExperimentConfig>(
    config: &C,
    mut command: clap::Command,
) -> clap::Command {
    // Both tables can be written: they hold defaults.
    let usual = [to_table(&RunConfig::default()), to_table(&OptimConfig::default())];
    let usual: toml::Table = usual.into_iter().flatten().flatten().collect();
    // A table lacks what is not set by default.
    let shared = OptimConfig::augment_args(RunConfig::augment_args(clap::Command::new("shared")));
    let is_shared = |key: &str| shared.get_arguments().any(|flag| flag.get_id() == key);
    for (key, value) in to_table(config).unwrap_or_default() {
        if is_shared(&key) && usual.get(&key) != Some(&value) {
            command = command.mut_arg(key, |flag| flag.default_value(plain(&value)));
        }
    }
    command
}

fn to_table(keys: &impl Serialize) -> Result<toml::Table, ConfigError> {
    Ok(toml::Table::try_from(keys)?)
}

/// Of a table whose values were fields: they fit.
fn from_table<C: ExperimentConfig>(table: toml::Table) -> Result<C, ConfigError> {
    table.try_into().map_err(|error: toml::de::Error| {
        ConfigError::Write(<toml::ser::Error as serde::ser::Error>::custom(error))
    })
}

/// A configuration as its layers come, and where each key was set.
#[derive(Default)]
pub(super) struct Layers<C> {
    config: C,
    origins: BTreeMap<String, Origin>,
}

impl<C: ExperimentConfig> Layers<C> {
    pub(super) fn read(&mut self, path: &Path) -> Result<(), ConfigError> {
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

    pub(super) fn overlay_toml(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
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

        let known = C::keys();
        let mut merged = to_table(&self.config)?;
        for (key, value) in table {
            let line = lines.get(&key).copied().unwrap_or(1);
            let origin = Origin::File { path: path.to_owned(), line };
            if !known.contains(&key) {
                if value.is_table() {
                    return Err(ConfigError::Section { path: path.to_owned(), line, name: key });
                }
                return Err(unknown::<C>(key, &known, origin));
            }
            let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
            if let Err(error) = alone.try_into::<C>() {
                let help = C::help_of(&key);
                let given = Box::new(Given { key, value: value.to_string(), origin, help });
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
    pub(super) fn overlay_flags(&mut self, matches: &ArgMatches) -> Result<(), ConfigError> {
        for key in C::keys() {
            if matches.value_source(&key) == Some(ValueSource::CommandLine)
                && let Some(value) = matches.get_raw(&key).and_then(|mut raw| raw.next_back())
            {
                self.overlay_text(&key, value, Origin::Flag)?;
            }
        }
        Ok(())
    }

    /// One `key=value` of `--set`; dashes in the key are read as underscores.
    pub(super) fn assign(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let Some((key, value)) = assignment.split_once('=') else {
            let (text, hint) = (assignment.to_owned(), lists_the_keys::<C>());
            return Err(ConfigError::NotAnAssignment { text, hint });
        };
        let key = key.trim().replace('-', "_");
        let known = C::keys();
        if !known.contains(&key) {
            return Err(unknown::<C>(key, &known, Origin::Set));
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
        let bare = C::flags().mut_args(|flag| flag.default_value(None::<&'static str>));
        let updated = (bare.no_binary_name(true).try_get_matches_from([argument]))
            .and_then(|matches| self.config.update_from_arg_matches(&matches));
        if let Err(error) = updated {
            let expected = expected_by_clap(&error).unwrap_or_else(|| error.kind().to_string());
            let value = value.to_string_lossy().into_owned();
            let help = C::help_of(key);
            let given = Box::new(Given { key: key.to_owned(), value, origin, help });
            return Err(ConfigError::Value { given, expected });
        }
        self.origins.insert(key.to_owned(), origin);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<C, ConfigError> {
        let Self { config, origins } = self;
        let located =
            |error: ConfigError| error.explained(C::help_of).located(|key| origins.get(key));
        for (key, origin) in &origins {
            if origin.is_command_line()
                && let Some(inert) = config.inert(key)
            {
                let value = to_table(&config)?.get(key).map_or_else(String::new, plain);
                let given = given(key, value);
                let Inert { because, remedy } = inert;
                return Err(located(ConfigError::NoEffect { given, because, remedy }));
            }
        }
        config.check().map_err(located)?;
        config.resolved().map_err(located)
    }
}

/// A key that does not exist.
fn unknown<C: ExperimentConfig>(key: String, known: &[String], origin: Origin) -> ConfigError {
    let nearest = nearest(&key, known.iter().map(String::as_str));
    let hint = match &nearest {
        Some(key) => C::help_of(key).map(|help| format!("{}: {help}", flag(key))),
        None => Some(lists_the_keys::<C>()),
    };
    ConfigError::UnknownKey { key, nearest, origin, hint }
}

fn lists_the_keys<C: ExperimentConfig>() -> String {
    format!("`{} {} --help` lists the keys: each is a flag's name", C::PROGRAM, C::EXPERIMENT)
}

/// A value as a flag has it: strings without quotes.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
