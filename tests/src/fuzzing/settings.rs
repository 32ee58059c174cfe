//! Configuration files.

use std::path::Path;

use cpr_host::config::{ExperimentConfig as _, GrokkingConfig};

/// Any text as a run's configuration.
///
/// Laws: an error that says something, or a configuration that passes its own check, resolves to itself, is written
/// as a text that reads back as the same one (`threads` aside, which is not written), and gives an optimizer.
pub fn config(data: &[u8]) {
    let path = Path::new("fuzzed.toml");
    let Ok(text) = str::from_utf8(data) else { return };
    let config = match GrokkingConfig::from_toml(text, path) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    config.check().expect("what is read was checked");
    config.optim.spec().expect("what was checked can be made");
    assert_eq!(config.resolved().expect("in range"), config, "resolved twice");
    assert!(!config.summary().is_empty());
    assert!(config.run.total_steps(1) >= 1);
    let written = config.to_toml().expect("what was read can be written");
    let mut read = GrokkingConfig::from_toml(&written, path)
        .unwrap_or_else(|error| panic!("what was written is refused: {error}\n{written}"));
    read.run.threads = config.run.threads;
    assert_eq!(read, config, "{written}");
}
