//! Training under Constrained Parameter Regularization on the CPU.

pub mod checkpoint;
pub mod observe;
pub mod plot;
pub mod run_folder;
pub mod data;
pub mod model;
pub mod parallel;
pub mod param;
pub mod random;
