//! The tables of a report: the metric of each setting, comparisons with a baseline, all outcomes.

use super::{
    figure::{exact, shown},
    outcome::Outcome,
    setting::Setting,
    table::Table,
};
use crate::stats::{Sample, holm, mann_whitney, paired_differences, signed_rank};

/// A table with the sentences that say how to read it.
#[derive(Clone, Debug)]
pub(crate) struct Titled {
    /// Name of its file.
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) note: String,
    /// As people read it.
    pub(crate) table: Table,
    /// As programs read it: more digits, a column a number.
    pub(crate) data: Table,
}

const DASH: &str = "–";

fn or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| DASH.to_owned(), shown)
}

fn probability(p: Option<f64>) -> String {
    match p {
        None => DASH.to_owned(),
        Some(p) if p < 1e-4 => format!("{p:.0e}"),
        Some(p) => format!("{p:.4}"),
    }
}

/// All tables.
pub(crate) fn tables(
    settings: &[Setting<'_>],
    metric: &Outcome,
    outcomes: &[Outcome],
    baseline: &Setting<'_>,
) -> Vec<Titled> {
    let mut tables = vec![summary(settings, metric)];
    if settings.len() > 1 {
        tables.push(comparisons(settings, metric, baseline));
    }
    tables.push(every(settings, outcomes));
    tables
}

pub(crate) fn summary(settings: &[Setting<'_>], metric: &Outcome) -> Titled {
    let mut head = vec!["setting", "runs"];
    if metric.can_be_never {
        head.push("reached");
    }
    head.extend(["mean", "95 % interval", "std", "median", "lowest", "highest"]);
    let mut table = Table::new(head);
    let mut data = Table::new([
        "setting", "n", "reached", "mean", "low", "high", "std", "median", "min", "max",
    ]);
    for setting in settings {
        let sample = Sample::of(&metric.numbers(setting));
        let reached = sample.sorted().iter().filter(|value| value.is_finite()).count();
        let interval = sample.interval();
        let (lowest, highest) = (sample.sorted().first().copied(), sample.sorted().last().copied());
        let mut row = vec![setting.label.clone(), sample.len().to_string()];
        if metric.can_be_never {
            row.push(reached.to_string());
        }
        row.push(or_dash(sample.mean()));
        row.push(interval.map_or_else(
            || DASH.to_owned(),
            |at| format!("{} … {}", shown(at.low()), shown(at.high())),
        ));
        row.extend([sample.deviation(), sample.median(), lowest, highest].map(or_dash));
        table.rows.push(row);
        let counts = vec![setting.label.clone(), sample.len().to_string(), reached.to_string()];
        let numbers = [
            sample.mean(),
            interval.map(|at| at.low()),
            interval.map(|at| at.high()),
            sample.deviation(),
            sample.median(),
            lowest,
            highest,
        ];
        data.rows.push([counts, numbers.map(exact).to_vec()].concat());
    }
    let mut note = "The interval is the 95 % t-interval of the mean over seeds.".to_owned();
    if metric.can_be_never {
        note.push_str(" Where a seed never got there, there is no mean; the median counts it as later than any other.");
    }
    Titled { id: "summary", title: metric.title.clone(), note, table, data }
}

fn comparisons(settings: &[Setting<'_>], metric: &Outcome, baseline: &Setting<'_>) -> Titled {
    let head = [
        "setting",
        "pairs",
        "mean difference",
        "95 % interval",
        "median difference",
        "signed-rank p",
        "Mann–Whitney p",
        "p, Holm",
    ];
    let mut table = Table::new(head);
    let mut data = Table::new([
        "setting",
        "pairs",
        "mean_difference",
        "low",
        "high",
        "median_difference",
        "signed_rank_p",
        "mann_whitney_p",
        "mann_whitney_p_holm",
    ]);
    let base = metric.values(baseline);
    let base_numbers = metric.numbers(baseline);
    let others: Vec<_> =
        settings.iter().filter(|setting| !std::ptr::eq(*setting, baseline)).collect();
    let unpaired: Vec<Option<f64>> = others
        .iter()
        .map(|setting| mann_whitney(&metric.numbers(setting), &base_numbers))
        .collect();
    let mut corrected = holm(&unpaired.iter().flatten().copied().collect::<Vec<_>>()).into_iter();
    for (setting, unpaired) in others.iter().zip(unpaired) {
        let corrected = unpaired.and_then(|_| corrected.next());
        let differences = paired_differences(&metric.values(setting), &base);
        let sample = Sample::of(&differences);
        let interval = sample.interval();
        let paired = signed_rank(&differences);
        let around = interval.map_or_else(
            || DASH.to_owned(),
            |at| format!("{} … {}", shown(at.low()), shown(at.high())),
        );
        let median = sample.median();
        let ps = [paired, unpaired, corrected];
        table.rows.push(
            [
                vec![
                    setting.label.clone(),
                    sample.len().to_string(),
                    or_dash(sample.mean()),
                    around,
                    median.map_or_else(|| DASH.to_owned(), difference),
                ],
                ps.map(probability).to_vec(),
            ]
            .concat(),
        );
        let numbers =
            [sample.mean(), interval.map(|at| at.low()), interval.map(|at| at.high()), median];
        data.rows.push(
            [
                vec![setting.label.clone(), sample.len().to_string()],
                numbers.map(exact).to_vec(),
                ps.map(exact).to_vec(),
            ]
            .concat(),
        );
    }
    let note = format!(
        "Differences from {} on equal seeds. The signed-rank test is of the pairs, the test of Mann and Whitney of the two samples; \
         both are exact and two-sided (with 5 pairs the first cannot go below 0.0625). Holm's correction is for the {} rows.",
        baseline.label,
        others.len()
    );
    Titled {
        id: "comparisons",
        title: format!("Compared with {}", baseline.label),
        note,
        table,
        data,
    }
}

/// A difference; an infinite one says which of the two never got there.
fn difference(value: f64) -> String {
    if value == f64::INFINITY {
        "never got there".to_owned()
    } else if value == f64::NEG_INFINITY {
        "the baseline never got there".to_owned()
    } else {
        shown(value)
    }
}

fn every(settings: &[Setting<'_>], outcomes: &[Outcome]) -> Titled {
    let mut table = Table::new(
        ["setting".to_owned()]
            .into_iter()
            .chain(outcomes.iter().map(|outcome| outcome.key.clone())),
    );
    let mut data = Table::new(["setting", "outcome", "n", "mean", "low", "high", "std", "median"]);
    for setting in settings {
        let mut row = vec![setting.label.clone()];
        for outcome in outcomes {
            let sample = Sample::of(&outcome.numbers(setting));
            let interval = sample.interval();
            row.push(match (sample.mean(), interval) {
                (Some(mean), Some(at)) if at.half_width > 0.0 => {
                    format!("{} ± {}", shown(mean), shown(at.half_width))
                }
                (Some(mean), _) => shown(mean),
                (None, _) => sample
                    .median()
                    .map_or_else(|| DASH.to_owned(), |median| format!("~{}", shown(median))),
            });
            let numbers = [
                sample.mean(),
                interval.map(|at| at.low()),
                interval.map(|at| at.high()),
                sample.deviation(),
                sample.median(),
            ];
            let counts = vec![setting.label.clone(), outcome.key.clone(), sample.len().to_string()];
            data.rows.push([counts, numbers.map(exact).to_vec()].concat());
        }
        table.rows.push(row);
    }
    let note =
        "Mean ± half of the 95 % t-interval; ~ is a median, where some seeds never got there."
            .to_owned();
    Titled { id: "outcomes", title: "All outcomes".to_owned(), note, table, data }
}
