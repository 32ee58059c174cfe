//! Checks of an experiment's own keys that several experiments have.

use std::{fmt::Display, path::Path};

use super::{ConfigError, error::refused};

/// `Ok` where the value of a key `holds`; else it is refused with what is expected.
///
/// # Errors
/// [`ConfigError::Value`].
pub fn need(
    key: &str,
    value: &dyn Display,
    expected: &str,
    holds: bool,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(refused(key, value, expected)) }
}

/// A path has to be the name of a `what`, in UTF-8, for it is stored as text.
///
/// # Errors
/// [`ConfigError::Value`].
pub fn path(key: &str, path: &Path, what: &str) -> Result<(), ConfigError> {
    let named = path.to_str().is_some_and(|name| !name.is_empty());
    need(key, &format!("{path:?}"), &format!("it must be the name of a {what}, in UTF-8"), named)
}
