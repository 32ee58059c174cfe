//! What the integration tests of the workspace share: one oracle, one table of cases, one table of tolerances,
//! and the bodies of the fuzz targets.

pub mod baselines;
pub mod cases;
pub mod fuzzing;
pub mod noise;
pub mod oracle;
pub mod path;
pub mod tolerance;
