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
    assert_eq!(table["round_trip_ns"].to_string(), "[null,null]", "one thread has no other");
}

#[test]
fn two_threads_pass_a_line_to_each_other() {
    let workers = Workers::apart(2.try_into().unwrap()).unwrap();
    // None where the machine runs one of them at a time.
    let trips: Vec<_> = (0..20).filter_map(|_| neighbours::round_trip(&workers)).collect();
    assert!(trips.iter().all(|&ns| ns > 1.0 && ns < 1e6), "{trips:?}");
    assert!(neighbours::round_trip(&Workers::inline()).is_none());

    let row = |round_trip_ns| Table {
        shapes: Shapes::Modular,
        parameters: 1,
        threads: 2,
        pairs: 1,
        round_trip_ns,
        rows: Vec::new(),
    };
    let told = "in 52 ns before, in 287 ns after.";
    assert!(row([Some(51.6), Some(287.2)]).text().contains(told));
    assert!(row([None, Some(287.2)]).text().contains("did not run together) before, in 287 ns"));
    let alone = Table { threads: 1, ..row([None, None]) };
    assert!(!alone.text().contains("cache line"));
    assert!(alone.text().contains("less than 95 %"));
    assert!(!Table { pairs: 6, ..alone }.text().contains("less than 95 %"));
}
