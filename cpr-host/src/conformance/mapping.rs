//! The hyperparameters of the published code as rules of `cpr-core`.

use cpr_core::{
    Adaptive, AnyRegularizer, BoundInit, ConstraintConfig, Huber, Inflection, L1, L2, Order, Std,
    StepRule,
    base::{Adam, AmsGrad, Decay, Decayed},
};

use super::{
    TrajectoryError,
    base::{
        BaseChoice, TORCH_CLASSES, adam, adam_config, flag, learning_rate, number, only, torch_base,
    },
    node::Node,
};

/// What was run.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) kind: &'static str,
    pub(super) base: BaseChoice,
    /// Where `lr_per_step` is null.
    pub(super) lr: f64,
    /// How the parameters under constraint are bound; `None` for kinds without constraints.
    pub(super) constraint: Option<Recipe>,
}

/// How a parameter is constrained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub(super) config: ConstraintConfig<AnyRegularizer>,
    pub(super) unset: Unset,
    /// The file gives κ divided by n.
    pub(super) kappa_per_element: bool,
    /// The inflection is looked for in Σθ², whatever the regularizer.
    pub(super) watches_squares: bool,
}

/// What a file writes for a κ that is not set yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unset {
    /// `adamcpr` under warm start: 0.0.
    Zero,
    /// `adamcpr` under inflection: 1000.0.
    Thousand,
    /// `cpr_wrapper`: null, which stands for +∞.
    Null,
}

impl Unset {
    /// The number that stands for it.
    pub(super) const fn as_number(self) -> f64 {
        match self {
            Self::Zero => 0.0,
            Self::Thousand => 1000.0,
            Self::Null => f64::INFINITY,
        }
    }
}

const KINDS: &str = "adamcpr, cpr_wrapper, padam, torch";

