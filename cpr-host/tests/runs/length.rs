//! `cpr resume RUN --steps N`.

use std::fs;

use super::{Place, assert_same, grokking, signal};

fn half(flags: &str) -> Place {
    let place = Place::new();
    let line = grokking(flags);
    // A run in epochs has no steps.
    let epochs = flags.contains("--epochs");
    place.cpr(&if epochs { line.replace(" --steps 60", "") } else { line });
    place
}

#[test]
fn n_steps_and_n_more_leave_the_bytes_of_2n() {
    let best = "checkpoints/best.safetensors";
    for (whole, first, more) in [
        ("--steps 60", "--steps 30", "--steps 60"),
        ("--epochs 20", "--epochs 10", "--epochs 20"),
        (
            "--steps 60 --reg std --order before-base --warmup 4",
            "--steps 30 --reg std --order before-base --warmup 4",
            "--steps 60",
        ),
        ("--steps 60 --optimizer adamw", "--epochs 10 --optimizer adamw", "--steps 60"),
    ] {
        let whole = half(whole);
        let place = half(first);
        let shown = place.cpr(&format!("resume runs/grokking/run {more}"));
        assert!(shown.contains("goes on after step 30\n"), "{shown}");
        // The best checkpoint names the length that the run had when it was written.
        if fs::read(place.run().join(best)).unwrap() != fs::read(whole.run().join(best)).unwrap() {
            fs::copy(whole.run().join(best), place.run().join(best)).unwrap();
        }
        assert_same(&whole, &place, first);
    }
}

#[test]
fn a_longer_run_that_is_stopped_keeps_its_new_length() {
    let whole = half("--steps 3000 --checkpoint-every 1000");
    let place = half("--steps 30 --checkpoint-every 1000");
    let old = fs::read(place.run().join("config.toml")).unwrap();
    let child = place.started("resume runs/grokking/run --steps 3000");
    std::thread::sleep(std::time::Duration::from_millis(100));
    signal(&child, "-KILL");
    child.wait_with_output().unwrap();
    // As if the kill had come between the checkpoint and the configuration beside it.
    fs::write(place.run().join("config.toml"), old).unwrap();
    place.cpr("resume runs/grokking/run");
    for file in ["config.toml", "checkpoints/last.safetensors", "metrics.jsonl", "summary.json"] {
        let [a, b] = [&whole, &place].map(|place| fs::read(place.run().join(file)).unwrap());
        assert!(a == b, "{file}");
    }
}

#[test]
fn a_length_that_cannot_be_is_refused_and_nothing_is_changed() {
    let place = half("--steps 30");
    let before = place.snapshot();
    for more in ["--steps 29", "--steps 30", "--epochs 10"] {
        let error = place.error(&format!("resume runs/grokking/run {more}"));
        assert!(error.contains("has taken 30 steps already"), "{error}");
    }
    assert!(before == place.snapshot());
    let place = half("--steps 30 --schedule cosine");
    let before = place.snapshot();
    let error = place.error("resume runs/grokking/run --steps 60");
    assert!(error.contains("--schedule cosine"), "{error}");
    assert!(before == place.snapshot());
    // What would be refused is not proposed.
    let shown = place.cpr("resume runs/grokking/run");
    assert!(shown.contains("has ended at step 30\n") && !shown.contains("--steps"), "{shown}");
    // Any accuracy is enough to stop at.
    let place = half("--steps 3000 --stop-at-accuracy 1e-9");
    let before = place.snapshot();
    let error = place.error("resume runs/grokking/run --steps 6000");
    assert!(error.contains("--stop-at-accuracy"), "{error}");
    assert!(before == place.snapshot());
    let shown = place.cpr("resume runs/grokking/run");
    assert!(shown.contains("has ended at step") && !shown.contains("--steps"), "{shown}");
}
