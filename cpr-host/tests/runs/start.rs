//! `cpr grokking --from`, and `--reset-optimizer` and `--partial`.

use std::{collections::BTreeMap, fs, path::Path};

use cpr_host::checkpoint::{Checkpoint, CheckpointWriter, Meta, Policy};

use super::{Place, assert_same, grokking};

const LAST: &str = "runs/grokking/run/checkpoints/last.safetensors";

/// The content of a checkpoint, to be changed and written again.
pub(super) struct Parts {
    pub(super) meta: Meta,
    pub(super) weights: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub(super) moments: BTreeMap<(String, &'static str), Vec<f32>>,
    pub(super) records: BTreeMap<String, Vec<u8>>,
}

impl Parts {
    pub(super) fn read(path: &Path) -> Self {
        let Checkpoint { meta, mut tensors } = Checkpoint::read(path).unwrap();
        let names: Vec<_> = tensors
            .parameters()
            .map(|(name, tensor)| (name.to_owned(), tensor.signature.shape.clone()))
            .collect();
        let (mut weights, mut moments, mut records) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, shape) in names {
            for moment in ["exp_avg", "exp_avg_sq"] {
                if let Ok(values) = tensors.take_moment(&name, moment, &shape) {
                    moments.insert((name.clone(), moment), values);
                }
            }
            if let Ok(record) = tensors.take_constraint(&name) {
                records.insert(name.clone(), record);
            }
            let values = tensors.take_f32(&name, &shape).unwrap();
            weights.insert(name, (shape, values));
        }
        tensors.finish(Policy::Partial).unwrap();
        Self { meta, weights, moments, records }
    }

    pub(super) fn write(&self, path: &Path) {
        let mut writer = CheckpointWriter::new(self.meta.clone());
        for (name, (shape, values)) in &self.weights {
            writer = writer.tensor(name, shape, values);
        }
        for ((name, moment), values) in &self.moments {
            writer = writer.moment(name, *moment, values);
        }
        for (name, record) in &self.records {
            writer = writer.constraint(name, record);
        }
        writer.write(path).unwrap();
    }
}

/// A new run of 30 steps, under another name.
fn next(flags: &str) -> String {
    grokking(&format!("--name next --steps 30 {flags}"))
}

fn at_start(place: &Place) -> Parts {
    let folder = place.run().with_file_name("next").join("checkpoints");
    Parts::read(&folder.join("step-0.safetensors"))
}

#[test]
fn between_optimizers_weights_and_moments_go_over_and_what_starts_afresh_is_said() {
    for (first, second, said) in [
        ("--optimizer adamw", "--kappa-init dependent=0.9", "start afresh at these weights"),
        (
            "--optimizer adamw",
            "--kappa-init warm-start=5 --reg std",
            "start afresh at these weights",
        ),
        ("--kappa-init dependent=0.9", "--optimizer adamw", "left behind: this optimizer has none"),
        (
            "--reg std --kappa-init warm-start=5",
            "--reg std --kappa-init warm-start=5",
            "constraints  taken\n",
        ),
        ("--optimizer adamw", "--optimizer adam", "constraints  none\n"),
    ] {
        let place = Place::whole(first);
        let before = Parts::read(&place.last());
        for from in ["runs/grokking/run", LAST] {
            let _ = fs::remove_dir_all(place.run().with_file_name("next"));
            let shown = place.cpr(&next(&format!("{second} --from {from} --keep 9")));
            assert!(shown.contains(said), "{first} -> {second}: {shown}");
            assert!(shown.contains("moments      taken, at t = 60\n"), "{shown}");
            assert!(
                shown.contains("schedule, order of the data and metrics are those of a new run")
            );
        }
        // The first checkpoint is that state, with its t; nothing was lost or rounded.
        let after = at_start(&place);
        assert!(before.weights == after.weights && before.moments == after.moments, "{first}");
        assert_eq!(after.meta.step, 0);
        assert_eq!(after.meta.optimizer.as_ref().unwrap().hyperparameters["t"], 60);
        if said.contains("taken") {
            assert_eq!(before.records, after.records);
        }
        // κ of a fresh dependent bound is of the weights that were loaded: R/κ is 1/0.9.
        if second.contains("dependent") {
            let inspected = place.cpr("inspect runs/grokking/next/checkpoints/step-0.safetensors");
            let line = inspected.lines().find(|line| line.contains("in_proj_weight")).unwrap();
            assert!(line.contains("1.1111"), "{inspected}");
        }
    }
}

