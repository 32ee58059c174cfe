//! How an optimizer is made: names, groups, options.

use std::{collections::HashMap, fmt, num::NonZeroUsize};

use candle_core::{DType, Tensor, TensorId, Var};
use candle_nn::VarMap;
use cpr_core::{AnyRegularizer, BoundInit, ConstraintConfig, ConstraintRule, GroupError};
use cpr_host::{
    optim::{DecayRule, model_scale},
    parallel::Workers,
    schedule::Schedule,
};

use super::{Member, Optim, Params, is_optional};
use crate::{
    Error, Groups, Pattern,
    engine::engine_for,
    group::{Base, GroupSpec, Parameter, Values},
    grouping::{self, Decision, Role},
    report::write_table,
};

/// What happens where a trainable parameter has no gradient.
#[derive(Clone, Debug, Default)]
pub enum Strict {
    /// The step is refused, with the names: in candle a layer without a backward pass drops gradients silently.
    #[default]
    On,
    /// As `On`, but parameters that fit one of these patterns are left as they are: parts that not every batch uses.
    Except(Vec<Pattern>),
    /// Parameters without a gradient are left as they are.
    Off,
}

impl Strict {
    /// [`Strict::Except`] of these globs.
    ///
    /// # Errors
    /// [`Error::Pattern`].
    pub fn except<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        globs.into_iter().map(Pattern::new).collect::<Result<_, _>>().map(Self::Except)
    }
}

/// Something that the user should know of an optimizer that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Made from variables without names.
    Unnamed {
        /// How many of rank 2 and more are regularised.
        regularized: usize,
    },
    /// Nothing is regularised, though the optimizer has a constraint or a decay.
    NothingRegularized,
    /// Variables that are no floats were left out.
    NotFloat {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed { regularized } => write!(
                f,
                "the variables have no names: the {regularized} of rank 2 and more are regularised (embeddings \
                 among them), groups and saved state are not to be had; use `builder(…).from_varmap(…)`"
            ),
            Self::NothingRegularized => f.write_str(
                "no parameter is regularised: the table of groups says why; give a pattern with `regularized()`",
            ),
            Self::NotFloat { count } => {
                write!(f, "{count} variables that hold integers were left out")
            }
        }
    }
}

/// An optimizer in the making.
///
/// ```
/// use candle_core::{DType, Device, Var};
/// use cpr_core::BoundInit;
/// use cpr_gpu::{AdamCpr, Groups, Override, ParamsAdamCpr};
/// let weight = Var::ones((2, 3), DType::F32, &Device::Cpu)?;
/// let optimizer = AdamCpr::builder(ParamsAdamCpr::new(BoundInit::WarmStart(100)))
///     .groups(Groups::default().with(Override::new("head.*")?.lr_factor(0.5)))
///     .clip(1.0)
///     .from_named([("head.weight", weight)])?;
/// assert!(optimizer.table().contains("head.weight"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder<P> {
    params: P,
    groups: Groups,
    strict: Strict,
    clip: Option<f64>,
    schedule: Option<Schedule>,
    threads: Option<NonZeroUsize>,
    check_finite: bool,
}

impl<P: Params> Builder<P> {
    /// With the defaults of every option.
    pub fn new(params: P) -> Self {
        Self {
            params,
            groups: Groups::default(),
            strict: Strict::On,
            clip: None,
            schedule: None,
            threads: None,
            check_finite: true,
        }
    }

    /// Which parameters are regularised, and with which hyperparameters; default: matrices.
    pub fn groups(mut self, groups: Groups) -> Self {
        self.groups = groups;
        self
    }

    /// What happens where a gradient is missing; default: an error.
    pub fn strict(mut self, strict: Strict) -> Self {
        self.strict = strict;
        self
    }

    /// Largest global norm of the gradient, finite and above 0: larger gradients are scaled down to it, all together.
    pub fn clip(mut self, norm: f64) -> Self {
        self.clip = Some(norm);
        self
    }

