//! Training under Constrained Parameter Regularization on the CPU.

pub mod checkpoint;
pub mod observe;
pub mod run_folder;
