//! `cpr classify` and `cpr lm`: small runs on generated data, stopped, resumed, looked at.

use std::{fs, path::Path, sync::atomic::AtomicBool};

use cpr_host::{
    cli::{self, Command},
    config::ExperimentConfig,
    experiment::{Classify, Experiment, Lm},
    run_folder::RunFolderError,
    train::{Ending, Resume, Resumed, Run, TrainError},
};

use super::{Place, SAME};

/// Images of 4 x 5 in three classes, told apart by which third is bright, in IDX files.
fn images(place: &Place) {
    let folder = place.path().join("images");
    fs::create_dir_all(&folder).unwrap();
    for (name, count) in [("train", 90_u32), ("t10k", 31)] {
        let header = |numbers: &[u32]| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
        };
        let pixels = (0..count * 20).map(|at| {
            let (image, pixel) = (at / 20, at % 20);
            let noise = (at.wrapping_mul(2_654_435_761) >> 25) as u8;
            noise / 2 + if pixel % 3 == image % 3 { 120 } else { 0 }
        });
        let file = |part: &str| folder.join(format!("{name}-{part}-ubyte"));
        let whole: Vec<u8> = header(&[0x803, count, 4, 5]).into_iter().chain(pixels).collect();
        fs::write(file("images-idx3"), whole).unwrap();
        let labels = (0..count).map(|image| (image % 3) as u8);
        let whole: Vec<u8> = header(&[0x801, count]).into_iter().chain(labels).collect();
        fs::write(file("labels-idx1"), whole).unwrap();
    }
}

const CLASSIFY: &str = "classify --data images --hidden 9,6 --batch 16 --epochs 5 --warmup 2 --threads 1 --name run \
                        --lr 0.02 --checkpoint-every 7";

/// A text with few letters in it.
fn letters(place: &Place) {
    let text: String =
        (0..900).map(|at: u32| ["ab", "ba\n", "cé "][(at * at % 7 % 3) as usize]).collect();
    fs::write(place.path().join("text.txt"), text).unwrap();
}

const LM: &str = "lm --data text.txt --context 8 --layers 2 --heads 2 --dim 16 --batch 3 --steps 12 --warmup 2 \
                  --eval-every 4 --dropout 0.1 --threads 1 --name run --checkpoint-every 5";

