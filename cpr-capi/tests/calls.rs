//! The functions as C calls them: the core's bits, and every bad argument refused with nothing changed.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every pointer is one of a live value, or one that the call must refuse unread"
)]

use std::{ffi::CStr, ptr};

use cpr_capi::abi::*;
use cpr_capi::{
    CPR_CONSTRAINT_LEN, CprAdam, CprBound, CprConfig, CprConstraint, CprOrder, CprRegularizer,
    CprReport, CprStatus,
};
use cpr_core::base::{Adam, AdamConfig, Base, Sgd, SgdConfig};
use cpr_core::{
    AnyRegularizer, BoundInit, Constraint, ConstraintConfig, ConstraintRule, L1, Order, Real,
    Shard, constrained_step,
};

/// Longer than a chunk, where that takes no minutes.
const N: usize = if cfg!(miri) { 37 } else { 5000 };
const STEPS: u64 = if cfg!(miri) { 4 } else { 60 };

fn config(regularizer: CprRegularizer, parameter: f64) -> CprConfig {
    let mut config = ConfigBuffer::default();
    assert_eq!(
        unsafe { cpr_config_default(regularizer as u32, parameter, &mut config.0) },
        CprStatus::Ok
    );
    config.0
}

struct ConfigBuffer(CprConfig);

impl Default for ConfigBuffer {
    fn default() -> Self {
        Self(CprConfig {
            regularizer: 99,
            bound: 99,
            adaptive: 99,
            order: 99,
            step_rule: 99,
            guard: 99,
            scale_by_lr: 99,
            smoothed: 99,
            parameter: f64::NAN,
            mu: f64::NAN,
            kappa: f64::NAN,
            steps: 0,
            burn_in: 0,
            smoothing: f64::NAN,
        })
    }
}

fn adam() -> CprAdam {
    let mut adam =
        CprAdam { beta1: 0.0, beta2: 0.0, eps: 0.0, weight_decay: 0.0, decay: 9, maximize: 9 };
    assert_eq!(unsafe { cpr_adam_default(&mut adam) }, CprStatus::Ok);
    adam
}

fn blank() -> CprConstraint {
    CprConstraint { record: [0; CPR_CONSTRAINT_LEN] }
}

/// The buffers of a matrix.
#[derive(Clone, Debug, PartialEq)]
struct Matrix<T> {
    theta: Vec<T>,
    grad: Vec<T>,
    m: Vec<T>,
    v: Vec<T>,
}

impl<T: Real> Matrix<T> {
    fn new(n: usize) -> Self {
        let mut seed = 7u32;
        let theta = (0..n).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            T::from_f64(f64::from(seed >> 8) / f64::from(1u32 << 23) - 1.0)
        });
        let zeros = vec![T::ZERO; n];
        Self { theta: theta.collect(), grad: zeros.clone(), m: zeros.clone(), v: zeros }
    }

    /// Towards 1.5 times what it is, so that the bound acts.
    fn differentiate(&mut self) {
        for (grad, &theta) in self.grad.iter_mut().zip(&self.theta) {
            *grad = theta * T::from_f64(-0.5);
        }
    }

    fn shard(&mut self) -> CprShard<T> {
        CprShard {
            theta: self.theta.as_mut_ptr(),
            grad: self.grad.as_ptr(),
            m: self.m.as_mut_ptr(),
            v: self.v.as_mut_ptr(),
            len: self.theta.len(),
        }
    }
}

fn started(config: &CprConfig, matrix: &Matrix<f32>) -> CprConstraint {
    let mut constraint = blank();
    let (theta, n) = (matrix.theta.as_ptr(), matrix.theta.len());
    assert_eq!(
        unsafe { cpr_constraint_start_f32(config, theta, n, &mut constraint) },
        CprStatus::Ok
    );
    constraint
}

