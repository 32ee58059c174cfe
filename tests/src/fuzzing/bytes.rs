//! Choices and numbers read from arbitrary bytes.

use cpr_core::{
    Adaptive, BoundInit, Inflection, Order, Real, StepRule, base::Decay, base::WeightDecay,
};

use crate::cases::{ADAM, AMSGRAD, BaseSpec, Case, Measure, Optimizer, SGD};

/// A cursor; zeros once the bytes are used up.
#[derive(Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(super) fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn bits(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Any f64 at all: moderate, special, or raw bits.
    pub(super) fn any(&mut self) -> f64 {
        const SPECIAL: [f64; 12] = [
            0.0,
            -0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            -f64::MAX,
            1e-38,
            3e38,
            1e-45,
        ];
        match self.below(8) {
            0 => SPECIAL[usize::from(self.below(12))],
            1 => f64::from_bits(self.bits()),
            2 => f64::from(f32::from_bits(self.bits() as u32)),
            _ => self.moderate(),
        }
    }

    /// In [−4, 4), on a fine grid.
    pub(super) fn moderate(&mut self) -> f64 {
        f64::from(i16::from_le_bytes([self.byte(), self.byte()])) / 8192.0
    }

    /// In [0, 8), or, rarely, anything.
    pub(super) fn magnitude(&mut self) -> f64 {
        if self.below(6) == 0 { self.any() } else { self.moderate().abs() * 2.0 }
    }

    pub(super) fn floats<T: Real>(&mut self, n: usize) -> Vec<T> {
        (0..n).map(|_| T::from_f64(self.any())).collect()
    }

    pub(super) fn bound_rule(&mut self) -> BoundInit {
        match self.below(6) {
            0 => BoundInit::Uniform(self.magnitude()),
            1 => BoundInit::UniformPerElement(self.magnitude()),
            2 => BoundInit::Dependent(self.magnitude()),
            3 => BoundInit::WarmStart(self.below(6).into()),
            _ => BoundInit::Inflection(Inflection {
                interval: self.below(4).into(),
                smoothing: self.flag().then(|| self.moderate().abs() / 4.0),
                burn_in: self.below(6).into(),
            }),
        }
    }

    fn decay(&mut self) -> WeightDecay {
        match self.below(3) {
            0 => WeightDecay::None,
            1 => WeightDecay::Coupled(self.moderate().abs()),
            _ => WeightDecay::Decoupled(self.moderate().abs()),
        }
    }

    fn base(&mut self) -> BaseSpec {
        let spec = match self.below(8) {
            0 | 1 => SGD,
            2 => BaseSpec::plain(Optimizer::Momentum {
                momentum: 0.9,
                dampening: self.moderate().abs() / 4.0,
                nesterov: false,
            }),
            3 => BaseSpec::plain(Optimizer::Momentum {
                momentum: 0.7,
                dampening: 0.0,
                nesterov: true,
            }),
            4 => AMSGRAD,
            5 => BaseSpec { decay: Some(self.after()), ..ADAM },
            6 => BaseSpec { decay: Some(self.after()), ..AMSGRAD },
            _ => ADAM,
        };
        BaseSpec { weight_decay: self.decay(), maximize: self.flag(), ..spec }
    }

    fn after(&mut self) -> Decay {
        match self.below(4) {
            0 => Decay::L1 { lambda: self.moderate().abs(), weight_decay: 0.1 },
            1 => Decay::ThreeHalves { lambda: self.moderate().abs() },
            k => {
                let p = f64::from(self.below(40) + 1) / 10.0;
                Decay::PNorm { p, lambda: self.moderate().abs(), late: k == 3, flush: self.flag() }
            }
        }
    }

    /// A configuration that may still be refused by the crate.
    pub(super) fn case(&mut self) -> Case {
        let measure = match self.below(6) {
            0 => Measure::L2,
            1 => Measure::L1,
            2 => Measure::Std,
            3 => Measure::Huber(f64::from(self.byte() % 40 + 1) / 16.0),
            _ => match f64::from(self.below(40) + 1) / 10.0 {
                1.0 => Measure::L1,
                2.0 => Measure::L2,
                p => Measure::Lp(p),
            },
        };
        let bound = self.bound_rule();
        let adaptive = match self.below(3) {
            0 => Adaptive::Off,
            1 => Adaptive::OnRelease,
            _ => Adaptive::WhileInactive,
        };
        let flags = self.byte();
        let mu = self.magnitude();
        let lr = self.moderate().abs();
        let base = self.base();
        Case {
            adaptive,
            mu,
            lr,
            base,
            order: if flags & 1 == 1 { Order::BeforeBase } else { Order::AfterBase },
            step_rule: if flags & 2 == 2 { StepRule::Proximal } else { StepRule::Gradient },
            guard: flags & 4 == 0,
            scale_by_lr: flags & 8 == 8,
            n: usize::from(self.below(40)),
            steps: u64::from(self.below(8)) + 1,
            ..Case::new("fuzzed", measure, bound)
        }
    }
}
