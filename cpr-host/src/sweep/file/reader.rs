//! Values of a sweep's file, and where they stand.

use std::{collections::BTreeMap, path::Path};

use toml::{Table, Value};

use super::Group;
use crate::{
    config::nearest,
    sweep::{
        Place, SweepError,
        law::{Form, Law},
    },
};

/// Keys of a group.
const GROUP: &[&str] = &["name", "set", "grid", "random", "samples", "draw_seed", "seeds"];
/// Keys of a law.
const LAW: &[&str] = &["linear", "log", "integer", "choice", "form"];
/// What the sweep sets itself, and where that is said in its file.
const OWN: &[(&str, &str)] = &[
    ("seed", "list the seeds in `seeds`"),
    ("name", "a run is named after its group, its swept keys and its seed"),
    ("out", "`out` belongs at the top of the file, for all runs"),
    ("threads", "`threads` belongs at the top of the file, for all runs"),
];
/// Reads values and knows where they stand.
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    pub(super) lines: &'a BTreeMap<String, usize>,
    /// Keys of the experiment.
    pub(super) keys: Vec<String>,
    pub(super) experiment: String,
}

impl Reader<'_> {
    fn place(&self, key: &str) -> Place {
        // A value inside an inline table or array may have no entry of its own.
        let mut key = key;
        let line = loop {
            if let Some(line) = self.lines.get(key) {
                break *line;
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => break 1,
            }
        };
        Place { path: self.path.to_owned(), line }
    }

    pub(super) fn value(&self, key: &str, expected: impl Into<String>) -> SweepError {
        SweepError::Value { place: self.place(key), key: key.to_owned(), expected: expected.into() }
    }

    pub(super) fn known(
        &self,
        prefix: &str,
        table: &Table,
        known: &[&str],
    ) -> Result<(), SweepError> {
        let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let mut listed = format!("the keys here are {}", known.join(", "));
        if self.keys.contains(key) || (prefix.is_empty() && self.keys.is_empty()) {
            listed.push_str("; what the experiment is given goes into `set` or `grid`");
        }
        Err(SweepError::UnknownKey {
            place: self.place(&format!("{prefix}{key}")),
            key: key.clone(),
            nearest: nearest(key, known.iter().copied()),
            known: listed,
        })
    }

    /// A key of the experiment that a sweep may set.
    fn own_key(&self, at: &str, key: &str) -> Result<(), SweepError> {
        if let Some((_, instead)) = OWN.iter().find(|(own, _)| *own == key) {
            return Err(self.value(at, format!("a sweep sets it itself: {instead}")));
        }
        if self.keys.iter().any(|known| known == key) {
            return Ok(());
        }
        Err(SweepError::UnknownKey {
            place: self.place(at),
            key: key.to_owned(),
            nearest: nearest(key, self.keys.iter().map(String::as_str)),
            known: format!("`cpr {} --help` lists the keys", self.experiment),
        })
    }

    pub(super) fn text(
        &self,
        table: &Table,
        prefix: &str,
        key: &str,
    ) -> Result<Option<String>, SweepError> {
        match table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(self.value(&format!("{prefix}{key}"), "expected a text in quotes")),
        }
    }

    pub(super) fn count(
        &self,
        table: &Table,
        prefix: &str,
        key: &str,
        most: usize,
    ) -> Result<Option<usize>, SweepError> {
        let Some(value) = table.get(key) else { return Ok(None) };
        let count = value.as_integer().and_then(|count| usize::try_from(count).ok());
        match count.filter(|count| (1..=most).contains(count)) {
            Some(count) => Ok(Some(count)),
            None => Err(self
                .value(&format!("{prefix}{key}"), format!("expected a whole number, 1 to {most}"))),
        }
    }

    /// A table inside another, empty where it is missing.
    fn table<'t>(
        &self,
        table: &'t Table,
        prefix: &str,
        key: &str,
    ) -> Result<Option<&'t Table>, SweepError> {
        match table.get(key) {
            None => Ok(None),
            Some(Value::Table(inner)) => Ok(Some(inner)),
            Some(_) => {
                Err(self.value(&format!("{prefix}{key}"), "expected a table: { key = value, … }"))
            }
        }
    }

    pub(super) fn settings(
        &self,
        table: &Table,
        prefix: &str,
        key: &str,
    ) -> Result<Table, SweepError> {
        let Some(set) = self.table(table, prefix, key)? else { return Ok(Table::new()) };
        for (name, value) in set {
            let at = format!("{prefix}{key}.{name}");
            self.own_key(&at, name)?;
            if matches!(value, Value::Table(_) | Value::Array(_)) {
                return Err(self.value(&at, "one value is expected here; several go into `grid`"));
            }
        }
        Ok(set.clone())
    }

    pub(super) fn seeds(
        &self,
        table: &Table,
        prefix: &str,
    ) -> Result<Option<Vec<u64>>, SweepError> {
        let at = format!("{prefix}seeds");
        let expected =
            "expected a count, 1 to 10000, or a list of different whole numbers, 0 or more";
        let seeds: Option<Vec<u64>> = match table.get("seeds") {
            None => return Ok(None),
            Some(Value::Integer(count)) => u64::try_from(*count)
                .ok()
                .filter(|count| *count <= 10_000)
                .map(|count| (1..=count).collect()),
            Some(Value::Array(list)) => list
                .iter()
                .map(|seed| seed.as_integer().and_then(|seed| u64::try_from(seed).ok()))
                .collect(),
            Some(_) => None,
        };
        let distinct = |seeds: &Vec<u64>| {
            let mut sorted = seeds.clone();
            sorted.sort_unstable();
            sorted.dedup();
            !seeds.is_empty() && sorted.len() == seeds.len()
        };
        seeds.filter(distinct).map(Some).ok_or_else(|| self.value(&at, expected))
    }

    pub(super) fn group(
        &self,
        index: usize,
        value: &Value,
        seeds: &[u64],
    ) -> Result<Group, SweepError> {
        let prefix = &format!("group[{index}].");
        let Value::Table(table) = value else {
            return Err(self.value("group", "each group is a table: write [[group]]"));
        };
        self.known(prefix, table, GROUP)?;
        let place = self.place(&format!("group[{index}]"));
        let Some(name) = self.text(table, prefix, "name")? else {
            let expected =
                "the group has no `name`: give it one, for tables and the names of its runs";
            return Err(SweepError::Value {
                place,
                key: format!("group[{index}]"),
                expected: expected.to_owned(),
            });
        };
        let set = self.settings(table, prefix, "set")?;
        let mut grid = Vec::new();
        for (key, values) in self.table(table, prefix, "grid")?.into_iter().flatten() {
            let at = format!("{prefix}grid.{key}");
            self.own_key(&at, key)?;
            grid.push((key.clone(), self.values(&at, values)?));
        }
        let mut random = Vec::new();
        for (key, law) in self.table(table, prefix, "random")?.into_iter().flatten() {
            let at = format!("{prefix}random.{key}");
            self.own_key(&at, key)?;
            random.push((key.clone(), self.law(&at, law)?));
        }
        let swept: Vec<_> =
            grid.iter().map(|(key, _)| key).chain(random.iter().map(|(key, _)| key)).collect();
        for (place, key) in swept.iter().enumerate() {
            if set.contains_key(*key) || swept[..place].contains(key) {
                let expected =
                    "it is given twice in the group: leave it in one of `set`, `grid`, `random`";
                return Err(self.value(&format!("{prefix}grid.{key}"), expected));
            }
        }
        let samples = self.count(table, prefix, "samples", 100_000)?;
        if samples.is_none() != random.is_empty() {
            let expected =
                "`random` and `samples` go together: the laws, and how many draws of them";
            return Err(self.value(
                &format!("{prefix}{}", if random.is_empty() { "samples" } else { "random" }),
                expected,
            ));
        }
        let draw_seed = match table.get("draw_seed") {
            None => 1,
            Some(seed) => {
                seed.as_integer().and_then(|seed| u64::try_from(seed).ok()).ok_or_else(|| {
                    self.value(&format!("{prefix}draw_seed"), "expected a whole number, 0 or more")
                })?
            }
        };
        let seeds = self.seeds(table, prefix)?.unwrap_or_else(|| seeds.to_vec());
        Ok(Group {
            name,
            place,
            set,
            grid,
            random,
            samples: samples.unwrap_or(1),
            draw_seed,
            seeds,
        })
    }

    /// The values of a swept key.
    fn values(&self, at: &str, values: &Value) -> Result<Vec<Value>, SweepError> {
        let expected = "expected a list of different values";
        let Value::Array(values) = values else { return Err(self.value(at, expected)) };
        let flat = values.iter().all(|value| !matches!(value, Value::Array(_) | Value::Table(_)));
        let distinct =
            values.iter().enumerate().all(|(place, value)| !values[..place].contains(value));
        if values.is_empty() || !flat || !distinct {
            return Err(self.value(at, expected));
        }
        Ok(values.clone())
    }

    fn law(&self, at: &str, law: &Value) -> Result<Law, SweepError> {
        let expected = "expected one of { linear = [low, high] }, { log = [low, high] }, { integer = [low, high] } or \
                        { choice = [values] }; the first three with form = \"text={}\" where the value is a text";
        let Value::Table(table) = law else { return Err(self.value(at, expected)) };
        self.known(&format!("{at}."), table, LAW)?;
        let form = match table.get("form") {
            None => Form::Number,
            Some(Value::String(form)) if form.matches("{}").count() == 1 => {
                Form::Text(form.clone())
            }
            Some(_) => return Err(self.value(at, "`form` is a text with one {} for the number")),
        };
        if table.len() != 1 + usize::from(form != Form::Number) {
            return Err(self.value(at, expected));
        }
        if let Some(values) = table.get("choice") {
            if form != Form::Number {
                return Err(self.value(at, "`form` goes with numbers, not with `choice`"));
            }
            return Ok(Law::Choice(self.values(at, values)?));
        }
        let number = |value: &Value| {
            value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
        };
        let range = table.iter().find(|(key, _)| *key != "form").and_then(|(kind, range)| {
            let [low, high] = range.as_array()?.as_slice() else { return None };
            Some((kind.as_str(), number(low)?, number(high)?))
        });
        match range {
            Some(("linear", low, high)) if low < high && (high - low).is_finite() => Ok(Law::Linear { low, high, form }),
            Some(("log", low, high)) if 0.0 < low && low < high && high.is_finite() => Ok(Law::Log { low, high, form }),
            Some(("integer", low, high)) if low < high && low.fract() == 0.0 && high.fract() == 0.0 && low.abs().max(high.abs()) <= 1e15 => {
                Ok(Law::Integer { low: low as i64, high: high as i64, form })
            }
            Some((_, low, high)) => {
                Err(self.value(at, format!("[{low}, {high}]: expected a low and a high end that are finite, the low one first; above 0 for `log`, whole for `integer`")))
            }
            None => Err(self.value(at, expected)),
        }
    }
}
