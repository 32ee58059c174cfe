//! The same tables, whatever happened on the way.

use std::time::Instant;

use super::*;

/// How often the sweep is killed; `CPR_KILLS` says otherwise.
fn kills() -> u64 {
    std::env::var("CPR_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6)
}

#[test]
fn killed_at_random_a_sweep_ends_with_the_same_tables() {
    let whole = Place::new();
    let began = Instant::now();
    let said = whole.cpr("sweep study.toml");
    let took = began.elapsed();
    assert!(said.contains("9 of 9 runs done"), "{said}");

    // Killed again and again until it has ended, then once more in a fresh place, until there were enough kills.
    let mut moments = Moments(11);
    let mut killed = 0;
    while killed < kills() {
        let place = Place::new();
        loop {
            let mut sweep = place
                .command("sweep study.toml")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            sleep(moments.below(took.mul_f64(0.6)));
            if sweep.try_wait().unwrap().is_some() || killed >= kills() {
                sweep.wait().unwrap();
                break;
            }
            killed += 1;
            let runs = children(sweep.id());
            sweep.kill().unwrap();
            sweep.wait().unwrap();
            // Half of the time its runs live on, and the next sweep has to wait for them.
            if killed % 2 == 0 {
                runs.into_iter().for_each(|run| signal(run, "-KILL"));
            }
        }
        place.cpr("sweep study.toml");
        whole.assert_same(&place, "killed");
    }
}

#[test]
fn two_parts_in_two_processes_are_the_whole() {
    let whole = Place::new();
    whole.cpr("sweep study.toml");
    let parts = Place::new();
    let start = |part: &str| {
        parts.command(&format!("sweep study.toml --jobs 1 --shard {part}")).spawn().unwrap()
    };
    let both = [start("1/2"), start("2/2")];
    for part in both {
        let Output { status, stdout, stderr } = part.wait_with_output().unwrap();
        assert!(
            status.success(),
            "{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
        assert!(String::from_utf8_lossy(&stdout).contains("part"));
    }
    whole.assert_same(&parts, "parts");
    // Two sweeps of the same runs at once do each run once.
    let twice = Place::new();
    let both = [
        twice.command("sweep study.toml").spawn().unwrap(),
        twice.command("sweep study.toml").spawn().unwrap(),
    ];
    for sweep in both {
        assert!(sweep.wait_with_output().unwrap().status.success());
    }
    whole.assert_same(&twice, "twice at once");
}

#[test]
fn a_signal_stops_it_and_the_message_says_how_to_go_on() {
    // Runs that would take minutes.
    let place = Place::with(&STUDY.replace("steps = 60", "steps = 100000"));
    let mut sweep = place.command("sweep study.toml --jobs 2").spawn().unwrap();
    wait_for(&place.path("study/grokking/adamw-weight_decay=0.1-seed1/metrics.jsonl"), &mut sweep);
    signal(sweep.id(), "-INT");
    let Output { status, stdout, stderr } = sweep.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(130), "{stdout}{stderr}");
    assert!(stdout.contains("go on with: cpr sweep study.toml --jobs 2"), "{stdout}");
    let listed = place.cpr("sweep study.toml --dry-run");
    assert!(listed.contains("to go on") && listed.contains("to do"), "{listed}");
    assert!(place.cpr("list study").contains("stopped"));
    // Nothing is at work any more.
    assert!(!listed.contains("at work"), "{listed}");
}

#[test]
fn a_failed_run_is_recorded_and_the_others_go_on() {
    let bad = "[[group]]\nname = \"thrown away\"\nset = { optimizer = \"sgd\", momentum = 0.0, lr = 1e30, max_bad_steps = 3 }\nseeds = 1\n\n[[group]]\nname = \"AdamW\"";
    let place = Place::with(&STUDY.replacen("[[group]]\nname = \"AdamW\"", bad, 1));
    let (status, stdout, stderr) = place.output("sweep study.toml");
    assert_eq!(status, Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("9 of 10 runs done, 1 failed"), "{stdout}");
    assert!(stdout.contains("cpr report study"), "{stdout}");
    assert!(stderr.contains("thrown-away-seed1 FAILED: step"), "{stderr}");
    let table = place.read("study/results.csv");
    assert_eq!(table.lines().filter(|line| line.contains(",failed,")).count(), 1, "{table}");
    assert_eq!(table.lines().filter(|line| line.contains(",done,")).count(), 9, "{table}");
    // It is not tried again, unless asked for.
    let (_, stdout, stderr) = place.output("sweep study.toml");
    assert!(
        stdout.contains("1 failed") && stderr.contains("thrown-away-seed1 failed before"),
        "{stdout}{stderr}"
    );
    let (_, _, stderr) = place.output("sweep study.toml --retry");
    assert!(stderr.contains("thrown-away-seed1 FAILED"), "{stderr}");
    // The report leaves it out, and says so.
    let said = place.cpr("report study");
    assert!(
        said.contains("9 runs") && said.contains("left out") && said.contains("thrown-away-seed1"),
        "{said}"
    );
}

#[test]
fn an_alphabet_that_runs_took_from_their_text_is_no_other_setting() {
    let study = "experiment = \"lm\"\nout = \"study\"\ngroup = [{ name = \"a\" }]\n\
        [set]\ndata = \"text.txt\"\ncontext = 4\nlayers = 1\nheads = 1\ndim = 4\nsteps = 2\nwarmup = 1\n";
    let place = Place::with(study);
    fs::write(place.path("text.txt"), "to be or not to be ".repeat(20)).unwrap();
    place.cpr("sweep study.toml");
    assert!(place.read("study/lm/a-seed1/config.toml").contains("alphabet = "));
    assert!(place.cpr("sweep study.toml").contains("1 of 1 runs done"));
    fs::write(place.path("study.toml"), format!("{study}alphabet = \"abenort \"\n")).unwrap();
    let (status, _, stderr) = place.output("sweep study.toml");
    assert!(status == Some(1) && stderr.contains("made with alphabet = "), "{stderr}");
}

#[test]
fn data_that_is_missing_for_all_is_said_once_before_the_first_run() {
    let study = r#"
        experiment = "lm"
        out = "study"
        seeds = 3
        set = { data = "data/tinyshakespeare/input.txt", context = 4, layers = 1, heads = 1, dim = 4, steps = 2, warmup = 1 }
        group = [{ name = "a" }, { name = "b", set = { train_fraction = 0.5 } }]
    "#;
    let place = Place::with(study);
    let refused = |parts: &[&str]| {
        let (status, stdout, stderr) = place.output("sweep study.toml");
        assert_eq!(status, Some(1), "{stdout}{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{part}: {stderr}");
        }
        assert!(!place.path("study").exists(), "nothing was made");
    };
    refused(&[
        "error: cannot read data/tinyshakespeare/input.txt: ",
        "`data` of 6 of the runs to do in study.toml, none of which was started",
        "`cpr fetch tinyshakespeare`",
    ]);
    let text = place.path("data/tinyshakespeare/input.txt");
    fs::create_dir_all(text.parent().unwrap()).unwrap();
    fs::write(&text, "").unwrap();
    refused(&["input.txt is empty"]);
    // A plan needs no data.
    assert!(place.cpr("sweep study.toml --dry-run").contains("b-seed3"));

    fs::write(&text, "to be or not to be ".repeat(20)).unwrap();
    place.cpr("sweep study.toml --shard 1/2");
    // What is done reads it no more.
    fs::remove_file(&text).unwrap();
    let done = place.cpr("sweep study.toml --shard 1/2");
    assert!(done.contains("3 of 3 runs done"), "{done}");
    let (_, _, stderr) = place.output("sweep study.toml");
    assert!(stderr.contains("`data` of 3 of the runs to do"), "{stderr}");

    fs::write(
        place.path("study.toml"),
        study.replace("data = \"data/tinyshakespeare/input.txt\",", ""),
    )
    .unwrap();
    fs::remove_dir_all(place.path("study")).unwrap();
    refused(&["cannot read input.txt: ", "`data`, by default, of 6", "`cpr fetch --help`"]);
}

