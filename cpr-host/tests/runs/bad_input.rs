//! Bad input beyond the command line: each gets one clear error and a status that is not 0, and what was there stays as
//! it was, byte by byte.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::Stdio,
};

use cpr_core::{
    BoundInit, ConstraintConfig, ConstraintRule, Huber, Inflection, L2, Lp, Std,
    base::{Adam, AdamConfig, Momentum, MomentumConfig, WeightDecay},
};
use cpr_host::{
    checkpoint::{CheckpointWriter, Meta},
    experiment::{Experiment as _, Grokking},
    run_folder::RunFolder,
    store::{Shared, Store},
    train::{Resume, Run},
};

use super::{Place, grokking, start::Parts, text};

/// What is wrong with a refusal: it has one error line with that message, and leaves everything as it is.
fn fault(place: &Place, line: &str, message: &str) -> Option<String> {
    let before = place.snapshot();
    let output = place.output(line);
    let stderr = text(output.stderr);
    let refused = matches!(output.status.code(), Some(1 | 2));
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let named = errors.len() == 1 && errors[0].contains(message);
    let unchanged = before == place.snapshot();
    (!refused || !named || !unchanged).then(|| {
        format!(
            "cpr {line}: {}, unchanged: {unchanged}, lacks {message:?}: {stderr}",
            output.status
        )
    })
}

/// Lines of a configuration file.
const CONFIGURATIONS: [(&str, &str); 17] = [
    ("kappa_ini = 'uniform=1'", "did you mean `kappa_init`?"),
    ("learning_rat = 1", "unknown key `learning_rat`"),
    ("kappa_init = 'warm-start=0'", "warm"),
    ("kappa_init = 'uniform=-1'", "its number must be at least 0"),
    ("kappa_init = 'uniform=nan'", "its number must be at least 0"),
    ("kappa_init = 'dependent=0'", "must be"),
    ("mu = -0.5", "it must be finite and at least 0"),
    ("mu = nan", "it must be finite and at least 0"),
    ("beta1 = 1.0", "it must be in [0, 1)"),
    ("beta2 = nan", "it must be in [0, 1)"),
    ("eps = -1e-8", "it must be finite and at least 0"),
    ("lr = 0.0", "it must be finite and above 0"),
    ("reg = 'lp=0'", "must be above 0 and at most 64"),
    ("reg = 'huber=-1'", "must be finite and above 0"),
    ("lr = 'fast'", "expected a number"),
    ("[optimizer]\nlr = 1", "optimizer"),
    ("lr = = 1", "run.toml:1: "),
];

