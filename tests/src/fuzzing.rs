//! Bodies of the fuzz targets: bytes in, a panic where a law is broken. Plain tests replay corpora through them.

mod bytes;
mod machine;
mod splits;
mod steps;

pub use machine::bound;
pub use splits::{check as check_splits, merge};
pub use steps::step;
