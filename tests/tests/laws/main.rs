//! The laws of cpr-core, each for every path that can run it.

mod bias;
mod convergence;
mod degenerate;
mod equivalence;
mod pinned;
mod properties;
mod replay;
mod sums;
mod trajectories;
