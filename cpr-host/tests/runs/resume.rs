//! Stopped and resumed, a run leaves the same bytes as one that was not; on any number of threads too.

use std::{fs, sync::atomic::AtomicBool, time::Duration};

use cpr_host::{
    checkpoint::Checkpoint,
    cli::{self, Command},
    config::GrokkingConfig,
    experiment::{Experiment as _, Grokking},
    observe::{LastLine, read_jsonl},
    run_folder::RunFolderError,
    train::{Ending, Resume, Resumed, Run, TrainError},
};

use super::{KINDS, Moments, Place, SAME, assert_same, grokking, signal, text};

#[test]
fn a_signal_saves_the_state_and_resume_leaves_the_same_bytes() {
    let mut moments = Moments(1);
    for (index, kind) in KINDS.into_iter().enumerate() {
        let whole = Place::whole(kind);
        let line = grokking(kind);
        // A run that ends before the signal reaches it is made again.
        let stopped = (0..50)
            .find_map(|_| {
                let place = Place::new();
                let child = place.started(&line);
                std::thread::sleep(moments.below(Duration::from_millis(30)));
                signal(&child, if index % 2 == 0 { "-INT" } else { "-TERM" });
                let output = child.wait_with_output().unwrap();
                let stdout = text(output.stdout);
                match output.status.code() {
                    Some(130) => Some((place, stdout)),
                    code => {
                        assert_eq!(code, Some(0), "{kind}: {stdout}");
                        None
                    }
                }
            })
            .expect("a signal in time");
        let (place, stdout) = stopped;
        assert!(stdout.ends_with("go on with: cpr resume runs/grokking/run\n"), "{stdout}");
        assert!(!place.run().join("summary.json").exists());
        place.cpr("resume runs/grokking/run");
        assert_same(&whole, &place, kind);
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let place = Place::new();
    // One step of it takes longer than two signals.
    let line = "grokking --dim 512 --batch 3000 --steps 1000 --name run --threads 1";
    let mut child = place.command(line).stderr(std::process::Stdio::null()).spawn().unwrap();
    let first = place.run().join("checkpoints/last.safetensors");
    while !first.exists() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(1));
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let shown = place.cpr("inspect runs/grokking/run");
    assert!(shown.starts_with("grokking at step "), "{shown}");
}

fn config(place: &Place, flags: &str) -> GrokkingConfig {
    let line = format!("cpr {}", grokking(&format!("--steps 24 {flags}")));
    match cli::parse(line.split_whitespace()).unwrap() {
        Command::Grokking { mut config, .. } => {
            config.run.out = place.path().join("runs");
            *config
        }
        _ => unreachable!("grokking"),
    }
}

/// Opens a run that this process has just closed: another test that starts a program holds a copy of its lock for
/// a moment.
fn resume(place: &Place) -> Resumed<Grokking> {
    let how = Resume { threads: 1, ..Resume::default() };
    loop {
        match Run::<Grokking>::resume(&place.run(), how) {
            Err(TrainError::Folder(RunFolderError::InUse { .. })) => std::thread::yield_now(),
            resumed => return resumed.unwrap(),
        }
    }
}

#[test]
fn stopped_and_resumed_at_every_step_a_run_leaves_the_same_bytes() {
    let (go, stop) = (AtomicBool::new(false), AtomicBool::new(true));
    for kind in KINDS {
        // The folder is a part of the configuration: both runs are made in one place.
        let place = Place::new();
        let experiment = Grokking::new(config(&place, kind)).unwrap();
        assert_eq!(Run::create(experiment).unwrap().train(&go).unwrap(), Ending::Completed);
        let whole = Place::new();
        fs::create_dir_all(whole.run().parent().unwrap()).unwrap();
        fs::rename(place.run(), whole.run()).unwrap();

        let mut run = Run::create(Grokking::new(config(&place, kind)).unwrap()).unwrap();
        for step in 1..24 {
            assert_eq!(run.train(&stop).unwrap(), Ending::Interrupted, "{kind}");
            assert_eq!(run.taken(), step);
            drop(run);
            let resumed = resume(&place);
            assert!(resumed.damaged.is_empty());
            run = resumed.run;
        }
        assert_eq!(run.train(&stop).unwrap(), Ending::Completed, "{kind}");
        // Size and all: nothing grows with the number of launches.
        for file in SAME.into_iter().filter(|file| !["plot.svg", "summary.json"].contains(file)) {
            let [a, b] = [&whole, &place].map(|place| fs::read(place.run().join(file)).unwrap());
            assert!(a == b, "{kind}: {file} differs ({} and {} bytes)", a.len(), b.len());
        }
    }
}

