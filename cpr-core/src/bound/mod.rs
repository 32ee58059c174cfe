//! κ, the upper bound of R: how it is set ([`BoundInit`]), where it stands ([`Bound`]), and how it tightens
//! ([`Adaptive`]).

mod inflection;
mod init;

pub use self::{
    inflection::{Inflection, Trace},
    init::BoundInit,
};

/// The state of one matrix's bound. "Not set yet" is a state, never a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// A warm start that has not come to its step yet: no constraint.
    WarmUp,
    /// Watching R for its first inflection: no constraint.
    Watching(Trace),
    /// Set.
    Set {
        /// κ, at least 0; ∞ constrains nothing.
        kappa: f64,
        /// The step at which κ was set; 0 before the first.
        at: u64,
    },
}

impl Bound {
    /// κ, once it is set.
    #[must_use]
    pub const fn kappa(&self) -> Option<f64> {
        match *self {
            Self::Set { kappa, .. } => Some(kappa),
            Self::WarmUp | Self::Watching(_) => None,
        }
    }

    /// The step at which κ was set; 0 before the first.
    #[must_use]
    pub const fn set_at(&self) -> Option<u64> {
        match *self {
            Self::Set { at, .. } => Some(at),
            Self::WarmUp | Self::Watching(_) => None,
        }
    }

    /// Takes R of step `t` (finite) and returns the bound in force on this step, if there is one.
    ///
    /// On the step that sets κ there is none.
    pub(crate) fn observe(&mut self, init: &BoundInit, t: u64, value: f64) -> Option<f64> {
        match (*self, init) {
            (Self::Set { kappa, .. }, _) => return Some(kappa),
            (Self::WarmUp, &BoundInit::WarmStart(at)) if t >= at => {
                *self = Self::Set { kappa: value, at: t };
            }
            (Self::Watching(trace), BoundInit::Inflection(rule)) if rule.samples(t) => {
                let (trace, inflected) = trace.sample(rule, value);
                *self = if inflected && t > rule.burn_in {
                    Self::Set { kappa: value, at: t }
                } else {
                    Self::Watching(trace)
                };
            }
            _ => {}
        }
        None
    }

    /// κ ← min(κ, R).
    pub(crate) fn tighten(&mut self, value: f64) {
        if let Self::Set { kappa, .. } = self
            && value < *kappa
        {
            *kappa = value;
        }
    }
}

/// Whether κ falls during training (AdaCPR).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adaptive {
    /// κ stays.
    #[default]
    Off,
    /// When λ falls from above 0 to 0 by its update, κ ← min(κ, R) (arXiv 2311.09058, Appendix D).
    OnRelease,
    /// Once λ has been above 0, κ ← min(κ, R) on every step with λ = 0 (the first published code).
    WhileInactive,
}