/// What a checkpoint's bytes become.
type Damage = fn(&mut Vec<u8>);
const CHECKPOINTS: [(&str, Damage, &str); 13] = [
    ("empty", |bytes| bytes.clear(), "is 0 bytes long"),
    ("cut in the length field", |bytes| bytes.truncate(5), "is 5 bytes long"),
    ("cut in the header", |bytes| bytes.truncate(500), "cut short"),
    ("cut in the payload", |bytes| bytes.truncate(bytes.len() - 1000), "cut short"),
    ("without its last byte", |bytes| bytes.truncate(bytes.len() - 1), "cut short"),
    ("longer", |bytes| bytes.push(0), "appended to"),
    ("a bit in a weight", |bytes| flip(bytes, 2), "is damaged: its checksum is"),
    ("the last bit", |bytes| flip(bytes, 1), "is damaged: its checksum is"),
    (
        "2^63 bytes of header",
        |bytes| bytes[..8].copy_from_slice(&(1_u64 << 63).to_le_bytes()),
        "claims a header of 9223372036854775808",
    ),
    ("a header of zeros", |bytes| bytes[8..200].fill(0), "header"),
    (
        "another version",
        |bytes| exchange(bytes, r#"{\"format\":1,"#, r#"{\"format\":2,"#),
        "has format version 2",
    ),
    (
        "overlapping offsets",
        |bytes| exchange(bytes, "\"data_offsets\":[0,", "\"data_offsets\":[1,"),
        "claims bytes 1..768 of the payload",
    ),
    ("another dtype", |bytes| exchange(bytes, "\"F32\"", "\"F64\""), "bytes"),
];

fn flip(bytes: &mut [u8], from_the_end: usize) {
    let at = bytes.len() - bytes.len() / 3 * (from_the_end - 1) - 1;
    bytes[at] ^= 1;
}

fn exchange(bytes: &mut [u8], from: &str, to: &str) {
    let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
}

/// What a checkpoint with a right checksum becomes.
type Change = fn(&mut Parts);
const CONTENTS: [(&str, Change, &str); 7] = [
    (
        "another experiment",
        |parts| parts.meta.kind = "other".to_owned(),
        "is of the experiment `other`",
    ),
    (
        "a bad configuration",
        |parts| parts.meta.config = parts.meta.config.replace("lr = 0.001", "lr = -1.0"),
        "lr = -1: it must be finite and above 0",
    ),
    ("a bad cursor", |parts| parts.meta.cursor = serde_json::json!("here"), "bad `cursor`"),
    ("a torn record", |parts| record(parts).truncate(10), "constraint record"),
    ("an altered record", |parts| record(parts)[20] ^= 1, "checksum does not match"),
    ("no weight", |parts| drop(parts.weights.pop_last()), ""),
    ("no moment", |parts| drop(parts.moments.pop_last()), "missing in the file: `optimizer/"),
];

fn record(parts: &mut Parts) -> &mut Vec<u8> {
    parts.records.values_mut().next().unwrap()
}

/// States to be imported: the text of a JSON file.
const STATES: [(&str, &str); 16] = [
    ("", "is no object of numbers"),
    ("[]", "is no object of numbers"),
    ("{}", "holds no weights"),
    (r#"{"w":[1,2"#, "is no object of numbers"),
    (r#"{"w":"text"}"#, "a number, or nested lists of numbers"),
    (r#"{"w":null}"#, "a number, or nested lists of numbers"),
    (r#"{"w":[[1,2],[3]]}"#, "a list of 1 stands beside one of 2"),
    (r#"{"w":[[1],2]}"#, "a number stands where the first entry has a list"),
    (r#"{"w":[1,[2]]}"#, "a list stands where the first entry has a number"),
    (r#"{"w":[1],"w":[2]}"#, "`w` stands twice"),
    (r#"{"w":[1]}"#, "`w/step` of state.json is missing"),
    (r#"{"w":[1],"v/step":1}"#, "`v/step` of state.json has no weight of that name"),
    (r#"{"w":[1],"w/adamax":[1]}"#, "`w/adamax` of state.json is no entry"),
    (r#"{"w":[1],"w/step":1.5}"#, "is 1.5, and no number of steps"),
    (r#"{"w":[1],"w/step":1,"w/exp_avg":[1]}"#, "`w/exp_avg_sq` of state.json is missing"),
    (r#"{"w":[1],"w/step":1,"w/exp_avg":[1,2],"w/exp_avg_sq":[1]}"#, "is [2], its weight [1]"),
];

#[test]
fn sixty_bad_inputs_and_more_each_with_its_message() {
    let (mut count, mut faults) = (0, Vec::new());
    let mut refuse = |place: &Place, line: &str, message: &str| {
        faults.extend(fault(place, line, message));
        count += 1;
    };

    let place = Place::whole("");
    for (lines, message) in CONFIGURATIONS {
        fs::write(place.path().join("run.toml"), lines).unwrap();
        refuse(&place, "grokking --config run.toml --name new", message);
    }

    let last = fs::read(place.last()).unwrap();
    for (title, damage, message) in CHECKPOINTS {
        let mut bytes = last.clone();
        damage(&mut bytes);
        assert!(bytes != last, "{title}");
        fs::write(place.path().join("bad.safetensors"), bytes).unwrap();
        refuse(&place, "eval bad.safetensors", message);
        refuse(&place, "grokking --name new --from bad.safetensors", message);
    }
    for (title, change, message) in CONTENTS {
        let mut parts = Parts::read(&place.last());
        change(&mut parts);
        if title == "no weight" {
            // Nor what belongs to it.
            let weights = &parts.weights;
            parts.moments.retain(|(name, _), _| weights.contains_key(name));
            parts.records.retain(|name, _| weights.contains_key(name));
        }
        parts.write(&place.path().join("bad.safetensors"));
        let message = if message.is_empty() { "missing in the file: `" } else { message };
        refuse(&place, "eval bad.safetensors", message);
    }

    let rule = "--reg l2 --kappa-init dependent=1 --out new.safetensors";
    for (state, message) in STATES {
        fs::write(place.path().join("state.json"), state).unwrap();
        refuse(&place, &format!("import state.json {rule}"), message);
    }
    for (file, message) in [
        ("nowhere.json", "cannot read"),
        ("bad.toml", "check the path"),
        ("runs", "not a regular file"),
    ] {
        refuse(&place, &format!("import {file} {rule}"), message);
    }

    // Places that cannot be written.
    fs::write(place.path().join("file"), "mine").unwrap();
    for out in ["file", "file/runs", "/proc/nowhere", "/dev/full"] {
        refuse(&place, &grokking(&format!("--name new --out {out}")), "cannot make the folder");
    }
    refuse(
        &place,
        "eval runs/grokking/run --logits /proc/logits.safetensors",
        "/proc/logits.safetensors",
    );
    refuse(&place, "eval runs/grokking/run --logits file", "exists already");
    refuse(&place, &grokking(""), "exists already and is never overwritten");

    // A run folder in use, or without what a run needs.
    let lock = RunFolder::open(&place.run()).unwrap();
    refuse(&place, "resume runs/grokking/run", "in use by another process");
    drop(lock);
    for file in ["metrics.jsonl", "metrics.csv", "timing.jsonl"] {
        let path = place.run().join(file);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        refuse(&place, "resume runs/grokking/run", file);
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        if file != "timing.jsonl" {
            refuse(
                &place,
                "resume runs/grokking/run",
                "but the checkpoint was written when it had",
            );
        }
        fs::write(&path, whole).unwrap();
    }

    // Recorded trajectories.
    for (name, content) in
        [("empty.jsonl", ""), ("text.jsonl", "not a trajectory\n"), ("cut.jsonl", "{\"a\":")]
    {
        fs::write(place.path().join(name), content).unwrap();
        let before = place.snapshot();
        let output = place.output(&format!("conformance {name}"));
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(text(output.stdout).contains(name), "{name}");
        assert!(before == place.snapshot());
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(count, 17 + 2 * 13 + 7 + 16 + 3 + 7 + 1 + 5);
}

#[test]
fn hyperparameters_each_with_its_range() {
    let rule =
        |bound| ConstraintRule::new(ConstraintConfig::new(L2, bound)).unwrap_err().to_string();
    let mu = |mu| {
        let config = ConstraintConfig { mu, ..ConstraintConfig::new(L2, BoundInit::Uniform(1.0)) };
        ConstraintRule::new(config).unwrap_err().to_string()
    };
    let adam = |beta1, beta2, eps| {
        let weight_decay = WeightDecay::None;
        let config = AdamConfig { beta1, beta2, eps, weight_decay, maximize: false };
        Adam::new(config).unwrap_err().to_string()
    };
    let inflection = |interval, smoothing| {
        rule(BoundInit::Inflection(Inflection { interval, smoothing, burn_in: 0 }))
    };
    let group = |values: &[f32]| {
        let config = ConstraintConfig::new(Std, BoundInit::WarmStart(1));
        ConstraintRule::new(config).unwrap().start_from(values).unwrap_err().to_string()
    };
    let dependent = |values: &[f32]| {
        let config = ConstraintConfig::new(L2, BoundInit::Dependent(0.9));
        ConstraintRule::new(config).unwrap().start_from(values).unwrap_err().to_string()
    };
    let momentum = MomentumConfig { momentum: 1.0, ..MomentumConfig::default() };
    let messages = [
        (rule(BoundInit::WarmStart(0)), "at least 1"),
        (rule(BoundInit::Uniform(-1.0)), "at least 0"),
        (rule(BoundInit::Uniform(f64::NAN)), "at least 0"),
        (rule(BoundInit::UniformPerElement(-0.5)), "at least 0"),
        (rule(BoundInit::Dependent(0.0)), "above 0"),
        (rule(BoundInit::Dependent(f64::NAN)), "above 0"),
        (inflection(0, None), "at least 1"),
        (inflection(5, Some(1.0)), "[0, 1)"),
        (mu(-1.0), "at least 0"),
        (mu(f64::NAN), "at least 0"),
        (mu(f64::INFINITY), "finite"),
        (adam(1.0, 0.9, 0.0), "[0, 1)"),
        (adam(0.9, 1.0, 0.0), "[0, 1)"),
        (adam(0.9, f64::NAN, 0.0), "[0, 1)"),
        (adam(0.9, 0.9, -1.0), "at least 0"),
        (Momentum::new(momentum).unwrap_err().to_string(), "[0, 1)"),
        (Lp::new(0.0).unwrap_err().to_string(), "above 0"),
        (Lp::new(-1.0).unwrap_err().to_string(), "above 0"),
        (Lp::new(f64::NAN).unwrap_err().to_string(), "above 0"),
        (Huber::new(0.0).unwrap_err().to_string(), "above 0"),
        (group(&[1.0]), "2"),
        (dependent(&[0.0; 4]), "0"),
        (dependent(&[f32::NAN]), "finite"),
    ];
    let wrong: Vec<_> = messages.iter().filter(|(text, range)| !text.contains(range)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(messages.len(), 23);
}

/// A disk that is full for one kind of operation.
struct Full(&'static str);

impl Full {
    fn check(&self, operation: &str) -> io::Result<()> {
        if self.0 == operation { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Store for Full {
    fn create(&mut self, path: &Path) -> io::Result<fs::File> {
        self.check("create")?;
        cpr_host::store::Disk.create(path)
    }
    fn write(&mut self, file: &mut fs::File, bytes: &[u8]) -> io::Result<()> {
        self.check("write")?;
        file.write_all(bytes)
    }
    fn sync(&mut self, file: &fs::File) -> io::Result<()> {
        self.check("sync")?;
        file.sync_all()
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check("rename")?;
        fs::rename(from, to)
    }
}

#[test]
fn a_full_disk_is_named_and_the_run_stays_as_it_was() {
    let place = Place::whole("");
    let before = place.snapshot();
    let longer =
        Resume { threads: 1, length: cpr_host::train::Length::Steps(90), ..Resume::default() };
    for operation in ["create", "write", "sync", "rename"] {
        let store = Shared::new(Full(operation));
        let error = loop {
            let failed =
                Run::<Grokking>::resume_on(&store, &place.run(), longer).unwrap_err().to_string();
            if !failed.contains("in use") {
                break failed;
            }
        };
        assert!(error.contains("safetensors") || error.contains("metrics"), "{error}");
        let after = place.snapshot();
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        assert!(before.iter().all(|(path, (bytes, _))| *bytes == after[path].0), "{operation}");
    }

    // A new run says which file it could not write.
    let Ok(cpr_host::cli::Command::Grokking { mut config, .. }) =
        cpr_host::cli::parse(format!("cpr {}", grokking("--name new")).split_whitespace())
    else {
        unreachable!("grokking")
    };
    config.run.out = place.path().join("runs");
    let experiment = Grokking::new(*config).unwrap();
    let error = Run::create_on(&Shared::new(Full("write")), experiment).unwrap_err().to_string();
    assert!(error.contains("config.toml") && error.contains("has room"), "{error}");

    // The output itself.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output =
        place.command("inspect runs/grokking/run").stdout(Stdio::from(full)).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).starts_with("error: cannot write the output"));

    // Foreign tensors in place of a checkpoint are written by nobody.
    let error = CheckpointWriter::new(Meta::new("k"))
        .tensor("w", &[1], &[1.0_f32])
        .write_to(&mut Full("write"), place.path().join("w.safetensors"))
        .unwrap_err();
    assert!(error.to_string().contains("free some space"), "{error}");
    assert!(!place.path().join("w.safetensors").exists());
}
