//! Training under Constrained Parameter Regularization on the CPU.

pub mod checkpoint;
pub mod data;
pub mod model;
pub mod observe;
pub mod optim;
pub mod parallel;
pub mod param;
pub mod plot;
pub mod random;
pub mod run_folder;
pub mod cli;
pub mod commands;
pub mod config;
pub mod optim;
pub mod schedule;
