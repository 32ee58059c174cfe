//! Runs of `cpr-gpu gpt2`: stopped and resumed they leave the same bytes, from a text and from files of tokens; what is
//! asked for twice is the same.

use std::{fs, path::PathBuf, process::Command};

use super::{Place, SAME, assert_same, same_but_best, text, with_flags};

/// A network so small that twenty steps take a fraction of a second.
const TINY: &str = "--layers 2 --heads 2 --width 16 --context 12 --batch 4 --steps 20 --warmup 4 --eval-every 5 \
                    --eval-sequences 6 --checkpoint-every 7 --threads 1 --name run";

/// The command of a tiny run with these flags, in place of its own of that name.
fn gpt2(flags: &str) -> String {
    with_flags("gpt2", TINY, flags)
}

/// A place with a text, and its bytes as files of tokens in both formats.
fn place() -> Place {
    let place = Place::new();
    let words = ["to be", "or not", "to be", "that is", "the question", "\n"];
    let text: String = (0..400).map(|i| words[i * i % 6].to_owned() + " ").collect();
    let file = |name: &str, bytes: &[u8]| fs::write(place.path().join(name), bytes).unwrap();
    file("text.txt", text.as_bytes());
    let tokens = |bytes: &[u8]| bytes.iter().flat_map(|&byte| [byte, 0]).collect::<Vec<u8>>();
    let (train, validation) = text.as_bytes().split_at(text.len() * 9 / 10);
    fs::create_dir(place.path().join("folder")).unwrap();
    file("folder/train.bin", &tokens(train));
    file("folder/val.bin", &tokens(validation));
    let header = |count: usize| {
        let count = u32::try_from(count).unwrap();
        let mut header: Vec<u8> =
            [20_240_520, 1, count].into_iter().flat_map(u32::to_le_bytes).collect();
        header.resize(1024, 0);
        header
    };
    file("llm_train.bin", &[header(train.len()), tokens(train)].concat());
    file("llm_val.bin", &[header(validation.len()), tokens(validation)].concat());
    place
}

fn run(place: &Place) -> PathBuf {
    place.path().join("runs/gpt2/run")
}

/// Every way to read data, and every kind of state that is the network's own: where its dropout stands, passes of a step,
/// blocks computed again.
const KINDS: [&str; 6] = [
    "--data text.txt --kappa-init inflection=2",
    "--data text.txt --unit bytes --accumulate 2 --rotary 0 --bias false --tied false",
    "--data text.txt --unit gpt2 --recompute --width 8 --kappa-init warm-start=9",
    "--data folder --unit bytes --optimizer adamw --weight-decay 0.1",
    "--data llm_train.bin --validation llm_val.bin --unit bytes --vocabulary 300 --dropout 0.2",
    "--data llm_train.bin --unit bytes --reg std --kappa-init dependent=0.9 --rotary 1",
];

#[test]
fn gone_on_with_in_another_process_a_run_leaves_the_same_bytes() {
    for kind in KINDS {
        let kind = format!("{kind} --schedule constant");
        let whole = place();
        whole.cpr_gpu(&gpt2(&kind));
        let part = place();
        part.cpr_gpu(&gpt2(&format!("{kind} --steps 10")));
        let said = part.cpr_gpu("resume runs/gpt2/run --steps 20 --threads 2");
        assert!(said.contains("goes on after step 10"), "{kind}: {said}");
        assert_same(&run(&whole), &run(&part), &kind, same_but_best());
    }
}

#[test]
fn killed_at_any_moment_and_resumed_a_run_leaves_the_same_bytes() {
    let line = gpt2("--data text.txt --steps 150 --accumulate 2");
    let whole = place();
    whole.cpr_gpu(&line);
    let mut killed = 0;
    for attempt in 0..50_u64 {
        let part = place();
        let mut child = part.command(&line).stderr(std::process::Stdio::null()).spawn().unwrap();
        while !fs::metadata(run(&part).join("metrics.jsonl")).is_ok_and(|file| file.len() > 0) {
            assert!(child.try_wait().unwrap().is_none(), "ended without an evaluation");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(7 * (attempt % 5)));
        let signal = if attempt % 2 == 0 { "KILL" } else { "TERM" };
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        // A run that ends before the signal reaches it is made again.
        if output.status.success() {
            continue;
        }
        if signal == "TERM" {
            let stdout = text(output.stdout);
            assert!(stdout.ends_with("go on with: cpr-gpu resume runs/gpt2/run\n"), "{stdout}");
        }
        assert!(!run(&part).join("summary.json").exists());
        part.cpr_gpu("resume runs/gpt2/run --threads 2");
        assert_same(&run(&whole), &run(&part), signal, SAME);
        killed += 1;
        if killed == 2 {
            return;
        }
    }
    panic!("only {killed} of 50 runs were reached by their signal");
}

