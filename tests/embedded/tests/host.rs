//! The expected bits are worth comparing with, and the host gets them without std and SIMD too.

use cpr_core::L2;
use cpr_embedded::expected;
use cpr_embedded::problem::{
    Buffers, adam, differentiate_only, regularizers, sgd, train, train_free, train_set,
};

#[test]
fn every_bound_acts() {
    let all = [expected::L2_ADAM, expected::L2_SGD, expected::SET];
    for trained in all.into_iter().chain(expected::ANY_ADAM).chain(expected::ANY_SGD) {
        assert!(f64::from_bits(trained.lambda) > 0.0, "{trained:?}");
        assert!(f64::from_bits(trained.kappa) > 0.0, "{trained:?}");
    }
}

#[test]
fn every_case_ends_elsewhere() {
    // What is l2 chosen at run time is l2, to the bit; no other case ends where another does.
    assert_eq!(expected::ANY_ADAM[0], expected::L2_ADAM);
    assert_eq!(expected::ANY_SGD[0], expected::L2_SGD);
    let others = [expected::ADAM, expected::SET];
    let mut ends: Vec<u64> = others
        .into_iter()
        .chain(expected::ANY_ADAM)
        .chain(expected::ANY_SGD)
        .map(|trained| trained.theta)
        .collect();
    let cases = ends.len();
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends.len(), cases);
}

#[test]
fn without_std_the_bits_are_those_with_it() {
    let (mut two, mut none) = (Buffers::<2>::ZERO, Buffers::<0>::ZERO);
    assert_eq!(differentiate_only(&mut none), Some(expected::GRADIENT));
    assert_eq!(train_free(adam(), &mut two), Some(expected::ADAM));
    assert_eq!(train(L2, adam(), &mut two), Some(expected::L2_ADAM));
    assert_eq!(train(L2, sgd(), &mut none), Some(expected::L2_SGD));
    assert_eq!(train_set(adam(), &mut two), Some(expected::SET));
    for (i, regularizer) in regularizers().into_iter().flatten().enumerate() {
        assert_eq!(train(regularizer, adam(), &mut two), Some(expected::ANY_ADAM[i]));
        assert_eq!(train(regularizer, sgd(), &mut none), Some(expected::ANY_SGD[i]));
    }
}
