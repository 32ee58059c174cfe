//! `cpr compare A B`: in what two runs differ, in configuration and in outcome.

use std::{collections::BTreeSet, path::Path};

use crate::{
    list::columns,
    observe::{LastLine, Row, read_jsonl},
    report::{ReportError, source::read_config},
    summary::number,
    sweep::{plan::plain, results::outcomes},
};

/// The differences of the runs in two folders: keys of their configurations, numbers of their summaries, and the first
/// step at which a metric differs. What is the same is left out, and said where it is all.
///
/// # Errors
/// [`ReportError`] where one is no run.
pub fn table(a: &Path, b: &Path) -> Result<String, ReportError> {
    let [one, two] = [read_config(a)?, read_config(b)?];
    let mut text = format!("A  {}\nB  {}\n\n", a.display(), b.display());
    let keys: BTreeSet<_> = one.keys().chain(two.keys()).collect();
    let value =
        |config: &toml::Table, key: &str| config.get(key).map_or_else(|| "-".to_owned(), plain);
    let mut rows = vec![["configuration", "A", "B"].map(str::to_owned)];
    let differing = keys.into_iter().filter(|key| one.get(*key) != two.get(*key));
    rows.extend(differing.map(|key| [key.clone(), value(&one, key), value(&two, key)]));
    text.push_str(&section(&rows, "configuration: the same"));

    match (outcomes(a), outcomes(b)) {
        (Some(one), Some(two)) => {
            let mut rows = vec![["outcome", "A", "B", "B - A"].map(str::to_owned)];
            let mut keys: Vec<&String> = one.keys().collect();
            keys.extend(two.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let [left, right] = [&one, &two]
                    .map(|outcomes| outcomes.get(key).and_then(serde_json::Value::as_f64));
                if left != right {
                    let difference = left.zip(right).map(|(left, right)| right - left);
                    rows.push([key.clone(), number(left), number(right), number(difference)]);
                }
            }
            text.push_str(&section(&rows, "outcome: the same"));
        }
        _ => text.push_str("outcome: a run has not ended yet\n\n"),
    }

    let rows = |run: &Path| read_jsonl(&run.join("metrics.jsonl"), LastLine::MayBeTorn);
    text.push_str(&first_difference(&rows(a)?, &rows(b)?));
    Ok(text)
}

fn section<const N: usize>(rows: &[[String; N]], same: &str) -> String {
    if rows.len() == 1 { format!("{same}\n\n") } else { format!("{}\n", columns(rows)) }
}

/// Where the metrics part.
fn first_difference(a: &[Row], b: &[Row]) -> String {
    for (one, two) in a.iter().zip(b) {
        if one.step != two.step {
            return format!(
                "metrics: evaluated at other steps, first at {} and {}\n",
                one.step, two.step
            );
        }
        let differs = |(name, value): &&(String, Option<f64>)| two.get(name) != *value;
        if let Some((name, value)) = one.scalars.iter().find(differs) {
            let (left, right) = (number(*value), number(two.get(name)));
            return format!(
                "metrics: the same before step {}, where {name} is {left} and {right}\n",
                one.step
            );
        }
    }
    match a.len() == b.len() {
        true => format!("metrics: the same at all {} evaluations\n", a.len()),
        false => format!(
            "metrics: the same at the {} evaluations that both have ({} and {})\n",
            a.len().min(b.len()),
            a.len(),
            b.len()
        ),
    }
}
