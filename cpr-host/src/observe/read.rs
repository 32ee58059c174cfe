//! From a metrics file back to rows.

use std::{fs, path::Path};

use serde_json::{Map, Value};

use super::{ObserveError, Row};

/// What to do about a last line that has no line feed or is no JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLine {
    /// It is an error, as in every other line.
    Whole,
    /// It is left out: the file of a run that was killed, or still writes.
    MayBeTorn,
}

/// Reads the rows of a `metrics.jsonl` or `timing.jsonl`; `null` becomes `None`.
///
/// # Errors
///
/// When the file cannot be read, or when a line is not an object with an integer `step` and numbers
/// or nulls otherwise. `last` says whether that goes for the last line too.
pub fn read_jsonl(path: &Path, last: LastLine) -> Result<Vec<Row>, ObserveError> {
    let bytes = fs::read(path).map_err(|source| ObserveError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    rows(path, &bytes, last)
}

/// The rows in the bytes of a file; `path` is for the message alone.
pub(super) fn rows(path: &Path, bytes: &[u8], last: LastLine) -> Result<Vec<Row>, ObserveError> {
    let mut rows = Vec::new();
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        match row(line) {
            Ok(row) => rows.push(row),
            Err(_) if last == LastLine::MayBeTorn && lines.peek().is_none() => {}
            Err(reason) => {
                let path = path.to_owned();
                return Err(ObserveError::Malformed { path, line: index + 1, reason });
            }
        }
    }
    Ok(rows)
}

fn row(line: &[u8]) -> Result<Row, String> {
    let Some(object) = line.strip_suffix(b"\n") else {
        return Err("the line has no end".to_owned());
    };
    let object: Map<String, Value> =
        serde_json::from_slice(object).map_err(|error| format!("not a JSON object ({error})"))?;
    let step = object.get("step").and_then(Value::as_u64);
    let step = step.ok_or("there is no integer under `step`")?;
    let mut scalars = Vec::with_capacity(object.len());
    for (name, value) in object {
        let value = match value {
            _ if name == "step" => continue,
            Value::Null => None,
            Value::Number(number) => number.as_f64(),
            _ => {
                return Err(format!("the value of `{name}` is neither a number nor null"));
            }
        };
        scalars.push((name, value));
    }
    Ok(Row { step, scalars })
}
