//! Beside `cpr grokking` at the same seed: the same start, the same batches, the same trajectory to a tolerance; and
//! each reads what the other wrote.

use std::fs;

use cpr_gpu::{
    cli::{self, Command},
    experiment::{Grokking, OnDevice, VarWeights},
};
use cpr_host::{
    commands,
    config::GrokkingConfig,
    experiment::{Experiment, Grokking as HostGrokking, Step, Weights as _},
    run_folder::RunFolderError,
    train::{Resume, Run, TrainError},
};

use super::{Place, grokking};

fn config(flags: &str, place: &Place) -> OnDevice<GrokkingConfig> {
    let line = format!("cpr-gpu {}", grokking(flags));
    let Command::Grokking(training) = cli::parse(line.split_whitespace()).unwrap() else {
        unreachable!("grokking");
    };
    let mut config = *training.config;
    config.keys.run.out = place.path().join("runs");
    config
}

fn theta(weights: &VarWeights) -> Vec<f32> {
    let flat = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    weights.vars().iter().flat_map(flat).collect()
}

/// ‖a − b‖/‖b‖.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let errors: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let norm: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    (errors / norm).sqrt()
}

/// The largest distance of the parameters over 100 steps, and that of the four figures of the evaluation after them:
/// losses relative, accuracies in examples.
fn apart(flags: &str) -> (f64, f64) {
    let place = Place::new();
    let config = config(flags, &place);
    let mut host = HostGrokking::new(config.keys.clone()).unwrap();
    let mut candle = Grokking::new(config.clone()).unwrap();
    assert_eq!(theta(candle.weights()), host.weights().theta.to_vec(), "the same start");
    let mut largest = 0.0_f64;
    for step in 1..=100_u32 {
        // As a schedule of the decay would.
        let factor = 1.0 - f64::from(step) / 120.0;
        host.weights_mut().scale_decay(factor);
        candle.weights_mut().scale_decay(factor);
        let step = u64::from(step);
        assert_eq!(host.step(step, config.keys.optim.lr).unwrap(), Step::Taken);
        assert_eq!(candle.step(step, config.keys.optim.lr).unwrap(), Step::Taken);
        assert_eq!(host.cursor(), candle.cursor());
        largest = largest.max(distance(&theta(candle.weights()), &host.weights().theta));
    }
    let mut figures = 0.0_f64;
    for ((name, own), (host_name, host)) in
        candle.evaluate().unwrap().into_iter().zip(host.evaluate().unwrap())
    {
        assert_eq!(name, host_name);
        let error = (own - host).abs();
        figures = figures.max(if name.ends_with("loss") { error / host } else { error });
    }
    let reports = (candle.weights().reports().unwrap(), host.weights().reports().unwrap());
    for ((name, own), (host_name, host)) in reports.0.iter().zip(&reports.1) {
        assert_eq!(name, host_name);
        assert_eq!((own.active_steps, own.guarded), (host.active_steps, host.guarded), "{name}");
    }
    (largest, figures)
}

/// The tolerance that docs/CANDLE.md states for this size.
const THETA: f64 = 1e-5;
const FIGURES: f64 = 1e-5;

#[test]
fn a_hundred_steps_follow_the_host() {
    for kind in [
        "--kappa-init dependent=0.9",
        "--optimizer adamw --weight-decay 1",
        "--clip 0.5",
        "--optimizer adadecay --weight-decay 1 --clip 0.5",
        "--optimizer awd --weight-decay 0.2",
        "--optimizer amos --lr 0.05",
    ] {
        let small = format!("--p 23 --dim 32 --heads 4 --batch 64 --threads 2 --steps 0 {kind}");
        let (theta, figures) = apart(&small);
        eprintln!("{kind}: parameters {theta:.1e}, figures {figures:.1e}");
        assert!(theta > 0.0 && theta < THETA, "{kind}: {theta:e}");
        assert!(figures < FIGURES, "{kind}: {figures:e}");
    }
}

/// A run of the host in the same place, and what it says.
fn host_run(config: &OnDevice<GrokkingConfig>) {
    let mut out = Vec::new();
    commands::train::<HostGrokking>(&config.keys, None, false, &mut out).unwrap();
}

#[test]
fn the_state_of_an_adamw_run_goes_into_adamcpr_with_a_message() {
    let place = Place::new();
    host_run(&config("--optimizer adamw --weight-decay 1 --name host", &place));
    place.cpr_gpu(&grokking("--optimizer adamw --weight-decay 1 --name candle"));
    for from in ["host", "candle"] {
        let flags =
            format!("--from runs/grokking/{from} --kappa-init dependent=0.9 --name {from}-cpr");
        let said = place.cpr_gpu(&grokking(&flags));
        assert!(said.contains("grokking at step 60, adamw"), "{said}");
        assert!(said.contains("moments      taken, at t = 60"), "{said}");
        assert!(said.contains("constraints  start afresh at these weights"), "{said}");
        let shown = place.cpr_gpu(&format!("inspect runs/grokking/{from}-cpr"));
        assert!(shown.contains("in_proj_weight"), "{shown}");
    }
    let resumed = place.error("resume runs/grokking/host-cpr --partial", 1);
    assert!(resumed.contains("has ended"), "{resumed}");
}

#[test]
fn either_program_evaluates_and_goes_on_with_the_runs_of_the_other() {
    let place = Place::new();
    host_run(&config("--name run", &place));
    let logits = |file: &str| {
        let bytes = fs::read(place.path().join(file)).unwrap();
        let tensors = safetensors_of(&bytes);
        assert_eq!(tensors.0, [121, 12]);
        tensors.1
    };
    // In this process the host's, in the program candle's, of one checkpoint.
    let mut out = Vec::new();
    let file = place.path().join("host.safetensors");
    commands::eval(&place.run(), Some(&file), &mut out).unwrap();
    let said = place.cpr_gpu("eval runs/grokking/run --logits candle.safetensors");
    let lines = |text: &str| text.lines().skip(1).take(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&said), lines(&String::from_utf8(out).unwrap()));
    let error = distance(&logits("candle.safetensors"), &logits("host.safetensors"));
    assert!(error > 0.0 && error < 1e-5, "{error:e}");

    let said = place.cpr_gpu("resume runs/grokking/run --steps 75");
    assert!(said.contains("goes on after step 60"), "{said}");
    // Another test that starts a program holds a copy of the lock for a moment.
    let how = Resume { threads: 1, ..Resume::default() };
    let resumed = loop {
        match Run::<HostGrokking>::resume(&place.run(), how) {
            Err(TrainError::Folder(RunFolderError::InUse { .. })) => std::thread::yield_now(),
            resumed => break resumed.unwrap(),
        }
    };
    assert_eq!(resumed.run.taken(), 75);
    assert!(resumed.taken.binding.is_complete());
}

/// Shape and values of the one tensor of a file.
pub(super) fn safetensors_of(bytes: &[u8]) -> (Vec<usize>, Vec<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logits.safetensors");
    fs::write(&path, bytes).unwrap();
    let tensors = candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap();
    let logits = &tensors["logits"];
    (logits.dims().to_vec(), logits.flatten_all().unwrap().to_vec1().unwrap())
}
