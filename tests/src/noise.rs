//! Seeded numbers that depend on nothing but their index.

/// The 64-bit mix of SplitMix64 (Steele, Lea, Flood 2014).
#[must_use]
pub const fn mix(index: u64) -> u64 {
    let mut z = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in [−1, 1) of this stream and index.
#[must_use]
pub fn uniform(stream: u64, index: u64) -> f64 {
    let bits = mix(mix(stream) ^ index) >> 11;
    bits as f64 / (1u64 << 52) as f64 - 1.0
}

/// `n` numbers in [−1, 1).
#[must_use]
pub fn vector(stream: u64, n: usize) -> Vec<f64> {
    (0..n as u64).map(|i| uniform(stream, i)).collect()
}

/// The indices below `n` in an order that the seed picks (Fisher, Yates).
#[must_use]
pub fn shuffled(seed: u64, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let other = mix(mix(seed) ^ i as u64) % (i as u64 + 1);
        order.swap(i, other as usize);
    }
    order
}
