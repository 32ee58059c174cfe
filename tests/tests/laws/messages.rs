//! Every error says what was given, what is allowed and what to do; what cannot be is refused.

use cpr_core::base::{
    AdaDecay, AdaDecayConfig, Adam, AdamConfig, Awd, Decay, Decayed, Momentum, MomentumConfig, Sgd,
    SgdConfig, WeightDecay,
};
use cpr_core::{
    BoundInit, ConfigError, ConstraintConfig, ConstraintRule, ConstraintSet, DecodeError,
    EncodeError, GroupError, Inflection, L2, LengthError, Lp, Multiplier, Order, Pairwise, Shard,
    Slice, Statistic, Std,
};

/// Asserts that a message has each of these words.
#[track_caller]
fn says(error: &dyn std::error::Error, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[test]
fn lengths_that_differ_are_named_with_both_numbers() {
    let expected = 7;
    for (slice, words) in [
        (Slice::Gradient, ["gradient", "5 elements", "7: give as many"]),
        (Slice::Moment(1), ["moment buffer 1", "5 elements", "7: give as many"]),
        (Slice::Groups, ["5 shards", "groups of the set", "7: give as many"]),
        (Slice::Group(3), ["group 3", "5 elements", "7: give as many"]),
    ] {
        says(&LengthError { slice, given: 5, expected }, &words);
    }
    let (mut theta, mut m, mut v) = ([0.0f32; 2], [0.0; 2], [0.0; 3]);
    let error = Shard::new(&mut theta, &[0.0; 2], [&mut m, &mut v]).map(|_| ()).unwrap_err();
    assert_eq!(error, LengthError { slice: Slice::Moment(1), given: 3, expected: 2 });
    let empty = Shard::<f32, 0>::new(&mut [], &[], []).map(|shard| shard.is_empty());
    assert_eq!(empty, Ok(true));
}

#[test]
fn options_out_of_range_are_named_with_the_range() {
    let beta = AdamConfig { beta1: 1.5, ..AdamConfig::default() };
    says(&Adam::new(beta).unwrap_err(), &["beta1 = 1.5", "out of range", "must be"]);
    let nesterov = MomentumConfig { momentum: 0.0, nesterov: true, ..MomentumConfig::default() };
    says(&Momentum::new(nesterov).unwrap_err(), &["nesterov", "momentum > 0", "dampening = 0"]);
    let watch = |interval| Inflection { interval, smoothing: None, burn_in: 0 };
    let rule = |bound| ConstraintRule::new(ConstraintConfig::new(L2, bound));
    says(&rule(BoundInit::Inflection(watch(0))).unwrap_err(), &["0 steps", "at least 1"]);
    assert!(rule(BoundInit::Inflection(watch(1))).is_ok());

    let per_element = ConstraintConfig::new(Std, BoundInit::UniformPerElement(0.1));
    let error = ConstraintRule::new(per_element).unwrap_err();
    assert_eq!(error, ConfigError::PerElementOfNoSum);
    says(&error, &["sum over elements", "for std give the bound on R"]);

    let lp = Lp::new(0.8).unwrap();
    let after = ConstraintConfig {
        order: Order::AfterBase,
        ..ConstraintConfig::new(lp, BoundInit::Dependent(0.5))
    };
    let error = ConstraintRule::new(after).unwrap_err();
    assert_eq!(error, ConfigError::PowerNeedsBeforeBase { given: 0.8 });
    says(&error, &["p = 0.8", "BeforeBase"]);
}

#[test]
fn groups_that_cannot_be_say_what_else_to_choose() {
    let dependent =
        ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::Dependent(0.5))).unwrap();
    says(&dependent.start_from(&[0.0f32; 3]).unwrap_err(), &["R is 0", "choose uniform"]);
    says(&dependent.start_from(&[f32::NAN]).unwrap_err(), &["NaN", "must be finite"]);
    let huge = ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::Dependent(1e10))).unwrap();
    says(&huge.start_from(&[1e150f64]).unwrap_err(), &["is inf", "no bound", "another multiple"]);
    let std = ConstraintRule::new(ConstraintConfig::new(Std, BoundInit::Uniform(1.0))).unwrap();
    says(&std.start_from(&[1.0f32]).unwrap_err(), &["at least 2", "has 1", "choose l2"]);
    let mut set = ConstraintSet::<L2, 0>::new();
    let error = set.add_free(1).unwrap_err();
    assert_eq!(error, GroupError::Full { limit: 0 });
    says(&error, &["holds 0 groups", "larger capacity"]);
}

