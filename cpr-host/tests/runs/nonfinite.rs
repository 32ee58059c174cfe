//! Runs that leave the numbers.

use cpr_host::checkpoint::{Checkpoint, Policy};

use super::{Place, grokking};

/// The metadata of a checkpoint whose parameters are all finite.
fn finite(path: &std::path::Path) -> cpr_host::checkpoint::Meta {
    let Checkpoint { meta, mut tensors } = Checkpoint::read(path).unwrap();
    let shapes: Vec<_> = tensors
        .parameters()
        .map(|(name, tensor)| (name.to_owned(), tensor.signature.shape.clone()))
        .collect();
    assert!(shapes.len() > 5);
    for (name, shape) in shapes {
        let values = tensors.take_f32(&name, &shape).unwrap();
        assert!(values.iter().all(|x| x.is_finite()), "{name}");
    }
    assert!(tensors.finish(Policy::Partial).is_ok());
    meta
}

#[test]
fn a_run_that_leaves_the_numbers_stops_with_its_last_good_state() {
    for (flags, skips) in [
        ("--optimizer sgd --momentum 0 --lr 1e30", true),
        ("--optimizer sgd --momentum 0 --lr 1e30 --max-bad-steps 1", true),
        ("--optimizer sgd --momentum 0 --lr 1e300", false),
        ("--optimizer sgd --lr 1e300 --skip-finite-check", false),
        ("--optimizer sgd --lr 1e300 --batch 1000 --eval-every 1 --checkpoint-every 1", false),
        ("--optimizer adamw --lr 1e300", false),
        ("--optimizer padam --lr 1e300", false),
        ("--optimizer rescale --lr 1e300", false),
        ("--lr 1e300", false),
        ("--reg std --order before-base --lr 1e300", false),
        ("--optimizer sgdcpr --lr 1e300 --kappa-init warm-start=30", false),
    ] {
        let place = Place::new();
        let error = place.error(&grokking(flags));
        assert!(error.contains("error: step ") && error.contains('`'), "{flags}: {error}");
        assert!(error.contains("checkpoints/"), "{flags}: {error}");
        assert!(error.contains("lower") && error.contains("learning rate"), "{flags}: {error}");
        for file in std::fs::read_dir(place.run().join("checkpoints")).unwrap() {
            finite(&file.unwrap().path());
        }
        let meta = finite(&place.last());
        let bad = meta.non_finite;
        assert_eq!(bad.steps > 0, skips, "{flags}: {bad:?}");
        assert_eq!(bad.in_a_row, bad.steps, "{flags}: {bad:?}");
        let inspected = place.cpr("inspect runs/grokking/run");
        assert_eq!(inspected.contains(" steps skipped"), skips, "{flags}: {inspected}");
        place.cpr("eval runs/grokking/run");

        // What stopped it is still there: it goes on, and stops again without harm.
        let again = place.output("resume runs/grokking/run");
        assert_eq!(again.status.code(), Some(1), "{flags}");
        let after = format!("goes on after step {}\n", meta.step);
        assert!(super::text(again.stdout).ends_with(&after), "{flags}");
        assert!(finite(&place.last()).step >= meta.step, "{flags}");
    }
}
