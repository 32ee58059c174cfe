//! Runs that differ in their seed alone are one setting; settings that a person would draw together are one group.

use std::collections::BTreeSet;

use super::source::{RunData, Source};
use crate::sweep::plan::{plain, short};

/// Keys in which runs of one setting may differ.
const NOT_A_SETTING: [&str; 9] = [
    "seed",
    "out",
    "name",
    "threads",
    "checkpoint_every",
    "keep",
    "eval_every",
    "max_bad_steps",
    "skip_finite_check",
];

/// The runs of one setting.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    /// What it is called.
    pub(crate) label: String,
    /// The group that it belongs to.
    pub(crate) group: String,
    /// The keys in which it differs from others of its group, with its values.
    pub(crate) swept: Vec<(String, String)>,
    /// Its runs, by seed.
    pub(crate) runs: Vec<&'a RunData>,
}

impl Setting<'_> {
    /// The label without the group that a heading names.
    pub(crate) fn short(&self) -> &str {
        let rest = self.label.strip_prefix(&self.group).map(|rest| rest.trim_start_matches(", "));
        rest.filter(|rest| !rest.is_empty()).unwrap_or(&self.label)
    }

    /// The value of a swept key.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.swept.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The settings of all runs: those of sweeps in the order of their files, then those of single runs.
pub(crate) fn settings(sources: &[Source]) -> Vec<Setting<'_>> {
    let mut settings: Vec<Setting<'_>> = Vec::new();
    let mut single = Vec::new();
    for source in sources {
        let Some(manifest) = &source.manifest else {
            single.extend(&source.runs);
            continue;
        };
        for run in &source.runs {
            // Every run of the source was read because the manifest names it.
            if let Some(entry) = manifest.runs.iter().find(|entry| entry.name == run.name) {
                add(&mut settings, &entry.setting, &entry.group, entry.swept.clone(), run);
            }
        }
    }
    let varying = varying(&single);
    for run in single {
        let of = |key: &String| run.config.get(key);
        // Names of methods make the group, numbers are what is swept in it.
        let (words, swept): (Vec<_>, Vec<_>) = varying
            .iter()
            .filter_map(|key| Some((key.clone(), of(key)?)))
            .partition(|(_, value)| value.as_str().is_some_and(|text| number_in(text).is_none()));
        let words: Vec<_> = words.iter().map(|(_, value)| plain(value)).collect();
        let group = if words.is_empty() { "runs".to_owned() } else { words.join(", ") };
        let parts: Vec<_> = swept.iter().map(|(key, value)| short(key, value)).collect();
        let label = [vec![group.clone()], parts].concat().join(", ");
        let swept = swept.into_iter().map(|(key, value)| (key, plain(value))).collect();
        add(&mut settings, &label, &group, swept, run);
    }
    for setting in &mut settings {
        setting.runs.sort_by(|a, b| a.seed.cmp(&b.seed).then_with(|| a.name.cmp(&b.name)));
    }
    settings
}

fn add<'a>(
    settings: &mut Vec<Setting<'a>>,
    label: &str,
    group: &str,
    swept: Vec<(String, String)>,
    run: &'a RunData,
) {
    match settings.iter_mut().find(|setting| setting.label == label && setting.group == group) {
        Some(setting) => setting.runs.push(run),
        None => settings.push(Setting {
            label: label.to_owned(),
            group: group.to_owned(),
            swept,
            runs: vec![run],
        }),
    }
}

/// The keys of single runs in which they differ.
fn varying(runs: &[&RunData]) -> Vec<String> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.config.keys()).collect();
    let differs = |key: &str| {
        let mut values = runs.iter().map(|run| run.config.get(key));
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    keys.into_iter()
        .filter(|key| !NOT_A_SETTING.contains(&key.as_str()) && differs(key))
        .cloned()
        .collect()
}

/// The groups in the order in which they come first, each with its settings.
pub(crate) fn groups<'s, 'a>(settings: &'s [Setting<'a>]) -> Vec<(&'s str, Vec<&'s Setting<'a>>)> {
    let mut groups: Vec<(&str, Vec<&Setting<'a>>)> = Vec::new();
    for setting in settings {
        match groups.iter_mut().find(|(name, _)| *name == setting.group) {
            Some((_, members)) => members.push(setting),
            None => groups.push((&setting.group, vec![setting])),
        }
    }
    groups
}

/// What stands before the number of a value, and the number: `("dependent=", 0.8)` of `dependent=0.8`, `("", 3)` of
/// `3`, and `("warm-start=x", 2)` of `warm-start=2x`.
pub(crate) fn number_in(value: &str) -> Option<(String, f64)> {
    let (before, after) =
        value.split_once('=').map_or(("", value), |(before, after)| (before, after));
    let digits = after.trim_end_matches('x');
    let number: f64 = digits.parse().ok()?;
    let form = if before.is_empty() {
        String::new()
    } else {
        format!("{before}={}", &after[digits.len()..])
    };
    Some((form, number))
}
