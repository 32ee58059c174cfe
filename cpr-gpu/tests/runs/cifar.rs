//! `cpr-gpu cifar` on a handful of made images.

use std::{
    fs,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use cpr_gpu::experiment::CifarConfig;
use cpr_host::config::ExperimentConfig as _;

use super::{Place, SAME, assert_same, same_but_best};

/// ResNet-10 an eighth as wide on images of 8 × 8: an epoch has three steps, the last of a smaller batch.
const TINY: &str = "--data data --depth 10 --width-factor 0.125 --image-size 8 --crop-padding 1 --batch 8 --steps 14 \
                    --warmup 2 --eval-every 1 --checkpoint-every 5 --threads 1 --name run";

/// Every kind of state that a run has to hold here beside what the grokking runs show.
const KINDS: [&str; 4] = [
    "",
    "--kappa-init inflection=2 --clip 1 --no-flip",
    "--optimizer adamw --weight-decay 0.1 --label-smoothing 0 --crop-padding 0",
    // One step throws the weights far away; what the skipped ones wrote into the running statistics is undone.
    "--optimizer sgd --momentum 0 --lr 1e30 --max-bad-steps 1000",
];

/// Records of CIFAR-10: pixels of a fixed stream around a level of each class.
fn records(count: u8, stream: u32) -> Vec<u8> {
    let mut state = stream;
    let mut bytes = Vec::new();
    for index in 0..count {
        let label = index % 10;
        bytes.push(label);
        for _ in 0..3072 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [.., noise] = state.to_le_bytes();
            bytes.push(label * 15 + noise / 4);
        }
    }
    bytes
}

fn place() -> Place {
    let place = Place::new();
    let data = place.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("data_batch_1.bin"), records(20, 1)).unwrap();
    fs::write(data.join("test_batch.bin"), records(10, 2)).unwrap();
    place
}

/// The command of a tiny run with these flags, in place of its own of that name.
fn cifar(flags: &str) -> String {
    super::with_flags("cifar", TINY, &flags.replace("--no-flip", "--flip false"))
}

fn run(place: &Place) -> PathBuf {
    place.path().join("runs/cifar/run")
}

#[test]
fn gone_on_with_in_another_process_a_run_leaves_the_same_bytes() {
    for kind in KINDS {
        // A schedule knows the length of the run: constant, so that a part of it is its beginning.
        let kind = format!("{kind} --schedule constant");
        let whole = place();
        whole.cpr_gpu(&cifar(&kind));
        // The end of an epoch, which is evaluated anyhow, and no multiple of the interval of checkpoints.
        let part = place();
        part.cpr_gpu(&cifar(&format!("{kind} --steps 6")));
        let said = part.cpr_gpu("resume runs/cifar/run --steps 14 --threads 2");
        assert!(said.contains("goes on after step 6"), "{kind}: {said}");
        assert_same(&run(&whole), &run(&part), &kind, same_but_best());
    }
}

#[test]
fn killed_at_any_moment_and_resumed_a_run_leaves_the_same_bytes() {
    let line = cifar("--steps 60");
    let whole = place();
    let began = Instant::now();
    whole.cpr_gpu(&line);
    let length = began.elapsed();
    let killed = place();
    let mut child = killed.command(&line).spawn().unwrap();
    // A checkpoint of the first step is there, and most of the run is not.
    while !run(&killed).join("checkpoints/last.safetensors").is_file() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be killed");
        sleep(Duration::from_millis(1));
    }
    sleep(length / 3);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!run(&killed).join("summary.json").exists(), "the run ended before it was killed");
    killed.cpr_gpu("resume runs/cifar/run --threads 2");
    assert_same(&run(&whole), &run(&killed), "killed", SAME);
}

#[test]
fn a_run_is_shown_evaluated_and_inspected() {
    let place = place();
    let said = place.cpr_gpu(&cifar("--dry-run"));
    for expected in
        ["CIFAR-10 images of 3 x 8 x 8 in 10 classes: 20 for training", "running statistic"]
    {
        assert!(said.contains(expected), "{expected} in\n{said}");
    }
    assert!(!place.path().join("runs").exists());
    let said = place.cpr_gpu(&cifar(""));
    assert!(said.contains("label 9"), "{said}");
    let plot = fs::read_to_string(run(&place).join("plot.svg")).unwrap();
    assert!(plot.contains("layer4.0.conv2.weight"), "the largest matrix");
    let evaluated = place.cpr_gpu("eval runs/cifar/run --logits logits.safetensors");
    assert!(evaluated.contains("validation"), "{evaluated}");
    let (shape, logits) =
        super::host::safetensors_of(&fs::read(place.path().join("logits.safetensors")).unwrap());
    assert_eq!((shape, logits.len()), (vec![10, 10], 100));
    let said = place.cpr_gpu("inspect runs/cifar/run");
    assert!(said.contains("layer2.0.downsample.0.weight"), "{said}");
    let message = place.error(&cifar("--batch 19 --name other"), 1);
    assert!(message.contains("batch = 19") && message.contains("would be of one"), "{message}");
    let message = place.error(&cifar("--image-size 0 --crop-padding 32 --name other"), 1);
    assert!(message.contains("below the sides of the images, 32 x 32"), "{message}");
}

