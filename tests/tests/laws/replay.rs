//! Seeds and regressions of the fuzz targets, replayed.

use std::{fs, path::Path};

use cpr_tests::fuzzing;

/// Replays every file of `fuzz/seeds/TARGET` and `fuzz/regressions/TARGET`; there must be seeds.
fn replay(target: &str, body: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (kind, needed) in [("seeds", true), ("regressions", false)] {
        let folder = fuzz.join(kind).join(target);
        let mut files = Vec::new();
        if let Ok(entries) = fs::read_dir(&folder) {
            files.extend(entries.map(|entry| entry.unwrap().path()));
        }
        files.sort();
        assert!(!(needed && files.is_empty()), "{} is empty", folder.display());
        for file in files {
            let bytes = fs::read(&file).unwrap();
            let kept = std::panic::catch_unwind(|| body(&bytes));
            assert!(kept.is_ok(), "{} breaks a law of {target}", file.display());
        }
    }
}

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
