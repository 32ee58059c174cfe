//! What is looked at, refused, or not written.

use std::{fs, path::Path, time::Duration};

use super::{Place, grokking, signal};

#[test]
fn eval_and_inspect_show_a_run_and_a_checkpoint_and_change_nothing() {
    let place = Place::whole("");
    // What a killed trainer leaves, and what a living one is about to rename: not theirs to remove.
    let temporary = place.run().join("checkpoints/last.safetensors.1-0.tmp");
    fs::write(&temporary, "half").unwrap();
    let before = place.snapshot();
    let last = "runs/grokking/run/checkpoints/last.safetensors";
    for path in ["runs/grokking/run", last, "runs/grokking/run/checkpoints/best.safetensors"] {
        let evaluated = place.cpr(&format!("eval {path}"));
        let lines: Vec<_> = evaluated.lines().collect();
        assert_eq!(lines.len(), 3, "{evaluated}");
        assert!(
            lines[1].starts_with("train ") && lines[2].starts_with("validation "),
            "{evaluated}"
        );
        let inspected = place.cpr(&format!("inspect {path}"));
        assert!(inspected.starts_with("grokking at step ") && inspected.contains(", adamcpr\n"));
        // In the table, and for a run in the history of its κ too.
        let lines = inspected.lines().filter(|line| line.contains("in_proj_weight")).count();
        assert_eq!(lines, if path.ends_with("/run") { 2 } else { 1 }, "{inspected}");
    }
    assert!(before == place.snapshot());

    // The figures of the checkpoint are those of the last row.
    let evaluated = place.cpr(&format!("eval {last}"));
    let metrics = fs::read_to_string(place.run().join("metrics.jsonl")).unwrap();
    let row: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    for name in ["train", "validation"] {
        let [loss, accuracy] =
            ["loss", "accuracy"].map(|of| row[format!("{name}/{of}")].as_f64().unwrap());
        let shown = format!("{name:<12}loss {loss:.6}  accuracy {:.4} %", 100.0 * accuracy);
        assert!(evaluated.contains(&shown), "{shown}\n{evaluated}");
    }

    place.cpr("resume runs/grokking/run");
    assert!(!temporary.exists(), "the owner of the run removes it");
}

#[test]
fn inspect_and_the_summary_tell_the_same_of_a_parameter() {
    let place = Place::new();
    let cells = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let matrix = "layers.0.mlp.0.weight  ";
    // A bound that acts at every step: R of the last is another one than that of the corrected weights.
    let summary = place.cpr(&grokking("--kappa-init uniform=1 --mu 0.1"));
    let (_, summary) = summary.split_once("norm of all parameters").unwrap();
    let inspected = place.cpr("inspect runs/grokking/run");
    let (told, shown) = (cells(summary, matrix), cells(&inspected, matrix));
    assert_eq!(cells(summary, "parameter")[1..4], ["R", "kappa", "lambda"]);
    assert_eq!((&told[1], &told[2], &told[3]), (&shown[5], &shown[6], &shown[8]), "{inspected}");
    let [norm, r] = [2, 5].map(|column: usize| shown[column].parse::<f64>().unwrap());
    assert!(told[3] != "0" && (r / (norm * norm) - 1.0).abs() > 1e-4, "{inspected}");

    let summary = place.cpr(&grokking("--optimizer adamw --name free"));
    let (_, summary) = summary.split_once("norm of all parameters").unwrap();
    let inspected = place.cpr("inspect runs/grokking/free");
    assert_eq!(cells(summary, "parameter"), ["parameter", "norm"]);
    assert_eq!(cells(summary, matrix)[1], cells(&inspected, matrix)[2], "{inspected}");

    let help = place.cpr("inspect --help");
    assert!(help.contains("R is the measure of a matrix that its constraint bounds"), "{help}");
}

#[test]
fn a_bound_of_zero_has_no_share() {
    let place = Place::whole("--kappa-init uniform=0");
    let inspected = place.cpr("inspect runs/grokking/run");
    let heads: Vec<_> = inspected.lines().nth(2).unwrap().split("  ").map(str::trim).collect();
    let heads: Vec<_> = heads.into_iter().filter(|head| !head.is_empty()).collect();
    let line = inspected.lines().find(|line| line.contains("in_proj_weight")).unwrap();
    let cells: Vec<_> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let cell = |name| cells[heads.iter().position(|head| *head == name).unwrap()];
    assert_eq!((cell("measure"), cell("kappa"), cell("R/kappa")), ("l2", "0", "-"), "{inspected}");
}

#[test]
fn what_is_no_checkpoint_is_refused_by_name() {
    let place = Place::whole("");
    let at = |name: &str| place.path().join(name);
    fs::write(at("text"), "not a checkpoint").unwrap();
    fs::write(at("empty"), "").unwrap();
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut foreign = (header.len() as u64).to_le_bytes().to_vec();
    foreign.extend_from_slice(header);
    foreign.extend_from_slice(&1_f32.to_le_bytes());
    fs::write(at("foreign.safetensors"), foreign).unwrap();
    fs::create_dir(at("folder")).unwrap();
    for (path, part) in [
        ("text", "header"),
        ("empty", "0 bytes long"),
        ("foreign.safetensors", "is not a CPR checkpoint"),
        ("folder", "neither a run folder nor a checkpoint"),
        ("nowhere", "does not exist"),
        ("runs/grokking/run/config.toml", "header"),
    ] {
        for command in ["eval", "inspect"] {
            let error = place.error(&format!("{command} {path}"));
            assert!(error.contains(part) && error.contains(path), "{command} {path}: {error}");
        }
    }
    assert!(place.error("resume folder").contains("is no run: "));
}

