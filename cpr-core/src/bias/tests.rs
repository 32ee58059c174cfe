//! 1 − βᵗ against repeated squaring with 106 bits.

use std::vec::Vec;

use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::BiasCorrection;

/// A number of some 106 bits, as a sum of two floats.
#[derive(Clone, Copy)]
struct Wide(f64, f64);

impl Wide {
    fn sum(a: f64, b: f64) -> Self {
        let s = a + b;
        let b_part = s - a;
        Self(s, (a - (s - b_part)) + (b - b_part))
    }

    fn plus(self, other: Self) -> Self {
        let Self(s, e) = Self::sum(self.0, other.0);
        Self::sum(s, e + self.1 + other.1)
    }

    fn times(self, other: Self) -> Self {
        let p = self.0 * other.0;
        let e = self.0.mul_add(other.0, -p);
        Self::sum(p, e + (self.0 * other.1 + self.1 * other.0))
    }

    fn negative(self) -> Self {
        Self(-self.0, -self.1)
    }
}

/// 1 − βᵗ without a logarithm: of c = 1 − βⁿ follow 1 − β²ⁿ = c·(2 − c) and 1 − βⁿ⁺¹ = c + (1 − c)(1 − β), neither of which
/// cancels, so that some 90 bits are right after 64 squarings.
fn oracle(beta: f64, t: u64) -> Wide {
    let one_minus_beta = Wide::sum(1.0, -beta);
    let mut c = Wide(0.0, 0.0);
    for bit in (0..u64::BITS - t.leading_zeros()).rev() {
        c = c.times(Wide(2.0, 0.0).plus(c.negative()));
        if t >> bit & 1 == 1 {
            let rest = Wide(1.0, 0.0).plus(c.negative());
            c = c.plus(rest.times(one_minus_beta));
        }
    }
    c
}

/// The distance of `given` to the exact value, in ULP of `f64`.
fn ulp_error(given: f64, exact: Wide) -> f64 {
    let ulp = exact.0.next_up() - exact.0;
    (((given - exact.0) - exact.1) / ulp).abs()
}

fn step_counts() -> Vec<u64> {
    let mut counts: Vec<u64> = (1..=64).collect();
    for power in 6..=32 {
        let t = 1_u64 << power;
        counts.extend([t - 1, t, t + t / 3]);
    }
    counts.extend([100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 1_000_000_000]);
    counts
}

#[test]
fn within_the_stated_bound_for_the_betas_in_use_and_for_extreme_ones() {
    let betas = [
        0.0,
        5e-324,
        1e-310,
        f64::MIN_POSITIVE,
        1e-300,
        1e-17,
        f64::EPSILON,
        0.1,
        0.5,
        0.5_f64.next_down(),
        0.7,
        0.8,
        0.9,
        f64::from(0.9_f32),
        0.95,
        0.98,
        0.99,
        0.999,
        f64::from(0.999_f32),
        0.9999,
        0.999_99,
        0.999_999_99,
        1.0 - 1e-12,
        1.0 - f64::EPSILON,
        1.0 - f64::EPSILON / 2.0,
    ];
    let mut worst = 0.0_f64;
    for beta in betas {
        let correction = BiasCorrection::new(beta);
        assert_eq!(correction.at(0), 0.0);
        for t in step_counts() {
            let (given, exact) = (correction.at(t), oracle(beta, t));
            let error = ulp_error(given, exact);
            assert!(error <= 1.25, "β = {beta}, t = {t}: {given} is {error} ULP off");
            assert!((f64::from(given as f32) - exact.0).abs() <= single_ulp(exact.0) * 0.500_001);
            worst = worst.max(error);
        }
    }
    assert!(worst > 0.3, "the oracle agrees too well to be independent: {worst}");
}

/// The spacing of `f32` at `value`.
fn single_ulp(value: f64) -> f64 {
    let near = value as f32;
    f64::from(near.next_up() - near)
}

#[test]
fn beta_of_zero_needs_no_correction() {
    for t in [1, 2, u64::MAX] {
        assert_eq!(BiasCorrection::new(0.0).at(t), 1.0);
    }
}

#[test]
fn the_correction_fades_for_every_step_count() {
    assert_eq!(BiasCorrection::new(0.999).at(u64::MAX), 1.0);
    let slowest = BiasCorrection::new(1.0 - f64::EPSILON / 2.0);
    assert_eq!(slowest.at(1), f64::EPSILON / 2.0);
    assert_eq!(slowest.at(u64::MAX), 1.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn within_the_stated_bound_for_random_betas(beta in 0.0..1.0_f64, t in 1_u64..1 << 20) {
        let error = ulp_error(BiasCorrection::new(beta).at(t), oracle(beta, t));
        prop_assert!(error <= 1.25, "{} ULP", error);
    }

    #[test]
    fn within_the_stated_bound_for_betas_near_one(
        distance in 1e-16..1.0_f64,
        shrink in 0..40_i32,
        t in 1_u64..1 << 32,
        narrow in 0..32_u32,
    ) {
        let beta = 1.0 - (distance * (-f64::from(shrink)).exp2()).max(f64::EPSILON / 2.0);
        let t = (t >> narrow).max(1);
        let error = ulp_error(BiasCorrection::new(beta).at(t), oracle(beta, t));
        prop_assert!(error <= 1.25, "{} ULP", error);
    }

    #[test]
    fn one_step_leaves_what_beta_lacks_of_one(beta in 0.5..1.0_f64) {
        // 1 − β is exact there.
        let ulp = (1.0 - beta).next_up() - (1.0 - beta);
        prop_assert!((BiasCorrection::new(beta).at(1) - (1.0 - beta)).abs() <= ulp);
    }
}
