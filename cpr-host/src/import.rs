//! The state of pytorch-cpr's AdamCPR (or of torch's Adam and AdamW), made into a checkpoint.
//!
//! The file is what the five lines of Python in `docs/CHECKPOINT.md` write: every weight under its name, and beside it
//! `<weight>/<entry>` for each entry of `optimizer.state`. As safetensors, or as JSON with nested lists of at most
//! [`MAX_JSON_BYTES`].
//!
//! | entry | becomes |
//! |---|---|
//! | `exp_avg`, `exp_avg_sq`, `max_exp_avg_sq` | moments |
//! | `step` | t, the same for all weights |
//! | `lagmul`, `kappa` | λ and κ of the weight's constraint |
//! | `kappa_update` | compared with μ of the rule |
//! | `regularize` | whether the weight has a constraint |
//! | `prev_reg`, `prev_reg_gradient`, `inflection_point_emas` | nothing: an inflection is looked for afresh |
//!
//! That state holds neither the measure nor the rule of κ: the caller gives both. The published code has no order, step
//! rule, guard or adaptive bound either; those of the rule are what the constraint goes on under.

mod error;
mod json;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cpr_core::{
    AnyRegularizer, BoundInit, Constraint, ConstraintRule, ENCODED_LEN, Multiplier, Real as _,
    Regularizer as _,
};

pub use self::error::ImportError;
use crate::checkpoint::{CheckpointWriter, Dtype, Element as _, Meta, OptimizerMeta, read_weights};

/// Longest JSON file that is read; safetensors may be of any length.
pub const MAX_JSON_BYTES: u64 = 16 << 20;

/// The entries of a weight's state that are moments, in the order of the checkpoint.
const MOMENTS: [&str; 3] = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
/// Entries that say nothing for a checkpoint.
const UNUSED: [&str; 3] = ["prev_reg", "prev_reg_gradient", "inflection_point_emas"];
/// What the published versions take for a κ that is not set.
const UNSET: [f64; 2] = [1000.0, 1e6];

/// A tensor of the state.
#[derive(Clone, Debug, PartialEq)]
struct Values {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// A weight with the entries of its state.
#[derive(Debug)]
struct Weight {
    theta: Values,
    entries: BTreeMap<String, Values>,
}

/// What an import made; the checkpoint tells the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// t, the steps that the moments have seen.
    pub t: u64,
    /// Number of weights.
    pub weights: usize,
    /// Weights with a constraint.
    pub constraints: Vec<String>,
    /// Those of them whose κ is not set yet.
    pub unset: Vec<String>,
}