#[test]
fn adam_steps_have_the_bits_of_the_core() {
    for (kind, parameter, any) in [
        (CprRegularizer::L2, 0.0, cpr_core::L2.into()),
        (CprRegularizer::L1, 0.0, L1.into()),
        (CprRegularizer::Std, 0.0, cpr_core::Std.into()),
        (CprRegularizer::Huber, 0.5, AnyRegularizer::huber(0.5).unwrap()),
        (CprRegularizer::Lp, 1.3, AnyRegularizer::lp(1.3).unwrap()),
        (CprRegularizer::Lp, 0.8, AnyRegularizer::lp(0.8).unwrap()),
    ] {
        let mut config = config(kind, parameter);
        config.kappa = 0.9;
        let rule = ConstraintConfig::new(any, BoundInit::Dependent(0.9));
        let rule = ConstraintRule::new(rule).unwrap();

        let mut matrix = Matrix::<f32>::new(N);
        let mut expected = matrix.clone();
        let mut constraint = started(&config, &matrix);
        let mut core = rule.start_from(&expected.theta).unwrap();
        let base = Adam::new(AdamConfig::default()).unwrap();
        for t in 1..=STEPS {
            matrix.differentiate();
            let shard = matrix.shard();
            let status = unsafe { cpr_adam_step_f32(&mut constraint, &adam(), t, 0.01, &shard) };
            assert_eq!(status, CprStatus::Ok);

            expected.differentiate();
            let Matrix { theta, grad, m, v } = &mut expected;
            let shard = Shard::new(theta, grad, [m, v]).unwrap();
            constrained_step(&mut core, &base.at(t, 0.01), 0.01, shard);
        }
        assert_eq!(matrix, expected);
        assert_eq!(Constraint::decode(&constraint.record), Ok(core));
        assert!(core.report().active_steps > 0, "{any:?}: {:?}", core.report());
    }
}

#[test]
fn double_precision_too_and_free_steps_are_adam_alone() {
    let mut config = config(CprRegularizer::Std, 0.0);
    config.bound = CprBound::WarmStart as u32;
    config.steps = STEPS / 2;
    config.order = CprOrder::BeforeBase as u32;
    let mut matrix = Matrix::<f64>::new(N);
    let (mut free, mut expected) = (matrix.clone(), matrix.clone());
    let mut constraint = blank();
    let status =
        unsafe { cpr_constraint_start_f64(&config, matrix.theta.as_ptr(), N, &mut constraint) };
    assert_eq!(status, CprStatus::Ok);
    let rule = ConstraintConfig {
        order: Order::BeforeBase,
        ..ConstraintConfig::new(cpr_core::Std, BoundInit::WarmStart(STEPS / 2))
    };
    let mut core = ConstraintRule::new(rule).unwrap().start_from(&expected.theta).unwrap();
    let base = Adam::new(AdamConfig::default()).unwrap();
    for t in 1..=STEPS {
        matrix.differentiate();
        let shard = matrix.shard();
        let status = unsafe { cpr_adam_step_f64(&mut constraint, &adam(), t, 0.01, &shard) };
        assert_eq!(status, CprStatus::Ok);
        free.differentiate();
        let shard = free.shard();
        assert_eq!(unsafe { cpr_adam_free_step_f64(&adam(), t, 0.01, &shard) }, CprStatus::Ok);

        expected.differentiate();
        let Matrix { theta, grad, m, v } = &mut expected;
        let shard = Shard::new(theta, grad, [m, v]).unwrap();
        constrained_step(&mut core, &base.at(t, 0.01), 0.01, shard);
        if t == STEPS / 2 {
            assert_eq!(free, matrix, "no bound yet");
        }
    }
    assert_eq!(matrix, expected);
    assert_ne!(free, matrix);
}

#[test]
fn a_base_step_of_ones_own_is_held_to_the_bound() {
    let mut config = config(CprRegularizer::L1, 0.0);
    config.kappa = 0.9;
    let mut matrix = Matrix::<f32>::new(N);
    let mut expected = matrix.theta.clone();
    let mut constraint = started(&config, &matrix);
    let rule = ConstraintConfig::new(L1, BoundInit::Dependent(0.9));
    let mut core = ConstraintRule::new(rule).unwrap().start_from(&expected).unwrap();
    let (sgd, lr) = (Sgd::new(SgdConfig::default()).unwrap(), 0.125);
    for t in 1..=STEPS {
        matrix.differentiate();
        for (theta, grad) in matrix.theta.iter_mut().zip(&matrix.grad) {
            *theta -= 0.125 * grad;
        }
        let theta = matrix.theta.as_mut_ptr();
        assert_eq!(unsafe { cpr_constrain_f32(&mut constraint, lr, theta, N) }, CprStatus::Ok);
        let grad: Vec<f32> = expected.iter().map(|x| x * -0.5).collect();
        let shard = Shard::new(&mut expected, &grad, []).unwrap();
        constrained_step(&mut core, &sgd.at(t, lr), lr, shard);
    }
    assert_eq!(matrix.theta, expected);
    let mut report = report_of(&constraint);
    assert_eq!(report.lambda, core.report().lambda);
    assert_eq!((report.is_active, report.kappa_is_set, report.step), (1, 1, STEPS));
    assert_eq!(report.elements, N as u64);

    // Changed from outside: measured anew.
    matrix.theta.fill(0.5);
    let theta = matrix.theta.as_ptr();
    assert_eq!(unsafe { cpr_constraint_reobserve_f32(&mut constraint, theta, N) }, CprStatus::Ok);
    report = report_of(&constraint);
    assert_eq!(report.value, 0.5 * N as f64);
}