fn resumed<E: Experiment>(path: &Path) -> Run<E> {
    let how = Resume { threads: 1, ..Resume::default() };
    loop {
        match Run::<E>::resume(path, how) {
            // Another test that starts a program holds a copy of the lock for a moment.
            Err(TrainError::Folder(RunFolderError::InUse { .. })) => std::thread::yield_now(),
            Ok(Resumed { run, damaged, .. }) if damaged.is_empty() => return run,
            Ok(Resumed { damaged, .. }) => panic!("{damaged:?}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A run that is stopped after every step leaves the bytes of one that is not.
fn stopped_at_every_step<E: Experiment>(mut config: E::Config) {
    let place = Place::new();
    config.run_mut().out = place.path().join("runs");
    let path = place.path().join("runs").join(E::Config::EXPERIMENT).join("run");
    let (go, stop) = (AtomicBool::new(false), AtomicBool::new(true));
    let make = || Run::create(E::new(config.clone()).unwrap()).unwrap();
    assert_eq!(make().train(&go).unwrap(), Ending::Completed);
    let whole = place.path().join("whole");
    fs::rename(&path, &whole).unwrap();

    let mut run = make();
    let mut steps = 0;
    while run.train(&stop).unwrap() == Ending::Interrupted {
        steps += 1;
        assert_eq!(run.taken(), steps);
        drop(run);
        run = resumed(&path);
    }
    assert!(steps >= 11, "{steps}");
    for file in SAME.into_iter().filter(|file| !["plot.svg", "summary.json"].contains(file)) {
        let [a, b] = [&whole, &path].map(|run| fs::read(run.join(file)).unwrap());
        assert!(a == b, "{file} differs ({} and {} bytes)", a.len(), b.len());
    }
}

#[test]
fn classify_stopped_and_resumed_at_every_step_leaves_the_same_bytes() {
    let place = Place::new();
    images(&place);
    for more in ["", "--optimizer sgd --batch 7 --train-images 50"] {
        let line = format!("cpr {} {more}", CLASSIFY.replace("--batch 16 ", ""));
        let line = if more.is_empty() { format!("{line} --batch 16") } else { line };
        let Ok(Command::Classify(training)) = cli::parse(line.split_whitespace()) else {
            panic!("{line}")
        };
        let mut config = *training.config;
        config.data = place.path().join("images");
        stopped_at_every_step::<Classify>(config);
    }
}

#[test]
fn lm_stopped_and_resumed_at_every_step_leaves_the_same_bytes() {
    let place = Place::new();
    letters(&place);
    for more in ["", "--unit bytes --tied false --bias --optimizer padam --schedule constant"] {
        let line = format!("cpr {LM} {more}");
        let Ok(Command::Lm(training)) = cli::parse(line.split_whitespace()) else {
            panic!("{line}")
        };
        let mut config = *training.config;
        config.data = place.path().join("text.txt");
        stopped_at_every_step::<Lm>(config);
    }
}

#[test]
fn classify_learns_what_can_be_told_apart_and_says_what_it_confused() {
    let place = Place::new();
    images(&place);
    let shown = place.cpr(CLASSIFY);
    for part in
        ["IDX images of 1 x 4 x 5 in 3 classes: 90 for training and 31", "label 0 ", "predicted"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let run = place.path().join("runs/classify/run");
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert!(summary["validation_last"].as_f64().unwrap() > 0.9, "{summary}");
    let confusion = summary["confusion"].as_array().unwrap();
    let count = |label: usize| -> u64 {
        confusion[label].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
    };
    assert_eq!([count(0), count(1), count(2)], [11, 10, 10]);
    assert!(fs::read_to_string(run.join("plot.svg")).unwrap().contains("IDX: accuracy"));

    let evaluated = place.cpr("eval runs/classify/run");
    assert!(
        evaluated.contains("validation  loss") && evaluated.contains("label 2 "),
        "{evaluated}"
    );
    assert!(place.cpr("inspect runs/classify/run").contains("layers.0.weight"));
    let shown = place.cpr("resume runs/classify/run");
    assert!(shown.contains("has ended at step 30") && shown.contains("label 0 "), "{shown}");
    let refused = place.error("eval runs/classify/run --logits new.safetensors");
    assert!(refused.contains("leave --logits out"), "{refused}");

    // Another optimizer goes on from its weights; another experiment does not.
    let line = CLASSIFY.replace("--name run", "--name next --optimizer adamw");
    let shown = place.cpr(&format!("{line} --from runs/classify/run"));
    assert!(shown.contains("constraints  3 left behind"), "{shown}");
    letters(&place);
    let line = LM.replace("--name run", "--name other");
    let refused = place.error(&format!("{line} --from runs/classify/run"));
    assert!(refused.contains("is of the experiment `classify`, not of `lm`"), "{refused}");
}

#[test]
fn lm_learns_and_makes_text_without_the_text_that_it_learned_from() {
    let place = Place::new();
    letters(&place);
    let line = LM
        .replace("--steps 12", "--steps 60")
        .replace("--dropout 0.1", "--lr 0.01 --optimizer adam");
    let shown = place.cpr(&line);
    assert!(
        shown.contains("vocabulary 6, ") && shown.contains("bits for each character"),
        "{shown}"
    );
    let run = place.path().join("runs/lm/run");
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert!(summary["validation_best"].as_f64().unwrap() < 1.2, "{summary}");
    assert_eq!(summary["zeros"].as_f64(), Some(0.0));
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(
        config.contains("alphabet = \"\\n abcé\"") && config.contains("clip = 1.0"),
        "{config}"
    );

    let evaluated = place.cpr("eval runs/lm/run");
    assert!(evaluated.contains("for each character"), "{evaluated}");
    let before = fs::read(place.path().join("text.txt")).unwrap();
    fs::write(place.path().join("text.txt"), "abc xyz").unwrap();
    let refused = place.error("eval runs/lm/run");
    assert!(refused.contains("text.txt has the character 'x'"), "{refused}");
    fs::remove_file(place.path().join("text.txt")).unwrap();
    let text = place.cpr("sample runs/lm/run --prompt ab --tokens 40 --seed 3 --threads 1");
    assert_eq!(text.chars().count(), 2 + 40 + 1);
    assert!(text.starts_with("ab") && text.chars().all(|c| "\n abcé".contains(c)), "{text:?}");
    assert_eq!(text, place.cpr("sample runs/lm/run --prompt ab --tokens 40 --seed 3 --threads 2"));
    let likeliest =
        |seed| place.cpr(&format!("sample runs/lm/run --tokens 30 --temperature 0 --seed {seed}"));
    assert_eq!(likeliest(1), likeliest(2));
    let refused = place.error("sample runs/lm/run --prompt xyz");
    assert!(refused.contains("has the character 'x'"), "{refused}");
    fs::write(place.path().join("text.txt"), before).unwrap();

    // Without its small weights it still is a checkpoint that can be evaluated.
    let shown = place.cpr("sparsify runs/lm/run --below 0.01 --dense sparse --csr rows");
    assert!(
        shown.contains("transformer.h.0.attn.c_attn.weight") && shown.contains("CSR"),
        "{shown}"
    );
    let evaluated = place.cpr("eval sparse");
    let zeros = evaluated.lines().find_map(|line| line.strip_prefix("zeros ")).unwrap();
    assert!(zeros.trim().split(' ').next().unwrap().parse::<f64>().unwrap() > 1.0, "{evaluated}");
    assert!(place.error("sparsify runs/lm/run --csr rows").contains("exists already"));

    let refused = place.error("lm --data nowhere.txt");
    assert!(refused.contains("cannot read nowhere.txt"), "{refused}");
    assert_eq!(refused.matches("os error").count(), 1, "its cause is told once: {refused}");
    let refused = place.error("lm --data text.txt --context 5000 --name long");
    assert!(refused.contains("smaller --context"), "{refused}");
}
