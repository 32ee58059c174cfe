//! The laws of cpr-core, each for every path that can run it.
#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

mod bias;
mod convergence;
mod degenerate;
mod equivalence;
mod messages;
mod pinned;
mod precision;
mod properties;
mod replay;
mod sums;
mod trajectories;
