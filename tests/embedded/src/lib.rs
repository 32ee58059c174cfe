//! Firmware that trains under a constraint on a Cortex-M, and checks its bits against the host's.
//!
//! [`problem`] and [`head`] are compiled for both sides: `build.rs` runs them on the host and records what came out in
//! [`expected`]; each binary runs one case of it and ends with success if θ, λ and κ have the same bits.
#![no_std]

pub mod head;
pub mod problem;

/// What the accelerometer recorded (`data/sensor.csv`).
pub mod windows {
    use crate::head::Window;

    include!(concat!(env!("OUT_DIR"), "/windows.rs"));
}

/// What the host got, as computed by `build.rs`.
pub mod expected {
    use crate::head::{Bounded, Learnt};
    use crate::problem::Trained;

    include!(concat!(env!("OUT_DIR"), "/expected.rs"));
}

#[cfg(feature = "firmware")]
pub mod board;
#[cfg(feature = "cost")]
pub mod cost;

/// The page whose examples are tested here.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/EMBED.md")]
pub struct EmbedPage;