    /// The learning rate of every step; the hyperparameters' own is not used.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// Worker threads of the CPU; default: one for each core. The results are the same bits for any number.
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Whether steps with a gradient that is not finite are skipped whole, at the cost of reading all gradients first;
    /// default: yes.
    pub fn check_finite(mut self, check: bool) -> Self {
        self.check_finite = check;
        self
    }

    /// Over all float variables of a map, sorted by name. Bounds are measured here: load weights before.
    ///
    /// # Errors
    /// [`Error`] names the parameter or option that does not fit.
    pub fn from_varmap(self, map: &VarMap) -> Result<Optim<P>, Error> {
        // A panic elsewhere while the map was locked leaves the variables as they are.
        let data = map.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut named: Vec<(String, Var)> =
            data.iter().map(|(name, var)| (name.clone(), var.clone())).collect();
        drop(data);
        named.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.make(named, true)
    }

    /// Over named variables, in the order given.
    ///
    /// # Errors
    /// [`Error`] names the parameter or option that does not fit.
    pub fn from_named<N: Into<String>>(
        self,
        vars: impl IntoIterator<Item = (N, Var)>,
    ) -> Result<Optim<P>, Error> {
        self.make(vars.into_iter().map(|(name, var)| (name.into(), var)).collect(), true)
    }

    /// Over variables without names, in the order given: rank 2 and more is regularised, reports call them `var.0`,
    /// `var.1` …, and the state cannot be saved.
    ///
    /// # Errors
    /// [`Error`] names the parameter or option that does not fit.
    pub fn from_vars(self, vars: Vec<Var>) -> Result<Optim<P>, Error> {
        let numbered = vars.into_iter().enumerate();
        self.make(numbered.map(|(index, var)| (format!("var.{index}"), var)).collect(), false)
    }