impl Method {
    /// From `meta.kind` and `meta.hp`.
    pub(super) fn read(meta: &Node<'_>) -> Result<Self, TrajectoryError> {
        type Reader = fn(&Node<'_>) -> Result<Method, TrajectoryError>;
        let read = meta.get("kind")?.choice(
            &[
                ("adamcpr", adamcpr as Reader),
                ("cpr_wrapper", cpr_wrapper),
                ("padam", padam),
                ("torch", torch),
            ],
            KINDS,
        )?;
        read(&meta.get("hp")?)
    }
}

fn torch(hp: &Node<'_>) -> Result<Method, TrajectoryError> {
    let class = hp.get("cls")?.choice(&TORCH_CLASSES, "Adam, AdamW, SGD")?;
    let (base, lr) = torch_base(class, hp, &["cls"])?;
    Ok(Method { kind: "torch", base, lr, constraint: None })
}

fn padam(hp: &Node<'_>) -> Result<Method, TrajectoryError> {
    #[derive(Clone, Copy)]
    enum Class {
        PNorm { late: bool },
        L1,
        ThreeHalves,
    }
    const ADAM: [&str; 6] = ["cls", "lr", "betas", "eps", "amsgrad", "maximize"];
    let keys = |own: &[&'static str]| -> Result<(), TrajectoryError> {
        let known: Vec<&str> = ADAM.iter().chain(own).copied().collect();
        only(hp, &known)
    };
    let class = hp.get("cls")?.choice(
        &[
            ("PAdam", Class::PNorm { late: false }),
            ("PAdam_late", Class::PNorm { late: true }),
            ("Adam_L1", Class::L1),
            ("AdamL3_2", Class::ThreeHalves),
        ],
        "PAdam, PAdam_late, Adam_L1, AdamL3_2",
    )?;
    let decay = match class {
        Class::PNorm { late } => {
            keys(&["lambda_p", "p_norm"])?;
            let lambda = number(hp, "lambda_p", 1e-2)?;
            Decay::PNorm { p: number(hp, "p_norm", 1.0)?, lambda, late, flush: false }
        }
        Class::L1 => {
            keys(&["l1_lambda", "weight_decay"])?;
            let weight_decay = number(hp, "weight_decay", 0.0)?;
            Decay::L1 { lambda: number(hp, "l1_lambda", 0.01)?, weight_decay }
        }
        Class::ThreeHalves => {
            keys(&["l3_2_lambda"])?;
            Decay::ThreeHalves { lambda: number(hp, "l3_2_lambda", 0.01)? }
        }
    };
    let adam = Adam::new(adam_config(hp)?)?;
    let base = if flag(hp, "amsgrad")? {
        BaseChoice::DecayedAmsGrad(Decayed::new(AmsGrad(adam), decay)?)
    } else {
        BaseChoice::DecayedAdam(Decayed::new(adam, decay)?)
    };
    Ok(Method { kind: "padam", base, lr: learning_rate(hp, 1e-3)?, constraint: None })
}

/// The recipe of the published code: R after the base step, gradient correction, no guard.
fn recipe(regularizer: AnyRegularizer, bound: BoundInit, unset: Unset) -> Recipe {
    let config = ConstraintConfig {
        order: Order::AfterBase,
        step_rule: StepRule::Gradient,
        guard: false,
        ..ConstraintConfig::new(regularizer, bound)
    };
    Recipe { config, unset, kappa_per_element: false, watches_squares: false }
}

fn adamcpr(hp: &Node<'_>) -> Result<Method, TrajectoryError> {
    only(
        hp,
        &[
            "lr",
            "betas",
            "eps",
            "amsgrad",
            "maximize",
            "kappa_init_method",
            "kappa_init_param",
            "reg_function",
            "kappa_update",
            "reg_step_size",
            "reg_ema_decay",
            "reg_by_lr",
            "reg_embedding",
        ],
    )?;
    flag(hp, "reg_embedding")?;
    let regularizer = match hp.find("reg_function")? {
        None => L2.into(),
        Some(node) => node.choice::<AnyRegularizer>(
            &[
                ("l2", L2.into()),
                ("l1", L1.into()),
                ("std", Std.into()),
                ("huber", Huber::default().into()),
            ],
            "l2, l1, std, huber",
        )?,
    };
    let rule = match hp.find("kappa_init_method")? {
        None => KappaRule::Inflection,
        Some(node) => {
            node.choice(&KappaRule::ALL, "uniform, dependent, warm_start, inflection_point")?
        }
    };
    let (bound, unset) = match rule {
        KappaRule::Uniform => (BoundInit::Uniform(parameter(hp)?), Unset::Zero),
        KappaRule::Dependent => (BoundInit::Dependent(parameter(hp)?), Unset::Zero),
        KappaRule::WarmStart => {
            let steps = hp.find("kappa_init_param")?.map_or(Ok(1000), |node| node.count())?;
            // Its κ = 0 stands from the first step when the step that would set it never comes.
            let bound =
                if steps == 0 { BoundInit::Uniform(0.0) } else { BoundInit::WarmStart(steps) };
            (bound, Unset::Zero)
        }
        KappaRule::Inflection => (BoundInit::Inflection(inflection(hp)?), Unset::Thousand),
    };
    let mut recipe = recipe(regularizer, bound, unset);
    recipe.config.mu = number(hp, "kappa_update", 1.0)?;
    recipe.config.scale_by_lr = flag(hp, "reg_by_lr")?;
    recipe.watches_squares = rule == KappaRule::Inflection && regularizer != L2.into();
    let base = adam(hp, adam_config(hp)?)?;
    Ok(Method { kind: "adamcpr", base, lr: learning_rate(hp, 1e-4)?, constraint: Some(recipe) })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KappaRule {
    Uniform,
    Dependent,
    WarmStart,
    Inflection,
}

impl KappaRule {
    const ALL: [(&'static str, Self); 4] = [
        ("uniform", Self::Uniform),
        ("dependent", Self::Dependent),
        ("warm_start", Self::WarmStart),
        ("inflection_point", Self::Inflection),
    ];
}

/// `kappa_init_param` as a number.
fn parameter(hp: &Node<'_>) -> Result<f64, TrajectoryError> {
    number(hp, "kappa_init_param", 1000.0)
}

/// The inflection rule of the published code: every step t > 3·`reg_step_size` is tested.
fn inflection(hp: &Node<'_>) -> Result<Inflection, TrajectoryError> {
    let step_size = match hp.find("reg_step_size")? {
        None => 200,
        Some(node) => {
            let steps = node.count()?;
            if steps == 0 {
                return Err(TrajectoryError::OutOfRange {
                    at: node.at(),
                    given: 0.0,
                    limit: "at least 1",
                });
            }
            steps
        }
    };
    if let Some(node) = hp.find("reg_ema_decay")? {
        // The watched value is (1 − decay)·R: any factor above 0 has its inflections where R has them.
        let decay = node.number()?;
        node.require(decay, decay < 1.0, "below 1")?;
    }
    Ok(Inflection { burn_in: step_size.saturating_mul(3), ..Inflection::every(1) })
}

fn cpr_wrapper(hp: &Node<'_>) -> Result<Method, TrajectoryError> {
    only(
        hp,
        &[
            "base",
            "base_kwargs",
            "kappa_init_method",
            "kappa_init_param",
            "reg_function",
            "kappa_update",
            "kappa_adapt",
        ],
    )?;
    let class = hp.get("base")?.choice(&TORCH_CLASSES, "Adam, AdamW, SGD")?;
    let (base, lr) = torch_base(class, &hp.get("base_kwargs")?, &[])?;
    let regularizer = match hp.find("reg_function")? {
        None => L2.into(),
        Some(node) => node.choice::<AnyRegularizer>(
            &[("l2", L2.into()), ("std", Std.into())],
            "l2, std for the first published wrapper",
        )?,
    };
    let per_element = regularizer == L2.into();
    let rule = match hp.find("kappa_init_method")? {
        None => KappaRule::WarmStart,
        Some(node) => node.choice(
            &KappaRule::ALL[..3],
            "uniform, dependent, warm_start for the first published wrapper",
        )?,
    };
    let param = hp.get("kappa_init_param")?;
    let bound = match rule {
        KappaRule::Uniform if per_element => BoundInit::UniformPerElement(param.number()?),
        KappaRule::Uniform => BoundInit::Uniform(param.number()?),
        KappaRule::Dependent => BoundInit::Dependent(param.number()?),
        // It counts from 0 and looks after the update: κ is set at the end of step s + 1.
        KappaRule::WarmStart | KappaRule::Inflection => {
            BoundInit::WarmStart(param.count()?.saturating_add(1))
        }
    };
    let mut recipe = recipe(regularizer, bound, Unset::Null);
    recipe.kappa_per_element = per_element;
    recipe.config.mu = number(hp, "kappa_update", 1.0)?;
    if flag(hp, "kappa_adapt")? {
        recipe.config.adaptive = Adaptive::WhileInactive;
    }
    Ok(Method { kind: "cpr_wrapper", base, lr, constraint: Some(recipe) })
}
