use super::*;

#[test]
fn the_shapes_have_the_published_counts() {
    let count = |shapes: Shapes| {
        let layout = ParamLayout::new(shapes.parameters()).unwrap();
        (layout.len(), layout.params().len())
    };
    assert_eq!(count(Shapes::Gpt2), (124_439_808, 148));
    assert_eq!(count(Shapes::Resnet18), (11_220_132, 62));
    assert_eq!(count(Shapes::Modular), (226_816, 9));
}

#[test]
fn every_variant_is_measured_in_the_state_that_it_names() {
    let plan = BenchPlan { shapes: vec![Shapes::Modular], only: None, pairs: 1 };
    let mut out = Vec::new();
    run(&plan, &Workers::inline(), true, &mut out).unwrap();
    let table: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), Variant::ALL.len() + 1);
    let active: Vec<_> = rows.iter().map(|row| row["active"].to_string()).collect();
    let expected = ["null", "null", "[0,5]", "[5,5]", "[5,5]", "[5,5]", "null", "null"];
    assert_eq!(active, expected);
    assert!(rows.iter().all(|row| row["ns_per_parameter"].as_f64().unwrap() > 0.0));
}