    fn make(self, vars: Vec<(String, Var)>, named: bool) -> Result<Optim<P>, Error> {
        if let Some(clip) = self.clip {
            in_range("clip", clip, "finite and above 0", clip > 0.0 && clip.is_finite())?;
        }
        let lr = self.params.lr();
        in_range("lr", lr, "finite and at least 0", lr >= 0.0 && lr.is_finite())?;
        let given = vars.len();
        let vars: Vec<(String, Var)> =
            vars.into_iter().filter(|(_, var)| var.dtype().is_float()).collect();
        let mut warnings = Vec::new();
        if vars.len() < given {
            warnings.push(Warning::NotFloat { count: given - vars.len() });
        }
        unique(&vars)?;
        let names: Vec<&str> = vars.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(pattern) = self.unused(&names) {
            let pattern = pattern.to_string();
            return Err(Error::UnusedPattern { pattern, parameters: names.len() });
        }

        let (mut parameters, mut frozen, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let mut totals = Totals::default();
        for (name, var) in vars {
            let decision = self.groups.decide(named.then_some(name.as_str()), var.dims());
            if decision.role == Role::Frozen {
                rows.push(row(&name, &var, &decision, None, &self.params));
                frozen.push((name, var));
                continue;
            }
            let parameter = self.parameter(name, var, &decision)?;
            totals.add(&parameter, decision.role);
            rows.push(row(
                &parameter.name,
                &parameter.var,
                &decision,
                Some(&parameter),
                &self.params,
            ));
            parameters.push(parameter);
        }
        if !named {
            warnings.push(Warning::Unnamed { regularized: totals.regularized });
        }
        let wants = self.params.constraint().is_some() || self.params.decay() > 0.0;
        if wants && totals.regularized == 0 && !parameters.is_empty() {
            warnings.push(Warning::NothingRegularized);
        }
        let members = parameters
            .iter()
            .map(|parameter| Member {
                name: parameter.name.clone(),
                var: parameter.var.clone(),
                base: parameter.spec.base,
                optional: is_optional(&self.strict, &parameter.name),
            })
            .collect();
        let workers = match self.threads {
            Some(threads) => Workers::new(threads)?,
            None => Workers::available()?,
        };
        Ok(Optim {
            engine: engine_for(parameters, workers)?,
            members,
            frozen,
            named,
            schedule: self.schedule,
            asked: 0,
            clip: self.clip,
            check_finite: self.check_finite,
            decay_factor: 1.0,
            table: table(rows, &totals),
            warnings,
            params: self.params,
        })
    }

    /// A pattern without effect.
    fn unused(&self, names: &[&str]) -> Option<&Pattern> {
        let fits = |pattern: &&Pattern| names.iter().any(|name| pattern.matches(name));
        match &self.strict {
            Strict::Except(patterns) => patterns.iter().find(|pattern| !fits(pattern)),
            Strict::On | Strict::Off => None,
        }
        .or_else(|| self.groups.unused(names))
    }

    fn parameter(&self, name: String, var: Var, decision: &Decision) -> Result<Parameter, Error> {
        let Decision { role, lr_factor, weight_decay, constraint, .. } = decision;
        if !matches!(var.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16) {
            return Err(Error::Dtype { name, dtype: var.dtype() });
        }
        let holds = *lr_factor >= 0.0 && lr_factor.is_finite();
        in_range("lr_factor", *lr_factor, "finite and at least 0", holds)?;
        let regularized = *role == Role::Regularized;
        let decay = weight_decay.or((!regularized).then_some(0.0));
        let config = constraint.or_else(|| self.params.constraint()).filter(|_| regularized);
        let rule = config.map(ConstraintRule::new).transpose()?;
        let constraint = match rule {
            None => None,
            Some(rule) => Some(
                start(&rule, &var)?
                    .map_err(|source| Error::Group { name: name.clone(), source })?,
            ),
        };
        let base = match self.params.base(decay)? {
            Base::Amos(amos, _) => {
                let kind = grouping::kind(&name, var.rank());
                Base::Amos(amos, model_scale(kind, var.dims()))
            }
            other => other,
        };
        let decay_rule = if regularized { self.params.decay_rule() } else { DecayRule::Constant };
        let spec = GroupSpec { base, lr_factor: *lr_factor, constraint: rule, decay_rule };
        if let Some(what) = conflict(&spec) {
            return Err(Error::Decay { name, what });
        }
        Ok(Parameter { name, var, spec, constraint })
    }
}

/// Two rules of a group that regularise one parameter twice.
const fn conflict(spec: &GroupSpec) -> Option<&'static str> {
    match (&spec.base, &spec.decay_rule) {
        (Base::Amos(..), DecayRule::Constant) if spec.constraint.is_none() => None,
        (Base::Amos(..), DecayRule::Constant) => {
            Some("Amos, which decays by its own rule, and a constraint")
        }
        (Base::Amos(..), _) => Some("Amos, which decays by its own rule, and another decay"),
        (base, DecayRule::AdaDecay(_)) if base.decays() => {
            Some("AdaDecay and a base that decays too")
        }
        (_, DecayRule::AdaDecay(_)) if spec.constraint.is_some() => {
            Some("AdaDecay and a constraint")
        }
        _ => None,
    }
}

/// The constraint of a variable as it is, measured on the host.
fn start(
    rule: &ConstraintRule<AnyRegularizer>,
    var: &Var,
) -> Result<Result<cpr_core::Constraint<AnyRegularizer>, GroupError>, Error> {
    Ok(match host_values(var)? {
        Values::F32(values) => rule.start_from(&values),
        Values::F64(values) => rule.start_from(&values),
    })
}

/// Elements of a tensor on the host: f64 as they are, others in f32.
pub(crate) fn host_values(tensor: &Tensor) -> Result<Values, Error> {
    let flat = tensor.flatten_all()?;
    Ok(match flat.dtype() {
        DType::F64 => Values::F64(flat.to_vec1()?),
        _ => Values::F32(flat.to_dtype(DType::F32)?.to_vec1()?),
    })
}

fn in_range(
    option: &'static str,
    given: f64,
    limit: &'static str,
    holds: bool,
) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::OutOfRange { option, given, limit }) }
}