fn report_of(constraint: &CprConstraint) -> CprReport {
    let mut report = CprReport {
        step: 9,
        elements: 9,
        value: 9.0,
        kappa: 9.0,
        kappa_set_at: 9,
        lambda: 9.0,
        active_steps: 9,
        guarded: 9,
        non_finite: 9,
        kappa_is_set: 9,
        is_active: 9,
    };
    assert_eq!(unsafe { cpr_constraint_report(constraint, &mut report) }, CprStatus::Ok);
    report
}

#[test]
fn bad_pointers_and_lengths_are_refused_and_change_nothing() {
    let config = config(CprRegularizer::L2, 0.0);
    let mut matrix = Matrix::<f32>::new(8);
    matrix.differentiate();
    let kept = matrix.clone();
    let mut constraint = started(&config, &matrix);
    let kept_constraint = constraint;
    let good = matrix.shard();
    let adam = adam();
    let inside = |pointer: *mut f32, bytes: usize| pointer.wrapping_byte_add(bytes);
    let null = ptr::null_mut::<f32>();

    use CprStatus::{Length, Misaligned, NullPointer, Overlap};
    for (expected, shard) in [
        (NullPointer, CprShard { theta: null, ..good }),
        (NullPointer, CprShard { grad: null, ..good }),
        (NullPointer, CprShard { m: null, ..good }),
        (NullPointer, CprShard { v: null, ..good }),
        (Misaligned, CprShard { theta: inside(good.theta, 1), ..good }),
        (Misaligned, CprShard { grad: inside(good.theta, 2), ..good }),
        (Overlap, CprShard { grad: good.theta, ..good }),
        (Overlap, CprShard { m: good.theta, ..good }),
        (Overlap, CprShard { v: good.m, ..good }),
        (Overlap, CprShard { v: inside(good.m, 28), ..good }),
        (Overlap, CprShard { v: inside(good.m, 4).wrapping_sub(8), ..good }),
        (
            Overlap,
            CprShard { m: ptr::from_mut(&mut constraint).cast::<f32>().wrapping_add(1), ..good },
        ),
        (Length, CprShard { len: 7, ..good }),
        (Length, CprShard { len: 0, ..good }),
        (Length, CprShard { len: usize::MAX, ..good }),
        (Length, CprShard { len: usize::MAX / 4, ..good }),
    ] {
        let status = unsafe { cpr_adam_step_f32(&mut constraint, &adam, 1, 0.01, &shard) };
        // A constraint is made of bytes: a float in it may be misaligned before it overlaps.
        let misaligned = expected == Overlap && status == Misaligned;
        assert!(status == expected || misaligned, "{status:?}, not {expected:?}: {shard:?}");
        // The free step knows of no constraint, and takes any length.
        if shard.len > 8
            || (shard.len == 8 && shard.m.addr().abs_diff(ptr::from_ref(&constraint).addr()) > 8)
        {
            let status = unsafe { cpr_adam_free_step_f32(&adam, 1, 0.01, &shard) };
            assert_eq!(status, expected, "{shard:?}");
        }
    }
    assert_eq!((&matrix, constraint), (&kept, kept_constraint));

    // Every pointer of every function.
    let step =
        |constraint, adam, shard| unsafe { cpr_adam_step_f32(constraint, adam, 1, 0.1, shard) };
    let (theta, n) = (good.theta, good.len);
    let mut out = 0;
    for (index, status) in [
        step(ptr::null_mut(), &adam, &good),
        step(&mut constraint, ptr::null(), &good),
        step(&mut constraint, &adam, ptr::null()),
        unsafe { cpr_adam_free_step_f32(ptr::null(), 1, 0.1, &good) },
        unsafe { cpr_adam_free_step_f32(&adam, 1, 0.1, ptr::null()) },
        unsafe { cpr_config_default(0, 0.0, ptr::null_mut()) },
        unsafe { cpr_adam_default(ptr::null_mut()) },
        unsafe { cpr_status_text(0, ptr::null_mut()) },
        unsafe { cpr_constraint_report(&constraint, ptr::null_mut()) },
        unsafe { cpr_constraint_start_f32(ptr::null(), theta, n, &mut constraint) },
        unsafe { cpr_constraint_start_f32(&config, null, n, &mut constraint) },
        unsafe { cpr_constraint_start_f32(&config, theta, n, ptr::null_mut()) },
        unsafe { cpr_constrain_f32(ptr::null_mut(), 0.1, theta, n) },
        unsafe { cpr_constrain_f32(&mut constraint, 0.1, null, n) },
        unsafe { cpr_constraint_reobserve_f32(ptr::null_mut(), theta, n) },
        unsafe { cpr_constraint_reobserve_f32(&mut constraint, null, n) },
        unsafe { cpr_all_finite_f32(null, n, &mut out) },
        unsafe { cpr_all_finite_f32(theta, n, ptr::null_mut()) },
        unsafe { cpr_constraint_report(ptr::null(), &mut report_of(&constraint)) },
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(status, NullPointer, "call {index}");
    }
    assert_eq!(unsafe { cpr_constrain_f32(&mut constraint, 0.1, theta, 7) }, Length);
    assert_eq!(constraint, kept_constraint);
    assert_eq!(matrix, kept);
}

