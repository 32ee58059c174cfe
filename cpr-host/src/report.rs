//! `cpr report DIR…`: tables and plots of many runs, as one page without any network, as Markdown and as CSV.
//!
//! A report is a pure function of the folders: everything is sorted, no clock is asked, and the same input gives the
//! same bytes. A plot appears where its data are, and nowhere else.

mod chart;
mod curve;
mod error;
mod figure;
mod outcome;
mod page;
mod setting;
pub(crate) mod source;
mod strip;
mod table;
mod tables;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use error::ReportError;

use self::{
    figure::{name_apart, sections},
    outcome::{Outcome, default_metric, outcomes},
    page::Page,
    setting::{Setting, settings},
    source::Source,
};
use crate::{run_folder::replace, store::Shared};

/// What a report is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportPlan {
    /// Folders of sweeps, of runs, or that hold runs; at least one.
    pub sources: Vec<PathBuf>,
    /// Where it goes; `None` for `report` in the first source.
    pub out: Option<PathBuf>,
    /// The outcome that it is about; `None` for that of the sweep, or the usual one of the experiment.
    pub metric: Option<String>,
    /// The setting, or the first setting of the group, that others are compared with; `None` for that of the sweep, or
    /// the first.
    pub baseline: Option<String>,
}

/// A report that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// Runs in it.
    pub runs: usize,
    /// Names of the runs that are left out because they have not ended or failed.
    pub left_out: Vec<String>,
    /// Plots in it.
    pub plots: usize,
    /// The main table, as Markdown.
    pub summary: String,
}

/// Makes a report: `report.html`, `report.md`, a CSV file for each table, and each plot with its data in `figures/`.
///
/// # Errors
/// [`ReportError`].
pub fn write(plan: &ReportPlan) -> Result<Written, ReportError> {
    let sources: Vec<Source> =
        plan.sources.iter().map(|path| Source::read(path)).collect::<Result<_, _>>()?;
    let out = match (&plan.out, plan.sources.first()) {
        (Some(out), _) => out.clone(),
        (None, Some(first)) => first.join("report"),
        (None, None) => PathBuf::from("report"),
    };
    let runs = sources.iter().map(|source| source.runs.len()).sum();
    let left_out: Vec<String> = sources.iter().flat_map(|source| source.left_out.clone()).collect();
    let page = page(plan, &sources, runs, &left_out)?;
    let figures = out.join("figures");
    fs::create_dir_all(&figures).map_err(ReportError::io("make the folder", &figures))?;
    let write = |path: &Path, text: &str| {
        replace(&mut Shared::default(), path, text.as_bytes())
            .map_err(ReportError::io("write", path))
    };
    let mut plots = 0;
    for plot in page.sections.iter().flat_map(|section| &section.plots) {
        write(&figures.join(format!("{}.svg", plot.id)), &page::alone(plot))?;
        write(&figures.join(format!("{}.csv", plot.id)), &plot.data.csv())?;
        plots += 1;
    }
    for table in &page.tables {
        write(&out.join(format!("{}.csv", table.id)), &table.data.csv())?;
    }
    write(&out.join("report.md"), &page.markdown())?;
    let html = out.join("report.html");
    write(&html, &page.html())?;
    let summary = page.tables.first().map_or_else(String::new, |table| table.table.markdown());
    Ok(Written { page: html, runs, left_out, plots, summary })
}

/// The main table of one folder, as Markdown: what a sweep says at its end. Empty where no run has ended.
///
/// # Errors
/// [`ReportError`].
pub fn summary(source: &Path) -> Result<String, ReportError> {
    let plan = ReportPlan { sources: vec![source.to_owned()], ..ReportPlan::default() };
    let sources = [Source::read(source)?];
    if sources[0].runs.is_empty() {
        return Ok(String::new());
    }
    let settings = settings(&sources);
    let outcomes = outcomes(&settings);
    let metric = metric(&plan, &sources, &outcomes)?;
    Ok(tables::summary(&settings, &metric).table.markdown())
}

fn page(
    plan: &ReportPlan,
    sources: &[Source],
    runs: usize,
    left_out: &[String],
) -> Result<Page, ReportError> {
    let shown_sources: Vec<_> =
        sources.iter().map(|source| source.path.display().to_string()).collect();
    if runs == 0 {
        return Err(ReportError::NoneEnded {
            path: shown_sources.join(", "),
            count: left_out.len(),
        });
    }
    let settings = settings(sources);
    let outcomes = outcomes(&settings);
    let metric = metric(plan, sources, &outcomes)?;
    let baseline = baseline(plan, sources, &settings)?;
    let mut sections = sections(&settings, &metric, &outcomes);
    name_apart(&mut sections);

    let mut lead = vec![format!(
        "{runs} runs in {} settings; the metric is {} ({}).",
        settings.len(),
        metric.title,
        metric.key
    )];
    if !left_out.is_empty() {
        lead.push(format!(
            "Left out, because they have not ended or have failed: {}.",
            left_out.join(", ")
        ));
    }
    let mut commands: Vec<String> = sources
        .iter()
        .filter_map(|source| Some(source.manifest.as_ref()?.command.clone()))
        .collect();
    let mut command = format!("cpr report {}", shown_sources.join(" "));
    for (flag, value) in [("--metric", &plan.metric), ("--baseline", &plan.baseline)] {
        if let Some(value) = value {
            command.push_str(&format!(" {flag} '{value}'"));
        }
    }
    commands.push(command);
    let names: Vec<_> = sources.iter().map(|source| source::name_of(&source.path)).collect();
    let tables = tables::tables(&settings, &metric, &outcomes, baseline);
    Ok(Page { title: format!("Runs of {}", names.join(", ")), lead, commands, tables, sections })
}

/// The outcome that the report is about.
fn metric(
    plan: &ReportPlan,
    sources: &[Source],
    outcomes: &[Outcome],
) -> Result<Outcome, ReportError> {
    let of_sweep = || sources.iter().find_map(|source| source.manifest.as_ref()?.metric.clone());
    let known =
        || outcomes.iter().map(|outcome| outcome.key.as_str()).collect::<Vec<_>>().join(", ");
    match plan.metric.clone().or_else(of_sweep) {
        Some(metric) => outcomes
            .iter()
            .find(|outcome| outcome.key == metric)
            .cloned()
            .ok_or_else(|| ReportError::NoMetric { metric, known: known() }),
        None => default_metric(outcomes)
            .cloned()
            .ok_or_else(|| ReportError::NoMetric { metric: String::new(), known: known() }),
    }
}

/// The setting that others are compared with.
fn baseline<'s, 'a>(
    plan: &ReportPlan,
    sources: &[Source],
    settings: &'s [Setting<'a>],
) -> Result<&'s Setting<'a>, ReportError> {
    let of_sweep = || sources.iter().find_map(|source| source.manifest.as_ref()?.baseline.clone());
    let no_baseline = |baseline: String| {
        let known =
            settings.iter().map(|setting| setting.label.as_str()).collect::<Vec<_>>().join("; ");
        ReportError::NoBaseline { baseline, known }
    };
    match plan.baseline.clone().or_else(of_sweep) {
        Some(baseline) => settings
            .iter()
            .find(|setting| setting.label == baseline)
            .or_else(|| settings.iter().find(|setting| setting.group == baseline))
            .ok_or_else(|| no_baseline(baseline)),
        None => settings.first().ok_or_else(|| no_baseline(String::new())),
    }
}