#[test]
fn records_say_what_is_wrong_with_them() {
    says(&EncodeError { given: 3, limit: 148 }, &["148 bytes", "has 3"]);
    let option = ConfigError::ZeroSteps { option: "warm_start" };
    for (error, words) in [
        (DecodeError::Length { given: 3, limit: 148 }, ["148 bytes", "3"]),
        (DecodeError::Label, ["no constraint record", "CPRC"]),
        (DecodeError::Version { given: 9, limit: 1 }, ["version 9", "update it"]),
        (DecodeError::Checksum, ["altered", "checksum"]),
        (DecodeError::Kind { field: "order", given: 7 }, ["order", "7"]),
        (DecodeError::Config(option), ["bad option", "warm_start = 0 steps"]),
        (DecodeError::State { field: "kappa" }, ["kappa", "out of range"]),
        (DecodeError::Regularizer, ["another", "regularizer"]),
        (DecodeError::Unused, ["data", "must be none"]),
    ] {
        says(&error, &words);
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let expected = matches!(error, DecodeError::Config(_)).then(|| option.to_string());
        assert_eq!(source, expected);
    }
}

#[test]
fn a_constraint_is_taken_over_as_another_program_left_it_or_not_at_all() {
    let started = |bound| {
        let rule = ConstraintRule::new(ConstraintConfig::new(L2, bound)).unwrap();
        rule.start_from(&[3.0f32, 4.0]).unwrap()
    };
    let (zero, half) = (Multiplier::ZERO, Multiplier::new(0.5).unwrap());
    let inflection =
        BoundInit::Inflection(Inflection { interval: 10, smoothing: None, burn_in: 0 });
    for (bound, set_at) in [
        (BoundInit::WarmStart(100), 50),
        (BoundInit::WarmStart(10), 10),
        (inflection, 50),
        (BoundInit::Dependent(0.8), 0),
    ] {
        let report = started(bound).left_at(50, half, Some(20.0)).unwrap().report();
        assert_eq!((report.step, report.kappa, report.lambda), (50, Some(20.0), 0.5));
        assert_eq!(report.kappa_set_at, Some(set_at));
        assert_eq!(report.violation(), Some(5.0));
    }
    let waiting = started(inflection).left_at(50, zero, None).unwrap().report();
    assert_eq!((waiting.kappa, waiting.violation()), (None, None));
    assert!(started(inflection).left_at(50, half, None).is_none());
    assert!(started(BoundInit::Dependent(0.8)).left_at(50, zero, None).is_none());
    assert!(started(inflection).left_at(50, zero, Some(-1.0)).is_none());
    assert!(started(inflection).left_at(50, zero, Some(f64::NAN)).is_none());
}

#[test]
fn rules_show_what_they_were_made_of() {
    let adam = AdamConfig { beta2: 0.95, ..AdamConfig::default() };
    assert_eq!(*Adam::new(adam).unwrap().config(), adam);
    let sgd = SgdConfig { weight_decay: WeightDecay::Decoupled(0.1), maximize: true };
    assert_eq!(*Sgd::new(sgd).unwrap().config(), sgd);
    let decay = AdaDecayConfig { alpha: 2.0, weight_decay: 0.1 };
    assert_eq!(*AdaDecay::new(decay).unwrap().config(), decay);
    assert_eq!(Awd::new(0.25).unwrap().keep(), 0.25);
    assert_eq!(Pairwise::<Statistic>::default().finish().count(), 0);
    let (base, decay) = (Adam::new(adam).unwrap(), Decay::ThreeHalves { lambda: 0.1 });
    let decayed = Decayed::new(base, decay).unwrap();
    assert_eq!((*decayed.base(), *decayed.decay()), (base, decay));
}
