//! xᵃ against `libm` (for `f32`, in `f64`) and against values recorded with 400 bits (for `f64`).

use std::vec::Vec;

use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::{ElementPower, ForEachPower, Power, TILE, TILES, Tiles, raise_tiles};
use crate::{LANES, Real};

const EXPONENTS: [f64; 19] = [
    1e-3, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.2, 1.5, 1.7, 1.8, 1.999, 2.0, 3.0, 3.7, 6.0, 8.0, 16.0,
    64.0,
];

/// The stated bounds, in ULP of the result.
fn single_bound(exponent: f64) -> f64 {
    match Power::new(exponent) {
        Power::Identity => 0.0,
        Power::SquareRoot | Power::Square => 0.500_001,
        Power::ThreeHalves => 1.5,
        Power::General(_) => 1.5 + exponent,
    }
}

/// The same for `f64`.
fn double_bound(exponent: f64) -> f64 {
    1.5 + exponent
}

/// The distance of `given` to `exact` in the spacing of `f32` at `exact`, where 2¹²⁸ stands for ∞.
fn single_error(given: f32, exact: f64) -> f64 {
    let overflow = 128_f64.exp2();
    let exact = exact.min(overflow);
    let exponent = (exact.to_bits() >> 52) as i32 - 1023;
    let spacing = f64::from(exponent.clamp(-126, 127) - 23).exp2();
    (f64::from(given).min(overflow) - exact).abs() / spacing
}

/// The same for `f64`; none where both are beyond the range.
fn double_error(given: f64, expected: f64) -> f64 {
    let (given, expected) = (given.min(f64::MAX), expected.min(f64::MAX));
    let below = f64::from_bits(expected.to_bits() & (0x7ff << 52));
    let spacing = (below * f64::EPSILON).max(f64::from_bits(1));
    (given - expected).abs() / spacing
}

#[test]
fn single_precision_keeps_its_bound_over_all_magnitudes() {
    // An odd stride, so that every pattern of low bits occurs.
    const STRIDE: usize = (1 << 10) + 1;
    for exponent in EXPONENTS {
        let power = Power::new(exponent);
        for bits in (1..f32::INFINITY.to_bits()).step_by(STRIDE) {
            let x = f32::from_bits(bits);
            let given = power.of(x);
            let error = single_error(given, libm::pow(f64::from(x), exponent));
            assert!(
                error <= single_bound(exponent),
                "{x:e} to the power of {exponent}: {given:e}, {error} ULP"
            );
        }
    }
}

/// What `recorded.txt` holds in a row: exponent, magnitude, the `f64` nearest to the power (their bits in hexadecimal), and
/// how far the power lies above it, in its spacing. `recorded.py` wrote it.
struct Recorded {
    exponent: f64,
    magnitude: f64,
    nearest: f64,
    above: f64,
}

fn recorded() -> Vec<Recorded> {
    let float = |hex| f64::from_bits(u64::from_str_radix(hex, 16).unwrap());
    include_str!("recorded.txt")
        .lines()
        .map(|line| {
            let columns: Vec<&str> = line.split(' ').collect();
            Recorded {
                exponent: float(columns[0]),
                magnitude: float(columns[1]),
                nearest: float(columns[2]),
                above: columns[3].parse().unwrap(),
            }
        })
        .collect()
}

#[test]
fn double_precision_keeps_its_bound_at_recorded_powers() {
    let rows = recorded();
    assert!(rows.len() > 250);
    for Recorded { exponent, magnitude, nearest, above } in rows {
        let given = Power::new(exponent).of(magnitude);
        assert!(given.is_finite());
        // Neighbouring positive floats have neighbouring bits.
        let error = ((given.to_bits() as i64 - nearest.to_bits() as i64) as f64 - above).abs();
        assert!(
            error <= double_bound(exponent),
            "{magnitude:e} to the power of {exponent}: {given:e} for {nearest:e}, {error} ULP"
        );
    }
}