#[test]
fn where_every_run_failed_no_report_is_named() {
    let bad = "optimizer = \"sgd\"\nmomentum = 0.0\nlr = 1e30\nmax_bad_steps = 3\n\n[[group]]\nname = \"a\"\n";
    let (head, _) = STUDY.split_once("[[group]]").unwrap();
    let place = Place::with(&format!("{head}{bad}"));
    let (status, stdout, stderr) = place.output("sweep study.toml");
    assert_eq!(status, Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("0 of 3 runs done, 3 failed"), "{stdout}{stderr}");
    assert!(stdout.contains("results.csv") && !stdout.contains("cpr report"), "{stdout}");
}

#[test]
fn other_settings_for_the_same_folder_are_refused() {
    let place = Place::with(&STUDY.replace("seeds = 3", "seeds = 1"));
    place.cpr("sweep study.toml");
    // More seeds are no other settings: what is done stays.
    fs::write(place.path("study.toml"), STUDY.replace("seeds = 3", "seeds = 2")).unwrap();
    place.cpr("sweep study.toml");
    fs::write(place.path("study.toml"), STUDY.replace("steps = 60", "steps = 63")).unwrap();
    let (status, _, stderr) = place.output("sweep study.toml");
    assert_eq!(status, Some(1));
    for part in ["adamw-weight_decay=0.1-seed1", "steps = 60", "63", "another `out`"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

#[test]
fn errors_of_a_sweep_name_file_line_and_key() {
    for (from, to, parts) in [
        (
            "weight_decay",
            "weight_decy",
            &["study.toml:20", "`weight_decy`", "did you mean `weight_decay`"][..],
        ),
        ("\"grokking\"", "\"grooking\"", &["study.toml:2", "did you mean `grokking`"]),
        ("warm-start=9", "warm-start=0", &["study.toml:22", "warm-start-seed1", "kappa_init"]),
        ("steps = 60", "steps = -1", &["study.toml:17", "steps = -1"]),
    ] {
        let place = Place::with(&STUDY.replacen(from, to, 1));
        let (status, _, stderr) = place.output("sweep study.toml");
        assert_eq!(status, Some(1), "{stderr}");
        assert_eq!(
            stderr.lines().filter(|line| line.starts_with("error: ")).count(),
            1,
            "{stderr}"
        );
        for part in parts {
            assert!(stderr.contains(part), "{part}: {stderr}");
        }
    }
    let place = Place::new();
    let (_, _, stderr) = place.output("sweep nowhere.toml");
    assert!(stderr.contains("cannot read the sweep nowhere.toml"), "{stderr}");
}

#[test]
fn lists_and_comparisons() {
    let place = Place::with(&STUDY.replace("seeds = 3", "seeds = 1"));
    place.cpr("sweep study.toml");
    let list = place.cpr("list study");
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = list.lines();
    let head = cells(lines.next().unwrap());
    let outcomes = ["train_learned", "validation_learned", "delay", "validation_best"];
    assert_eq!(head, [&["run", "state", "step", "seed"][..], &outcomes].concat(), "{list}");
    let rows: Vec<_> = lines.map(cells).collect();
    assert!(rows.iter().any(|row| row[0] == "grokking/warm-start-seed1"), "{list}");
    let decimals: Vec<_> = (rows.iter())
        .map(|row| {
            assert_eq!((row.len(), row[1].as_str(), row[2].as_str()), (8, "ended", "60"), "{list}");
            row[7].split_once('.').unwrap().1.len()
        })
        .collect();
    assert!(decimals.iter().all(|&count| count == decimals[0]), "{list}");
    let runs =
        "study/grokking/adamw-weight_decay=0.1-seed1 study/grokking/adamw-weight_decay=1-seed1";
    let compared = place.cpr(&format!("compare {runs}"));
    for part in ["weight_decay", "0.1", "norm", "metrics: the same before step"] {
        assert!(compared.contains(part), "{part}: {compared}");
    }
    assert!(!compared.contains("beta1"), "{compared}");
    let same = place.cpr("compare study/grokking/warm-start-seed1 study/grokking/warm-start-seed1");
    assert!(
        same.contains("configuration: the same") && same.contains("metrics: the same at all"),
        "{same}"
    );
    // The bound was set at its step, and inspect tells its history.
    let inspected = place.cpr("inspect study/grokking/warm-start-seed1");
    assert!(
        inspected.contains("history of kappa") && inspected.contains(" at step 9"),
        "{inspected}"
    );
}
