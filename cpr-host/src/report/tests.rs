use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;

/// Writes the folder of a run that has ended: an evaluation at 10, 20, …, 100, and the step of 99 %.
fn run(root: &Path, name: &str, config: &str, learned: Option<u64>, offset: f64) {
    let folder = root.join("grokking").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), config).unwrap();
    let learned = learned.map_or("null".to_owned(), |step| step.to_string());
    let summary = format!(
        "{{\"steps\": 100, \"validation_learned\": {learned}, \"norm\": {}, \"parameters\": []}}\n",
        3.0 + offset
    );
    fs::write(folder.join("summary.json"), summary).unwrap();
    let (mut metrics, mut timing) = (String::new(), String::new());
    for step in (10..=100).step_by(10) {
        let accuracy = (f64::from(step) / 100.0 + offset).min(1.0);
        let kappa = if step < 40 { "null".to_owned() } else { (5.0 + offset).to_string() };
        metrics.push_str(&format!(
            "{{\"step\":{step},\"train/accuracy\":{accuracy},\"validation/accuracy\":{},\"r/w\":{},\"kappa/w\":{kappa},\"lambda/w\":{}}}\n",
            accuracy * 0.9, 8.0 - offset, accuracy * 0.1,
        ));
        timing.push_str(&format!(
            "{{\"step\":{step},\"elapsed_s\":{},\"steps_per_s\":{}}}\n",
            f64::from(step) * 0.01,
            100.0
        ));
    }
    fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
    fs::write(folder.join("timing.jsonl"), timing).unwrap();
}

/// Two optimizers; lr × mu in the second one; two seeds, of which one never gets there under adamw.
fn study() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for seed in [1_u64, 2] {
        let offset = seed as f64 * 0.01;
        let learned = (seed == 1).then_some(90);
        run(
            root.path(),
            &format!("w{seed}"),
            &format!("seed = {seed}\noptimizer = \"adamw\"\nlr = 0.001\n"),
            learned,
            offset,
        );
        for lr in [0.001, 0.01] {
            for mu in [1.0, 2.0] {
                let learned = 50 + seed + (mu * 10.0) as u64 + (lr * 1000.0) as u64;
                let config =
                    format!("seed = {seed}\noptimizer = \"adamcpr\"\nlr = {lr}\nmu = {mu}\n");
                run(root.path(), &format!("c{lr}-{mu}-{seed}"), &config, Some(learned), offset);
            }
        }
    }
    root
}

fn report(root: &Path) -> Written {
    write(&ReportPlan { sources: vec![root.to_owned()], ..ReportPlan::default() }).unwrap()
}

