//! Records of constraints, as they come from a file or another rank.

use cpr_core::{
    AnyRegularizer, Constraint, DecodeError, ENCODED_LEN, Huber, L1, L2, Lp, Regularizer, Shard,
    Std,
    base::{Base, Sgd, SgdConfig},
    constrained_step,
};

use super::bytes::Bytes;

/// Most elements of a matrix that is stepped.
const MOST: u64 = 64;
/// Steps after decoding.
const STEPS: u64 = 3;

/// Any bytes through the decoder, as they are, and with label, version and checksum made right, without which
/// hardly any would come further than these.
///
/// Laws: an error, or a constraint that encodes to the same bytes; λ stays finite and at least 0, κ does not rise,
/// through steps on any floats; what is left encodes and decodes again, to the bit.
pub fn wire(data: &[u8]) {
    check(data, &[]);
    let (head, rest) = data.split_at(data.len().min(ENCODED_LEN - 4));
    let mut record = [0; ENCODED_LEN];
    record[..head.len()].copy_from_slice(head);
    record[..6].copy_from_slice(b"CPRC\x01\x00");
    let checksum = crc32fast::hash(&record[..ENCODED_LEN - 4]);
    record[ENCODED_LEN - 4..].copy_from_slice(&checksum.to_le_bytes());
    check(&record, rest);
}

fn check(record: &[u8], floats: &[u8]) {
    let decoded = Constraint::<AnyRegularizer>::decode(record);
    let constraint = match decoded {
        Ok(constraint) => constraint,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!is::<L2>(record) && !is::<Std>(record), "read by one type, refused by all");
            return;
        }
    };
    assert_eq!(encoded(&constraint), record, "another encoding");
    let regularizer = constraint.rule().config().regularizer;
    let claims = [
        (is::<L2>(record), matches!(regularizer, AnyRegularizer::L2(_))),
        (is::<L1>(record), matches!(regularizer, AnyRegularizer::L1(_))),
        (is::<Std>(record), matches!(regularizer, AnyRegularizer::Std(_))),
        (is::<Huber>(record), matches!(regularizer, AnyRegularizer::Huber(_))),
        (is::<Lp>(record), matches!(regularizer, AnyRegularizer::Lp(_))),
    ];
    assert!(claims.iter().all(|(own, any)| own == any), "{regularizer:?}: {claims:?}");
    step(constraint, floats);
}

/// Whether a type of one regularizer reads the record.
fn is<R: Regularizer>(record: &[u8]) -> bool {
    match Constraint::<R>::decode(record) {
        Ok(constraint) => {
            assert_eq!(encoded(&constraint), record);
            true
        }
        Err(DecodeError::Regularizer) => false,
        Err(error) => {
            let any = Constraint::<AnyRegularizer>::decode(record);
            // As texts: an option given as NaN is not equal to itself.
            assert_eq!(format!("{:?}", any.err()), format!("{:?}", Some(error)));
            false
        }
    }
}

/// A matrix of as many elements, up to [`MOST`]: a larger one is stepped with a measure that is not of the whole.
fn step(mut constraint: Constraint<AnyRegularizer>, floats: &[u8]) {
    let mut bytes = Bytes(floats);
    let n = usize::try_from(constraint.elements().min(MOST)).unwrap_or(0);
    let mut theta: Vec<f32> = bytes.floats(n);
    let sgd = Sgd::new(SgdConfig::default()).expect("the default");
    for t in 1..=STEPS {
        let grad: Vec<f32> = bytes.floats(n);
        let lr = bytes.moderate().abs();
        let before = constraint.report();
        let shard = Shard::new(&mut theta, &grad, []).expect("equal lengths");
        constrained_step(&mut constraint, &sgd.at(t, lr), lr, shard);
        let after = constraint.report();
        assert!(after.lambda >= 0.0 && after.lambda.is_finite(), "λ = {}", after.lambda);
        assert!(after.step == before.step.saturating_add(1), "t = {}", after.step);
        if let Some(was) = before.kappa {
            let is = after.kappa.expect("κ stays set");
            assert!((0.0..=was).contains(&is), "κ from {was} to {is}");
        }
    }
    let record = encoded(&constraint);
    let again = Constraint::<AnyRegularizer>::decode(&record);
    assert_eq!(again.map(|constraint| encoded(&constraint)), Ok(record), "after steps");
}

fn encoded<R: Regularizer>(constraint: &Constraint<R>) -> [u8; ENCODED_LEN] {
    let mut record = [0; ENCODED_LEN];
    constraint.encode(&mut record).expect("room for a record");
    record
}
