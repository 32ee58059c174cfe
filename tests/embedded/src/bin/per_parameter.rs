//! Instructions of a step: a fixed part, and those of each parameter; from steps on 128 and on 384 parameters.
#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use cpr_core::base::{Adam, AdamConfig, Base, Sgd, SgdConfig};
use cpr_core::{
    AnyRegularizer, BoundInit, Constraint, ConstraintConfig, ConstraintRule, ENCODED_LEN, Huber,
    L1, L2, Lp, Regularizer, Shard, Std, base_step, constrained_step, measure,
};
use cpr_embedded::board::{run, say};
use cpr_embedded::cost::{print, ticks};

const FEW: usize = 128;
const MANY: usize = 384;
const STEPS: u32 = 5;
/// One takes 1 ns in the emulation, and a tick 40 ns.
const TICK: u32 = 40;
const LR: f64 = 1e-3;

struct Buffers {
    theta: [f32; MANY],
    grad: [f32; MANY],
    m: [f32; MANY],
    v: [f32; MANY],
}

#[entry]
fn main() -> ! {
    static mut BUFFERS: Buffers =
        Buffers { theta: [0.0; MANY], grad: [0.0; MANY], m: [0.0; MANY], v: [0.0; MANY] };
    run(|| all(BUFFERS).is_some())
}

fn all(buffers: &mut Buffers) -> Option<()> {
    let adam = Adam::new(AdamConfig::default()).ok()?;
    let sgd = Sgd::new(SgdConfig::default()).ok()?;
    free::<_, 2>(b"adam", buffers, adam)?;
    bound(b"adam,l2", buffers, adam, L2)?;
    bound(b"adam,l1", buffers, adam, L1)?;
    bound(b"adam,std", buffers, adam, Std)?;
    bound(b"adam,huber", buffers, adam, Huber::new(0.5).ok()?)?;
    bound(b"adam,lp", buffers, adam, Lp::new(1.3).ok()?)?;
    free::<_, 0>(b"sgd", buffers, sgd)?;
    bound(b"sgd,l2", buffers, sgd, L2)?;
    // What the sum of squares alone takes, in f64 and in two f32.
    let sum = |buffers: &mut Buffers, n| {
        black_box(measure(&L2, buffers.theta.get(..n)?));
        Some(())
    };
    slope(b"squares,f64", buffers, |_, _| Some(()), |(), buffers, n, _| sum(buffers, n))?;
    let pair = |buffers: &mut Buffers, n| {
        black_box(squares_in_pairs(black_box(buffers.theta.get(..n)?)));
        Some(())
    };
    slope(b"squares,2*f32", buffers, |_, _| Some(()), |(), buffers, n, _| pair(buffers, n))?;
    // What cpr-capi adds to a step: a constraint is read from its record, checked, and written again.
    let start = |buffers: &Buffers, n| {
        let config = ConstraintConfig::new(L2, BoundInit::Dependent(0.5));
        let constraint = ConstraintRule::new(config).ok()?.start_from(buffers.theta.get(..n)?);
        let mut record = [0; ENCODED_LEN];
        constraint.ok()?.encode(&mut record).ok()?;
        Some(record)
    };
    slope(b"record", buffers, start, |record, _, _, _| {
        let constraint = Constraint::<AnyRegularizer>::decode(black_box(&*record)).ok()?;
        constraint.encode(record).ok()?;
        Some(())
    })
}

fn free<B: Base<f32, M>, const M: usize>(
    name: &[u8],
    buffers: &mut Buffers,
    base: B,
) -> Option<()> {
    slope(
        name,
        buffers,
        |_, _| Some(()),
        |(), buffers, n, t| {
            base_step(&base.at(t, LR), buffers.shard(n)?);
            Some(())
        },
    )
}

/// Under a bound that is violated, so that the correction runs in every step.
fn bound<R: Regularizer, B: Base<f32, M>, const M: usize>(
    name: &[u8],
    buffers: &mut Buffers,
    base: B,
    regularizer: R,
) -> Option<()> {
    let start = |buffers: &Buffers, n| {
        let config = ConstraintConfig {
            mu: 0.01,
            ..ConstraintConfig::new(regularizer, BoundInit::Dependent(0.5))
        };
        let rule = ConstraintRule::new(config).ok()?;
        rule.start_from(buffers.theta.get(..n)?).ok()
    };
    slope(name, buffers, start, |constraint, buffers, n, t| {
        constrained_step(constraint, &base.at(t, LR), LR, buffers.shard(n)?);
        constraint.report().is_active().then_some(())
    })
}

/// Runs the steps on few and on many parameters and says what they took.
fn slope<S>(
    name: &[u8],
    buffers: &mut Buffers,
    start: impl Fn(&Buffers, usize) -> Option<S>,
    step: impl Fn(&mut S, &mut Buffers, usize, u64) -> Option<()>,
) -> Option<()> {
    let mut took = [0; 2];
    for (took, n) in took.iter_mut().zip([FEW, MANY]) {
        buffers.start();
        let mut state = start(buffers, n)?;
        let began = ticks();
        for t in 1..=STEPS {
            step(&mut state, buffers, n, t.into())?;
        }
        *took = (ticks() - began) * TICK / STEPS;
    }
    let [few, many] = took;
    // Rounded to the nearest.
    let each = (many.saturating_sub(few) + 128) / 256;
    say(b"case ");
    say(name);
    say(b"\n");
    print(b"each ", each as usize);
    print(b"step ", few.saturating_sub(each * 128) as usize);
    Some(())
}

impl Buffers {
    fn start(&mut self) {
        let mut seed = 1u32;
        for x in self.theta.iter_mut().chain(&mut self.grad) {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [_, _, low, high] = seed.to_le_bytes();
            *x = f32::from(i16::from_le_bytes([low, high])) * (1.0 / 32_768.0);
        }
        self.m = [0.0; MANY];
        self.v = [0.0; MANY];
    }

    fn shard<const M: usize>(&mut self, n: usize) -> Option<Shard<'_, f32, M>> {
        let Self { theta, grad, m, v } = self;
        let mut rows = [m.get_mut(..n)?, v.get_mut(..n)?].into_iter();
        let moments = [(); M].map(|()| rows.next().unwrap_or_default());
        Shard::new(theta.get_mut(..n)?, grad.get(..n)?, moments).ok()
    }
}

/// Σx² as the sum of two f32, each product split exactly (Dekker) and each addition with its error (Knuth): what sums in f64
/// would be replaced by.
fn squares_in_pairs(values: &[f32]) -> (f32, f32) {
    let (mut high, mut low) = (0.0f32, 0.0f32);
    for &x in values {
        let product = x * x;
        let shifted = 4097.0 * x;
        let head = shifted - (shifted - x);
        let tail = x - head;
        let error = ((head * head - product) + 2.0 * head * tail) + tail * tail;
        let sum = high + product;
        let part = sum - high;
        low += ((high - (sum - part)) + (product - part)) + error;
        high = sum;
    }
    (high, low)
}
