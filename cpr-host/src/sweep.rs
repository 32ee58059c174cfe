//! Grids of runs: `cpr sweep FILE.toml`.
//!
//! [`SweepFile`] is the file, [`plan`](plan::plan) makes its runs, [`execute`](execute::execute) trains them as child
//! processes of the same binary, and [`results::write`] makes the final tables of the folders that they leave.
//!
//! A run is a child, not a thread: a panic, an abort or a kill for memory ends that run alone, each run is the
//! command that a person would type, and what it needs of an experiment is its name and its keys.

mod catalog;
pub mod command;
mod data;
mod error;
pub mod execute;
mod file;
pub mod folder;
mod law;
pub mod plan;
mod progress;
pub mod results;
mod shard;
#[cfg(test)]
mod tests;

pub use catalog::Known;
pub use error::{Place, SweepError};
pub use file::{Group, SweepFile};
pub use folder::{Entry, Manifest, State, Status, SweepFolder};
pub use law::{Form, Law};
pub use plan::{Catalog, Checked, PlannedRun};
pub use progress::Progress;
pub use shard::Shard;
