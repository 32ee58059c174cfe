use super::*;

fn layout() -> ParamLayout {
    ParamLayout::new([
        ("embed", vec![5, 2], ParamKind::Embedding),
        ("norm", vec![2], ParamKind::Norm),
        ("linear.weight", vec![3, 2], ParamKind::Matrix),
        ("linear.bias", vec![3], ParamKind::Bias),
        ("scale", vec![], ParamKind::Norm),
    ])
    .unwrap()
}

#[test]
fn parameters_lie_one_after_the_other() {
    let layout = layout();
    let ranges: Vec<_> = layout.params().iter().map(|param| param.range.clone()).collect();
    assert_eq!(ranges, [0..10, 10..12, 12..18, 18..21, 21..22]);
    assert_eq!(layout.len(), 22);
    assert_eq!(layout.get("linear.bias").unwrap().shape, [3]);
    assert!(layout.get("linear").is_none());
    assert!(ParamLayout::default().is_empty() && !layout.is_empty());
}

#[test]
fn wrong_declarations_are_refused() {
    let matrix = |name: &str, shape| (name.to_owned(), shape, ParamKind::Matrix);
    let duplicate = ParamLayout::new([matrix("w", vec![1]), matrix("w", vec![2])]);
    assert_eq!(duplicate, Err(LayoutError::Duplicate { name: "w".into() }));
    for shape in [vec![2, 0], vec![usize::MAX, 2]] {
        let refused = ParamLayout::new([matrix("w", shape.clone())]);
        assert_eq!(refused, Err(LayoutError::Shape { name: "w".into(), shape }));
    }
    let sum = ParamLayout::new([matrix("v", vec![2]), matrix("w", vec![usize::MAX])]);
    assert!(matches!(sum, Err(LayoutError::Shape { name, .. }) if name == "w"));
}

#[test]
fn the_rule_follows_the_kind() {
    let regularized = |grouping: Grouping| -> Vec<bool> {
        grouping.decisions(&layout()).iter().map(|decision| decision.regularized).collect()
    };
    assert_eq!(regularized(Grouping::default()), [false, false, true, false, false]);
    assert_eq!(regularized(Grouping { embeddings: true }), [true, false, true, false, false]);
}

#[test]
fn the_table_names_every_parameter_and_its_reason() {
    let expected = "\
parameter      shape  elements  regularized  because
embed          5×2          10  no           embedding, not asked for
norm           2             2  no           normalization
linear.weight  3×2           6  yes          matrix
linear.bias    3             3  no           bias
scale                        1  no           normalization
6 of 22 elements are regularized
";
    assert_eq!(Grouping::default().table(&layout()), expected);
}
