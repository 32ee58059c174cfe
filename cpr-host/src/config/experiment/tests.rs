use super::*;
use crate::{
    cli,
    config::{ClassifyConfig, GrokkingConfig, LmConfig},
};

/// What holds for the configuration of every experiment.
fn holds<C: ExperimentConfig>() {
    let matches = C::flags().try_get_matches_from([C::EXPERIMENT]).unwrap();
    assert_eq!(<C as clap::FromArgMatches>::from_arg_matches(&matches).unwrap(), C::default());
    assert_eq!(C::layered(None, &matches, &[]).unwrap(), C::default().resolved().unwrap());

    let default = C::default().resolved().unwrap();
    assert_eq!(default.resolved().unwrap(), default);
    let text = default.to_toml().unwrap();
    assert_eq!(C::from_toml(&text, Path::new("run.toml")).unwrap(), default, "{text}");
    for key in C::keys() {
        assert!(C::help_of(&key).is_some_and(|help| !help.is_empty()), "{key}");
    }

    // Every key of a text overrides the default, and an unknown one is told from a misspelt one.
    let text = "lr = 0.5\nseed = 9\nwarmup = 5\nbatch = 3\nmu = 0.25";
    let config = C::from_toml(text, Path::new("run.toml")).unwrap();
    assert_eq!((config.optim().lr, config.run().seed, config.optim().warmup), (0.5, 9, 5));
    assert_eq!(config.optim().constraint.mu, Some(0.25));
    assert_ne!(config, default);
    let error = C::from_toml("bach = 3", Path::new("run.toml")).unwrap_err();
    assert_eq!(error.to_string(), "run.toml:1: unknown key `bach`: did you mean `batch`?");
    assert!(error.hint().unwrap().starts_with("--batch: "));
    let error = C::from_toml("xyzzy = 3", Path::new("run.toml")).unwrap_err();
    assert!(error.hint().unwrap().contains(&format!("`cpr {} --help`", C::EXPERIMENT)));
}

#[test]
fn every_experiment_has_flags_defaults_and_a_file_that_agree() {
    holds::<GrokkingConfig>();
    holds::<ClassifyConfig>();
    holds::<LmConfig>();
}

#[test]
fn keys_of_one_experiment_alone() {
    let refusal = |line: &str| {
        let error = cli::parse(line.split(' ')).expect_err(line);
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{line}");
        error.to_string()
    };
    for (line, message) in [
        ("cpr classify --hidden 0", "--hidden 0: it must be up to 64 widths of 1 to 16384"),
        (
            "cpr classify --hidden a,b",
            "--hidden a,b: expected none, or widths with commas between them, as 256,128",
        ),
        ("cpr classify --batch 0", "--batch 0: it must be 1 to 2^24"),
        ("cpr classify --dim 3", "unknown argument `--dim`"),
        ("cpr lm --heads 3", "dim = 128: it must be a multiple of --heads 3"),
        ("cpr lm --dropout 1", "--dropout 1: it must be in [0, 1)"),
        ("cpr lm --context 0", "--context 0: it must be 1 to 65536"),
        ("cpr lm --layers 300", "--layers 300: it must be 1 to 256"),
        (
            "cpr lm --alphabet aab",
            "--alphabet \"aab\": it must be 2 to 65536 characters, each once",
        ),
        ("cpr lm --alphabet ab --unit bytes", "--alphabet ab: has no effect with --unit bytes"),
        ("cpr lm --train-fraction 1", "--train-fraction 1: it must be in (0, 1)"),
        ("cpr lm --unit words", "--unit words: expected one of characters, bytes"),
        (
            "cpr lm --stop-at-accuracy 0.9",
            "--stop-at-accuracy 0.9: has no effect with a language model, which is measured by its loss",
        ),
        (
            "cpr sample runs/a --temperature nan",
            "--temperature NaN: it must be finite and at least 0",
        ),
        ("cpr sample runs/a --tokens 10000001", "--tokens 10000001: it must be at most 10000000"),
        ("cpr sample runs/a --threads 2000", "--threads 2000: it must be at most 1024"),
    ] {
        assert_eq!(refusal(line), message);
    }
    let help = LmConfig::help_of("eval_every").unwrap();
    assert!(help.starts_with("Steps from one"), "{help}");
    assert!(GrokkingConfig::help_of("eval_every").unwrap().starts_with("Epochs from one"));
    let Ok(cli::Command::Lm(training)) = cli::parse("cpr lm --clip inf".split(' ')) else {
        panic!("lm")
    };
    assert_eq!(training.config.optim.spec().unwrap().clip, None);
    assert_eq!(LmConfig::default().optim.spec().unwrap().clip, Some(1.0));
}