/// Reads a state and writes it as a checkpoint to `out`, which must not exist. `rule` is that of all constraints; it is
/// none where the state has no constraint.
///
/// # Errors
/// [`ImportError`] names the file and the entry; nothing was written.
pub fn import(
    file: &Path,
    rule: Option<ConstraintRule<AnyRegularizer>>,
    out: &Path,
) -> Result<Imported, ImportError> {
    if out.symlink_metadata().is_ok() {
        return Err(ImportError::Exists { path: out.to_owned() });
    }
    let weights = weights(file, read(file)?)?;
    let fault = |name: &str, reason: String| ImportError::Entry {
        path: file.to_owned(),
        name: name.to_owned(),
        reason,
    };
    let t = common_step(&weights, fault)?;
    let amsgrad = weights.values().any(|weight| weight.entries.contains_key(MOMENTS[2]));
    let kept = if amsgrad { &MOMENTS[..] } else { &MOMENTS[..2] };
    let mut imported =
        Imported { t, weights: weights.len(), constraints: Vec::new(), unset: Vec::new() };
    let mut records: Vec<(&str, [u8; ENCODED_LEN])> = Vec::new();
    for (name, weight) in &weights {
        for moment in kept {
            let values = weight.entries.get(*moment).ok_or_else(|| {
                let reason = "is missing: the optimizer must have taken a step on every weight";
                fault(&format!("{name}/{moment}"), reason.to_owned())
            })?;
            if values.shape != weight.theta.shape {
                let reason = format!("is {:?}, its weight {:?}", values.shape, weight.theta.shape);
                return Err(fault(&format!("{name}/{moment}"), reason));
            }
        }
        if !is_constrained(weight) {
            continue;
        }
        let Some(rule) = &rule else {
            return Err(ImportError::NoRule { path: file.to_owned(), name: name.clone() });
        };
        let constraint = constraint(weight, rule, t)
            .map_err(|(entry, reason)| fault(&format!("{name}{entry}"), reason))?;
        if constraint.bound().kappa().is_none() {
            imported.unset.push(name.clone());
        }
        let mut record = [0; ENCODED_LEN];
        // The buffer has the length of a record.
        if constraint.encode(&mut record).is_ok() {
            records.push((name, record));
        }
        imported.constraints.push(name.clone());
    }
    if rule.is_some() && records.is_empty() {
        return Err(ImportError::NoConstraints { path: file.to_owned() });
    }

    let optimizer = if records.is_empty() { "adam" } else { "adamcpr" };
    let mut writer = CheckpointWriter::new(Meta {
        step: t,
        optimizer: Some(OptimizerMeta {
            name: optimizer.to_owned(),
            hyperparameters: serde_json::json!({}),
        }),
        ..Meta::new("import")
    });
    for (name, weight) in &weights {
        writer = writer.tensor(name, &weight.theta.shape, &weight.theta.values);
        for moment in kept {
            if let Some(values) = weight.entries.get(*moment) {
                writer = writer.moment(name, *moment, &values.values);
            }
        }
    }
    for (name, record) in &records {
        writer = writer.constraint(*name, record);
    }
    writer.write(out)?;
    Ok(imported)
}

/// All tensors of the file.
fn read(file: &Path) -> Result<BTreeMap<String, Values>, ImportError> {
    if file.extension().is_some_and(|end| end == "json") {
        let failed = |source| ImportError::Read { path: file.to_owned(), source };
        let given = fs::metadata(file).map_err(failed)?.len();
        if given > MAX_JSON_BYTES {
            return Err(ImportError::Long { path: file.to_owned(), given });
        }
        let bytes = fs::read(file).map_err(failed)?;
        return json::read(&bytes)
            .map_err(|source| ImportError::Json { path: file.to_owned(), source });
    }
    let mut stored = read_weights(file)?;
    let names: Vec<_> = stored.iter().map(|(name, _)| name.to_owned()).collect();
    let mut tensors = BTreeMap::new();
    for name in names {
        let tensor = stored.take_raw(&name)?;
        let shape = tensor.signature.shape;
        let values = match tensor.signature.dtype {
            Dtype::F32 => f32::from_le(tensor.bytes),
            Dtype::BOOL => {
                tensor.bytes.iter().map(|&byte| f32::from(u8::from(byte != 0))).collect()
            }
            other => {
                let reason = format!("is {other}, and F32 is read: save it with .float()");
                return Err(ImportError::Entry { path: file.to_owned(), name, reason });
            }
        };
        tensors.insert(name, Values { shape, values });
    }
    Ok(tensors)
}

/// Sorts entries to their weights.
fn weights(
    file: &Path,
    tensors: BTreeMap<String, Values>,
) -> Result<BTreeMap<String, Weight>, ImportError> {
    let (entries, weights): (Vec<_>, Vec<_>) =
        tensors.into_iter().partition(|(name, _)| name.contains('/'));
    let mut weights: BTreeMap<_, _> = weights
        .into_iter()
        .map(|(name, theta)| (name, Weight { theta, entries: BTreeMap::new() }))
        .collect();
    if weights.is_empty() {
        return Err(ImportError::Empty { path: file.to_owned() });
    }
    let known = ["step", "lagmul", "kappa", "kappa_update", "regularize"];
    for (name, values) in entries {
        let fault = |reason: &str| ImportError::Entry {
            path: file.to_owned(),
            name: name.clone(),
            reason: reason.to_owned(),
        };
        let (weight, entry) = name.rsplit_once('/').unwrap_or_default();
        if !MOMENTS.iter().chain(&UNUSED).chain(&known).any(|known| *known == entry) {
            return Err(fault("is no entry of an Adam or AdamCPR state"));
        }
        let weight = weights.get_mut(weight).ok_or_else(|| fault("has no weight of that name"))?;
        weight.entries.insert(entry.to_owned(), values);
    }
    Ok(weights)
}

