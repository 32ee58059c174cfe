//! How far a result may be from the oracle, and why. Everything that is not listed must agree to the bit.

/// An allowed error, |a − b| <= `limit`·max(1, |b|), and the reason for its size.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Largest |a − b|/max(1, |b|).
    pub limit: f64,
    /// Where it comes from.
    pub reason: &'static str,
}

impl Tolerance {
    /// |a − b|/max(1, |b|); equal infinities and two NaN are no distance apart.
    #[must_use]
    pub fn distance(given: f64, expected: f64) -> f64 {
        if given == expected || (given.is_nan() && expected.is_nan()) {
            0.0
        } else {
            let distance = (given - expected).abs() / expected.abs().max(1.0);
            if distance.is_nan() { f64::INFINITY } else { distance }
        }
    }

    /// Whether `given` is near enough to `expected`.
    #[must_use]
    pub fn holds(&self, given: f64, expected: f64) -> bool {
        Self::distance(given, expected) <= self.limit
    }
}

/// θ of a trajectory of 50 steps in f64 against the oracle.
pub const TRAJECTORY_F64: Tolerance = Tolerance {
    limit: 1e-11,
    reason: "each step rounds a few times at 1.1e-16 where the oracle rounds elsewhere; the loop of θ and λ keeps \
             errors of the table's cases from growing beyond 1e4 times that",
};

/// θ of a trajectory of 50 steps in f32 against the f64 oracle on the same rounded inputs.
pub const TRAJECTORY_F32: Tolerance = Tolerance {
    limit: 2e-5,
    reason: "50 steps at 6e-8 a rounding, some three roundings a step, times the gain of Adam's division by √v",
};

/// λ and κ over the same steps in f32: sums over n elements are in f64, but of θ that are rounded to f32.
pub const SCALARS_F32: Tolerance = Tolerance {
    limit: 6e-5,
    reason: "λ adds up the errors of mean R(θ) over the steps, each at most three times that of θ",
};

/// Sums and standard deviations of a matrix that is cut at places other than chunk multiples, relative to R.
pub const CUT_ANYWHERE: Tolerance = Tolerance {
    limit: 1e-13,
    reason: "a lane adds 256 terms of one sign: at worst 256 roundings at 1.1e-16, which other cuts place elsewhere",
};

/// The same where the first element of a chunk, from which deviations are taken, may lie far from all others.
pub const CUT_AT_OUTLIERS: Tolerance = Tolerance {
    limit: 2e-10,
    reason: "an origin that is an outlier makes Σd² up to 4096 times the squared deviations from the mean: 4096 times \
             the error of a plain sum; still 1/300 of an ULP of f32",
};

/// Convergence to the points of rest.
pub const REST: Tolerance = Tolerance {
    limit: 1e-6,
    reason: "stated by the design for x, λ, R = κ and the residual of the stationarity condition, in f64",
};

/// One step of any configuration in f64 from an arbitrary state, relative to the largest magnitude in play.
pub const SINGLE_STEP: Tolerance = Tolerance {
    limit: 1e-12,
    reason: "some ten roundings at 1.1e-16, and a factor 1e3 for the sums of λ and cancelling corrections",
};
