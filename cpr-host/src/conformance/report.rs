//! Deviations and where they stand.

use std::fmt;

use cpr_core::Real;
use serde::Serialize;

use super::format::Trajectory;

/// The float type of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single.
    F32,
    /// Double.
    F64,
}

impl Precision {
    /// The number of this precision nearest to `value`, as f64.
    #[must_use]
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::F32 => f32::from_f64(value).to_f64(),
            Self::F64 => value,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// What |a − b|/max(1, |b|) may reach. Never purely relative: recordings hold subnormal weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// Of θ and of the moments.
    pub theta: f64,
    /// Of λ, κ and R.
    pub constraint: f64,
}

impl Tolerance {
    /// 1e-9 in f64; in f32 t = max(3e-6, 30·`conditioning`) and 3t, where `conditioning` is how far the two
    /// precisions of the reference itself are apart.
    #[must_use]
    pub fn of(precision: Precision, conditioning: f64) -> Self {
        match precision {
            Precision::F64 => Self { theta: 1e-9, constraint: 1e-9 },
            Precision::F32 => {
                let t = (30.0 * conditioning).max(3e-6);
                Self { theta: t, constraint: 3.0 * t }
            }
        }
    }
}

/// The largest deviation of one quantity, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// |a − b|/max(1, |b|); ∞ (in JSON null) where either is not finite and they differ.
    pub deviation: f64,
    /// The 1-based step.
    pub step: u64,
    /// The parameter's name; for moments with the name of the buffer.
    pub parameter: String,
    /// The element's row-major index; none for λ, κ and R.
    pub element: Option<usize>,
    /// a, what the replay has.
    pub replayed: f64,
    /// b, what the file has; κ in the units of R.
    pub recorded: f64,
}

/// Where a number was compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) step: u64,
    pub(super) parameter: &'a str,
    pub(super) element: Option<usize>,
}

/// The largest deviation of each quantity; `None` where nothing was recorded of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Checks {
    /// Parameters.
    pub theta: Option<Peak>,
    /// Multipliers.
    pub lambda: Option<Peak>,
    /// Bounds.
    pub kappa: Option<Peak>,
    /// R after the base step, before the correction.
    pub reg: Option<Peak>,
    /// Moment buffers after the last step.
    pub moments: Option<Peak>,
}

/// |a − b|/max(1, |b|), 0 for equal numbers, ∞ for what cannot be compared.
fn deviation(replayed: f64, recorded: f64) -> f64 {
    if replayed == recorded {
        return 0.0;
    }
    let apart = (replayed - recorded).abs() / recorded.abs().max(1.0);
    if apart.is_nan() { f64::INFINITY } else { apart }
}

impl Checks {
    /// Compares one number; the first of equal deviations stays.
    pub(super) fn see<'a>(
        peak: &mut Option<Peak>,
        replayed: f64,
        recorded: f64,
        place: impl Fn() -> Place<'a>,
    ) {
        let deviation = deviation(replayed, recorded);
        if peak.as_ref().is_none_or(|peak| deviation > peak.deviation) {
            let Place { step, parameter, element } = place();
            let parameter = parameter.to_owned();
            *peak = Some(Peak { deviation, step, parameter, element, replayed, recorded });
        }
    }

    /// Every quantity with its name and its tolerance.
    fn entries(&self, tolerance: Tolerance) -> [(&'static str, Option<&Peak>, f64); 5] {
        let Tolerance { theta, constraint } = tolerance;
        [
            ("theta", self.theta.as_ref(), theta),
            ("lambda", self.lambda.as_ref(), constraint),
            ("kappa", self.kappa.as_ref(), constraint),
            ("R", self.reg.as_ref(), constraint),
            ("moments", self.moments.as_ref(), theta),
        ]
    }
}

/// Something recorded that is no number differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// `adapt_flag` or `kappa_first_change_step`.
    pub quantity: &'static str,
    /// The parameter's name.
    pub parameter: String,
    /// The 1-based step; none where the quantity belongs to the whole run.
    pub step: Option<u64>,
    /// What the replay has.
    pub replayed: String,
    /// What the file has.
    pub recorded: String,
}

impl Mismatch {
    pub(super) fn adapt_flag(parameter: &str, t: u64, recorded: bool, replayed: bool) -> Self {
        Self {
            quantity: "adapt_flag",
            parameter: parameter.to_owned(),
            step: Some(t),
            replayed: replayed.to_string(),
            recorded: recorded.to_string(),
        }
    }

    pub(super) fn kappa_changed(
        parameter: &str,
        recorded: Option<u64>,
        replayed: Option<u64>,
    ) -> Self {
        let show = |step: Option<u64>| step.map_or("never".to_owned(), |step| step.to_string());
        Self {
            quantity: "kappa_first_change_step",
            parameter: parameter.to_owned(),
            step: None,
            replayed: show(replayed),
            recorded: show(recorded),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quantity, parameter, step, replayed, recorded } = self;
        write!(f, "{quantity} of {parameter}")?;
        if let Some(step) = step {
            write!(f, " at step {step}")?;
        }
        write!(f, " is {replayed}, recorded {recorded}")
    }
}

/// The outcome of one replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whether every deviation is within its tolerance and nothing else differs.
    pub passed: bool,
    /// The recording's own name; empty where it has none.
    pub name: String,
    /// `adamcpr`, `cpr_wrapper`, `padam` or `torch`.
    pub kind: &'static str,
    /// The precision of recording and replay.
    pub precision: Precision,
    /// Steps replayed.
    pub steps: usize,
    /// The tolerances in force.
    pub tolerance: Tolerance,
    /// The largest deviations.
    pub largest: Checks,
    /// What else differs.
    pub mismatches: Vec<Mismatch>,
}

impl Report {
    pub(super) fn new(trajectory: &Trajectory, largest: Checks, mismatches: Vec<Mismatch>) -> Self {
        let tolerance = trajectory.tolerance;
        let within = largest
            .entries(tolerance)
            .iter()
            .all(|(_, peak, limit)| peak.is_none_or(|peak| peak.deviation <= *limit));
        Self {
            passed: within && mismatches.is_empty(),
            name: trajectory.name.clone(),
            kind: trajectory.kind,
            precision: trajectory.precision,
            steps: trajectory.steps.len(),
            tolerance,
            largest,
            mismatches,
        }
    }

    /// One line for each thing that is beyond its tolerance.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let beyond = |(name, peak, limit): (&str, Option<&Peak>, f64)| {
            let peak = peak.filter(|peak| peak.deviation > limit)?;
            let Peak { deviation, step, parameter, element, replayed, recorded } = peak;
            let element = element.map_or(String::new(), |element| format!("[{element}]"));
            Some(format!(
                "{name} of {parameter}{element} at step {step} is {replayed:e}, recorded {recorded:e}: \
                 deviation {deviation:.3e} beyond {limit:.1e}"
            ))
        };
        let numbers = self.largest.entries(self.tolerance).into_iter().filter_map(beyond);
        numbers.chain(self.mismatches.iter().map(ToString::to_string)).collect()
    }
}
