//! Command lines that are refused, in one line and a hint.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::{ConfigError, expected_by_clap, shown};

/// A command line without a command to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// `--help` or `--version`: the text that was asked for, which clap prints.
    #[error("{0}")]
    Shown(clap::Error),
    /// The arguments are refused.
    #[error("{message}")]
    Usage {
        /// What is wrong, one line.
        message: String,
        /// What to do next, one line.
        hint: Option<String>,
    },
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl CliError {
    /// What to do next: one line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Shown(_) => None,
            Self::Usage { hint, .. } => hint.clone(),
            Self::Config(error) => error.hint(),
        }
    }
}

pub(super) fn usage(message: impl Into<String>, hint: &str) -> CliError {
    CliError::Usage { message: message.into(), hint: Some(hint.to_owned()) }
}

/// A refusal of the parser as one line and a hint.
///
/// `help_of` knows what a key means.
pub fn explain(
    error: clap::Error,
    program: &str,
    help_of: impl Fn(&str) -> Option<String>,
) -> CliError {
    if !error.use_stderr() {
        return CliError::Shown(error);
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) if !texts.is_empty() => Some(texts.join(", ")),
        _ => None,
    };
    let argument = shown(&text(ContextKind::InvalidArg).unwrap_or_default());
    // `--lr <X>`: the flag alone.
    let flag = argument.split([' ', '[']).next().unwrap_or_default();
    let value = shown(&text(ContextKind::InvalidValue).unwrap_or_default());
    let (message, hint) = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return CliError::Shown(error),
        ErrorKind::UnknownArgument => (
            format!("unknown argument `{argument}`"),
            match text(ContextKind::SuggestedArg) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None if is_number(&argument) => {
                    Some("write a negative number with `=`, as --key=-1e-3".to_owned())
                }
                None => None,
            },
        ),
        ErrorKind::InvalidSubcommand => (
            format!(
                "unknown command `{}`",
                shown(&text(ContextKind::InvalidSubcommand).unwrap_or_default())
            ),
            text(ContextKind::SuggestedSubcommand).map(|near| format!("did you mean `{near}`?")),
        ),
        ErrorKind::MissingRequiredArgument => (format!("{argument} is missing"), None),
        ErrorKind::ArgumentConflict => (format!("{flag} is given twice"), None),
        ErrorKind::InvalidValue if value.is_empty() => (format!("{flag} needs a value"), None),
        _ => match expected_by_clap(&error) {
            Some(expected) => (format!("{flag} {value}: {expected}"), None),
            None => (first_line(&error), None),
        },
    };
    let of_key = || {
        let help = help_of(&flag.strip_prefix("--")?.replace('-', "_"))?;
        Some(format!("{flag}: {help}"))
    };
    let hint = hint.or_else(of_key).or_else(|| {
        Some(format!("`{program} --help` and `{program} COMMAND --help` list what there is"))
    });
    CliError::Usage { message, hint }
}

/// Whether an unknown argument was meant as a negative number.
fn is_number(argument: &str) -> bool {
    argument.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// What clap says, without its `error: ` and its usage lines.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
