//! Named parameters in one flat buffer, and the rule that says which of them are regularized.

use std::fmt::Write;
use std::ops::Range;

/// What a parameter is for; the grouping rule looks at nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// The weights of a linear map or of a convolution.
    Matrix,
    /// One row for each token or position.
    Embedding,
    /// Added to an activation.
    Bias,
    /// Scale or shift of a normalization layer.
    Norm,
}

/// One parameter and its place in the flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name, unique in its layout.
    pub name: String,
    /// Its dimensions, the last one contiguous.
    pub shape: Vec<usize>,
    /// What it is for.
    pub kind: ParamKind,
    /// Its elements in the flat buffer.
    pub range: Range<usize>,
}

/// What was wrong with the declaration of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A name was declared twice.
    #[error(
        "two parameters are named `{name}`: rename one, for checkpoints find parameters by name"
    )]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A shape has no element, or more than the address space holds.
    #[error(
        "parameter `{name}` has the shape {shape:?}: every dimension must be at least 1 and their product must fit into memory"
    )]
    Shape {
        /// The parameter.
        name: String,
        /// Its shape as declared.
        shape: Vec<usize>,
    },
}

/// The parameters of a model, one after the other without gaps in the order of their declaration.
///
/// ```
/// use cpr_host::param::{ParamKind, ParamLayout};
/// let layout = ParamLayout::new([
///     ("head.weight", vec![3, 2], ParamKind::Matrix),
///     ("head.bias", vec![3], ParamKind::Bias),
/// ])?;
/// assert_eq!(layout.len(), 9);
/// assert_eq!(layout.get("head.bias").map(|param| param.range.clone()), Some(6..9));
/// # Ok::<(), cpr_host::param::LayoutError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamLayout {
    params: Vec<Param>,
    length: usize,
}

impl ParamLayout {
    /// Lays out parameters given as (name, shape, kind). A shape without dimensions is one element.
    ///
    /// # Errors
    ///
    /// A name that occurs twice, or a shape without elements or beyond the address space.
    pub fn new<N: Into<String>>(
        declared: impl IntoIterator<Item = (N, Vec<usize>, ParamKind)>,
    ) -> Result<Self, LayoutError> {
        let mut layout = Self::default();
        for (name, shape, kind) in declared {
            let name = name.into();
            if layout.get(&name).is_some() {
                return Err(LayoutError::Duplicate { name });
            }
            let elements = shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side));
            let end = elements.filter(|&n| n > 0).and_then(|n| layout.length.checked_add(n));
            let Some(end) = end else {
                return Err(LayoutError::Shape { name, shape });
            };
            let range = layout.length..end;
            layout.length = end;
            layout.params.push(Param { name, shape, kind, range });
        }
        Ok(layout)
    }

    /// The parameters in the order of their declaration.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }

    /// The number of elements of the flat buffer.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }
}

/// Whether a parameter is a group of its own under a constraint, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the parameter is regularized.
    pub regularized: bool,
    /// The reason, a few words for the table of groups.
    pub reason: &'static str,
}

/// The grouping rule: matrices are regularized, biases and normalization parameters are not,
/// embeddings if asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// Whether embeddings are regularized too.
    pub embeddings: bool,
}

impl Grouping {
    /// The decision for one kind of parameter.
    pub const fn decide(self, kind: ParamKind) -> Decision {
        match kind {
            ParamKind::Matrix => Decision { regularized: true, reason: "matrix" },
            ParamKind::Embedding if self.embeddings => {
                Decision { regularized: true, reason: "embedding, included on request" }
            }
            ParamKind::Embedding => {
                Decision { regularized: false, reason: "embedding, not asked for" }
            }
            ParamKind::Bias => Decision { regularized: false, reason: "bias" },
            ParamKind::Norm => Decision { regularized: false, reason: "normalization" },
        }
    }

    /// The decisions for all parameters, in the order of the layout.
    pub fn decisions(self, layout: &ParamLayout) -> Vec<Decision> {
        layout.params().iter().map(|param| self.decide(param.kind)).collect()
    }

    /// The table of groups: name, shape, elements, regularized or not, and why; a line with the
    /// totals closes it.
    pub fn table(self, layout: &ParamLayout) -> String {
        let head = ["parameter", "shape", "elements", "regularized", "because"].map(String::from);
        let mut rows = vec![head];
        let mut regularized = 0;
        for param in layout.params() {
            let decision = self.decide(param.kind);
            if decision.regularized {
                regularized += param.range.len();
            }
            rows.push([
                param.name.clone(),
                param.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
                param.range.len().to_string(),
                if decision.regularized { "yes" } else { "no" }.into(),
                decision.reason.into(),
            ]);
        }
        let width = |column: usize| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let widths: [usize; 4] = std::array::from_fn(width);
        let mut table = String::new();
        for [name, shape, elements, decision, reason] in &rows {
            // Writing to a string cannot fail.
            let _ = writeln!(
                table,
                "{name:<0$}  {shape:<1$}  {elements:>2$}  {decision:<3$}  {reason}",
                widths[0], widths[1], widths[2], widths[3],
            );
        }
        let _ = writeln!(table, "{regularized} of {} elements are regularized", layout.len());
        table
    }
}

#[cfg(test)]
mod tests;
