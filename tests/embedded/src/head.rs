//! A classifier head that learns on the device: which of four activities a window of an accelerometer shows.
//!
//! Twelve features of 8 bits, twelve hidden units, four classes: AdamCPR with an l2 bound on each of the two
//! matrices, biases free. The same code on the host and on the target.

use cpr_core::base::{Adam, AdamConfig};
use cpr_core::{
    BoundInit, ConstraintConfig, ConstraintRule, ConstraintSet, L2, Outcome, Report, Shard,
};

/// Features of a window.
pub const FEATURES: usize = 12;
/// Activities.
pub const CLASSES: usize = 4;
const HIDDEN: usize = 12;
const BATCH: usize = 16;
const EPOCHS: usize = 30;
const LR: f64 = 0.02;
/// Both matrices are free for this many steps; then R is their bound.
const FREE_STEPS: u64 = 90;

/// What a window holds, and which activity it shows.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The activity, 0 to 3.
    pub label: u8,
    /// In units that fit.
    pub features: [i8; FEATURES],
}

/// All memory that learning takes: four groups, each with its gradient and moments.
#[derive(Debug)]
pub struct Head {
    first: Group<{ FEATURES * HIDDEN }>,
    bias: Group<HIDDEN>,
    second: Group<{ HIDDEN * CLASSES }>,
    offset: Group<CLASSES>,
}

#[derive(Debug)]
struct Group<const N: usize> {
    theta: [f32; N],
    grad: [f32; N],
    m: [f32; N],
    v: [f32; N],
}

/// How it ended; equality is equality of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// Bits of the mean cross-entropy over the last epoch.
    pub loss: u32,
    /// Windows told right, of those not learnt from.
    pub right: u32,
    /// Of the two matrices.
    pub matrices: [Bounded; 2],
    /// A digest of all parameters.
    pub theta: u64,
}

/// Bits of a constraint's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// R.
    pub value: u64,
    /// κ.
    pub kappa: u64,
    /// λ.
    pub lambda: u64,
}

impl<const N: usize> Group<N> {
    const ZERO: Self = Self { theta: [0.0; N], grad: [0.0; N], m: [0.0; N], v: [0.0; N] };

    fn shard(&mut self) -> Option<Shard<'_, f32, 2>> {
        Shard::new(&mut self.theta, &self.grad, [&mut self.m, &mut self.v]).ok()
    }
}

impl Head {
    /// Zeros, so that they lie in `.bss`.
    pub const ZERO: Self =
        Self { first: Group::ZERO, bias: Group::ZERO, second: Group::ZERO, offset: Group::ZERO };

    /// Learns from `training`, batch by batch, and looks at `fresh`; `None` never comes.
    pub fn learn(&mut self, training: &[Window], fresh: &[Window]) -> Option<Learnt> {
        *self = Self::ZERO;
        let mut seed = 11u32;
        for weight in self.first.theta.iter_mut().chain(&mut self.second.theta) {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [_, _, low, high] = seed.to_le_bytes();
            *weight = f32::from(i16::from_le_bytes([low, high])) * (0.5 / 32_768.0);
        }
        let rule = ConstraintConfig::new(L2, BoundInit::WarmStart(FREE_STEPS));
        let rule = ConstraintRule::new(rule).ok()?;
        let mut set = ConstraintSet::<L2, 4>::new();
        set.add(&rule, &self.first.theta).ok()?;
        set.add_free(HIDDEN).ok()?;
        set.add(&rule, &self.second.theta).ok()?;
        set.add_free(CLASSES).ok()?;
        let adam = Adam::new(AdamConfig::default()).ok()?;

        let mut loss = 0.0;
        for _ in 0..EPOCHS {
            loss = 0.0;
            let (batches, _rest) = training.as_chunks::<BATCH>();
            for batch in batches {
                self.forget_gradients();
                loss += batch.iter().map(|window| self.differentiate(window)).sum::<f32>();
                let mut shards = [
                    self.first.shard()?,
                    self.bias.shard()?,
                    self.second.shard()?,
                    self.offset.shard()?,
                ];
                if set.step(&adam, LR, &mut shards).ok()? != Outcome::Stepped {
                    return None;
                }
            }
            loss *= 1.0 / 96.0;
        }
        let right = fresh.iter().filter(|window| self.tells_right(window)).count();
        let bounded = |index| Some(Bounded::of(&set.constraint(index)?.report()));
        let all = [&self.first.theta[..], &self.bias.theta, &self.second.theta, &self.offset.theta];
        Some(Learnt {
            loss: loss.to_bits(),
            right: u32::try_from(right).ok()?,
            matrices: [bounded(0)?, bounded(2)?],
            theta: all.into_iter().flatten().fold(0xcbf2_9ce4_8422_2325, |hash, x| {
                (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3)
            }),
        })
    }

    fn forget_gradients(&mut self) {
        self.first.grad = [0.0; FEATURES * HIDDEN];
        self.bias.grad = [0.0; HIDDEN];
        self.second.grad = [0.0; HIDDEN * CLASSES];
        self.offset.grad = [0.0; CLASSES];
    }