#[test]
fn bad_numbers_and_states_are_refused_and_change_nothing() {
    let config = config(CprRegularizer::L2, 0.0);
    let mut matrix = Matrix::<f32>::new(8);
    matrix.differentiate();
    let mut constraint = started(&config, &matrix);
    let good = adam();
    let (kept, kept_constraint) = (matrix.clone(), constraint);
    let shard = matrix.shard();
    let mut step =
        |adam: &CprAdam, t, lr| unsafe { cpr_adam_step_f32(&mut constraint, adam, t, lr, &shard) };
    for (expected, status) in [
        (CprStatus::StepNumber, step(&good, 0, 0.1)),
        (CprStatus::LearningRate, step(&good, 1, -0.1)),
        (CprStatus::LearningRate, step(&good, 1, f64::NAN)),
        (CprStatus::LearningRate, step(&good, 1, f64::INFINITY)),
        (CprStatus::Beta, step(&CprAdam { beta1: 1.0, ..good }, 1, 0.1)),
        (CprStatus::Beta, step(&CprAdam { beta2: f64::NAN, ..good }, 1, 0.1)),
        (CprStatus::Eps, step(&CprAdam { eps: -1.0, ..good }, 1, 0.1)),
        (CprStatus::WeightDecay, step(&CprAdam { weight_decay: -1.0, decay: 2, ..good }, 1, 0.1)),
        (CprStatus::Choice, step(&CprAdam { decay: 3, ..good }, 1, 0.1)),
        (CprStatus::Flag, step(&CprAdam { maximize: 2, ..good }, 1, 0.1)),
    ] {
        assert_eq!(status, expected);
    }
    assert_eq!((&matrix, constraint), (&kept, kept_constraint));

    for infinite in [f32::NAN, f32::INFINITY] {
        matrix.grad[5] = infinite;
        let shard = matrix.shard();
        let status = unsafe { cpr_adam_step_f32(&mut constraint, &good, 1, 0.1, &shard) };
        assert_eq!(status, CprStatus::Skipped);
        let status = unsafe { cpr_adam_free_step_f32(&good, 1, 0.1, &shard) };
        assert_eq!(status, CprStatus::Skipped);
        let mut finite = 7;
        let grad = matrix.grad.as_ptr();
        assert_eq!(unsafe { cpr_all_finite_f32(grad, 8, &mut finite) }, CprStatus::Ok);
        assert_eq!(finite, 0);
    }
    assert_eq!((&matrix.theta, &matrix.m, constraint), (&kept.theta, &kept.m, kept_constraint));

    // A byte of the constraint changed, or none ever written.
    let shard = matrix.shard();
    let mut altered = kept_constraint;
    altered.record[60] ^= 1;
    for mut bad in [altered, blank(), CprConstraint { record: [0xff; CPR_CONSTRAINT_LEN] }] {
        let status = unsafe { cpr_adam_step_f32(&mut bad, &good, 1, 0.1, &shard) };
        assert_eq!(status, CprStatus::NoConstraint);
    }
}

