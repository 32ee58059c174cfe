//! What the commands say, and what they refuse.

use super::{Place, grokking};

#[test]
fn a_run_shows_its_groups_and_leaves_the_files_of_the_host() {
    let place = Place::new();
    let said = place.cpr_gpu(&grokking("--dry-run"));
    assert!(
        said.contains("modular addition mod 11: 36 training and 85 validation pairs"),
        "{said}"
    );
    assert!(said.contains("layers.0.mlp.0.bias"), "{said}");
    assert!(!place.path().join("runs").exists());
    let said = place.cpr_gpu(&grokking("--stop-at-accuracy 0.01 --steps 300"));
    assert!(said.contains("the validation accuracy asked for was reached"), "{said}");
    for file in ["timing.jsonl", "plot.svg", "summary.json", "events.out.tfevents.0.cpr"] {
        assert!(place.run().join(file).is_file(), "{file}");
    }
    let config = std::fs::read_to_string(place.run().join("config.toml")).unwrap();
    assert!(!config.contains("device") && !config.contains("threads"), "{config}");
    let said = place.cpr_gpu("inspect runs/grokking/run");
    assert!(said.contains("layers.0.attn.in_proj_weight"), "{said}");
}

#[test]
fn gradients_that_are_not_finite_end_a_run_with_its_good_state_saved() {
    let place = Place::new();
    let line = grokking("--optimizer sgd --momentum 0 --lr 1e30 --max-bad-steps 5");
    let message = place.error(&line, 1);
    assert!(message.contains("was not finite (bad steps in a row: 5)"), "{message}");
    assert!(place.last().is_file());
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let place = Place::new();
    if !cpr_gpu::device::DeviceChoice::Cuda(0).is_compiled_in() {
        for line in ["grokking --device cuda:1", "resume runs/x --device cuda"] {
            let message = place.error(line, 2);
            assert!(message.contains("built without CUDA"), "{message}");
        }
    }
    let message = place.error("grokking --device gpu", 2);
    assert!(message.contains("expected cpu, cuda or cuda:N"), "{message}");
    let message = place.error("resume runs/grokking/none", 1);
    assert!(message.contains("runs/grokking/none"), "{message}");
    let message = place.error("inspect .", 1);
    assert!(message.contains("neither a run folder nor a checkpoint"), "{message}");
    assert!(!place.path().join("runs").exists());
}

#[test]
fn a_checkpoint_of_another_model_is_refused_by_the_settings_that_differ() {
    let place = Place::whole("--steps 1");
    let message = place.error(&grokking("--p 13 --name next --from runs/grokking/run"), 1);
    let said = "is of another model: `p` is 11 in the checkpoint and 13 in the configuration; ";
    assert!(message.contains(said) && !message.contains("`dim`"), "{message}");
}

#[test]
fn inspect_says_what_the_host_says_of_its_columns() {
    let said = Place::new().cpr_gpu("inspect --help");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&said).contains(&words(cpr_host::cli::INSPECT)), "{said}");
}
