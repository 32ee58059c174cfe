//! Seeds and regressions of the fuzz targets, replayed.

use cpr_tests::fuzzing::{self, replay};

#[test]
fn step_replays() {
    replay("step", fuzzing::step);
}

#[test]
fn merge_replays() {
    replay("merge", fuzzing::merge);
}

#[test]
fn bound_replays() {
    replay("bound", fuzzing::bound);
}

#[test]
fn wire_replays() {
    replay("wire", fuzzing::wire);
}
