use std::{vec, vec::Vec};

use super::*;
use crate::{
    Shard,
    base::{Base, Sgd, SgdConfig},
    constrained_step,
};

fn constraints() -> Vec<Constraint<AnyRegularizer>> {
    let inflection =
        |smoothing| BoundInit::Inflection(Inflection { interval: 2, smoothing, burn_in: 3 });
    let mut configs = Vec::new();
    for regularizer in [
        L2.into(),
        L1.into(),
        Std.into(),
        AnyRegularizer::huber(0.3).unwrap(),
        AnyRegularizer::lp(0.5).unwrap(),
        Lp::new(1.5).unwrap().keep_subnormal().into(),
    ] {
        for bound in [
            BoundInit::Uniform(0.5),
            BoundInit::Uniform(f64::INFINITY),
            BoundInit::Dependent(0.8),
            BoundInit::WarmStart(3),
            inflection(None),
            inflection(Some(0.9)),
        ] {
            configs.push(ConstraintConfig::new(regularizer, bound));
        }
    }
    let last = configs[0];
    configs.push(ConstraintConfig {
        bound: BoundInit::UniformPerElement(0.1),
        adaptive: Adaptive::OnRelease,
        step_rule: StepRule::Proximal,
        order: Order::BeforeBase,
        guard: false,
        scale_by_lr: true,
        ..last
    });
    configs
        .into_iter()
        .map(|config| {
            ConstraintRule::new(config).unwrap().start_from(&[0.5f32, -1.0, 0.25]).unwrap()
        })
        .collect()
}

fn run(constraint: &mut Constraint<AnyRegularizer>, theta: &mut [f32], steps: usize) {
    let sgd = Sgd::new(SgdConfig::default()).unwrap();
    for t in 0..steps {
        let grad: Vec<f32> = theta.iter().map(|x| x - 2.0 - t as f32).collect();
        let shard = Shard::new(theta, &grad, []).unwrap();
        constrained_step(constraint, &sgd.at(t as u64, 0.01), 0.01, shard);
    }
}

#[test]
fn every_state_comes_back_to_the_bit_and_goes_on_alike() {
    for mut constraint in constraints() {
        let mut theta = vec![0.5f32, -1.0, 0.25];
        for _ in 0..12 {
            let mut bytes = [0; ENCODED_LEN];
            assert_eq!(constraint.encode(&mut bytes), Ok(ENCODED_LEN));
            let mut read = Constraint::<AnyRegularizer>::decode(&bytes).unwrap();
            assert_eq!(read, constraint);
            let mut other = theta.clone();
            run(&mut read, &mut other, 1);
            run(&mut constraint, &mut theta, 1);
            assert_eq!((read, &other), (constraint, &theta), "one more step is the same");
        }
    }
}

#[test]
fn every_flipped_bit_and_every_other_length_is_refused() {
    let mut bytes = [0; ENCODED_LEN];
    constraints()[5].encode(&mut bytes).unwrap();
    for bit in 0..ENCODED_LEN * 8 {
        let mut altered = bytes;
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(Constraint::<AnyRegularizer>::decode(&altered).is_err(), "bit {bit}");
    }
    for length in 0..ENCODED_LEN {
        let error = Constraint::<AnyRegularizer>::decode(&bytes[..length]).unwrap_err();
        assert_eq!(error, DecodeError::Length { given: length, limit: ENCODED_LEN });
    }
    assert!(constraints()[0].encode(&mut [0; ENCODED_LEN - 1]).is_err());
}

/// A record with a field changed and its checksum made right again.
fn forged(at: usize, field: &[u8]) -> Result<Constraint<AnyRegularizer>, DecodeError> {
    forged_of(3, &[(at, field)])
}

/// The same of any of the [`constraints`], with several fields.
fn forged_of(
    index: usize,
    fields: &[(usize, &[u8])],
) -> Result<Constraint<AnyRegularizer>, DecodeError> {
    let mut bytes = [0; ENCODED_LEN];
    constraints()[index].encode(&mut bytes).unwrap();
    for &(at, field) in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
    }
    let checksum = crc32(&bytes[..ENCODED_LEN - 4]);
    bytes[ENCODED_LEN - 4..].copy_from_slice(&checksum.to_le_bytes());
    Constraint::decode(&bytes)
}

#[test]
fn forged_records_are_refused_by_what_is_wrong() {
    assert!(forged(6, &[0]).is_ok());
    assert_eq!(forged(4, &[2, 0]), Err(DecodeError::Version { given: 2, limit: 1 }));
    assert_eq!(forged(6, &[9]), Err(DecodeError::Kind { field: "regularizer", given: 9 }));
    assert_eq!(forged(14, &[1]), Err(DecodeError::Unused));
    assert!(matches!(forged(24, &(-1.0f64).to_le_bytes()), Err(DecodeError::Config(_))));
    assert!(matches!(forged(32, &0u64.to_le_bytes()), Err(DecodeError::Config(_))));
    assert_eq!(forged(72, &f64::NAN.to_le_bytes()), Err(DecodeError::State { field: "lambda" }));
    assert_eq!(forged(12, &[2]), Err(DecodeError::Kind { field: "bound state", given: 2 }));
    assert_eq!(forged(104, &(-1.0f64).to_le_bytes()), Err(DecodeError::State { field: "the sum" }));
    let mut bytes = [0; ENCODED_LEN];
    constraints()[0].encode(&mut bytes).unwrap();
    assert_eq!(Constraint::<Std>::decode(&bytes), Err(DecodeError::Regularizer));
}

#[test]
fn every_kind_and_every_number_of_the_state_is_looked_at() {
    let kinds = [
        (7, "bound rule"),
        (8, "adaptive rule"),
        (9, "order"),
        (10, "step rule"),
        (13, "form of the statistic"),
    ];
    for (at, field) in kinds {
        assert_eq!(forged(at, &[9]), Err(DecodeError::Kind { field, given: 9 }));
    }
    let one = 1.0f64.to_le_bytes();
    let nan = f64::NAN.to_le_bytes();
    let below = (-1.0f64).to_le_bytes();
    let refused = |index, fields: &[(usize, &[u8])], field| {
        assert_eq!(forged_of(index, fields), Err(DecodeError::State { field }));
    };
    // Of a warm start that waits, of an inflection that is looked for, of a bound that stands, and of a deviation.
    let (warm, watching, standing, deviation) = (3, 4, 0, 12);
    refused(warm, &[(72, &one)], "lambda before kappa is set");
    refused(warm, &[(96, &7u64.to_le_bytes())], "the statistic's count");
    refused(watching, &[(12, &[2]), (80, &nan)], "the last sample");
    refused(watching, &[(12, &[3]), (80, &one), (88, &nan)], "the last increase");
    refused(standing, &[(80, &below)], "kappa");
    refused(standing, &[(88, &5u64.to_le_bytes())], "the step at which kappa was set");
    refused(deviation, &[(112, &below)], "m2");
    let single = 1u64.to_le_bytes();
    refused(deviation, &[(56, &single), (96, &single)], "the number of elements");
    let sum_of_a_deviation = forged_of(deviation, &[(13, &[0]), (104, &one)]);
    let field = "form of the statistic";
    assert_eq!(sum_of_a_deviation, Err(DecodeError::Kind { field, given: 0 }));
}

#[test]
fn crc_of_the_check_string() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