/// The files that the documentation names.
#[test]
fn configurations_and_the_study_are_taken() {
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs");
    let place = place();
    for (file, summary) in [
        ("cifar-adamw", "resnet18-adamw"),
        ("cifar-kappa-ws", "resnet18-adamcpr-l2-warm-start=2x"),
        ("cifar-kappa-ip", "resnet18-adamcpr-l2-inflection"),
    ] {
        let path = format!("{configs}/{file}.toml");
        let config = CifarConfig::from_file(path.as_ref()).unwrap();
        assert!(config.summary().starts_with(summary), "{}", config.summary());
        // But for optimizer and folder these are the defaults.
        let optim = CifarConfig::default().optim;
        assert_eq!((config.run.steps, config.batch, config.optim.lr), (20_000, 128, optim.lr));
        assert_eq!((config.optim.warmup, config.optim.beta2), (optim.warmup, optim.beta2));
    }
    let said = place.cpr_gpu(&format!("sweep {configs}/cifar-small-study.toml --dry-run"));
    assert!(said.contains("15 runs of cifar in runs/cifar-small-study"), "{said}");
}

#[test]
fn a_sweep_trains_them_side_by_side_and_reports() {
    let place = place();
    let study = "experiment = \"cifar\"\nout = \"runs/study\"\nseeds = 2\nmetric = \"validation_last\"\n[set]\n\
                 data = \"data\"\ndepth = 10\nwidth_factor = 0.125\nimage_size = 8\ncrop_padding = 1\nbatch = 8\n\
                 steps = 6\nwarmup = 2\n[[group]]\nname = \"AdamW\"\nset = { optimizer = \"adamw\" }\n\
                 grid = { weight_decay = [0.1, 0.01] }\n[[group]]\nname = \"Kappa-WS\"\n";
    fs::write(place.path().join("study.toml"), study).unwrap();
    let said = place.cpr_gpu("sweep study.toml");
    assert!(said.contains("6 of 6 runs done"), "{said}");
    let said = place.cpr_gpu("report runs/study");
    assert!(said.contains("6 runs"), "{said}");
}

#[test]
fn a_sweep_looks_for_its_images_before_its_first_run() {
    let study = "experiment = \"cifar\"\nout = \"study\"\nseeds = 2\ngroup = [{ name = \"a\" }]\n\
                 [set]\ndata = \"images\"\nsteps = 2\nwarmup = 1\n";
    let place = place();
    place.refused(study, &["images holds no data set: ", "`data` of 2 of the runs"]);
    let at = |path: &str| place.path().join("images").join(path);
    for (folder, refusal) in [
        ("train/cat", "put the images to validate with into test/"),
        ("test/dog", "images of a class `dog`"),
    ] {
        fs::create_dir_all(at(folder)).unwrap();
        place.refused(study, &[refusal, "`data` of 2 of the runs"]);
    }
    fs::rename(at("test/dog"), at("test/cat")).unwrap();
    fs::write(at("train/cat/a.png"), "").unwrap();
    place
        .refused(study, &["images/test holds no data set: put JPEG or PNG files into the folders"]);
    // None is opened: that this is no image is for a run to say.
    fs::write(at("test/cat/a.png"), "").unwrap();
    let output = place.command("sweep study.toml").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(super::text(output.stdout).contains("0 of 2 runs done, 2 failed"));
    let files = study.replace("images", "data").replace("\"study\"", "\"other\"");
    fs::write(place.path().join("data/test_batch.bin"), [0; 9]).unwrap();
    fs::write(place.path().join("other.toml"), files).unwrap();
    let message = place.error("sweep other.toml", 1);
    assert!(message.contains("data/test_batch.bin has 9 bytes"), "{message}");
}

#[test]
fn a_checkpoint_of_another_network_is_refused_by_the_settings_that_differ() {
    let place = place();
    place.cpr_gpu(&cifar("--steps 4"));
    let message =
        place.error(&cifar("--width-factor 0.25 --batch 4 --name next --from runs/cifar/run"), 1);
    let said = "is of another model: `width_factor` is 0.125 in the checkpoint and 0.25 in the configuration; ";
    assert!(message.contains(said) && !message.contains("layer1"), "{message}");
}