#[test]
fn a_run_from_a_checkpoint_is_resumed_to_the_same_bytes() {
    for flags in [
        "--from runs/grokking/run --kappa-init dependent=0.9",
        "--from runs/grokking/run --optimizer rescale --rescale-factor 0.9",
    ] {
        let [whole, broken] = [(); 2].map(|()| {
            let place = Place::whole("--optimizer adamw");
            fs::rename(place.run(), place.path().join("first")).unwrap();
            place
        });
        let line = grokking(&flags.replace("runs/grokking/run", "first"));
        whole.cpr(&line);
        let child = broken.started(&line);
        super::signal(&child, "-INT");
        child.wait_with_output().unwrap();
        broken.cpr("resume runs/grokking/run");
        assert_same(&whole, &broken, flags);
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name_with_the_options_that_say_yes() {
    let place = Place::whole("");
    let odd = place.path().join("odd.safetensors");
    let mut parts = Parts::read(&place.last());
    let moments: Vec<_> =
        parts.moments.keys().filter(|(of, _)| of.contains("head")).cloned().collect();
    let head = parts.weights.keys().find(|name| name.contains("head")).unwrap().clone();
    let weight = parts.weights.remove(&head).unwrap();
    for moment in moments {
        parts.moments.remove(&moment);
    }
    parts.records.remove(&head);
    parts.weights.insert("other.weight".to_owned(), (vec![2], vec![1.0, 2.0]));
    let bias = parts.weights.keys().find(|name| name.ends_with("bias")).unwrap().clone();
    let count = parts.weights[&bias].1.len();
    parts.weights.insert(bias.clone(), (vec![count, 1], parts.weights[&bias].1.clone()));
    parts.write(&odd);

    let before = place.snapshot();
    let error = place.error(&next("--from odd.safetensors"));
    for part in [
        &format!("missing in the file: `{head}`"),
        "only in the file: ",
        "`other.weight`",
        &format!("`{bias}` (F32 [{count}, 1] in the file, F32 [{count}] asked for)"),
        "--partial",
        "--reset-optimizer",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // --reset-optimizer is about the optimizer alone.
    assert!(place.error(&next("--from odd.safetensors --reset-optimizer")).contains(&head));
    assert!(before == place.snapshot());

    let shown = place.cpr(&next("--from odd.safetensors --partial --keep 9"));
    assert!(shown.contains("moments      start afresh, at t = 0"), "{shown}");
    assert!(shown.contains("these start afresh: ") && shown.contains(&head), "{shown}");
    // The fewest first: one weight that is not the model's.
    assert!(shown.contains("not taken    only in the file: `other.weight`"), "{shown}");
    assert!(shown.contains("; missing in the file: "), "{shown}");
    let after = at_start(&place);
    assert!(after.weights[&head] != weight, "it is that of the seed");
    let taken =
        parts.weights.iter().filter(|(name, values)| after.weights.get(*name) == Some(*values));
    assert_eq!(taken.count(), parts.weights.len() - 2);
}

#[test]
fn a_checkpoint_of_which_nothing_fits_is_refused() {
    let place = Place::whole("");
    let error = place.error(&next("--dim 64 --p 5 --from runs/grokking/run --partial"));
    assert!(error.contains("last.safetensors has no parameter of this model"), "{error}");
    fs::write(place.path().join("text.txt"), "to be or not to be ".repeat(40)).unwrap();
    let lm = "lm --data text.txt --context 8 --dim 16 --heads 2 --layers 1 --steps 4 --warmup 1 --from runs/grokking/run";
    let error = place.error(lm);
    assert!(error.contains("is of the experiment `grokking`, not of `lm`"), "{error}");
    let error = place.error(&format!("{lm} --partial"));
    assert!(error.contains("last.safetensors has no parameter of this model"), "{error}");
}

#[test]
fn a_checkpoint_of_another_model_is_refused_by_the_settings_that_differ() {
    let place = Place::whole("");
    let error = place.error(&next("--dim 32 --mlp-ratio 2 --from runs/grokking/run"));
    for part in [
        "last.safetensors is of another model: ",
        "`dim` is 16 in the checkpoint and 32 in the configuration",
        "`mlp_ratio` is 4 in the checkpoint and 2 in the configuration",
        "--partial",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("`p`") && !error.contains("in_proj_weight"), "{error}");
    // Without the optimizer's state it fits no better.
    let error = place.error(&next("--p 13 --from runs/grokking/run --reset-optimizer"));
    assert!(error.contains("`p` is 11 in the checkpoint and 13 in"), "{error}");
    let shown = place.cpr(&next("--mlp-ratio 2 --from runs/grokking/run --partial"));
    assert!(shown.contains("not taken    "), "{shown}");

    // A long alphabet by its length.
    let line = |text: &str, name: &str| {
        format!(
            "lm --data {text} --context 4 --layers 1 --heads 1 --dim 4 --steps 2 --warmup 1 --name {name}"
        )
    };
    let text: String = ('A'..='z').collect();
    fs::write(place.path().join("one.txt"), text.repeat(4)).unwrap();
    fs::write(place.path().join("two.txt"), text[1..].repeat(4)).unwrap();
    place.cpr(&line("one.txt", "one"));
    let error = place.error(&format!("{} --from runs/lm/one", line("two.txt", "two")));
    let said =
        "`alphabet` is 58 characters in the checkpoint and 57 characters in the configuration";
    assert!(error.contains(said), "{error}");
}

#[test]
fn other_settings_are_refused_and_reset() {
    let place = Place::whole("");
    let before = place.snapshot();
    let error = place.error(&next("--reg std --from runs/grokking/run"));
    assert!(error.contains("other settings") && error.contains("--reset-optimizer"), "{error}");
    let error = place.error(&next("--optimizer sgdcpr --from runs/grokking/run"));
    assert!(error.contains("momentum_buffer") && error.contains("/exp_avg_sq`"), "{error}");
    assert!(before == place.snapshot());

    let shown =
        place.cpr(&next("--optimizer sgdcpr --reg std --from runs/grokking/run --reset-optimizer"));
    assert!(shown.contains("moments      start afresh, at t = 0"), "{shown}");
    let shown =
        place.cpr(&next("--name third --reg std --from runs/grokking/run --partial").replacen(
            "--name next ",
            "",
            1,
        ));
    assert!(shown.contains("moments      taken, at t = 60"), "{shown}");
    assert!(shown.contains("but these start afresh: "), "{shown}");

    // Weights of any origin, under the right names.
    let parts = Parts::read(&place.last());
    let views = parts.weights.iter().map(|(name, (shape, values))| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (name, shape, bytes)
    });
    let views: Vec<_> = views.collect();
    let tensors = views.iter().map(|(name, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, (*shape).clone(), bytes);
        (name.as_str(), view.unwrap())
    });
    let file = safetensors::serialize(tensors, None).unwrap();
    fs::write(place.path().join("foreign.safetensors"), file).unwrap();
    let flags = "--name fourth --from foreign.safetensors";
    assert!(place.error(&grokking(flags)).contains("is not a CPR checkpoint"));
    let shown = place.cpr(&grokking(&format!("{flags} --reset-optimizer")));
    assert!(
        shown.contains(&format!("weights      of {} parameters", parts.weights.len())),
        "{shown}"
    );
}

#[test]
fn a_run_in_progress_can_be_reset_and_one_that_has_ended_not() {
    let place = Place::new();
    let child = place.started(&grokking("--optimizer adamw --steps 3000 --checkpoint-every 0"));
    super::signal(&child, "-INT");
    child.wait_with_output().unwrap();
    let taken = Parts::read(&place.last()).meta.step;
    let shown = place.cpr("resume runs/grokking/run --reset-optimizer");
    assert!(shown.contains("moments      start afresh, at t = 0"), "{shown}");
    let meta = Parts::read(&place.last()).meta;
    assert_eq!(meta.step, 3000);
    assert_eq!(meta.optimizer.unwrap().hyperparameters["t"], 3000 - taken);

    let before = place.snapshot();
    for flag in ["--reset-optimizer", "--partial"] {
        let error = place.error(&format!("resume runs/grokking/run {flag}"));
        assert!(error.contains("has ended") && error.contains("--from"), "{error}");
    }
    assert!(before == place.snapshot());
}
