//! The expected bits are worth comparing with, and the host gets them without std and SIMD too.

use cpr_core::L2;
use cpr_embedded::expected;
use cpr_embedded::head::{Bounded, Head, Learnt};
use cpr_embedded::problem::{
    Buffers, adam, decayed, differentiate_only, regularizers, sgd, train, train_free, train_set,
};
use cpr_embedded::windows::{FRESH, TRAINING};

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
        .chain(expected::PADAM)
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
    for (i, base) in decayed().into_iter().enumerate() {
        assert_eq!(train_free(base, &mut two), Some(expected::PADAM[i]));
    }
    for (i, regularizer) in regularizers().into_iter().flatten().enumerate() {
        assert_eq!(train(regularizer, adam(), &mut two), Some(expected::ANY_ADAM[i]));
        assert_eq!(train(regularizer, sgd(), &mut none), Some(expected::ANY_SGD[i]));
    }
}

#[test]
fn the_head_learns_under_both_bounds_and_without_std_to_the_same_bits() {
    let mut head = Head::ZERO;
    let learnt = head.learn(&TRAINING, &FRESH);
    assert_eq!(learnt, Some(expected::HEAD));
    assert!(expected::HEAD.right >= 28, "of 32 windows, a quarter by chance: {:?}", expected::HEAD);
    for matrix in expected::HEAD.matrices {
        assert!(f64::from_bits(matrix.lambda) > 0.0, "{matrix:?}");
    }
}

#[test]
fn numbers_are_told_with_their_bits() {
    let zero = Bounded { value: 0, kappa: 0, lambda: 0 };
    let number = Bounded { value: 1234.5f64.to_bits(), kappa: 0.02f64.to_bits(), ..zero };
    let learnt = Learnt { loss: 0.25f32.to_bits(), right: 31, matrices: [number, zero], theta: 0 };
    let mut text = Vec::new();
    learnt.tell(|part| text.extend_from_slice(part));
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "loss            0.250000 3fd0000000000000");
    assert_eq!(lines[1], "first  R      1234.500000 40934a0000000000");
    assert_eq!(lines[2], "first  kappa     0.020000 3f947ae147ae147b");
    assert_eq!(lines[7], "right of 32    31.000000 403f000000000000");
}