/// Over the values of all magnitudes, and every one of them that is not called ordinary has a reason.
#[test]
fn what_is_left_out_for_ordinary_values_changes_no_bit() {
    fn check<T: Real>(values: impl Iterator<Item = T> + Clone, largest: f64) {
        for exponent in EXPONENTS {
            let Power::General(general) = Power::new(exponent) else { continue };
            assert!(T::are_ordinary(&[T::ONE; LANES], &general));
            for x in values.clone() {
                for x in [x, -x] {
                    let mut block = [T::ONE; LANES];
                    block[7] = x;
                    let ordinary = T::are_ordinary(&block, &general);
                    let log2 = libm::log2(x.to_f64().abs());
                    // Both bounds are whole powers of two.
                    let most = (largest / exponent - 0.5).round_ties_even().min(largest + 2.0);
                    let wanted = x == T::ZERO || x.is_normal() && log2.abs() <= most;
                    if cfg!(feature = "std") && wanted {
                        assert!(ordinary, "{x:?} to the power of {exponent}");
                    }
                    if ordinary {
                        let magnitude = x.abs();
                        let parts = T::exponent::<true>(magnitude.logarithm::<true>(), general);
                        let given = magnitude.scaled::<true>(T::mantissa(parts));
                        assert_eq!(
                            given,
                            general.of(magnitude),
                            "{x:?} to the power of {exponent}"
                        );
                        assert!(given == T::ZERO || given.is_normal());
                    }
                }
            }
        }
    }
    const STRIDE: usize = (1 << 13) + 1;
    let bits = (0..=u32::MAX >> 1).step_by(STRIDE);
    let edges = [0.0, f32::from_bits(1), f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NAN];
    check(bits.clone().map(f32::from_bits).chain(edges), 124.0);
    let bits = bits.map(|bits| f64::from_bits(u64::from(bits) << 32 | u64::from(!bits)));
    let edges = [0.0, f64::from_bits(1), f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NAN];
    check(bits.chain(edges), 1020.0);
}

#[test]
fn zero_infinity_and_nan_stay_what_they_are() {
    fn check<T: Real>(power: Power) {
        assert_eq!(power.of(T::ZERO), T::ZERO);
        assert!(power.of(T::ZERO).is_sign_positive());
        assert_eq!(power.of(T::infinity()), T::infinity());
        assert!(power.of(T::nan()).is_nan());
        assert!(power.of(-T::nan()).is_nan());
        assert_eq!(power.of(T::ONE), T::ONE);
    }
    for exponent in EXPONENTS {
        check::<f32>(Power::new(exponent));
        check::<f64>(Power::new(exponent));
    }
}

#[test]
fn results_beyond_the_range_are_infinite_subnormal_or_zero() {
    for exponent in [1.2, 3.7, 64.0] {
        let power = Power::new(exponent);
        assert_eq!(power.of(f32::MAX), f32::INFINITY);
        assert_eq!(power.of(f64::MAX), f64::INFINITY);
        assert_eq!(power.of(f32::from_bits(1)), 0.0);
        assert_eq!(power.of(f64::from_bits(1)), 0.0);
    }
    // 2⁻¹⁰⁰ to the power of 1.4 is 2⁻¹⁴⁰, 2⁻¹⁰⁰⁰ to the power of 1.05 is 2⁻¹⁰⁵⁰.
    assert_eq!(Power::new(1.4).of((-100_f32).exp2()), (-140_f32).exp2());
    assert_eq!(Power::new(1.05).of((-1000_f64).exp2()), (-1050_f64).exp2());
}

#[test]
fn the_rules_of_their_own_agree_with_the_general_one() {
    for (exponent, near) in
        [(0.5, 0.5_f64.next_up()), (1.5, 1.5_f64.next_up()), (2.0, 2.0_f64.next_up())]
    {
        let (own, general) = (Power::new(exponent), Power::new(near));
        assert!(matches!(general, Power::General(_)));
        for step in 1..2000 {
            let x = f64::from(step) * 1.7e-3;
            assert!((own.of(x) / general.of(x) - 1.0).abs() < 1e-14);
        }
    }
}

#[test]
fn a_loop_that_chooses_once_gives_the_same_bits_as_single_values() {
    struct Raise<'a>(&'a mut [f32]);
    impl ForEachPower for Raise<'_> {
        type Output = ();
        fn run<P: ElementPower>(self, power: P) {
            for x in self.0 {
                *x = power.of(*x);
            }
        }
    }
    for exponent in EXPONENTS {
        let power = Power::new(exponent);
        let magnitudes: Vec<f32> = (0..1000_u16).map(|i| f32::from(i) * 0.37).collect();
        let mut raised = magnitudes.clone();
        power.choose(Raise(&mut raised));
        for (x, given) in magnitudes.into_iter().zip(raised) {
            assert_eq!(given.to_bits(), power.of(x).to_bits());
        }
    }
}

