//! What CPR is compared with: against recorded values, against the oracle, and its laws.
#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

mod laws;
mod random;
mod recorded;
