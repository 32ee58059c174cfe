use std::path::Path;

use toml::{Table, Value};

use super::{
    plan::{Checked, plan},
    *,
};

/// An experiment with three keys, of which `mu` has no effect without `optimizer = "cpr"`.
struct Fake;

impl Catalog for Fake {
    fn experiments(&self) -> Vec<&str> {
        vec!["grokking", "classify"]
    }

    fn keys(&self, experiment: &str) -> Option<Vec<String>> {
        let known = self.experiments().contains(&experiment);
        known.then(|| {
            ["seed", "out", "name", "threads", "lr", "mu", "optimizer", "kappa_init"]
                .map(str::to_owned)
                .to_vec()
        })
    }

    fn check(&self, _: &str, keys: &Table) -> Result<Checked, String> {
        if keys.get("lr").and_then(Value::as_float).is_some_and(|lr| lr <= 0.0) {
            return Err("lr = 0: it must be above 0".to_owned());
        }
        let mut resolved = keys.clone();
        if keys.get("optimizer").and_then(Value::as_str) != Some("cpr") {
            resolved.remove("mu");
        }
        Ok(Checked { resolved, parameters: Some(1000) })
    }
}

fn file(text: &str) -> Result<SweepFile, SweepError> {
    SweepFile::parse(text, Path::new("study.toml"), &Fake.experiments(), |name| Fake.keys(name))
}

fn runs(text: &str) -> Result<Vec<PlannedRun>, SweepError> {
    plan(&file(text)?, &Fake)
}

const STUDY: &str = r#"
experiment = "grokking"
seeds = 2
set = { optimizer = "cpr" }

[[group]]
name = "AdamW"
set = { optimizer = "adamw" }
grid = { lr = [0.001, 0.01] }

[[group]]
name = "l2"
grid = { kappa_init = ["dependent=0.8"], mu = [1.0, 2.0] }
seeds = [7]
"#;

#[test]
fn the_product_of_groups_settings_and_seeds_in_the_order_of_the_file() {
    let runs = runs(STUDY).unwrap();
    let names: Vec<_> = runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "adamw-lr=0.001-seed1",
            "adamw-lr=0.001-seed2",
            "adamw-lr=0.01-seed1",
            "adamw-lr=0.01-seed2",
            "l2-dependent=0.8-mu=1-seed7",
            "l2-dependent=0.8-mu=2-seed7",
        ]
    );
    assert_eq!(runs[1].setting, "AdamW, lr 0.001");
    assert_eq!(runs[5].setting, "l2, dependent=0.8, mu 2");
    assert_eq!(runs[0].keys.get("optimizer").and_then(Value::as_str), Some("adamw"));
    assert_eq!(runs[4].keys.get("seed").and_then(Value::as_integer), Some(7));
    assert_eq!(file(STUDY).unwrap().out, Path::new("runs/study"));
}

#[test]
fn draws_are_those_of_their_seed_and_more_samples_keep_the_first() {
    let text = |samples: usize, seed: u64| {
        format!(
            "experiment = \"grokking\"\nset = {{ optimizer = \"cpr\" }}\n[[group]]\nname = \"drawn\"\nsamples = {samples}\ndraw_seed = {seed}\n\
             random = {{ lr = {{ log = [1e-4, 1e-2] }}, mu = {{ choice = [1, 2] }}, kappa_init = {{ linear = [0.5, 1], form = \"dependent={{}}\" }} }}\n"
        )
    };
    let swept = |samples, seed| {
        runs(&text(samples, seed)).unwrap().into_iter().map(|run| run.swept).collect::<Vec<_>>()
    };
    let (few, many) = (swept(5, 3), swept(40, 3));
    assert_eq!(few, many[..5]);
    assert_ne!(few, swept(5, 4));
    for setting in &many {
        let get = |key: &str| &setting.iter().find(|(name, _)| name == key).unwrap().1;
        let lr = get("lr").as_float().unwrap();
        assert!((1e-4..=1e-2).contains(&lr), "{lr}");
        assert!(lr.to_string().trim_start_matches(['0', '.']).len() <= 4, "{lr}");
        assert!([1, 2].contains(&get("mu").as_integer().unwrap()));
        let kappa: f64 = get("kappa_init")
            .as_str()
            .unwrap()
            .strip_prefix("dependent=")
            .unwrap()
            .parse()
            .unwrap();
        assert!((0.5..=1.0).contains(&kappa));
    }
    // On a logarithmic law as many are below the geometric mean as above.
    let below =
        many.iter().filter(|setting| setting[1].1.as_float().is_some_and(|lr| lr < 1e-3)).count();
    assert!((8..=32).contains(&below), "{below} of 40");
}

