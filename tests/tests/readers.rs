//! Seeds and regressions of the fuzz targets that read files, replayed.
#![cfg(feature = "host")]

use cpr_tests::fuzzing::{self, replay};

#[test]
fn config_replays() {
    replay("config", fuzzing::config);
}

#[test]
fn trajectory_replays() {
    replay("trajectory", fuzzing::trajectory);
}

#[test]
fn checkpoint_replays() {
    replay("checkpoint", fuzzing::checkpoint);
}

#[test]
fn data_replays() {
    replay("data", fuzzing::data);
}
