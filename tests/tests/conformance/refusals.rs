//! Files that are cut, altered or of another kind: each is refused by a message that names the place.

use cpr_host::conformance::{TrajectoryError, check_text};
use serde_json::{Value, json};

use crate::{INFLECTION, L1, L2_F32, SCHEDULE, WRAPPER, altered, read, refusal, text};

#[test]
fn missing_keys_are_named() {
    let remove = |name: &str, path: &[&str]| {
        refusal(name, |v| {
            let (last, parents) = path.split_last().unwrap();
            let parent = parents.iter().fold(v, |v, key| match key.parse::<usize>() {
                Ok(index) => &mut v[index],
                Err(_) => &mut v[*key],
            });
            assert!(parent.as_object_mut().unwrap().remove(*last).is_some(), "{path:?}");
        })
    };
    let paths: [(&[&str], &str); 17] = [
        (&["meta"], "`meta` is missing"),
        (&["params"], "`params` is missing"),
        (&["grads"], "`grads` is missing"),
        (&["trajectory"], "`trajectory` is missing"),
        (&["final_state"], "`final_state` is missing"),
        (&["meta", "kind"], "`meta.kind` is missing"),
        (&["meta", "hp"], "`meta.hp` is missing"),
        (&["meta", "dtype"], "`meta.dtype` is missing"),
        (&["meta", "steps"], "`meta.steps` is missing"),
        (&["meta", "lr_per_step"], "`meta.lr_per_step` is missing"),
        (&["meta", "regularized_params"], "`meta.regularized_params` is missing"),
        (&["params", "1", "init"], "`params[1].init` is missing"),
        (&["params", "0", "shape"], "`params[0].shape` is missing"),
        (&["params", "0", "name"], "`params[0].name` is missing"),
        (&["trajectory", "4", "params"], "`trajectory[4].params` is missing"),
        (&["trajectory", "4", "kappa"], "`trajectory[4].kappa` is missing"),
        (&["final_state", "2", "exp_avg"], "`final_state[2].exp_avg` is missing"),
    ];
    for (path, start) in paths {
        let message = remove(L1, path);
        assert!(message.starts_with(start), "{message} does not start with {start}");
    }
    assert!(remove(SCHEDULE, &["meta", "hp", "cls"]).starts_with("`meta.hp.cls` is missing"));
    let message = remove(WRAPPER, &["meta", "hp", "base_kwargs"]);
    assert!(message.starts_with("`meta.hp.base_kwargs` is missing"), "{message}");
}

#[test]
fn wrong_lengths_are_named() {
    let shorten = |pointer: &str| {
        refusal(L1, |v| {
            v.pointer_mut(pointer).unwrap().as_array_mut().unwrap().pop().unwrap();
        })
    };
    for (pointer, start) in [
        ("/grads", "`grads` has 9 entries, 10 are needed (meta.steps)"),
        ("/trajectory", "`trajectory` has 9 entries, 10 are needed (meta.steps)"),
        ("/grads/3", "`grads[3]` has 3 entries, 4 are needed"),
        ("/grads/3/2", "`grads[3][2]` has 11 entries, 12 are needed"),
        ("/trajectory/5/params/0", "`trajectory[5].params[0]` has 11 entries"),
        ("/trajectory/5/lagmul", "`trajectory[5].lagmul` has 3 entries"),
        ("/params/0/init", "`params[0].init` has 11 entries, 12 are needed (the product"),
        ("/params/0/shape", "`params[0].init` has 12 entries, 4 are needed (the product"),
        ("/final_state", "`final_state` has 3 entries"),
        ("/final_state/0/exp_avg_sq", "`final_state[0].exp_avg_sq` has 11 entries"),
        ("/meta/hp/betas", "`meta.hp.betas` has 1 entries, 2 are needed"),
        ("/meta/kappa_first_change_step", "`meta.kappa_first_change_step` has 3 entries"),
    ] {
        let message = shorten(pointer);
        assert!(message.starts_with(start), "{message} does not start with {start}");
    }
    let message = refusal(L1, |v| v["meta"]["steps"] = json!(u64::MAX));
    assert!(message.starts_with("`grads` has 10 entries"), "{message}");
    let message = refusal(L1, |v| v["params"][0]["shape"] = json!([u64::MAX, u64::MAX]));
    assert!(message.starts_with("`params[0].init` has 12 entries"), "{message}");
}