#[test]
fn every_error_names_file_line_and_key() {
    let base = "experiment = \"grokking\"\n";
    let group = |lines: &str| format!("{base}[[group]]\nname = \"a\"\n{lines}\n");
    for (text, parts) in [
        ("experiment = 3".to_owned(), &["study.toml:1", "`experiment`", "quotes"][..]),
        (String::new(), &["study.toml", "`experiment` is missing", "grokking, classify"]),
        (
            "experiment = \"groking\"".to_owned(),
            &["study.toml:1", "no experiment `groking`", "did you mean `grokking`"],
        ),
        (format!("{base}sedes = 3"), &["study.toml:2", "unknown key `sedes`", "`seeds`"]),
        (format!("{base}lr = 3"), &["study.toml:2", "`lr`", "`set` or `grid`"]),
        (format!("{base}seeds = [1, 1]"), &["study.toml:2", "`seeds`", "different"]),
        (format!("{base}seeds = 0"), &["study.toml:2", "`seeds`"]),
        (format!("{base}jobs = 0"), &["study.toml:2", "`jobs`", "1 to 1024"]),
        (base.to_owned(), &["study.toml", "`group` is missing"]),
        (format!("{base}group = 3"), &["study.toml:2", "[[group]]"]),
        (format!("{base}[[group]]\nset = {{}}"), &["study.toml:2", "no `name`"]),
        (
            group("grid = { lrr = [1] }"),
            &["study.toml:4", "unknown key `lrr`", "did you mean `lr`", "cpr grokking --help"],
        ),
        (group("[group.grid]\nlr = 1"), &["study.toml:5", "`group[0].grid.lr`", "a list"]),
        (group("grid = { lr = [1, 1] }"), &["study.toml:4", "different"]),
        (group("grid = { seed = [1] }"), &["study.toml:4", "`seeds`"]),
        (group("set = { lr = [1] }"), &["study.toml:4", "`grid`"]),
        (group("set = { lr = 1 }\ngrid = { lr = [1] }"), &["study.toml:5", "given twice"]),
        (group("samples = 3"), &["study.toml:4", "go together"]),
        (
            group("random = { lr = { log = [0, 1] } }\nsamples = 3"),
            &["study.toml:4", "random.lr", "above 0"],
        ),
        (
            group("random = { lr = { lgo = [1, 2] } }\nsamples = 3"),
            &["study.toml:4", "`lgo`", "did you mean `log`"],
        ),
        (
            group("random = { lr = { log = [1, 2], form = \"x\" } }\nsamples = 3"),
            &["study.toml:4", "{}"],
        ),
        (format!("{}[[group]]\nname = \"a\"\n", group("")), &["study.toml:6", "two groups named"]),
        (format!("{base}x = "), &["study.toml:2"]),
        // What the experiment refuses, and what has no effect.
        (
            group("grid = { lr = [0.1, 0.0] }"),
            &["study.toml:2", "a-lr=0-seed1", "lr = 0: it must be above 0"],
        ),
        (
            group("grid = { mu = [1.0, 2.0] }"),
            &["study.toml:2", "a-mu=1-seed1", "a-mu=2-seed1", "no effect"],
        ),
    ] {
        let error = runs(&text).expect_err(&text).to_string();
        for part in parts {
            assert!(error.contains(part), "{part}: {error}\n{text}");
        }
    }
}

#[test]
fn names_are_folders_and_differ() {
    let text = format!(
        "experiment = \"grokking\"\nset = {{ optimizer = \"cpr\" }}\n[[group]]\nname = \"κ / {}\"\ngrid = {{ kappa_init = [\"a b\", \"a/b\"] }}\n",
        "long ".repeat(60)
    );
    let runs = runs(&text).unwrap();
    assert_ne!(runs[0].name, runs[1].name);
    for run in &runs {
        assert_eq!(crate::run_folder::fault_of_name(&run.name), None, "{}", run.name);
        assert!(run.name.ends_with("-seed1"), "{}", run.name);
    }
}

#[test]
fn shards_are_a_partition() {
    for count in 1..6 {
        for place in 0..20 {
            let owners = (1..=count)
                .filter(|index| format!("{index}/{count}").parse::<Shard>().unwrap().has(place))
                .count();
            assert_eq!(owners, 1);
        }
    }
    for text in ["0/3", "4/3", "1", "a/b", "1/0", ""] {
        assert!(text.parse::<Shard>().is_err(), "{text}");
    }
}

#[test]
fn the_pace_follows_the_size() {
    let mut runs = runs(STUDY).unwrap();
    let pace = |runs: &[PlannedRun], jobs, threads| {
        let execute::Pace { jobs, threads } = execute::Pace::of(runs, 8, jobs, threads);
        (jobs, threads)
    };
    assert_eq!(pace(&runs, None, None), (8, 1));
    assert_eq!(pace(&runs, Some(2), None), (2, 4));
    assert_eq!(pace(&runs, None, Some(4)), (2, 4));
    assert_eq!(pace(&runs, Some(100), None), (100, 1));
    runs[0].parameters = Some(124_000_000);
    assert_eq!(pace(&runs, None, None), (1, 8));
}