    /// Hidden units and class scores.
    fn forward(&self, window: &Window) -> ([f32; FEATURES], [f32; HIDDEN], [f32; CLASSES]) {
        let x = window.features.map(|feature| f32::from(feature) * (1.0 / 32.0));
        let mut hidden = self.bias.theta;
        for (unit, weights) in hidden.iter_mut().zip(self.first.theta.as_chunks::<FEATURES>().0) {
            for (weight, x) in weights.iter().zip(&x) {
                *unit += weight * x;
            }
            if *unit < 0.0 {
                *unit = 0.0;
            }
        }
        let mut scores = self.offset.theta;
        for (score, weights) in scores.iter_mut().zip(self.second.theta.as_chunks::<HIDDEN>().0) {
            for (weight, unit) in weights.iter().zip(&hidden) {
                *score += weight * unit;
            }
        }
        (x, hidden, scores)
    }

    /// Adds the gradient of one window's share of the batch's loss; returns its cross-entropy.
    fn differentiate(&mut self, window: &Window) -> f32 {
        let (x, hidden, scores) = self.forward(window);
        let top = scores.iter().fold(f32::MIN, |top, &score| if score > top { score } else { top });
        let mut shares = scores.map(|score| libm::expf(score - top));
        let total: f32 = shares.iter().sum();
        let mut loss = 0.0;
        for ((class, share), score) in (0u8..).zip(&mut shares).zip(scores) {
            let truth = class == window.label;
            if truth {
                loss = libm::logf(total) - (score - top);
            }
            *share = (*share / total - if truth { 1.0 } else { 0.0 }) * (1.0 / 16.0);
        }
        let mut back = [0.0; HIDDEN];
        let rows = self.second.theta.as_chunks::<HIDDEN>().0.iter();
        let row_grads = self.second.grad.as_chunks_mut::<HIDDEN>().0.iter_mut();
        let offsets = self.offset.grad.iter_mut();
        for (((row, grads), offset), share) in rows.zip(row_grads).zip(offsets).zip(shares) {
            *offset += share;
            for (((weight, grad), unit), back) in row.iter().zip(grads).zip(&hidden).zip(&mut back)
            {
                *grad += share * unit;
                *back += share * weight;
            }
        }
        let row_grads = self.first.grad.as_chunks_mut::<FEATURES>().0.iter_mut();
        for (((grads, bias), unit), back) in
            row_grads.zip(&mut self.bias.grad).zip(&hidden).zip(back)
        {
            // The derivative of the rectifier.
            if *unit > 0.0 {
                *bias += back;
                for (grad, x) in grads.iter_mut().zip(&x) {
                    *grad += back * x;
                }
            }
        }
        loss
    }

    fn tells_right(&self, window: &Window) -> bool {
        let (.., scores) = self.forward(window);
        let best = (0u8..).zip(scores).fold(
            (0, f32::MIN),
            |best, now| {
                if now.1 > best.1 { now } else { best }
            },
        );
        best.0 == window.label
    }
}

impl Bounded {
    fn of(report: &Report) -> Self {
        Self {
            value: report.value.to_bits(),
            kappa: report.kappa.map_or(0, f64::to_bits),
            lambda: report.lambda.to_bits(),
        }
    }
}

impl Learnt {
    /// Says loss, R, κ and λ line by line: six decimals, and the bits. Formats no float.
    pub fn tell(&self, mut say: impl FnMut(&[u8])) {
        let loss = f32::from_bits(self.loss);
        tell(b"loss        ", f64::from(loss), &mut say);
        for (names, Bounded { value, kappa, lambda }) in [
            [b"first  R     ", b"first  kappa ", b"first  lambda"],
            [b"second R     ", b"second kappa ", b"second lambda"],
        ]
        .into_iter()
        .zip(self.matrices)
        {
            for (name, bits) in names.into_iter().zip([value, kappa, lambda]) {
                tell(name, f64::from_bits(bits), &mut say);
            }
        }
        tell(b"right of 32 ", f64::from(self.right), &mut say);
    }
}

/// A name, a number of at least 0 and below 10000 with six decimals, and its bits in hexadecimal.
fn tell(name: &[u8], number: f64, say: &mut impl FnMut(&[u8])) {
    let mut text = *b"     .       ................\n";
    let mut millionths = (number * 1e6 + 0.5) as u64;
    for place in (6..12).rev().chain((1..5).rev()) {
        if let Some(digit) = text.get_mut(place)
            && (millionths > 0 || place >= 4)
        {
            *digit = b'0' + (millionths % 10) as u8;
            millionths /= 10;
        }
    }
    for (digit, nibble) in text.iter_mut().skip(13).zip((0..16).rev()) {
        let value = (number.to_bits() >> (4 * nibble)) as u8 & 15;
        *digit = if value < 10 { b'0' + value } else { b'a' - 10 + value };
    }
    say(name);
    say(&text);
}
