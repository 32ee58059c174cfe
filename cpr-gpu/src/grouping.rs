//! Which parameters are regularised, and with which hyperparameters: a rule by name and rank, and patterns over it.

use cpr_core::{AnyRegularizer, ConstraintConfig};
use cpr_host::param::{Grouping, ParamKind};

use crate::{Error, Pattern};

/// Hyperparameters of the parameters whose names fit a pattern; what is not said is the optimizer's.
///
/// ```
/// use cpr_core::{BoundInit, ConstraintConfig, Std};
/// use cpr_gpu::{Groups, Override};
/// let groups = Groups::default()
///     .with(Override::new("head.*")?.free().lr_factor(0.1))
///     .with(Override::new("*.attn.*.weight")?.constraint(ConstraintConfig::new(
///         Std.into(),
///         BoundInit::Dependent(0.9),
///     )));
/// # Ok::<(), cpr_gpu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Override {
    pattern: Pattern,
    role: Option<Role>,
    lr_factor: f64,
    weight_decay: Option<f64>,
    constraint: Option<ConstraintConfig<AnyRegularizer>>,
}

impl Override {
    /// For the parameters that fit this glob; see [`Pattern`].
    ///
    /// # Errors
    /// [`Error::Pattern`].
    pub fn new(glob: &str) -> Result<Self, Error> {
        Ok(Self {
            pattern: Pattern::new(glob)?,
            role: None,
            lr_factor: 1.0,
            weight_decay: None,
            constraint: None,
        })
    }

    /// They are regularised, whatever the default rule says.
    #[must_use]
    pub fn regularized(mut self) -> Self {
        self.role = Some(Role::Regularized);
        self
    }

    /// They are stepped without constraint and decay.
    #[must_use]
    pub fn free(mut self) -> Self {
        self.role = Some(Role::Free);
        self
    }

    /// They are not stepped and need no gradient; they are saved and loaded.
    #[must_use]
    pub fn frozen(mut self) -> Self {
        self.role = Some(Role::Frozen);
        self
    }

    /// Their learning rate is this multiple of the optimizer's, finite and at least 0.
    #[must_use]
    pub fn lr_factor(mut self, factor: f64) -> Self {
        self.lr_factor = factor;
        self
    }

    /// Their weight decay (λ_p for `PAdam`), finite and at least 0; of free parameters too.
    #[must_use]
    pub fn weight_decay(mut self, decay: f64) -> Self {
        self.weight_decay = Some(decay);
        self
    }

    /// They are regularised under this constraint, also where the optimizer has none.
    #[must_use]
    pub fn constraint(mut self, config: ConstraintConfig<AnyRegularizer>) -> Self {
        self.role = Some(Role::Regularized);
        self.constraint = Some(config);
        self
    }
}

/// What is done with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Stepped, under a constraint or with decay.
    Regularized,
    /// Stepped by the base optimizer alone.
    Free,
    /// Not stepped.
    Frozen,
}

/// The rule for parameters that no pattern fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DefaultRule {
    ByName(Grouping),
    Everything,
}

/// Which parameters are regularised.
///
/// By default matrices are, biases, normalisation parameters and embeddings are not. A parameter is told by its rank
/// and its name: of rank below 2 it is a bias or a normalisation parameter; the running statistics of a batch norm
/// (`running_mean`, `running_var`) are frozen; the name of its layer (`wte.weight`, `embed_tokens.weight`, `pos_embed`)
/// tells an embedding. Of the patterns the first that fits a name decides.
#[derive(Clone, Debug)]
pub struct Groups {
    default: DefaultRule,
    overrides: Vec<Override>,
}

impl Default for Groups {
    fn default() -> Self {
        Self { default: DefaultRule::ByName(Grouping::default()), overrides: Vec::new() }
    }
}

impl Groups {
    /// The default rule, but embeddings are regularised too.
    #[must_use]
    pub fn with_embeddings() -> Self {
        let grouping = Grouping { embeddings: true };
        Self { default: DefaultRule::ByName(grouping), overrides: Vec::new() }
    }

    /// Every parameter is regularised, vectors and embeddings too, as `candle_nn::AdamW` and torch decay them.
    #[must_use]
    pub fn everything() -> Self {
        Self { default: DefaultRule::Everything, overrides: Vec::new() }
    }

    /// Adds a pattern, after those that are there.
    #[must_use]
    pub fn with(mut self, pattern: Override) -> Self {
        self.overrides.push(pattern);
        self
    }

    /// A pattern that fits none of these names.
    pub(crate) fn unused(&self, names: &[&str]) -> Option<&Pattern> {
        let fits = |pattern: &Pattern| names.iter().any(|name| pattern.matches(name));
        self.overrides.iter().map(|own| &own.pattern).find(|pattern| !fits(pattern))
    }

