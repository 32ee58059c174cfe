//! What can be wrong with a configuration, and how it is said.

use std::{fmt, io, path::PathBuf};

/// Where a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The default, or a program.
    #[default]
    Default,
    /// A line of a TOML file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A flag.
    Flag,
    /// `--set`.
    Set,
}

impl Origin {
    /// Whether the user wrote it on this command line.
    pub(super) const fn is_command_line(&self) -> bool {
        matches!(self, Self::Flag | Self::Set)
    }
}

/// A key, its value as text, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What the key means and may be, where that is known.
    pub help: Option<String>,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, origin, .. } = self;
        let value = shown(value);
        match origin {
            Origin::Default => write!(f, "{key} = {value}"),
            Origin::File { path, line } => write!(f, "{}:{line}: {key} = {value}", path.display()),
            Origin::Flag => write!(f, "{} {value}", flag(key)),
            Origin::Set => write!(f, "--set {key}={value}"),
        }
    }
}

/// The flag of a key: `--train-fraction` of `train_fraction`.
pub(super) fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// A configuration is refused. [`ConfigError::hint`] says what to do next where the message does not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value of the wrong type, form or range.
    #[error("{given}: {expected}")]
    Value {
        /// The value.
        given: Box<Given>,
        /// What is allowed.
        expected: String,
    },
    /// The rules of the algorithm refuse it.
    #[error("{given}: {source}")]
    Rule {
        /// The value.
        given: Box<Given>,
        /// Which rule.
        source: cpr_core::ConfigError,
    },
    /// The schedule does not fit the run.
    #[error("{given}: {source}")]
    Schedule {
        /// The value.
        given: Box<Given>,
        /// Why.
        source: crate::schedule::ScheduleError,
    },
    /// A key that does not exist.
    #[error("{}unknown key `{}`{}", place(.origin), shown(.key), nearest_text(.nearest.as_deref()))]
    UnknownKey {
        /// What was written.
        key: String,
        /// The known key that is nearest to it, if one is near.
        nearest: Option<String>,
        /// Where.
        origin: Origin,
        /// What to do next.
        hint: Option<String>,
    },
    /// A flag that the rest of the configuration makes meaningless.
    #[error("{given}: has no effect with {because}")]
    NoEffect {
        /// The flag.
        given: Box<Given>,
        /// What makes it so.
        because: String,
        /// What would give it an effect.
        remedy: String,
    },
    /// A `--set` without `=`.
    #[error("--set {}: expected key=value", shown(.text))]
    NotAnAssignment {
        /// What was written.
        text: String,
        /// What to do next.
        hint: String,
    },
    /// A section in a TOML file.
    #[error("{}:{line}: `{}` is a table, but the keys are flat", .path.display(), shown(.name))]
    Section {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The table's name.
        name: String,
    },
    /// A file that is no TOML.
    #[error("{}:{line}: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A file that cannot be read.
    #[error("cannot read the configuration {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file too large to be a configuration.
    #[error("{} is too large: a configuration has at most {limit} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size.
        limit: u64,
    },
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written as TOML: {0}")]
    Write(#[from] toml::ser::Error),
}

impl ConfigError {
    /// What to do next: one line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Value { given, .. } | Self::Rule { given, .. } | Self::Schedule { given, .. } => {
                let help = given.help.as_ref()?;
                Some(format!("{}: {help}", flag(&given.key)))
            }
            Self::UnknownKey { hint, .. } => hint.clone(),
            Self::NotAnAssignment { hint, .. } => Some(hint.clone()),
            Self::NoEffect { remedy, .. } => Some(remedy.clone()),
            Self::Section { .. } => {
                Some("write `seed = 1` at the top of the file, without [sections]".to_owned())
            }
            Self::Syntax { .. } => {
                Some("a line is `key = value`, with strings in quotes".to_owned())
            }
            Self::Read { .. } => Some("give the path of a readable TOML file".to_owned()),
            Self::TooLarge { .. } => {
                Some("give the TOML file, not a checkpoint or a data file".to_owned())
            }
            Self::Write(_) => None,
        }
    }

    /// A value outside what is allowed, for the check of an experiment's own keys.
    #[must_use]
    pub fn refused(key: &str, value: impl fmt::Display, expected: &str) -> Self {
        refused(key, value, expected)
    }

    /// The same error with what its key means.
    pub(super) fn explained(mut self, help_of: impl Fn(&str) -> Option<String>) -> Self {
        if let Self::Value { given, .. } | Self::Rule { given, .. } | Self::Schedule { given, .. } =
            &mut self
            && given.help.is_none()
        {
            given.help = help_of(&given.key);
        }
        self
    }

    /// The same error with the place of its value.
    pub(super) fn located<'a>(mut self, origin_of: impl Fn(&str) -> Option<&'a Origin>) -> Self {
        if let Self::Value { given, .. }
        | Self::Rule { given, .. }
        | Self::Schedule { given, .. }
        | Self::NoEffect { given, .. } = &mut self
            && given.origin == Origin::Default
            && let Some(origin) = origin_of(&given.key)
        {
            given.origin = origin.clone();
        }
        self
    }
}

/// A value without a place, refused.
pub(super) fn refused(key: &str, value: impl fmt::Display, expected: &str) -> ConfigError {
    ConfigError::Value { given: given(key, value), expected: expected.to_owned() }
}

/// A key and its value, without a place.
pub(super) fn given(key: &str, value: impl fmt::Display) -> Box<Given> {
    let (key, value) = (key.to_owned(), value.to_string());
    Box::new(Given { key, value, origin: Origin::Default, help: None })
}

/// A text from outside as a part of one line: control characters escaped, and cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut line = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            line.push('…');
            break;
        }
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

fn place(origin: &Origin) -> String {
    match origin {
        Origin::File { path, line } => format!("{}:{line}: ", path.display()),
        Origin::Set => "--set: ".to_owned(),
        Origin::Default | Origin::Flag => String::new(),
    }
}

fn nearest_text(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!(": did you mean `{key}`?"))
}

/// What is allowed, from the message of serde or of [`FormError`](super::FormError).
pub(super) fn expected_by_serde(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    let Some((_, expected)) = message.split_once("expected ") else {
        return message.to_owned();
    };
    let expected = match expected {
        "f64" => "a number",
        "u64" | "usize" => "a whole number, 0 or more",
        "a boolean" => "true or false",
        "a string" => "a string in quotes",
        other => other,
    };
    format!("expected {}", expected.replace('`', ""))
}

/// What is allowed, from the refusal of the command line's parser.
pub(crate) fn expected_by_clap(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    use std::error::Error as _;
    match error.kind() {
        ErrorKind::InvalidValue => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) if !values.is_empty() => {
                Some(format!("expected one of {}", values.join(", ")))
            }
            _ => Some("expected a value".to_owned()),
        },
        ErrorKind::ValueValidation => {
            let source = error.source()?;
            Some(if source.is::<std::num::ParseFloatError>() {
                "expected a number".to_owned()
            } else if source.is::<std::num::ParseIntError>() {
                "expected a whole number, 0 or more".to_owned()
            } else {
                source.to_string()
            })
        }
        ErrorKind::InvalidUtf8 => Some("expected text in UTF-8".to_owned()),
        _ => None,
    }
}
