//! Sums and products of two floats without their rounding errors (Dekker 1971, Knuth 1969).
//!
//! None of them needs a fused multiply-add, which not every target has: the same bits everywhere.

/// `(s, e)` with `s` the rounded sum and s + e = a + b exactly, unless it overflows.
#[inline]
pub(crate) const fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}

/// `(p, e)` with `p` the rounded product and p + e = a·b exactly, for |a|, |b| below 2⁹⁹⁵ and a·b
/// either 0 or above 2⁻⁹⁶⁸ in magnitude.
#[inline]
pub(crate) const fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let (a_high, a_low) = halves(a);
    let (b_high, b_low) = halves(b);
    let error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    (product, error)
}

/// Two numbers of at most 26 bits each whose sum is `a` (Veltkamp).
#[inline]
const fn halves(a: f64) -> (f64, f64) {
    const SPLIT: f64 = 134_217_729.0; // 2²⁷ + 1
    let scaled = SPLIT * a;
    let high = scaled - (scaled - a);
    (high, a - high)
}

#[cfg(test)]
mod tests {
    use super::{two_product, two_sum};
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_error_of_a_product_is_what_a_fused_multiply_add_leaves(
            a in -1e100..1e100_f64,
            b in -1e-90..1e90_f64,
        ) {
            let (product, error) = two_product(a, b);
            prop_assert_eq!(product, a * b);
            prop_assert_eq!(error, a.mul_add(b, -product));
        }

        #[test]
        fn the_error_of_a_sum_of_whole_numbers_is_exact(a in 0..i64::MAX, b in 0..1_i64 << 53) {
            // Both are whole numbers of at most 53 bits, so that 128-bit integers hold their sum exactly.
            let (a, b) = (a >> 10 << 10, b);
            let (sum, error) = two_sum(a as f64, b as f64);
            prop_assert_eq!(sum as i128 + error as i128, i128::from(a) + i128::from(b));
        }
    }

    #[test]
    fn a_small_addend_survives_as_the_error() {
        assert_eq!(two_sum(1.0, 1e-300), (1.0, 1e-300));
        assert_eq!(two_sum(1e-300, -1.0), (-1.0, 1e-300));
    }
}