    /// The decision for one parameter of this name (or none) and shape.
    pub(crate) fn decide(&self, name: Option<&str>, shape: &[usize]) -> Decision {
        let (role, reason) = match (self.default, name) {
            (DefaultRule::Everything, _) => (Role::Regularized, "everything is"),
            (DefaultRule::ByName(_), None) if shape.len() >= 2 => {
                (Role::Regularized, "rank 2 or more")
            }
            (DefaultRule::ByName(_), None) => (Role::Free, "rank below 2"),
            (DefaultRule::ByName(_), Some(name)) if is_running_statistic(name) => {
                (Role::Frozen, "running statistic")
            }
            (DefaultRule::ByName(grouping), Some(name)) => {
                let decision = grouping.decide(kind(name, shape.len()));
                let role = if decision.regularized { Role::Regularized } else { Role::Free };
                (role, decision.reason)
            }
        };
        let plain = Decision {
            role,
            reason: reason.to_owned(),
            lr_factor: 1.0,
            weight_decay: None,
            constraint: None,
        };
        let Some(name) = name else { return plain };
        match self.overrides.iter().find(|own| own.pattern.matches(name)) {
            None => plain,
            Some(own) => Decision {
                role: own.role.unwrap_or(role),
                reason: format!("pattern {}", own.pattern),
                lr_factor: own.lr_factor,
                weight_decay: own.weight_decay,
                constraint: own.constraint,
            },
        }
    }
}

/// What was decided for a parameter, and why.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) role: Role,
    pub(crate) reason: String,
    pub(crate) lr_factor: f64,
    pub(crate) weight_decay: Option<f64>,
    pub(crate) constraint: Option<ConstraintConfig<AnyRegularizer>>,
}

fn is_running_statistic(name: &str) -> bool {
    let last = name.rsplit(['.', '/']).next().unwrap_or(name);
    ["running_mean", "running_var", "num_batches_tracked"].contains(&last)
}

/// What a parameter is for, by its name and rank.
pub(crate) fn kind(name: &str, rank: usize) -> ParamKind {
    let name = name.to_lowercase();
    let mut segments = name.rsplit(['.', '/']);
    let last = segments.next().unwrap_or_default();
    if last.contains("bias") {
        return ParamKind::Bias;
    }
    if rank < 2 {
        return ParamKind::Norm;
    }
    // `wte.weight` is told by its layer, a bare `pos_embed` by itself.
    let layer = if last == "weight" { segments.next().unwrap_or_default() } else { last };
    let stem = layer.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    if stem.ends_with("norm") || ["ln", "bn", "gn"].contains(&stem) {
        return ParamKind::Norm;
    }
    let head = ["unembed", "embed_out"].iter().any(|head| layer.contains(head));
    let embeds = ["wte", "wpe", "emb"].contains(&stem) || stem.ends_with("_emb");
    if !head && (embeds || layer.contains("embed")) {
        return ParamKind::Embedding;
    }
    ParamKind::Matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ranks_tell_what_a_parameter_is_for() {
        use ParamKind::{Bias, Embedding, Matrix, Norm};
        for (name, rank, expected) in [
            ("h.0.attn.c_attn.weight", 2, Matrix),
            ("h.0.attn.c_attn.bias", 1, Bias),
            ("attn.in_proj_bias", 1, Bias),
            ("h.0.ln_1.weight", 1, Norm),
            ("ln_f.bias", 1, Bias),
            ("conv1.weight", 4, Matrix),
            ("bn1.weight", 1, Norm),
            ("wte.weight", 2, Embedding),
            ("transformer.wpe.weight", 2, Embedding),
            ("model.embed_tokens.weight", 2, Embedding),
            ("embeddings.patch_embeddings.projection.weight", 4, Matrix),
            ("patch_embed.proj.weight", 4, Matrix),
            ("pos_embed", 3, Embedding),
            ("tok_emb.weight", 2, Embedding),
            ("embed_out.weight", 2, Matrix),
            ("unembed.weight", 2, Matrix),
            ("lm_head.weight", 2, Matrix),
            ("layer_norm2.weight", 2, Norm),
            ("logit_scale", 0, Norm),
        ] {
            assert_eq!(kind(name, rank), expected, "{name}");
        }
    }

    #[test]
    fn the_first_pattern_that_fits_decides() {
        let groups = Groups::default()
            .with(Override::new("head.*").unwrap().free().lr_factor(0.1))
            .with(Override::new("*.weight").unwrap().weight_decay(0.3));
        let head = groups.decide(Some("head.weight"), &[2, 2]);
        assert_eq!((head.role, head.lr_factor, head.weight_decay), (Role::Free, 0.1, None));
        let other = groups.decide(Some("mlp.weight"), &[2, 2]);
        assert_eq!((other.role, other.weight_decay), (Role::Regularized, Some(0.3)));
        assert_eq!(groups.decide(Some("mlp.bias"), &[2]).role, Role::Free);
        assert_eq!(groups.decide(Some("bn.running_var"), &[2]).role, Role::Frozen);
        assert_eq!(groups.unused(&["mlp.weight"]).unwrap().to_string(), "head.*");
    }
}
