//! Training under Constrained Parameter Regularization on the CPU.

pub mod checkpoint;
pub mod observe;
pub mod plot;
pub mod run_folder;
