//! The file as data: read once, every length checked, so that the replay cannot meet a contradiction.

use serde_json::Value;

use super::{
    Precision, Tolerance, TrajectoryError,
    mapping::{Method, Unset},
    node::Node,
};

/// A recorded trajectory.
#[derive(Debug)]
pub(super) struct Trajectory {
    /// `meta.name`, or nothing.
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) precision: Precision,
    pub(super) tolerance: Tolerance,
    pub(super) method: Method,
    pub(super) parameters: Vec<Parameter>,
    pub(super) steps: Vec<Step>,
    /// `final_state`, by parameter.
    pub(super) last: Vec<Vec<Moment>>,
}

/// One parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) init: Vec<f64>,
    pub(super) constrained: bool,
    /// The step at which κ was first set or changed; the outer `None`: not recorded.
    pub(super) kappa_changed: Option<Option<u64>>,
}

/// One step: what went in and what came out.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) lr: f64,
    /// By parameter.
    pub(super) grads: Vec<Vec<f64>>,
    /// θ after the step, by parameter.
    pub(super) params: Vec<Vec<f64>>,
    /// By parameter, `None` without a constraint.
    pub(super) constraints: Vec<Option<Recorded>>,
}

/// What was recorded of a constraint after a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    pub(super) lambda: f64,
    /// In the units of R; unset as the number or ∞ that [`Unset`] gives.
    pub(super) kappa: f64,
    pub(super) reg: Option<f64>,
    pub(super) adapt_flag: Option<bool>,
}

/// A moment buffer after the last step.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) name: &'static str,
    /// Index among the moments of the base optimizer.
    pub(super) index: usize,
    pub(super) values: Vec<f64>,
}

/// Beyond it, two precisions of the reference agree on nothing that could be checked.
const WORST_CONDITIONING: f64 = 1e-3;

impl Trajectory {
    /// Reads a file's text.
    pub(super) fn parse(text: &str) -> Result<Self, TrajectoryError> {
        let value: Value = serde_json::from_str(text).map_err(TrajectoryError::Json)?;
        let root = Node::root(&value);
        let meta = root.get("meta")?;
        let method = Method::read(&meta)?;
        let name = match meta.find("name")? {
            Some(name) => name.text()?.to_owned(),
            None => String::new(),
        };
        let precision = meta
            .get("dtype")?
            .choice(&[("f32", Precision::F32), ("f64", Precision::F64)], "f32, f64")?;
        let conditioning = match meta.find("f32_vs_f64_max_rel_diff")? {
            Some(node) if !node.is_null() => {
                let given = node.number()?;
                let holds = (0.0..=WORST_CONDITIONING).contains(&given);
                node.require(given, holds, "in [0, 0.001]: nothing could be told apart beyond")?
            }
            _ => 0.0,
        };

        let parameters = parameters(&root, &meta, precision, method.constraint.is_some())?;
        let steps = steps(&root, &meta, precision, &method, &parameters)?;
        let final_state = root.get("final_state")?;
        let last =
            final_state.list_of(parameters.len(), "one for each parameter", |i, entry| {
                let names = method.base.moments();
                entry.only(names)?;
                let read = |(index, &name): (usize, &&'static str)| {
                    let values = entry.get(name)?.list_of(
                        parameters[i].init.len(),
                        ELEMENTS,
                        |_, node| element(&node, precision),
                    )?;
                    Ok(Moment { name, index, values })
                };
                names.iter().enumerate().map(read).collect()
            })?;

        Ok(Self {
            name,
            kind: method.kind,
            precision,
            tolerance: Tolerance::of(precision, conditioning),
            method,
            parameters,
            steps,
            last,
        })
    }
}

const ELEMENTS: &str = "the elements of the parameter";

/// A number of the file's precision.
fn element(node: &Node<'_>, precision: Precision) -> Result<f64, TrajectoryError> {
    let number = node.number()?;
    match precision {
        Precision::F64 => Ok(number),
        Precision::F32 => {
            node.require(number, number.abs() <= f64::from(f32::MAX), "within the range of f32")
        }
    }
}

/// `params`, and of `meta` what belongs to each.
fn parameters(
    root: &Node<'_>,
    meta: &Node<'_>,
    precision: Precision,
    constrains: bool,
) -> Result<Vec<Parameter>, TrajectoryError> {
    let mut parameters = root.get("params")?.list(|_, entry| {
        let shape = entry.get("shape")?;
        let sides = shape.list(|_, side| side.count())?;
        // A product beyond every list is told apart from the list's length all the same.
        let elements = sides.iter().fold(1u64, |n, &side| n.saturating_mul(side));
        let init = entry.get("init")?.list_of(
            usize::try_from(elements).unwrap_or(usize::MAX),
            "the product of the shape",
            |_, node| element(&node, precision),
        )?;
        Ok(Parameter {
            name: entry.get("name")?.text()?.to_owned(),
            init,
            constrained: false,
            kappa_changed: None,
        })
    })?;
    if parameters.is_empty() {
        return Err(TrajectoryError::Length {
            at: "params".to_owned(),
            given: 0,
            expected: 1,
            reason: "nothing to replay",
        });
    }

    meta.get("regularized_params")?.list(|_, node| {
        let name = node.text()?;
        let mut named = parameters.iter_mut().filter(|parameter| parameter.name == name);
        match (named.next(), named.next()) {
            (Some(parameter), None) if constrains => {
                parameter.constrained = true;
                Ok(())
            }
            (Some(_), None) => Err(TrajectoryError::Unsupported {
                at: node.at(),
                given: name.to_owned(),
                supported: "no names: only adamcpr and cpr_wrapper constrain parameters",
            }),
            _ => Err(TrajectoryError::Name { at: node.at(), name: name.to_owned() }),
        }
    })?;

    if let Some(changes) = meta.find("kappa_first_change_step")? {
        let changes = changes.list_of(parameters.len(), "one for each parameter", |_, node| {
            if node.is_null() { Ok(None) } else { node.count().map(Some) }
        })?;
        for (parameter, change) in parameters.iter_mut().zip(changes) {
            parameter.kappa_changed = Some(change);
        }
    }
    Ok(parameters)
}

