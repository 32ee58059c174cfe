//! Bodies of the fuzz targets: bytes in, a panic where a law is broken. Plain tests replay corpora through them.

use std::{fs, panic, path::Path};

mod bytes;
#[cfg(feature = "host")]
mod checkpoints;
#[cfg(feature = "host")]
mod datasets;
mod machine;
#[cfg(feature = "host")]
mod recordings;
mod records;
#[cfg(feature = "host")]
mod settings;
mod splits;
mod steps;

#[cfg(feature = "host")]
pub use checkpoints::checkpoint;
#[cfg(feature = "host")]
pub use datasets::data;
pub use machine::bound;
#[cfg(feature = "host")]
pub use recordings::trajectory;
pub use records::wire;
#[cfg(feature = "host")]
pub use settings::config;
pub use splits::{check as check_splits, merge};
pub use steps::step;

/// Replays every file of `fuzz/seeds/TARGET` and `fuzz/regressions/TARGET` through the target's body.
///
/// # Panics
/// Where a file breaks a law, and where there are no seeds.
pub fn replay(target: &str, body: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (kind, needed) in [("seeds", true), ("regressions", false)] {
        let folder = fuzz.join(kind).join(target);
        let mut files = Vec::new();
        if let Ok(entries) = fs::read_dir(&folder) {
            files.extend(entries.map(|entry| entry.expect("a folder that can be listed").path()));
        }
        files.sort();
        assert!(!(needed && files.is_empty()), "{} is empty", folder.display());
        for file in files {
            let bytes = fs::read(&file).expect("a file that can be read");
            let kept = panic::catch_unwind(|| body(&bytes));
            assert!(kept.is_ok(), "{} breaks a law of {target}", file.display());
        }
    }
}
