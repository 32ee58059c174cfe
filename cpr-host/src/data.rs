//! Data sets and the order in which their examples come.

pub mod batches;
pub mod modular;