#[test]
fn a_part_of_a_run_is_told_the_run_folder() {
    let place = Place::whole("");
    let before = place.snapshot();
    let run = "runs/grokking/run";
    for part in ["checkpoints", "checkpoints/", "checkpoints/none.safetensors"] {
        for command in ["eval", "inspect", "sample", "sparsify", "grokking --name next --from"] {
            let error = place.error(&format!("{command} {run}/{part}"));
            let told = format!(": give the run folder, {run}, or a .safetensors file");
            assert!(error.contains(&told), "{command} {part}: {error}");
        }
    }
    for part in ["checkpoints", "checkpoints/last.safetensors", "config.toml"] {
        for command in
            ["resume", "report", "list", "compare runs/grokking/run", "report runs/grokking/run"]
        {
            let error = place.error(&format!("{command} {run}/{part}"));
            let told =
                format!("{run}/{part} is no run, but a part of one: give the run folder, {run}");
            assert!(error.contains(&told), "{command} {part}: {error}");
        }
    }
    assert!(before == place.snapshot());
    // Inside of it too.
    let output = place.command("resume checkpoints").current_dir(place.run()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("give the run folder, .\n"), "{stderr}");
}

#[test]
fn a_run_in_progress_belongs_to_one_process_and_can_be_looked_at() {
    let place = Place::new();
    let line = grokking("--steps 1000000 --checkpoint-every 1");
    let mut child = place.started(&line);
    let error = place.error("resume runs/grokking/run");
    assert!(error.contains("in use by another process"), "{error}");
    // Each looks at a folder in which a file is replaced every few milliseconds.
    for _ in 0..15 {
        place.cpr("eval runs/grokking/run");
        place.cpr("inspect runs/grokking/run");
        assert!(child.try_wait().unwrap().is_none(), "the trainer was disturbed");
    }
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    let shown = place.cpr(&grokking("--dry-run"));
    assert!(shown.contains("in_proj_weight"), "{shown}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_run_ends_at_the_accuracy_that_was_asked_for() {
    let place = Place::new();
    let shown = place.cpr(&grokking("--train-fraction 0.8 --stop-at-accuracy 0.02"));
    assert!(shown.contains("the validation accuracy asked for was reached"), "{shown}");
    let metrics = fs::read_to_string(place.run().join("metrics.jsonl")).unwrap();
    let accuracies: Vec<f64> = (metrics.lines())
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            row["validation/accuracy"].as_f64().unwrap()
        })
        .collect();
    let (last, before) = accuracies.split_last().unwrap();
    assert!(*last >= 0.02 && before.iter().all(|&accuracy| accuracy < 0.02), "{accuracies:?}");
    let best = |name: &str| fs::read(place.run().join("checkpoints").join(name)).unwrap();
    assert!(!best("best.safetensors").is_empty());
}

#[test]
fn a_file_flags_and_set_are_resolved_into_the_run() {
    let place = Place::new();
    fs::write(place.path().join("own.toml"), "lr = 0.5\nseed = 5\nname = \"mine\"\nthreads = 2\n")
        .unwrap();
    let flags = "--config own.toml --lr 0.25 --steps 4 --set steps=6 --set batch=8";
    place.cpr(&grokking(flags).replace(" --name run", "").replace(" --threads 1", ""));
    let run = place.path().join("runs/grokking/mine");
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    let has = |line: &str| config.lines().any(|own| own == line);
    assert!(
        ["seed = 5", "lr = 0.25", "steps = 6", "batch = 8", "p = 11"].into_iter().all(has),
        "{config}"
    );
    assert!(!config.contains("threads"), "{config}");
    let shown = place.cpr("inspect runs/grokking/mine");
    assert!(shown.starts_with("grokking at step 6,"), "{shown}");

    // A run's own configuration makes the same run again.
    place.cpr("grokking --config runs/grokking/mine/config.toml --name again");
    let metrics = |run: &Path| fs::read(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics(&run), metrics(&run.with_file_name("again")));
}

#[test]
fn a_place_that_cannot_be_written_and_a_name_that_is_taken_are_refused() {
    let place = Place::whole("");
    fs::write(place.path().join("file"), "mine").unwrap();
    let before = place.snapshot();
    for out in ["file", "file/runs", "/proc/nowhere"] {
        let error = place.error(&grokking(&format!("--out {out}")));
        assert!(error.contains("cannot make the folder") && error.contains(out), "{error}");
    }
    let error = place.error(&grokking("--seed 9"));
    assert!(error.contains("exists already and is never overwritten"), "{error}");
    assert!(before == place.snapshot());

    // A name that is made is made free.
    let unnamed = grokking("--steps 3").replace(" --name run", "");
    for suffix in ["", "-2", "-3"] {
        let shown = place.cpr(&unnamed);
        assert!(shown.contains(&format!("-seed1{suffix}\n")), "{shown}");
    }
}