/// t, which must be a whole number and that of every weight.
fn common_step(
    weights: &BTreeMap<String, Weight>,
    fault: impl Fn(&str, String) -> ImportError,
) -> Result<u64, ImportError> {
    let mut common: Option<u64> = None;
    for (name, weight) in weights {
        let name = format!("{name}/step");
        let step = scalar(weight, "step").map_err(|reason| fault(&name, reason))?;
        // As text a whole number has no point: no cast is needed.
        let step: u64 = step
            .to_string()
            .parse()
            .map_err(|_| fault(&name, format!("is {step}, and no number of steps")))?;
        let common = *common.get_or_insert(step);
        if step != common {
            let reason =
                format!("is {step}, and {common} elsewhere: one t goes with the moments of all");
            return Err(fault(&name, reason));
        }
    }
    Ok(common.unwrap_or(0))
}

/// Whether the optimizer had the weight under a constraint.
fn is_constrained(weight: &Weight) -> bool {
    match scalar(weight, "regularize") {
        Ok(regularize) => regularize != 0.0,
        Err(_) => weight.entries.contains_key("lagmul"),
    }
}

/// An entry of one element.
fn scalar(weight: &Weight, entry: &str) -> Result<f64, String> {
    match weight.entries.get(entry).map(|values| values.values.as_slice()) {
        Some(&[value]) => Ok(value.into()),
        Some(values) => Err(format!("has {} elements, and one is read", values.len())),
        None => Err("is missing".to_owned()),
    }
}

/// The constraint of a weight; what is wrong comes with the entry, `/kappa` or empty for the weight itself.
fn constraint(
    weight: &Weight,
    rule: &ConstraintRule<AnyRegularizer>,
    t: u64,
) -> Result<Constraint<AnyRegularizer>, (&'static str, String)> {
    let started =
        rule.start_from(&weight.theta.values).map_err(|source| ("", format!("{source}")))?;
    let get = |entry: &'static str, path: &'static str| {
        scalar(weight, entry).map_err(|reason| (path, reason))
    };
    let lagmul = get("lagmul", "/lagmul")?;
    let multiplier = Multiplier::new(lagmul)
        .ok_or_else(|| ("/lagmul", format!("is {lagmul}: it must be finite and at least 0")))?;
    let kappa = get("kappa", "/kappa")?;
    if kappa.is_nan() || kappa < 0.0 {
        return Err(("/kappa", format!("is {kappa}: it must be at least 0")));
    }
    let config = rule.config();
    if let Ok(rate) = scalar(weight, "kappa_update") {
        let count = if config.regularizer.is_sum() { started.elements() } else { 1 };
        // Counts of elements are far below 2⁵³.
        let own = config.mu / count as f64;
        if (rate - own).abs() > 1e-6 * own {
            let mu = rate * count as f64;
            let reason = format!("is {rate}, which is mu = {mu}: give it by --set mu={mu}");
            return Err(("/kappa_update", reason));
        }
    }
    let is_unset = match config.bound {
        BoundInit::WarmStart(at) => t < at,
        BoundInit::Inflection(_) => UNSET.contains(&kappa),
        BoundInit::Uniform(own) if f64::from(f32::from_f64(own)) != kappa => {
            return Err(("/kappa", format!("is {kappa}, and the rule says {own}: give that one")));
        }
        BoundInit::Uniform(_) | BoundInit::UniformPerElement(_) | BoundInit::Dependent(_) => false,
    };
    started.left_at(t, multiplier, (!is_unset).then_some(kappa)).ok_or_else(|| {
        let reason = format!(
            "is {lagmul}, and kappa was not set by step {t} under this rule: give the --kappa-init \
             that the run had"
        );
        ("/lagmul", reason)
    })
}