/// Others' checkpoints grow at every launch.
#[test]
fn after_ten_launches_a_checkpoint_has_the_size_that_it_had_and_no_metric_stands_twice() {
    for kind in ["--optimizer adamw", "--reg std --kappa-init warm-start=9"] {
        let line = format!("{kind} --steps 100000 --checkpoint-every 5");
        let place = Place::new();
        let mut sizes = Vec::new();
        for launch in 0..=10 {
            let evaluated = fs::read(place.run().join("metrics.jsonl")).unwrap_or_default();
            let resume = "resume runs/grokking/run".to_owned();
            let command = if launch == 0 { grokking(&line) } else { resume };
            let child = place.started_past(&command, evaluated.len() as u64);
            signal(&child, "-TERM");
            assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
            let Checkpoint { meta, tensors } = Checkpoint::read(place.last()).unwrap();
            let step = meta.step;
            let tensors: Vec<_> = tensors
                .iter()
                .map(|(name, tensor)| (name.to_owned(), tensor.bytes.len()))
                .collect();
            sizes.push((tensors, fs::metadata(place.last()).unwrap().len()));

            // Grown by whole lines, and the same as before up to there.
            let metrics = fs::read(place.run().join("metrics.jsonl")).unwrap();
            assert!(metrics.len() > evaluated.len() && metrics.starts_with(&evaluated));
            for file in ["metrics.jsonl", "timing.jsonl"] {
                let rows = read_jsonl(&place.run().join(file), LastLine::Whole).unwrap();
                let steps: Vec<_> = rows.iter().map(|row| row.step).collect();
                // An epoch has three steps.
                let expected: Vec<_> = (1..=step / 3).map(|epoch| 3 * epoch).collect();
                assert_eq!(steps, expected, "{kind}: {file}, launch {launch}");
            }
        }
        let (first, rest) = sizes.split_first().unwrap();
        for (launch, size) in rest.iter().enumerate() {
            assert_eq!(first.0, size.0, "{kind}: launch {launch}");
            // The digits of the steps and positions in the metadata, and the padding after them.
            assert!(first.1.abs_diff(size.1) <= 64, "{kind}: {} {}", first.1, size.1);
        }
    }
}

#[test]
fn one_two_and_three_threads_leave_the_same_bytes() {
    // Large enough that matrices, tiles and chunks are divided.
    let large = "--p 23 --dim 64 --heads 4 --batch 128 --steps 12 --eval-every 1 --name run";
    for kind in KINDS {
        let [one, two, three] = [1, 2, 3].map(|threads| {
            let place = Place::new();
            place.cpr(&format!("grokking {large} {kind} --threads {threads}"));
            place
        });
        assert_same(&one, &two, kind);
        assert_same(&one, &three, kind);
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_threads() {
    let whole = Place::whole("");
    let place = Place::new();
    let child = place.started(&grokking(""));
    signal(&child, "-INT");
    child.wait_with_output().unwrap();
    place.cpr("resume runs/grokking/run --threads 3");
    assert_same(&whole, &place, "threads");
}

#[test]
fn resuming_what_has_ended_prints_the_summary_and_changes_nothing() {
    for flags in ["", "--train-fraction 0.8 --stop-at-accuracy 0.02 --checkpoint-every 1000"] {
        let place = Place::whole(flags);
        let before = place.snapshot();
        let shown = place.cpr("resume runs/grokking/run");
        assert!(shown.contains(" has ended at step "), "{shown}");
        assert!(shown.contains("validation accuracy"), "{shown}");
        assert!(!shown.contains("seconds"), "{shown}");
        let reached = shown.contains("the validation accuracy asked for was reached");
        assert_eq!(reached, !flags.is_empty(), "{shown}");
        let after = place.snapshot();
        for (path, (bytes, changed)) in &before {
            let (now, touched) = &after[path];
            assert!(bytes == now, "{}", path.display());
            // Cutting a file to the length that it has is all that happens to the metrics.
            let appended =
                path.extension().is_some_and(|end| end == "jsonl" || end == "csv" || end == "cpr");
            assert!(appended || changed == touched, "{}", path.display());
        }
        assert_eq!(before.len(), after.len());

        // Killed after its last checkpoint, a run has no summary and no plot yet.
        for file in ["summary.json", "plot.svg"] {
            fs::remove_file(place.run().join(file)).unwrap();
        }
        place.cpr("resume runs/grokking/run");
        let again = place.snapshot();
        assert!(before.iter().all(|(path, (bytes, _))| *bytes == again[path].0));
    }
}

#[test]
fn a_damaged_last_checkpoint_is_named_and_the_one_before_leads_to_the_same_bytes() {
    let whole = Place::whole("");
    let place = Place::whole("");
    let mut bytes = fs::read(place.last()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Both names of the file.
    fs::write(place.last(), bytes).unwrap();
    let evaluated = place.cpr("eval runs/grokking/run");
    assert!(evaluated.contains("passed over a damaged checkpoint"), "{evaluated}");
    assert!(evaluated.contains("step-56.safetensors at step 56"), "{evaluated}");
    let shown = place.cpr("resume runs/grokking/run");
    assert!(shown.contains("passed over a damaged checkpoint"), "{shown}");
    assert!(shown.contains("goes on after step 56"), "{shown}");
    assert_same(&whole, &place, "damaged");
}

#[test]
fn without_a_checkpoint_there_is_nothing_to_resume_and_the_message_says_what_to_do() {
    let place = Place::whole("");
    let whole = fs::read(place.run().join("metrics.jsonl")).unwrap();
    fs::remove_dir_all(place.run().join("checkpoints")).unwrap();
    let error = place.error("resume runs/grokking/run");
    let anew = "grokking --config runs/grokking/run/config.toml --name";
    assert!(error.contains("has no checkpoint") && error.contains(anew), "{error}");
    place.cpr(&format!("{anew} again --threads 1"));
    assert_eq!(fs::read(place.run().with_file_name("again").join("metrics.jsonl")).unwrap(), whole);

    // Killed even earlier.
    fs::remove_file(place.run().join("config.toml")).unwrap();
    let error = place.error("resume runs/grokking/run");
    assert!(error.contains("is no run: it has no config.toml"), "{error}");
    assert!(place.error("resume nowhere").contains("is no run"));
    assert!(
        place.error("eval runs/grokking/run").contains("neither a run folder nor a checkpoint")
    );
}
