use super::*;

#[test]
fn values_are_stable() {
    let mut random = Random::new(1, Stream::Init, 2);
    assert_eq!(random.bits(), 2_854_601_930_109_921_036);
    assert_eq!(random.uniform(), 0.18119135525576402);
    assert_eq!(random.normal_pair(), [-0.5234382681750843, -0.9077536434590711]);
    assert_eq!(random.below(NonZeroU64::new(1000).unwrap()), 200);
    let mut order = [0; 8];
    random.permutation(&mut order);
    assert_eq!(order, [5, 0, 7, 2, 4, 3, 1, 6]);
    let mut normals = [0.0_f32; 3];
    random.fill_normal(0.5, &mut normals);
    assert_eq!(normals, [0.39972198, -0.73390996, 0.05739316]);
}

#[test]
fn the_key_is_the_documented_one() {
    let mut key = [0; 32];
    key[0] = 5;
    key[8] = 2;
    key[16] = 9;
    let mut generator = ChaCha8Rng::from_seed(key);
    let mut random = Random::new(5, Stream::Batches, 9);
    for _ in 0..100 {
        assert_eq!(random.bits(), generator.next_u64());
    }
}

#[test]
fn seed_purpose_and_index_each_change_the_stream() {
    let first = |seed, stream, index| Random::new(seed, stream, index).bits();
    let all = [
        first(0, Stream::Split, 0),
        first(1, Stream::Split, 0),
        first(0, Stream::Init, 0),
        first(0, Stream::Batches, 0),
        first(0, Stream::Split, 1),
    ];
    for (place, value) in all.iter().enumerate() {
        assert!(!all[..place].contains(value));
    }
}

#[test]
fn uniform_and_normal_have_their_moments() {
    let mut random = Random::new(3, Stream::Init, 0);
    let n = 100_000;
    let uniforms: Vec<f64> = (0..n).map(|_| random.uniform()).collect();
    assert!(uniforms.iter().all(|u| (0.0..1.0).contains(u)));
    let mean = uniforms.iter().sum::<f64>() / f64::from(n);
    assert!((mean - 0.5).abs() < 0.004, "{mean}");

    let mut normals = vec![0.0; n as usize];
    random.fill_normal(2.0, &mut normals);
    let mean = normals.iter().sum::<f64>() / f64::from(n);
    let variance = normals.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
    assert!(mean.abs() < 0.03, "{mean}");
    assert!((variance - 4.0).abs() < 0.08, "{variance}");
    let product =
        normals.chunks_exact(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / f64::from(n / 2);
    assert!(product.abs() < 0.08, "the two of a pair are uncorrelated: {product}");
}

#[test]
fn bounded_integers_are_uniform() {
    let mut random = Random::new(4, Stream::Split, 0);
    let mut counts = [0_i32; 7];
    for _ in 0..70_000 {
        counts[random.below(NonZeroU64::new(7).unwrap()) as usize] += 1;
    }
    assert!(counts.iter().all(|&count| (count - 10_000).abs() < 450), "{counts:?}");
    // With a bound of 3·2⁶², a generator without rejection would favour multiples of 3.
    let bound = NonZeroU64::new(3 << 62).unwrap();
    let multiples = (0..30_000).filter(|_| random.below(bound).is_multiple_of(3)).count();
    assert!(multiples.abs_diff(10_000) < 350, "{multiples}");
    assert_eq!(random.below(NonZeroU64::MIN), 0);
}

#[test]
fn every_permutation_of_three_is_equally_likely() {
    let mut random = Random::new(5, Stream::Batches, 0);
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..60_000 {
        let mut order = [0; 3];
        random.permutation(&mut order);
        *counts.entry(order).or_insert(0_usize) += 1;
    }
    assert_eq!(counts.len(), 6);
    assert!(counts.values().all(|count| count.abs_diff(10_000) < 450), "{counts:?}");
    random.permutation(&mut []);
}
