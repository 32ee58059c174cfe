use super::*;

#[test]
fn the_published_split_has_its_sizes_and_all_pairs() {
    let data = ModularAddition::new(113, 0.3, 1).unwrap();
    assert_eq!((data.train.len(), data.validation.len()), (3830, 8939));
    let mut all = [data.train, data.validation].concat();
    assert!(all.iter().all(|e| e.label == (e.a + e.b) % 113 && e.a < 113 && e.b < 113));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 113 * 113);
}

#[test]
fn the_split_is_a_function_of_the_seed_and_stable() {
    let split = |seed| ModularAddition::new(5, 0.4, seed).unwrap();
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
    let pairs: Vec<(u16, u16)> = split(1).train.iter().map(|e| (e.a, e.b)).collect();
    let stable = [(2, 0), (2, 1), (0, 0), (4, 1), (4, 2), (1, 0), (3, 1), (3, 4), (1, 3), (3, 0)];
    assert_eq!(pairs, stable);
}

#[test]
fn limits() {
    for p in [0, ModularAddition::MAX_MODULUS + 1] {
        assert_eq!(ModularAddition::new(p, 0.3, 0), Err(ModularError::Modulus { given: p }));
    }
    for fraction in [0.0, -0.5, 1.1, 0.001, f64::INFINITY] {
        let refused = ModularAddition::new(7, fraction, 0);
        assert_eq!(refused, Err(ModularError::Fraction { given: fraction }));
    }
    assert!(ModularAddition::new(7, f64::NAN, 0).is_err());
    let all = ModularAddition::new(7, 1.0, 0).unwrap();
    assert_eq!((all.train.len(), all.validation.len()), (49, 0));
    let one = ModularAddition::new(1, 1.0, 0).unwrap();
    assert_eq!(one.train, [Example { a: 0, b: 0, label: 0 }]);
}