#[test]
fn tables_and_plots_appear_where_their_data_are() {
    let root = study();
    let written = report(root.path());
    assert_eq!((written.runs, written.left_out.len()), (10, 0));
    let html = fs::read_to_string(&written.page).unwrap();
    for part in [
        "id=\"plot-overview-validation-learned\"",
        "id=\"plot-heat-adamcpr\"",
        "id=\"plot-sensitivity-adamcpr-mu\"",
        "id=\"plot-sensitivity-adamcpr-lr\"",
        "id=\"plot-curve-validation-accuracy-adamcpr\"",
        "id=\"plot-curve-validation-accuracy-adamw\"",
        "id=\"plot-r-kappa-adamcpr-lr-0.001-mu-1\"",
        "id=\"plot-lambda-adamcpr-lr-0.001-mu-1\"",
        "id=\"plot-overhead\"",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // No checkpoint tells of zeros or of where κ was set.
    assert!(!html.contains("id=\"sparsity\"") && !html.contains("id=\"kappa\""));
    assert_eq!(html.matches("<figure ").count(), written.plots);
    assert_eq!(html.matches("<svg ").count() - html.matches("<svg x=").count(), written.plots);
    // Each plot and each table has its data in a link.
    assert_eq!(html.matches("href=\"data:text/csv").count(), written.plots + 3);
    // The mean of 61 and 62, its interval t(1) = 12.706 times 0.5.
    let summary = fs::read_to_string(root.path().join("report/summary.csv")).unwrap();
    let line = summary.lines().find(|line| line.contains("lr 0.001, mu 1")).unwrap();
    assert!(line.contains(",2,2,62.5,56.1469,68.8531,0.707107,62.5,62,63"), "{line}");
    let adamw = summary.lines().find(|line| line.starts_with("\"adamw")).unwrap();
    assert!(adamw.contains(",2,1,,,,,inf,90,inf"), "{adamw}");
}

#[test]
fn nothing_in_the_page_comes_from_elsewhere() {
    let root = study();
    let html = fs::read_to_string(report(root.path()).page).unwrap();
    // The only address is the name of SVG's namespace.
    let addresses =
        html.match_indices("http").map(|(at, _)| html[at..].chars().take(26).collect::<String>());
    assert!(addresses.into_iter().all(
        |text| text.starts_with("http://www.w3.org/2000/svg") || text.starts_with("http-equiv")
    ));
    for forbidden in ["<script", "<link", "@import", "url(", "<img", "src=", "<iframe"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let root = study();
    let first = fs::read(report(root.path()).page).unwrap();
    assert!(first == fs::read(report(root.path()).page).unwrap());
}

#[test]
fn comparisons_are_with_the_baseline_on_equal_seeds() {
    let root = study();
    let plan = ReportPlan {
        sources: vec![root.path().to_owned()],
        baseline: Some("adamcpr, lr 0.001, mu 1".to_owned()),
        ..ReportPlan::default()
    };
    write(&plan).unwrap();
    let table = fs::read_to_string(root.path().join("report/comparisons.csv")).unwrap();
    let line = table.lines().find(|line| line.contains("lr 0.01, mu 1")).unwrap();
    // Nine steps later on both seeds, exactly: an interval of no length.
    assert!(line.contains(",2,9,9,9,9,0.5,"), "{line}");
    // A seed of AdamW never gets there: no mean, and its difference is infinite.
    let adamw = table.lines().find(|line| line.starts_with("\"adamw")).unwrap();
    assert!(adamw.contains(",2,,,,inf,"), "{adamw}");
}

#[test]
fn what_is_asked_for_and_not_there_is_named() {
    let root = study();
    let ask = |metric: Option<&str>, baseline: Option<&str>| {
        let plan = ReportPlan {
            sources: vec![root.path().to_owned()],
            metric: metric.map(str::to_owned),
            baseline: baseline.map(str::to_owned),
            ..ReportPlan::default()
        };
        write(&plan).unwrap_err().to_string()
    };
    assert!(ask(Some("loss"), None).contains("validation_learned"));
    assert!(ask(None, Some("sgd")).contains("adamcpr, lr 0.01, mu 2"));
    let empty = tempfile::tempdir().unwrap();
    let plan = ReportPlan { sources: vec![empty.path().to_owned()], ..ReportPlan::default() };
    assert!(write(&plan).unwrap_err().to_string().contains("holds no run"));
    fs::write(empty.path().join("config.toml"), "seed = 1\n").unwrap();
    assert!(write(&plan).unwrap_err().to_string().contains("no run has ended, of"));
}

#[test]
fn names_from_outside_cannot_break_the_page() {
    let root = tempfile::tempdir().unwrap();
    for seed in [1, 2] {
        for name in ["<b>&\\\"x", "a|b"] {
            let config = format!("seed = {seed}\noptimizer = \"{name}\"\n");
            run(root.path(), &format!("{}-{seed}", name.len()), &config, Some(5), 0.0);
        }
    }
    let written = report(root.path());
    let html = fs::read_to_string(&written.page).unwrap();
    assert!(html.contains("&lt;b&gt;&amp;&quot;x") && !html.contains("<b>"));
    assert!(fs::read_to_string(root.path().join("report/report.md")).unwrap().contains("a\\|b"));
}

/// Settings that differ in much have long labels.
#[test]
fn files_of_figures_have_names_that_a_system_takes() {
    let root = TempDir::new().unwrap();
    let long = |last: &str| format!("seed = 1\noptimizer = \"{}{last}\"\n", "a".repeat(400));
    run(root.path(), "one", &long("b"), Some(30), 0.0);
    run(root.path(), "other", &long("c"), Some(50), 0.1);
    let written = report(root.path());
    let figures = fs::read_dir(root.path().join("report/figures")).unwrap();
    let names: Vec<_> = figures.map(|file| file.unwrap().file_name()).collect();
    assert!(names.len() >= written.plots, "alike, and still each its own: {names:?}");
    assert!(names.iter().any(|name| name.len() > 90) && names.iter().all(|name| name.len() < 130));
}