/// `grads` and `trajectory`, step by step.
fn steps(
    root: &Node<'_>,
    meta: &Node<'_>,
    precision: Precision,
    method: &Method,
    parameters: &[Parameter],
) -> Result<Vec<Step>, TrajectoryError> {
    const STEPS: &str = "meta.steps";
    const PARAMETERS: &str = "one for each parameter";
    let count = meta.get("steps")?;
    let given = count.count()?;
    if given == 0 {
        return Err(TrajectoryError::OutOfRange {
            at: count.at(),
            given: 0.0,
            limit: "at least 1",
        });
    }
    let count = usize::try_from(given).unwrap_or(usize::MAX);
    let schedule = meta.get("lr_per_step")?;
    let rates = if schedule.is_null() {
        None
    } else {
        Some(schedule.list_of(count, STEPS, |_, node| {
            let lr = node.number()?;
            node.require(lr, lr >= 0.0, "at least 0")
        })?)
    };
    let flat = |node: &Node<'_>| {
        node.list_of(parameters.len(), PARAMETERS, |i, entry| {
            entry.list_of(parameters[i].init.len(), ELEMENTS, |_, x| element(&x, precision))
        })
    };
    let grads = root.get("grads")?.list_of(count, STEPS, |_, node| flat(&node))?;
    let outcomes = root.get("trajectory")?.list_of(count, STEPS, |_, node| {
        let params = flat(&node.get("params")?)?;
        let constraints = constraints(&node, method, parameters)?;
        Ok((params, constraints))
    })?;
    Ok(grads
        .into_iter()
        .zip(outcomes)
        .enumerate()
        .map(|(i, (grads, (params, constraints)))| Step {
            lr: rates.as_ref().and_then(|rates| rates.get(i).copied()).unwrap_or(method.lr),
            grads,
            params,
            constraints,
        })
        .collect())
}

/// `lagmul`, `kappa`, `reg` and `adapt_flag` of one step.
fn constraints(
    step: &Node<'_>,
    method: &Method,
    parameters: &[Parameter],
) -> Result<Vec<Option<Recorded>>, TrajectoryError> {
    let any = parameters.iter().any(|parameter| parameter.constrained);
    // One entry for each parameter, null without a constraint.
    let column = |key: &str, required: bool| -> Result<Vec<Option<f64>>, TrajectoryError> {
        let Some(column) = step.find(key)? else {
            return if required {
                step.get(key).map(|_| Vec::new())
            } else {
                Ok(vec![None; parameters.len()])
            };
        };
        column.list_of(parameters.len(), "one for each parameter", |i, node| match node.is_null() {
            true => Ok(None),
            false if parameters[i].constrained => node.number().map(Some),
            false => Err(TrajectoryError::Type {
                at: node.at(),
                found: "a number",
                expected: "null, because the parameter is not in meta.regularized_params",
            }),
        })
    };
    let lambdas = column("lagmul", any)?;
    let kappas = column("kappa", any)?;
    let regs = column("reg", false)?;
    let flags = match step.find("adapt_flag")? {
        Some(flags) => flags.list_of(parameters.len(), "one for each parameter", |_, node| {
            if node.is_null() { Ok(None) } else { node.boolean().map(Some) }
        })?,
        None => vec![None; parameters.len()],
    };

    let null = |key: &str, i: usize, expected| {
        let column = step.get(key)?;
        Err(TrajectoryError::Type { at: format!("{}[{i}]", column.at()), found: "null", expected })
    };
    let Some(recipe) = &method.constraint else {
        return Ok(vec![None; parameters.len()]);
    };
    let mut recorded = Vec::with_capacity(parameters.len());
    for (i, parameter) in parameters.iter().enumerate() {
        if !parameter.constrained {
            recorded.push(None);
            continue;
        }
        let Some(lambda) = lambdas[i] else {
            return null("lagmul", i, "λ, because the parameter is in meta.regularized_params");
        };
        let kappa = match (kappas[i], recipe.unset) {
            // Exact: no list has 2^53 entries.
            (Some(kappa), _) if recipe.kappa_per_element => kappa * parameter.init.len() as f64,
            (Some(kappa), _) => kappa,
            (None, Unset::Null) => f64::INFINITY,
            (None, _) => {
                return null("kappa", i, "κ, because the parameter is in meta.regularized_params");
            }
        };
        recorded.push(Some(Recorded { lambda, kappa, reg: regs[i], adapt_flag: flags[i] }));
    }
    Ok(recorded)
}
