//! 1 − βᵗ, seen through Adam's step: within 2 ULP up to t = 2³².

use cpr_core::{
    Real, Shard,
    base::{Adam, AdamConfig, Base},
    base_step,
};

/// A number as the unevaluated sum of two.
#[derive(Clone, Copy)]
struct Double(f64, f64);

impl Double {
    fn times(self, other: Self) -> Self {
        let high = self.0 * other.0;
        let low = self.0.mul_add(other.0, -high) + (self.0 * other.1 + self.1 * other.0);
        let sum = high + low;
        Self(sum, low - (sum - high))
    }
}

/// 1 − βᵗ by repeated squaring with 106 bits.
fn expected(beta: f64, t: u64) -> f64 {
    let (mut power, mut square) = (Double(1.0, 0.0), Double(beta, 0.0));
    let mut rest = t;
    while rest > 0 {
        if rest & 1 == 1 {
            power = power.times(square);
        }
        square = square.times(square);
        rest >>= 1;
    }
    (1.0 - power.0) - power.1
}

const BETAS: [f64; 9] = [0.0, 0.1, 0.5, 0.9, 0.98, 0.999, 0.9999, 0.999_999, 1.0 - 1e-12];

fn times() -> impl Iterator<Item = u64> {
    (0..=32).flat_map(|k| [1u64 << k, (1u64 << k) + 1, 3 << k >> 1]).filter(|&t| t <= 1 << 32)
}

/// θ after one step from 0 with g = m = v = 1, ε = 0 and lr = 1.
fn step<T: Real>(beta1: f64, beta2: f64, t: u64) -> f64 {
    let adam = Adam::new(AdamConfig { beta1, beta2, eps: 0.0, ..Default::default() }).unwrap();
    let (mut theta, grad, mut m, mut v) = ([T::ZERO], [T::ONE], [T::ONE], [T::ONE]);
    let shard = Shard::new(&mut theta, &grad, [&mut m, &mut v]).unwrap();
    base_step(&adam.at(t, 1.0), shard);
    -theta[0].to_f64()
}

fn check<T: Real>(unit: f64) {
    for beta in BETAS {
        for t in times() {
            let correction = expected(beta, t);
            // With β₂ = 0 the step is 1/(1 − β₁ᵗ): 2 ULP of the correction, and one division.
            let first = step::<T>(beta, 0.0, t) * correction - 1.0;
            assert!(first.abs() <= 2.6 * unit, "β₁ = {beta}, t = {t}: {:.2} ULP", first / unit);
            if beta >= 0.5 && T::from_f64(beta).to_f64() + T::from_f64(1.0 - beta).to_f64() == 1.0 {
                // With β₁ = 0 it is √(1 − β₂ᵗ), by two more divisions and a root.
                let second = step::<T>(0.0, beta, t) / correction.sqrt() - 1.0;
                assert!(second.abs() <= 3.0 * unit, "β₂ = {beta}, t = {t}: {:.2}", second / unit);
            }
        }
    }
}

#[test]
fn bias_corrections_are_right_in_f64() {
    check::<f64>(f64::EPSILON);
}

#[test]
fn bias_corrections_are_right_in_f32() {
    check::<f32>(f64::from(f32::EPSILON));
}