#[test]
fn unknown_hyperparameters_and_choices_are_named() {
    let set = |name: &str, pointer: &str, value: Value| {
        refusal(name, |v| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            v.pointer_mut(parent).unwrap()[key] = value;
        })
    };
    for (name, pointer, value, start) in [
        (
            L1,
            "/meta/hp/warmup",
            json!(3),
            "`meta.hp.warmup` is unknown: supported here are lr, betas",
        ),
        (L1, "/meta/hp/weight_decay", json!(0.1), "`meta.hp.weight_decay` is unknown"),
        (SCHEDULE, "/meta/hp/momentum", json!(0.9), "`meta.hp.momentum` is unknown"),
        (
            WRAPPER,
            "/meta/hp/base_kwargs/betas",
            json!([0.9, 0.9]),
            "`meta.hp.base_kwargs.betas` is",
        ),
        (L1, "/final_state/0/exp_avg_max", json!([]), "`final_state[0].exp_avg_max` is unknown"),
        (
            L1,
            "/meta/kind",
            json!("lion"),
            "`meta.kind` = \"lion\" is not supported: choose from adamcpr",
        ),
        (L1, "/meta/dtype", json!("bf16"), "`meta.dtype` = \"bf16\" is not supported"),
        (L1, "/meta/hp/reg_function", json!("l3"), "`meta.hp.reg_function` = \"l3\""),
        (L1, "/meta/hp/kappa_init_method", json!("x"), "`meta.hp.kappa_init_method` = \"x\""),
        (WRAPPER, "/meta/hp/base", json!("LBFGS"), "`meta.hp.base` = \"LBFGS\""),
        (WRAPPER, "/meta/hp/reg_function", json!("l1"), "`meta.hp.reg_function` = \"l1\""),
        (WRAPPER, "/meta/hp/kappa_init_param", json!(2.5), "`meta.hp.kappa_init_param` = 2.5"),
        (
            L1,
            "/meta/hp/amsgrad",
            json!(1),
            "`meta.hp.amsgrad` is a number and must be true or false",
        ),
        (L1, "/meta/hp/lr", json!(-0.1), "`meta.hp.lr` = -0.1 is out of range"),
        (L1, "/meta/hp/lr", Value::Null, "`meta.hp.lr` is null and must be a number"),
        (L1, "/meta/hp/betas", json!([0.9, 1.0]), "`meta.hp`: beta2 = 1"),
        (L1, "/meta/hp/kappa_update", json!(-1.0), "`meta.hp`: mu = -1"),
        (INFLECTION, "/meta/hp/reg_step_size", json!(0), "`meta.hp.reg_step_size` = 0"),
        (INFLECTION, "/meta/hp/reg_ema_decay", json!(1.0), "`meta.hp.reg_ema_decay` = 1"),
        (L1, "/meta/steps", json!(0), "`meta.steps` = 0"),
        (
            L1,
            "/params/0/name",
            json!("v"),
            "`meta.regularized_params[0]` = \"w\" must name exactly",
        ),
        (
            SCHEDULE,
            "/meta/regularized_params",
            json!(["w"]),
            "`meta.regularized_params[0]` = \"w\"",
        ),
        (SCHEDULE, "/meta/lr_per_step", json!([0.1]), "`meta.lr_per_step` has 1 entries, 60"),
    ] {
        let message = set(name, pointer, value);
        assert!(message.starts_with(start), "{message} does not start with {start}");
    }
    // One element has no standard deviation.
    let message = refusal(WRAPPER, |v| {
        v["params"][0] = json!({"name": "w", "shape": [1], "init": [0.5]});
        for step in v["grads"].as_array_mut().unwrap() {
            step[0] = json!([0.1]);
        }
        for step in v["trajectory"].as_array_mut().unwrap() {
            step["params"][0] = json!([0.1]);
        }
    });
    assert!(message.starts_with("parameter \"w\": the standard deviation needs"), "{message}");
}

#[test]
fn files_of_another_kind_are_refused() {
    for (text, start) in [
        ("", "no complete JSON text"),
        ("lr,loss\n1,2\n", "no complete JSON text"),
        ("[1, 2]", "`the file` is a list and must be an object"),
        ("3", "`the file` is a number and must be an object"),
        ("{\"config\": {\"lr\": 0.001}, \"epochs\": [0, 5]}", "`meta` is missing"),
        ("{\"meta\": {\"seed\": 1}, \"curve\": []}", "`meta.kind` is missing"),
        ("{\"meta\": {\"kind\": 7}}", "`meta.kind` is a number and must be a text"),
    ] {
        let message = check_text(text).unwrap_err().to_string();
        assert!(message.starts_with(start), "{message} does not start with {start}");
    }
    let nested = "[".repeat(100_000);
    assert!(matches!(check_text(&nested), Err(TrajectoryError::Json(_))));
}