#[test]
fn the_gradients_of_passes_and_of_blocks_computed_again_are_those_of_one() {
    let last = |flags: &str| {
        let place = place();
        place.cpr_gpu(&gpt2(&format!("--data text.txt --dropout 0 {flags}")));
        let rows = fs::read_to_string(run(&place).join("metrics.csv")).unwrap();
        let column = rows.lines().next().unwrap().split(',').position(|c| c == "validation/loss");
        let last = rows.lines().last().unwrap().split(',').nth(column.unwrap()).unwrap();
        last.parse::<f64>().unwrap()
    };
    let one = last("");
    for flags in ["--accumulate 4", "--recompute", "--accumulate 2 --recompute"] {
        let other = last(flags);
        assert!((one - other).abs() < 1e-5 * one, "{flags}: {one} and {other}");
    }
    assert!(one < 3.2, "nothing was learned: {one}");
}

#[test]
fn evaluated_and_inspected() {
    let place = place();
    let said = place.cpr_gpu(&gpt2("--data text.txt"));
    for part in ["GPT-2 16/2/2", "validation perplexity", "bits for each character", "plot.svg"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let said = place.cpr_gpu("eval runs/gpt2/run");
    assert!(said.contains("validation  loss") && said.contains("perplexity"), "{said}");
    let summary = fs::read_to_string(run(&place).join("summary.json")).unwrap();
    assert!(summary.contains("\"perplexity_last\"") && summary.contains("\"validation_best\""));
    let said = place.cpr_gpu("inspect runs/gpt2/run");
    assert!(said.contains("transformer.h.1.attn.c_attn.weight"), "{said}");
    let message = place.error("eval runs/gpt2/run --logits a.safetensors", 1);
    assert!(message.contains("leave --logits out"), "{message}");
}

#[test]
fn the_files_of_the_papers_runs_are_understood() {
    let place = Place::new();
    for (name, part) in
        [("adamw", "adamw"), ("kappa-ws", "warm-start=2x"), ("kappa-ip", "inflection")]
    {
        let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs");
        let said = place.cpr_gpu(&format!("gpt2 --config {configs}/gpt2-{name}.toml --dry-run"));
        assert!(said.contains("GPT-2 768/12/12") && said.contains(part), "{said}");
        assert!(said.contains("\n123653376 parameters\n"), "{said}");
    }
}

#[test]
fn text_is_made_of_a_checkpoint_of_every_unit() {
    for unit in ["characters", "bytes", "gpt2"] {
        let place = place();
        place.cpr_gpu(&gpt2(&format!("--data text.txt --unit {unit} --steps 6")));
        fs::remove_file(place.path().join("text.txt")).unwrap();
        // Longer than the context; of bytes it need not be UTF-8.
        let line = "sample runs/gpt2/run --prompt to --tokens 15 --seed 3";
        let sample = || place.command(line).output().unwrap().stdout;
        let said = sample();
        assert!(said.starts_with(b"to") && said.len() > 10, "{unit}: {said:?}");
        assert_eq!(said, sample());
    }
}

#[test]
fn what_does_not_fit_is_refused_with_what_to_do() {
    let place = place();
    for (flags, part) in [
        ("--data none.txt", "none.txt"),
        ("--data folder", "is 60000, and the highest"),
        ("--data folder --unit characters", "meta.json of `cpr tokens`"),
        ("--data text.txt --context 4000", "smaller --context"),
        ("--data text.txt --validation llm_val.bin", "cut in two"),
        ("--data text.txt --precision bf16", "--device cuda"),
        ("--data text.txt --vocabulary 2", "at least that"),
    ] {
        if flags == "--data folder" {
            // A token that GPT-2 has not.
            fs::write(place.path().join("folder/train.bin"), [0x60, 0xea].repeat(400)).unwrap();
        }
        let message = place.error(&gpt2(flags), 1);
        assert!(message.contains(part), "{flags}: {message}");
    }
    // Files that say of themselves what they are.
    let meta =
        r#"{"unit":"bytes","vocabulary":256,"train":1,"validation":1,"validation_characters":1}"#;
    fs::write(place.path().join("folder/meta.json"), meta).unwrap();
    let message = place.error(&gpt2("--data folder --unit gpt2"), 1);
    assert!(message.contains("meta.json in folder says that the tokens are bytes"), "{message}");
    for (flags, part) in [
        ("--accumulate 3", "divide the 4 sequences"),
        ("--rotary 0.1", "turn at least 2 of the 8"),
        ("--heads 3", "multiple of --heads 3"),
        ("--size xxl", "xxl"),
        ("--unit bytes --alphabet ab", "--unit characters"),
    ] {
        let message = place.error(&gpt2(flags), 2);
        assert!(message.contains(part), "{flags}: {message}");
    }
}

/// A sweep of two runs, in a folder of its own, with these settings.
fn study(set: &str) -> String {
    format!(
        "experiment = \"gpt2\"\nout = \"study\"\nseeds = 2\ngroup = [{{ name = \"a\" }}]\n[set]\nlayers = 1\nheads = 1\n\
         width = 8\ncontext = 12\nbatch = 2\nsteps = 2\nwarmup = 1\neval_sequences = 2\n{set}"
    )
}

#[test]
fn a_sweep_looks_for_its_tokens_before_its_first_run() {
    let place = place();
    let short = "to be ".repeat(3);
    fs::write(place.path().join("short.txt"), short).unwrap();
    fs::write(place.path().join("empty.txt"), "").unwrap();
    fs::write(place.path().join("half.bin"), [0; 401]).unwrap();
    for (set, parts) in [
        ("", &["cannot read data: ", "`data`, by default, of 2 of the runs"][..]),
        ("data = \"none.txt\"", &["cannot read none.txt: ", "`data` of 2 of the runs"]),
        ("data = \"empty.txt\"", &["empty.txt is empty"]),
        ("data = \"short.txt\"\ntrain_fraction = 0.5", &["short.txt has ", "leaves 9 tokens"]),
        ("data = \".\"", &["cannot read ./train.bin: ", "`data` of 2"]),
        ("data = \"half.bin\"", &["half.bin has 401 bytes", "half a token"]),
        ("data = \"folder\"\ncontext = 5000", &["folder has ", "a smaller --context"]),
        (
            "data = \"llm_train.bin\"\nvalidation = \"none.bin\"",
            &["cannot read none.bin: ", "`validation` of 2 of the runs"],
        ),
    ] {
        let own = if set.contains("context") {
            study(set).replace("context = 12\n", "")
        } else {
            study(set)
        };
        place.refused(&own, parts);
    }
}

#[test]
fn a_sweep_goes_on_though_its_runs_filled_in_keys() {
    let place = place();
    let file = place.path().join("study.toml");
    for (out, set) in [("text", "data = \"text.txt\""), ("llm", "data = \"llm_train.bin\"")] {
        fs::write(&file, study(set).replace("\"study\"", &format!("\"{out}\""))).unwrap();
        assert!(place.cpr_gpu("sweep study.toml").contains("2 of 2 runs done"));
        let config = fs::read_to_string(place.path().join(out).join("gpt2/a-seed1/config.toml"));
        assert!(config.unwrap().contains("vocabulary = "), "{out}");
        assert!(place.cpr_gpu("sweep study.toml").contains("2 of 2 runs done"), "{out}");
    }
    // One that is said is a setting like any other.
    fs::write(
        &file,
        study("data = \"text.txt\"\nvocabulary = 99").replace("\"study\"", "\"text\""),
    )
    .unwrap();
    let message = place.error("sweep study.toml", 1);
    assert!(message.contains("made with vocabulary = "), "{message}");
}

#[test]
fn a_checkpoint_of_another_network_is_refused_by_the_settings_that_differ() {
    let place = place();
    place.cpr_gpu(&gpt2("--data text.txt --steps 8"));
    let next =
        |flags: &str| format!("{} --from runs/gpt2/run", gpt2(&format!("--name next {flags}")));
    let message = place.error(&next("--data text.txt --unit bytes --layers 3"), 1);
    for part in [
        "last.safetensors is of another model: ",
        "`unit` is characters in the checkpoint and bytes in the configuration",
        "`layers` is 2 in the checkpoint and 3 in the configuration",
        "`alphabet` is ",
        "in the checkpoint and its default in the configuration",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("`width`") && !message.contains("c_attn"), "{message}");
    // What differs is not in the parameters, whose shapes rotary positions leave.
    let flags = "--data text.txt --rotary 1 --optimizer sgdcpr --momentum 0.9";
    let message = place.error(&next(flags), 1);
    assert!(message.contains("momentum_buffer") && !message.contains("rotary"), "{message}");
}
