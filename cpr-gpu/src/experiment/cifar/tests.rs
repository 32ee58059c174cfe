use std::fs;

use cpr_host::{config::OptimizerChoice, experiment::Weights as _};

use super::*;

/// Eleven images of 6 × 6 in two classes, of them eight for training, as IDX files.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, sizes: &[u32], bytes: Vec<u8>| {
        let magic = 0x800 + u32::try_from(sizes.len()).unwrap();
        let numbers = [magic].into_iter().chain(sizes.iter().copied());
        let header = numbers.flat_map(u32::to_be_bytes);
        fs::write(place.path().join(name), header.chain(bytes).collect::<Vec<_>>()).unwrap();
    };
    for (name, count) in [("train", 8_u8), ("t10k", 3)] {
        // Levels of the two classes, with noise.
        let pixels = (0..36 * u32::from(count))
            .map(|at| (120 * (at / 36 % 2) + at * 7919 % 101).to_le_bytes()[0]);
        write(&format!("{name}-images-idx3-ubyte"), &[count.into(), 6, 6], pixels.collect());
        let labels = (0..count).map(|index| index % 2).collect();
        write(&format!("{name}-labels-idx1-ubyte"), &[count.into()], labels);
    }
    place
}

fn config(place: &tempfile::TempDir) -> OnDevice<CifarConfig> {
    let mut config = OnDevice::<CifarConfig>::default();
    config.keys = CifarConfig {
        data: place.path().to_owned(),
        crop_padding: 2,
        batch: 4,
        depth: 10,
        width_factor: 0.0625,
        ..config.keys
    };
    config.keys.optim.warmup = 0;
    config.keys.optim.constraint.kappa_init = "warm-start=3".parse().unwrap();
    config.keys.run.threads = 1;
    config.keys.resolved().map(|keys| OnDevice { keys, ..config }).unwrap()
}

#[test]
fn a_skipped_step_leaves_the_running_statistics_as_they_were() {
    let place = place();
    let mut config = config(&place);
    config.keys.optim.optimizer = OptimizerChoice::Sgd;
    let config = OnDevice { keys: config.keys.resolved().unwrap(), ..config };
    let mut cifar = Cifar::new(config).unwrap();
    let running = |cifar: &Cifar| -> Vec<Vec<f32>> {
        cifar.weights.frozen().unwrap().iter().map(|x| x.to_vec1().unwrap()).collect()
    };
    let start = running(&cifar);
    assert_eq!(cifar.step(1, 1e30).unwrap(), Step::Taken);
    let moved = running(&cifar);
    assert_ne!(moved, start);
    assert!(matches!(cifar.step(2, 1e30).unwrap(), Step::BadLoss { .. }));
    assert_eq!(running(&cifar), moved);
    assert_eq!(cifar.weights.first_non_finite().unwrap(), None);
}

#[test]
fn a_small_network_learns_its_images() {
    let place = place();
    let mut cifar = Cifar::new(config(&place)).unwrap();
    let [before, _] = cifar.judged().unwrap();
    for step in 1..=60 {
        assert_eq!(cifar.step(step, 3e-3).unwrap(), Step::Taken);
    }
    let [after, test] = cifar.judged().unwrap();
    // As many training images as there are test images.
    assert_eq!((after.outcome.count, test.outcome.count), (3, 3));
    let (before, after) = (before.outcome.loss, after.outcome.loss);
    assert!(after < 0.7 * before, "{before} to {after}");
    assert_eq!(test.confusion.counts.iter().sum::<u64>(), 3);
    let (shape, logits) = cifar.logits().unwrap().unwrap();
    assert_eq!((shape, logits.len()), (vec![3, 2], 6));
}

#[test]
fn what_images_a_configuration_names() {
    let place = place();
    let config = config(&place).keys;
    let workers = cpr_host::parallel::Workers::inline();
    let data =
        data_of(&CifarConfig { train_images: 5, test_images: 2, ..config.clone() }, &workers);
    let data = data.unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.classes), (5, 2, 2));
    assert_eq!((data.train.height, data.train.width), (6, 6));
    let small = data_of(&CifarConfig { image_size: 3, ..config.clone() }, &workers).unwrap();
    assert_eq!((small.train.len(), small.train.height, small.test.width), (8, 3, 3));
    let nowhere = CifarConfig { data: place.path().join("none"), ..config };
    let message = data_of(&nowhere, &workers).unwrap_err().to_string();
    assert!(message.contains("none holds no data set"), "{message}");
}
