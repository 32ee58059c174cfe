//! A JSON value together with its place, so that every complaint names where it stands.

use std::fmt;

use serde_json::{Map, Value};

use super::TrajectoryError;

/// Where a value stands, as a path from the root.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A value and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    value: &'a Value,
    place: Place<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, place: Place::Root }
    }

    /// The place, as a text.
    pub(super) fn at(&self) -> String {
        match self.place {
            Place::Root => "the file".to_owned(),
            place => place.to_string(),
        }
    }

    fn type_error(&self, expected: &'static str) -> TrajectoryError {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        TrajectoryError::Type { at: self.at(), found, expected }
    }

    pub(super) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    fn object(&self) -> Result<&'a Map<String, Value>, TrajectoryError> {
        self.value.as_object().ok_or_else(|| self.type_error("an object"))
    }

    /// The keys of an object, which must all be among the `supported`.
    pub(super) fn only(&self, supported: &[&str]) -> Result<(), TrajectoryError> {
        match self.object()?.keys().find(|key| !supported.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(TrajectoryError::Unknown {
                at: Place::Key(&self.place, key).to_string(),
                supported: if supported.is_empty() {
                    "none".to_owned()
                } else {
                    supported.join(", ")
                },
            }),
        }
    }

    /// The value of a key, if the key is there.
    pub(super) fn find<'b>(&'b self, key: &'b str) -> Result<Option<Node<'b>>, TrajectoryError> {
        let value = self.object()?.get(key);
        Ok(value.map(|value| Node { value, place: Place::Key(&self.place, key) }))
    }

    /// The value of a key that must be there.
    pub(super) fn get<'b>(&'b self, key: &'b str) -> Result<Node<'b>, TrajectoryError> {
        self.find(key)?.ok_or_else(|| TrajectoryError::Missing {
            at: Place::Key(&self.place, key).to_string(),
        })
    }

    /// Every entry of a list, read by `read`.
    pub(super) fn list<'b, T>(
        &'b self,
        mut read: impl FnMut(usize, Node<'b>) -> Result<T, TrajectoryError>,
    ) -> Result<Vec<T>, TrajectoryError> {
        let values = self.value.as_array().ok_or_else(|| self.type_error("a list"))?;
        values
            .iter()
            .enumerate()
            .map(|(i, value)| read(i, Node { value, place: Place::Index(&self.place, i) }))
            .collect()
    }

    /// Every entry of a list of known length.
    pub(super) fn list_of<'b, T>(
        &'b self,
        expected: usize,
        reason: &'static str,
        read: impl FnMut(usize, Node<'b>) -> Result<T, TrajectoryError>,
    ) -> Result<Vec<T>, TrajectoryError> {
        let values = self.value.as_array().ok_or_else(|| self.type_error("a list"))?;
        if values.len() != expected {
            return Err(TrajectoryError::Length {
                at: self.at(),
                given: values.len(),
                expected,
                reason,
            });
        }
        self.list(read)
    }

    /// A finite number.
    pub(super) fn number(&self) -> Result<f64, TrajectoryError> {
        let number = self.value.as_f64().ok_or_else(|| self.type_error("a number"))?;
        self.require(number, number.is_finite(), "finite")
    }

    /// A whole number, at least 0; `20.0` is one too.
    pub(super) fn count(&self) -> Result<u64, TrajectoryError> {
        if let Some(count) = self.value.as_u64() {
            return Ok(count);
        }
        const LIMIT: f64 = 9_007_199_254_740_992.0;
        let number = self.number()?;
        let whole = number >= 0.0 && number.fract() == 0.0 && number <= LIMIT;
        // Exact: a whole number up to 2^53.
        Ok(self.require(number, whole, "a whole number, at least 0")? as u64)
    }

    pub(super) fn boolean(&self) -> Result<bool, TrajectoryError> {
        self.value.as_bool().ok_or_else(|| self.type_error("true or false"))
    }

    pub(super) fn text(&self) -> Result<&'a str, TrajectoryError> {
        self.value.as_str().ok_or_else(|| self.type_error("a text"))
    }

    /// `given` where `holds`, else an error that names the `limit`.
    pub(super) fn require(
        &self,
        given: f64,
        holds: bool,
        limit: &'static str,
    ) -> Result<f64, TrajectoryError> {
        if holds {
            Ok(given)
        } else {
            Err(TrajectoryError::OutOfRange { at: self.at(), given, limit })
        }
    }

    /// The entry of `choices` that the text names.
    pub(super) fn choice<T: Copy>(
        &self,
        choices: &[(&str, T)],
        supported: &'static str,
    ) -> Result<T, TrajectoryError> {
        let given = self.text()?;
        choices.iter().find(|(name, _)| *name == given).map(|&(_, choice)| choice).ok_or_else(
            || TrajectoryError::Unsupported { at: self.at(), given: given.to_owned(), supported },
        )
    }
}
