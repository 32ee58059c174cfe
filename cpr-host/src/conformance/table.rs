//! The outcomes of many files, as a table for people and as JSON for programs.

use std::{
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use super::{Checks, ConformanceError, Peak, Precision, Report, Tolerance};

/// One file's line.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    file: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Replayed(Box<Report>),
    Refused { passed: bool, error: String },
}

impl Row {
    pub(super) fn new(path: &Path, checked: Result<Report, ConformanceError>) -> Self {
        let outcome = match checked {
            Ok(report) => Outcome::Replayed(Box::new(report)),
            Err(error) => Outcome::Refused { passed: false, error: error.to_string() },
        };
        Self { file: path.display().to_string(), outcome }
    }

    fn report(&self) -> Option<&Report> {
        match &self.outcome {
            Outcome::Replayed(report) => Some(report),
            Outcome::Refused { .. } => None,
        }
    }
}

/// The largest deviations among the files of one kind and precision.
#[derive(Debug, Serialize)]
struct Largest {
    kind: &'static str,
    precision: Precision,
    files: usize,
    theta: Option<f64>,
    lambda: Option<f64>,
    kappa: Option<f64>,
    reg: Option<f64>,
    moments: Option<f64>,
}

/// All files.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) passed: bool,
    files: Vec<Row>,
    largest: Vec<Largest>,
}

impl Summary {
    pub(super) fn new(files: Vec<Row>) -> Self {
        let reports: Vec<&Report> = files.iter().filter_map(Row::report).collect();
        let mut groups: Vec<(&'static str, Precision)> =
            reports.iter().map(|report| (report.kind, report.precision)).collect();
        groups.sort_unstable();
        groups.dedup();
        let largest = groups
            .into_iter()
            .map(|(kind, precision)| {
                let of_group =
                    || reports.iter().filter(move |r| r.kind == kind && r.precision == precision);
                let top = |quantity: fn(&Checks) -> &Option<Peak>| {
                    of_group()
                        .filter_map(|r| quantity(&r.largest).as_ref())
                        .map(|peak| peak.deviation)
                        .reduce(f64::max)
                };
                Largest {
                    kind,
                    precision,
                    files: of_group().count(),
                    theta: top(|checks| &checks.theta),
                    lambda: top(|checks| &checks.lambda),
                    kappa: top(|checks| &checks.kappa),
                    reg: top(|checks| &checks.reg),
                    moments: top(|checks| &checks.moments),
                }
            })
            .collect();
        let passed = files.iter().all(|row| row.report().is_some_and(|report| report.passed));
        Self { passed, files, largest }
    }

    pub(super) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    pub(super) fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "Largest |a - b|/max(1, |b|), a replayed, b recorded; @step parameter[element]."
        )?;
        let head =
            ["", "kind", "type", "tolerance", "theta", "lambda", "kappa", "R", "moments", "file"];
        let mut lines = vec![head.map(str::to_owned)];
        for row in &self.files {
            lines.push(match &row.outcome {
                Outcome::Refused { .. } => {
                    let mut line = [const { String::new() }; 10];
                    line[0] = "error".to_owned();
                    line[9].clone_from(&row.file);
                    line
                }
                Outcome::Replayed(report) => {
                    let Tolerance { theta, constraint } = report.tolerance;
                    let Checks { theta: t, lambda, kappa, reg, moments } = &report.largest;
                    [
                        if report.passed { "pass" } else { "FAIL" }.to_owned(),
                        report.kind.to_owned(),
                        report.precision.to_string(),
                        if theta == constraint {
                            format!("{theta:.1e}")
                        } else {
                            format!("{theta:.1e} / {constraint:.1e}")
                        },
                        cell(t.as_ref()),
                        cell(lambda.as_ref()),
                        cell(kappa.as_ref()),
                        cell(reg.as_ref()),
                        cell(moments.as_ref()),
                        row.file.clone(),
                    ]
                }
            });
        }
        write_columns(out, &lines)?;

        for row in &self.files {
            match &row.outcome {
                Outcome::Refused { error, .. } => writeln!(out, "error: {error}")?,
                Outcome::Replayed(report) => {
                    for complaint in report.complaints() {
                        writeln!(out, "FAIL: {}: {complaint}", row.file)?;
                    }
                }
            }
        }

        writeln!(out)?;
        let head = ["kind", "type", "files", "theta", "lambda", "kappa", "R", "moments"];
        let mut lines = vec![head.map(str::to_owned)];
        let largest = |top: Option<f64>| top.map_or("-".to_owned(), |top| format!("{top:.1e}"));
        lines.extend(self.largest.iter().map(|l| {
            [
                l.kind.to_owned(),
                l.precision.to_string(),
                l.files.to_string(),
                largest(l.theta),
                largest(l.lambda),
                largest(l.kappa),
                largest(l.reg),
                largest(l.moments),
            ]
        }));
        write_columns(out, &lines)?;

        let refused = self.files.iter().filter(|row| row.report().is_none()).count();
        let passed = self.files.iter().filter_map(Row::report).filter(|r| r.passed).count();
        let failed = self.files.len() - refused - passed;
        writeln!(out, "{passed} passed, {failed} failed, {refused} could not be checked")
    }
}

/// Left-aligned columns, two spaces apart, without trailing spaces.
fn write_columns<const N: usize>(out: &mut dyn Write, lines: &[[String; N]]) -> io::Result<()> {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: [usize; N] = core::array::from_fn(|column| width(column).unwrap_or(0));
    for line in lines {
        let cells: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// As a cell of the table: deviation, step, parameter and element.
fn cell(peak: Option<&Peak>) -> String {
    match peak {
        None => "-".to_owned(),
        Some(Peak { deviation, .. }) if *deviation == 0.0 => "0".to_owned(),
        Some(Peak { deviation, step, parameter, element: Some(element), .. }) => {
            format!("{deviation:.1e} @{step} {parameter}[{element}]")
        }
        Some(Peak { deviation, step, parameter, element: None, .. }) => {
            format!("{deviation:.1e} @{step} {parameter}")
        }
    }
}
