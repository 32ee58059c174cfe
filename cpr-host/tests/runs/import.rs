//! `cpr import`: a state that pytorch-cpr 0.3.1 left after 40 steps, recorded by the lines of docs/CHECKPOINT.md.

use std::fs;

use cpr_core::{AnyRegularizer, Constraint};
use serde_json::Value;

use super::{Place, start::Parts};

const RULE: &str = "--reg l2 --kappa-init warm-start=10";

fn place() -> Place {
    let place = Place::new();
    for file in ["pytorch_cpr.safetensors", "pytorch_cpr.json"] {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/");
        fs::copy(format!("{data}{file}"), place.path().join(file)).unwrap();
    }
    place
}

#[test]
fn the_state_of_pytorch_cpr_becomes_a_checkpoint() {
    let place = place();
    let shown = place.cpr(&format!("import pytorch_cpr.safetensors {RULE} --out a.safetensors"));
    assert!(shown.contains("4 weights with their moments at t = 40, 2 constraints"), "{shown}");
    place.cpr(&format!("import pytorch_cpr.json {RULE} --out b.safetensors"));
    let [a, b] =
        ["a", "b"].map(|name| fs::read(place.path().join(format!("{name}.safetensors"))).unwrap());
    assert!(a == b, "both forms hold the same");

    let parts = Parts::read(&place.path().join("a.safetensors"));
    assert_eq!((parts.meta.step, parts.moments.len(), parts.records.len()), (40, 8, 2));
    let text = fs::read_to_string(place.path().join("pytorch_cpr.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let flat = |name: &str| {
        let rows = recorded[name].as_array().unwrap();
        let values =
            rows.iter().flat_map(|row| row.as_array().cloned().unwrap_or(vec![row.clone()]));
        values.map(|value| value.as_f64().unwrap()).collect::<Vec<_>>()
    };
    for (name, (_, values)) in &parts.weights {
        assert_eq!(values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), flat(name));
        for moment in ["exp_avg", "exp_avg_sq"] {
            let values = &parts.moments[&(name.clone(), moment)];
            let values: Vec<_> = values.iter().map(|&x| f64::from(x)).collect();
            assert_eq!(values, flat(&format!("{name}/{moment}")));
        }
    }
    for (name, record) in &parts.records {
        let report = Constraint::<AnyRegularizer>::decode(record).unwrap().report();
        assert_eq!(report.lambda, flat(&format!("{name}/lagmul"))[0]);
        assert_eq!(report.kappa, recorded[format!("{name}/kappa")].as_f64());
        assert_eq!((report.step, report.kappa_set_at), (40, Some(10)));
    }
}

#[test]
fn what_the_state_does_not_say_must_be_given_and_must_agree() {
    let place = place();
    let before = place.snapshot();
    for (flags, said) in [
        ("", "holds neither its measure nor its rule"),
        (
            "--reg std --kappa-init warm-start=10",
            "/kappa_update` of pytorch_cpr.safetensors is 0.083",
        ),
        ("--reg l2 --kappa-init warm-start=10 --set mu=2", "which is mu = 1.0"),
        ("--reg l2 --kappa-init warm-start=41", "kappa was not set by step 40"),
        ("--reg l2 --kappa-init uniform=3", "and the rule says 3"),
    ] {
        let error =
            place.error(&format!("import pytorch_cpr.safetensors {flags} --out a.safetensors"));
        assert!(error.contains(said), "{flags}: {error}");
    }
    let error =
        place.error(&format!("import pytorch_cpr.json {RULE} --out pytorch_cpr.safetensors"));
    assert!(error.contains("exists already"), "{error}");
    assert!(before == place.snapshot());
    // An inflection whose κ is set has a κ.
    let rule = "--reg l2 --kappa-init inflection=5";
    place.cpr(&format!("import pytorch_cpr.safetensors {rule} --out a.safetensors"));
}

#[test]
fn a_run_starts_from_an_imported_state() {
    // A state of this model's names and shapes, out of a run's own checkpoint.
    let place = Place::whole("--kappa-init warm-start=10");
    let parts = Parts::read(&place.last());
    let mut state = serde_json::Map::new();
    for (name, (shape, values)) in &parts.weights {
        let nested = |values: &[f32]| match shape.as_slice() {
            [_, width] => {
                values.chunks(*width).map(|row| serde_json::json!(row)).collect::<Value>()
            }
            _ => serde_json::json!(values),
        };
        state.insert(name.clone(), nested(values));
        state.insert(format!("{name}/step"), 60.into());
        for moment in ["exp_avg", "exp_avg_sq"] {
            state.insert(
                format!("{name}/{moment}"),
                nested(&parts.moments[&(name.clone(), moment)]),
            );
        }
        let report = parts
            .records
            .get(name)
            .map(|record| Constraint::<AnyRegularizer>::decode(record).unwrap().report());
        state.insert(format!("{name}/regularize"), report.is_some().into());
        if let Some(report) = report {
            state.insert(format!("{name}/lagmul"), serde_json::json!([report.lambda]));
            state.insert(format!("{name}/kappa"), report.kappa.unwrap().into());
        }
    }
    fs::write(place.path().join("state.json"), serde_json::to_string(&state).unwrap()).unwrap();
    place.cpr(&format!("import state.json {RULE} --out state.safetensors"));
    let line = super::grokking("--name next --kappa-init warm-start=10 --from state.safetensors");
    let shown = place.cpr(&line);
    assert!(shown.contains("(import at step 60, adamcpr)"), "{shown}");
    assert!(shown.contains("moments      taken, at t = 60\n  constraints  taken\n"), "{shown}");
}