#[test]
fn no_prefix_of_a_file_passes() {
    let whole = text(L1);
    let cut = check_text(&whole[..whole.len() / 2]).unwrap_err().to_string();
    assert!(cut.contains("cut short"), "{cut}");
    let end = whole.trim_end().len();
    for length in (0..end).step_by(13).chain(end - 1..end) {
        assert!(matches!(check_text(&whole[..length]), Err(TrajectoryError::Json(_))), "{length}");
    }
}

#[test]
fn numbers_beyond_the_format_are_refused_or_fail() {
    let replaced = |number: &str| {
        let whole = text(L1);
        let first = read(L1)["grads"][0][0][0].to_string();
        assert!(whole.contains(&first));
        check_text(&whole.replacen(&first, number, 1))
    };
    for number in ["NaN", "Infinity", "1e999"] {
        let message = replaced(number).unwrap_err().to_string();
        assert!(message.contains("NaN, Infinity or numbers beyond f64"), "{message}");
    }
    let message = refusal(L1, |v| v["trajectory"][2]["params"][1][3] = Value::Null);
    assert!(message.starts_with("`trajectory[2].params[1][3]` is null and must be a number"));
    let message = refusal(L2_F32, |v| v["trajectory"][2]["params"][1][3] = json!(1e39));
    assert!(message.contains("within the range of f32"), "{message}");
    // Within f64 huge numbers are numbers: they overflow in the replay, which then differs.
    for huge in [1e300, f64::MAX, f64::MIN] {
        for pointer in ["/params/0/init/0", "/grads/0/0/0", "/trajectory/3/params/0/0"] {
            let report = altered(L1, |v| *v.pointer_mut(pointer).unwrap() = json!(huge)).unwrap();
            assert!(!report.passed, "{pointer} {huge}");
            assert!(!report.complaints().is_empty());
        }
    }
}

/// Every place in a value, as JSON pointers; long lists by their first and last entries.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(entries) => {
            for (i, entry) in entries.iter().enumerate() {
                if i < 2 || i + 1 == entries.len() {
                    places(entry, &format!("{at}/{i}"), found);
                }
            }
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, entry)| places(entry, &format!("{at}/{key}"), found));
        }
        _ => {}
    }
}

#[test]
fn no_altered_value_panics() {
    for name in [L1, WRAPPER, SCHEDULE] {
        let original = read(name);
        let mut all = Vec::new();
        places(&original, "", &mut all);
        assert!(all.len() > 100);
        for pointer in &all {
            let own = original.pointer(pointer).unwrap();
            for value in [json!(null), json!(-1), json!(1e38), json!("x"), json!([]), json!({})] {
                if *own == value {
                    continue;
                }
                let outcome = altered(name, |v| *v.pointer_mut(pointer).unwrap() = value.clone());
                // Whatever is altered is refused, fails, or is a remark that says nothing of numbers.
                if let Ok(report) = outcome {
                    let excused = is_remark(pointer) || is_unused(pointer);
                    assert!(!report.passed || excused, "{name}: {pointer} = {value} passes");
                }
            }
        }
    }
}

/// What says nothing of the numbers.
fn is_remark(pointer: &str) -> bool {
    const REMARKS: [&str; 9] = [
        "/meta/name",
        "/meta/seed",
        "/meta/versions",
        "/meta/note",
        "/meta/foreach",
        "/meta/pytorch_jit",
        "/meta/active_steps_f64",
        "/meta/trimmed_to_well_conditioned_prefix",
        "/meta/f32_vs_f64_max_rel_diff",
    ];
    REMARKS.iter().any(|start| pointer.starts_with(start))
}

/// What a replay does not need: the learning rate under a schedule, the names of unconstrained parameters, and R and
/// flags where the recording leaves them out.
fn is_unused(pointer: &str) -> bool {
    pointer == "/meta/hp/lr"
        || pointer.ends_with("/name")
        || pointer.contains("/reg/")
        || pointer.contains("/adapt_flag/")
}