#[test]
fn tiles_give_the_same_bits_as_single_values() {
    struct InPlace<'a, T>(&'a mut [[T; TILE]]);
    impl<T: Real> Tiles<T> for InPlace<'_, T> {
        fn count(&self) -> usize {
            self.0.len()
        }
        fn values(&self, place: usize) -> Option<&[T; TILE]> {
            self.0.get(place)
        }
        fn take(&mut self, place: usize, powers: &[T; TILE]) {
            self.0[place] = *powers;
        }
    }
    /// In place, and as they come out of the loop over tiles.
    struct Both<'a, T>(&'a mut [[T; TILE]], &'a mut [[T; TILE]]);
    impl<T: Real> ForEachPower for Both<'_, T> {
        type Output = ();
        fn run<P: ElementPower>(self, power: P) {
            power.replace(self.0);
            match power.staged() {
                Some(general) => raise_tiles(&mut InPlace(self.1), general),
                None => power.replace(self.1),
            }
        }
    }
    /// Every value has one, and NaN too.
    fn bits<T: Real>(x: T) -> u64 {
        if x.is_nan() { u64::MAX } else { x.to_f64().to_bits() }
    }
    fn check<T: Real>(exponent: f64) {
        let edges = [
            T::ZERO,
            -T::ZERO,
            T::infinity(),
            T::nan(),
            T::max_value(),
            T::min_positive_value() / T::from_f64(3.0),
        ];
        let power = Power::new(exponent);
        for tiles in 0..=TILES {
            let mut values = [[T::ZERO; TILE]; TILES];
            let places = values.as_flattened_mut().iter_mut();
            for (i, x) in places.enumerate() {
                let ordinary = T::from_f64((i as f64 - 100.5) * 1.7e-3);
                *x = edges.get(i % 11).copied().unwrap_or(ordinary);
            }
            let start = values;
            let mut others = values;
            power.choose(Both(&mut values[..tiles], &mut others[..tiles]));
            let raised = values.as_flattened().iter().zip(others.as_flattened());
            for (x, (replaced, taken)) in start.as_flattened().iter().zip(raised).take(tiles * TILE)
            {
                let alone = power.of(x.abs());
                assert_eq!(bits(*replaced), bits(alone));
                assert_eq!(bits(*taken), bits(alone));
            }
        }
    }
    for exponent in EXPONENTS {
        check::<f32>(exponent);
        check::<f64>(exponent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn double_precision_is_within_its_bound_of_libm(
        bits in 1..f64::INFINITY.to_bits(),
        exponent in 1e-3..8.0_f64,
    ) {
        // libm's own error is below 1 ULP.
        let x = f64::from_bits(bits);
        let (given, expected) = (Power::new(exponent).of(x), libm::pow(x, exponent));
        let error = double_error(given, expected);
        prop_assert!(
            error <= double_bound(exponent) + 1.0,
            "{:e} to the power of {}: {:e}, {:e}, {} ULP", x, exponent, given, expected, error
        );
    }

    #[test]
    fn any_bits_and_any_exponent_give_a_number_and_no_panic(bits: u64, exponent in 1e-300..1e3_f64) {
        let (double, single) = (f64::from_bits(bits).abs(), f32::from_bits(bits as u32).abs());
        let power = Power::new(exponent);
        prop_assert_eq!(power.of(double).is_nan(), double.is_nan());
        prop_assert_eq!(power.of(single).is_nan(), single.is_nan());
        prop_assert!(double.is_nan() || power.of(double) >= 0.0);
        prop_assert!(single.is_nan() || power.of(single) >= 0.0);
    }

    #[test]
    fn greater_magnitudes_have_greater_powers(bits in 1..0x7f00_0000_u32, exponent in 0.1..8.0_f64) {
        // 64 neighbours apart, so that the powers differ by more than their errors.
        let power = Power::new(exponent);
        let (x, above) = (f32::from_bits(bits), f32::from_bits(bits + 64));
        prop_assert!(power.of(x) <= power.of(above));
    }
}