/// Names and variables occur once, and all on one device.
fn unique(vars: &[(String, Var)]) -> Result<(), Error> {
    let mut names = std::collections::HashSet::new();
    let mut seen: HashMap<TensorId, &str> = HashMap::new();
    for (name, var) in vars {
        if !names.insert(name.as_str()) {
            return Err(Error::DuplicateName { name: name.clone() });
        }
        if let Some(first) = seen.insert(var.id(), name) {
            return Err(Error::SharedVariable { first: first.to_owned(), second: name.clone() });
        }
    }
    let Some((first, head)) = vars.first() else { return Ok(()) };
    let other = vars.iter().find(|(_, var)| var.device().location() != head.device().location());
    match other {
        Some((second, _)) => {
            Err(Error::MixedDevices { first: first.clone(), second: second.clone() })
        }
        None => Ok(()),
    }
}

/// Sums for the last line of the table.
#[derive(Default)]
struct Totals {
    regularized: usize,
    regularized_elements: usize,
    elements: usize,
}

impl Totals {
    fn add(&mut self, parameter: &Parameter, role: Role) {
        self.elements += parameter.elements();
        if role == Role::Regularized {
            self.regularized += 1;
            self.regularized_elements += parameter.elements();
        }
    }
}

const HEAD: [&str; 9] = [
    "parameter",
    "shape",
    "type",
    "elements",
    "regularized",
    "lr factor",
    "decay",
    "constraint",
    "because",
];

fn row<P: Params>(
    name: &str,
    var: &Var,
    decision: &Decision,
    parameter: Option<&Parameter>,
    params: &P,
) -> [String; 9] {
    let sides: Vec<String> = var.dims().iter().map(ToString::to_string).collect();
    let own = if decision.role == Role::Regularized { params.decay() } else { 0.0 };
    let (factor, decay, constraint) = match parameter {
        None => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
        Some(parameter) => (
            parameter.spec.lr_factor.to_string(),
            decision.weight_decay.unwrap_or(own).to_string(),
            parameter.spec.constraint.map_or_else(|| "-".to_owned(), |rule| shown(rule.config())),
        ),
    };
    [
        name.to_owned(),
        if sides.is_empty() { "scalar".to_owned() } else { sides.join("×") },
        var.dtype().as_str().to_owned(),
        var.elem_count().to_string(),
        match decision.role {
            Role::Regularized => "yes",
            Role::Free => "no",
            Role::Frozen => "frozen",
        }
        .to_owned(),
        factor,
        decay,
        constraint,
        decision.reason.clone(),
    ]
}

/// A constraint in a few words.
fn shown(config: &ConstraintConfig<AnyRegularizer>) -> String {
    let regularizer = match config.regularizer {
        AnyRegularizer::L2(_) => "l2".to_owned(),
        AnyRegularizer::L1(_) => "l1".to_owned(),
        AnyRegularizer::Std(_) => "std".to_owned(),
        AnyRegularizer::Huber(huber) => format!("huber({})", huber.delta()),
        AnyRegularizer::Lp(lp) => format!("lp({})", lp.p()),
        // A measure that is newer than this table.
        other => format!("{other:?}"),
    };
    let bound = match config.bound {
        BoundInit::Uniform(kappa) => format!("<= {kappa}"),
        BoundInit::UniformPerElement(kappa) => format!("<= {kappa} per element"),
        BoundInit::Dependent(factor) => format!("<= {factor} of the start"),
        BoundInit::WarmStart(steps) => format!("at step {steps}"),
        BoundInit::Inflection(rule) => format!("at the inflection, every {} steps", rule.interval),
    };
    format!("{regularizer} {bound}")
}

fn table(rows: Vec<[String; 9]>, totals: &Totals) -> String {
    let mut table = String::new();
    // Writing to a string cannot fail.
    let _ = write_table(&mut table, HEAD.map(str::to_owned), rows.into_iter());
    let Totals { regularized_elements, elements, .. } = totals;
    let _ = fmt::Write::write_fmt(
        &mut table,
        format_args!("{regularized_elements} of {elements} trained elements are regularized\n"),
    );
    table
}