#[test]
fn bad_configurations_are_refused_by_name() {
    let theta = [1.0f32, -2.0, 0.5];
    let start = |config: &CprConfig, theta: &[f32]| {
        let mut constraint = blank();
        let (theta, n) = (theta.as_ptr(), theta.len());
        let status = unsafe { cpr_constraint_start_f32(config, theta, n, &mut constraint) };
        assert!(status == CprStatus::Ok || constraint == blank(), "{status:?} changed something");
        status
    };
    let l2 = config(CprRegularizer::L2, 0.0);
    let std = config(CprRegularizer::Std, 0.0);
    let inflection = CprConfig { bound: CprBound::Inflection as u32, smoothed: 1, ..l2 };
    let lp = CprConfig { regularizer: CprRegularizer::Lp as u32, parameter: 0.5, ..l2 };
    assert_eq!(start(&l2, &theta), CprStatus::Ok);
    assert_eq!(start(&inflection, &theta), CprStatus::Ok);
    for (expected, config) in [
        (CprStatus::Choice, CprConfig { regularizer: 5, ..l2 }),
        (CprStatus::Choice, CprConfig { bound: 5, ..l2 }),
        (CprStatus::Choice, CprConfig { adaptive: 3, ..l2 }),
        (CprStatus::Choice, CprConfig { order: 2, ..l2 }),
        (CprStatus::Choice, CprConfig { step_rule: 2, ..l2 }),
        (CprStatus::Flag, CprConfig { guard: 2, ..l2 }),
        (CprStatus::Flag, CprConfig { scale_by_lr: u32::MAX, ..l2 }),
        (CprStatus::Flag, CprConfig { smoothed: 2, ..inflection }),
        (CprStatus::Parameter, CprConfig { regularizer: 3, parameter: 0.0, ..l2 }),
        (CprStatus::Parameter, CprConfig { parameter: f64::NAN, ..lp }),
        (CprStatus::Mu, CprConfig { mu: -1.0, ..l2 }),
        (CprStatus::Kappa, CprConfig { kappa: 0.0, ..l2 }),
        (CprStatus::Kappa, CprConfig { bound: 0, kappa: f64::NAN, ..l2 }),
        (CprStatus::Steps, CprConfig { bound: 3, steps: 0, ..l2 }),
        (CprStatus::Steps, CprConfig { steps: 0, ..inflection }),
        (CprStatus::Smoothing, CprConfig { smoothing: 1.0, ..inflection }),
        (CprStatus::PerElementOfNoSum, CprConfig { bound: 1, ..std }),
        (CprStatus::PowerNeedsBeforeBase, lp),
        (CprStatus::DependentOutOfRange, CprConfig { kappa: f64::MAX, ..l2 }),
    ] {
        assert_eq!(start(&config, &theta), expected, "{config:?}");
    }
    assert_eq!(start(&std, &theta[..1]), CprStatus::TooFewElements);
    assert_eq!(start(&l2, &[0.0, 0.0]), CprStatus::DependentOnZero);
    assert_eq!(start(&l2, &[f32::NAN, 0.0]), CprStatus::NonFinite);

    // An order that holds R at the old parameters cannot follow a step it does not see.
    let mut theta = theta;
    let before = CprConfig { order: CprOrder::BeforeBase as u32, ..l2 };
    let mut constraint = blank();
    let status = unsafe { cpr_constraint_start_f32(&before, theta.as_ptr(), 3, &mut constraint) };
    assert_eq!(status, CprStatus::Ok);
    let status = unsafe { cpr_constrain_f32(&mut constraint, 0.1, theta.as_mut_ptr(), 3) };
    assert_eq!(status, CprStatus::OwnStepNeedsAfterBase);
}

#[test]
fn every_status_has_its_text() {
    let mut seen = Vec::new();
    for code in -200..200 {
        let mut text = ptr::null();
        match unsafe { cpr_status_text(code, &mut text) } {
            CprStatus::Ok => {
                let text = unsafe { CStr::from_ptr(text) }.to_str().unwrap();
                assert!(!text.contains("  "), "{text}");
                seen.push(text);
            }
            status => assert_eq!((status, text.is_null()), (CprStatus::Choice, true)),
        }
    }
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), all), (28, 28));
}
