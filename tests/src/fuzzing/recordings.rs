//! Recorded trajectories.

use std::sync::OnceLock;

use cpr_host::conformance;
use serde_json::{Map, Value, json};

use super::bytes::Bytes;

/// What the edits start from: one recording of each kind, the first steps of it.
const RECORDED: [&str; 4] = [
    include_str!("../../data/trajectories/adamcpr_l1_inflection.f64.json"),
    include_str!("../../data/trajectories/h_wrap_SGD_std_warm_start_adapt.f32.json"),
    include_str!("../../data/trajectories/i_PAdam_late_p0.8.f64.json"),
    include_str!("../../data/trajectories/j_SGD_momentum_dampening_wd.f32.json"),
];
/// Steps that are kept of each.
const STEPS: usize = 3;

/// Keys and values of the format.
#[rustfmt::skip]
const WORDS: [&str; 60] = [
    "meta", "kind", "dtype", "steps", "hp", "params", "grads", "trajectory", "final_state", "lr_per_step",
    "regularized_params", "f32_vs_f64_max_rel_diff", "kappa_first_change_step", "name", "shape", "init", "lagmul",
    "kappa", "reg", "adapt_flag", "f32", "f64", "adamcpr", "cpr_wrapper", "padam", "torch", "cls", "base",
    "base_kwargs", "lr", "betas", "eps", "amsgrad", "maximize", "momentum", "dampening", "nesterov", "weight_decay",
    "kappa_init_method", "kappa_init_param", "reg_function", "kappa_update", "kappa_adapt", "reg_step_size",
    "reg_ema_decay", "reg_by_lr", "uniform", "dependent", "warm_start", "inflection_point", "l2", "l1", "std",
    "huber", "lambda_p", "p_norm", "PAdam_late", "AdamL3_2", "AdamW", "SGD",
];

/// Any text through the replay, or, where the first byte begins no document, edits of recordings that are valid.
///
/// Laws: an error that says something, or a report; the same text gives the same.
pub fn trajectory(data: &[u8]) {
    if let Some(b'{' | b'[' | b' ' | b'\n') = data.first() {
        replay(&String::from_utf8_lossy(data));
        return;
    }
    let mut bytes = Bytes(data);
    let mut document = templates()[usize::from(bytes.below(4))].clone();
    while !bytes.0.is_empty() {
        edit(&mut document, &mut bytes);
    }
    replay(&document.to_string());
}

fn replay(text: &str) {
    let said = |text| match conformance::check_text(text) {
        Ok(report) => format!("{report:?}"),
        Err(error) => error.to_string(),
    };
    let first = said(text);
    assert!(!first.is_empty());
    assert_eq!(said(text), first);
}

fn templates() -> &'static [Value; 4] {
    static TEMPLATES: OnceLock<[Value; 4]> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        RECORDED.map(|text| {
            let mut document: Value = serde_json::from_str(text).expect("a recording");
            document["meta"]["steps"] = STEPS.into();
            for list in ["/grads", "/trajectory", "/meta/lr_per_step"] {
                if let Some(Value::Array(list)) = document.pointer_mut(list) {
                    list.truncate(STEPS);
                }
            }
            document
        })
    })
}

/// One edit, of one value, more often than not among the few that say what was run.
fn edit(document: &mut Value, bytes: &mut Bytes<'_>) {
    let place = if bytes.below(4) == 0 { "" } else { "/meta/hp" };
    let place = if bytes.below(3) == 0 { "/meta" } else { place };
    let Some(part) = document.pointer_mut(place) else { return };
    let mut index = u16::from_le_bytes([bytes.byte(), bytes.byte()]).into();
    index %= count(part);
    let Some(target) = nth(part, &mut index) else { return };
    match bytes.below(8) {
        0 => *target = Value::Null,
        1 => *target = WORDS[usize::from(bytes.below(60))].into(),
        2 => *target = json!(bytes.any()),
        3 => *target = json!(bytes.byte()),
        4 => {
            *target = [json!([]), json!({}), json!(true), json!(u64::MAX), json!(-1), json!(1e308)]
                [usize::from(bytes.below(6))]
            .clone()
        }
        5 => remove(target, bytes),
        6 => insert(target, bytes),
        _ => scale(target, bytes),
    }
}

fn remove(target: &mut Value, bytes: &mut Bytes<'_>) {
    match target {
        Value::Array(list) if !list.is_empty() => {
            let at = usize::from(bytes.byte()) % list.len();
            list.remove(at);
        }
        Value::Object(map) => {
            let at = usize::from(bytes.byte()) % map.len().max(1);
            if let Some(key) = map.keys().nth(at).cloned() {
                map.shift_remove(&key);
            }
        }
        other => *other = Value::Null,
    }
}

fn insert(target: &mut Value, bytes: &mut Bytes<'_>) {
    match target {
        Value::Array(list) => list.push(list.last().cloned().unwrap_or(Value::Null)),
        Value::Object(map) => {
            let key = WORDS[usize::from(bytes.below(60))].to_owned();
            let value = match bytes.below(3) {
                0 => json!(bytes.any()),
                1 => WORDS[usize::from(bytes.below(60))].into(),
                _ => json!(bytes.flag()),
            };
            map.insert(key, value);
        }
        other => *other = Value::Object(Map::new()),
    }
}

/// A number by a power of two or its sign, a flag, or the whole of a list.
fn scale(target: &mut Value, bytes: &mut Bytes<'_>) {
    let power = bytes.byte();
    let scaled = |x: f64| json!(x * f64::from(i32::from(power) - 128).exp2());
    match target {
        Value::Number(number) => *target = scaled(number.as_f64().unwrap_or(1.0)),
        Value::Bool(flag) => *flag = !*flag,
        Value::Array(list) => {
            for number in list.iter_mut().filter(|value| value.is_number()) {
                *number = scaled(number.as_f64().unwrap_or(1.0));
            }
        }
        _ => {}
    }
}

/// Values in a document, itself included; at least 1.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The value at `index`, each before what it holds.
fn nth<'a>(value: &'a mut Value, index: &mut usize) -> Option<&'a mut Value> {
    if *index == 0 {
        return Some(value);
    }
    *index -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|value| nth(value, index)),
        Value::Object(map) => map.values_mut().find_map(|value| nth(value, index)),
        _ => None,
    }
}
