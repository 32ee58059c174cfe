//! How the constraints stand, for people and plots.

use std::fmt;

use cpr_core::Report;

/// One constrained parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupReport {
    /// Its name.
    pub name: String,
    /// R, κ, λ, steps active, what the guard did.
    pub report: Report,
}

/// Every constrained parameter, in the order of the optimizer; prints as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Reports(pub Vec<GroupReport>);

impl Reports {
    /// The report of one parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Report> {
        self.0.iter().find(|group| group.name == name).map(|group| &group.report)
    }

    /// How many constraints act: λ > 0.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.iter().filter(|group| group.report.is_active()).count()
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["parameter", "R", "kappa", "lambda", "active steps", "guarded", "not finite"];
        let rows = self.0.iter().map(|GroupReport { name, report }| {
            [
                name.clone(),
                format!("{:.6e}", report.value),
                report.kappa.map_or_else(|| "not set".to_owned(), |kappa| format!("{kappa:.6e}")),
                format!("{:.6e}", report.lambda),
                format!("{}/{}", report.active_steps, report.step),
                report.guarded.to_string(),
                report.non_finite.to_string(),
            ]
        });
        write_table(f, head.map(str::to_owned), rows)?;
        writeln!(f, "{} of {} constraints act", self.active(), self.0.len())
    }
}

/// Columns as wide as their widest cell, the first one to the left.
pub(crate) fn write_table<const N: usize>(
    f: &mut impl fmt::Write,
    head: [String; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let rows: Vec<[String; N]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            if column == 0 {
                fmt::Write::write_fmt(&mut line, format_args!("{cell:<width$}"))?;
            } else {
                fmt::Write::write_fmt(&mut line, format_args!("  {cell:>width$}"))?;
            }
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
