//! Configuration files.

use std::path::Path;

use cpr_host::config::{ClassifyConfig, ExperimentConfig, GrokkingConfig, LmConfig};

/// Any text as a run's configuration, of every experiment.
///
/// Laws: an error that says something, or a configuration that passes its own check, resolves to itself, is written
/// as a text that reads back as the same one (`threads` aside, which is not written), and gives an optimizer.
pub fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    read_as::<GrokkingConfig>(text);
    read_as::<ClassifyConfig>(text);
    read_as::<LmConfig>(text);
}

fn read_as<C: ExperimentConfig>(text: &str) {
    let path = Path::new("fuzzed.toml");
    let config = match C::from_toml(text, path) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    config.check().expect("what is read was checked");
    config.optim().spec().expect("what was checked can be made");
    assert_eq!(config.resolved().expect("in range"), config, "resolved twice");
    assert!(!config.summary().is_empty());
    assert!(config.run().total_steps(1) >= 1);
    let written = config.to_toml().expect("what was read can be written");
    let mut read = C::from_toml(&written, path)
        .unwrap_or_else(|error| panic!("what was written is refused: {error}\n{written}"));
    read.run_mut().threads = config.run().threads;
    assert_eq!(read, config, "{written}");
}
