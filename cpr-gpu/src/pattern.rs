//! Glob patterns over parameter names.

use std::fmt;

use globset::{Glob, GlobMatcher};

use crate::Error;

/// A glob over a parameter's whole name: `*` and `?` match any characters (dots too), `[ab]` one of a set, `{x,y}`
/// one of several.
///
/// ```
/// use cpr_gpu::Pattern;
/// let attention = Pattern::new("blocks.*.attn.*")?;
/// assert!(attention.matches("blocks.11.attn.proj.weight"));
/// assert!(!attention.matches("blocks.11.mlp.up.weight"));
/// assert!(Pattern::new("blocks.[").is_err());
/// # Ok::<(), cpr_gpu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pattern(GlobMatcher);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`Error::Pattern`] where the glob cannot be read.
    pub fn new(glob: &str) -> Result<Self, Error> {
        let compiled = Glob::new(glob)
            .map_err(|source| Error::Pattern { pattern: glob.to_owned(), source })?;
        Ok(Self(compiled.compile_matcher()))
    }

    /// Whether the whole name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.glob().glob())
    }
}
