//! A versioned, validated encoding of a constraint, for checkpoints and for sending one to another rank.
//!
//! [`ENCODED_LEN`] bytes, little-endian, in this order: label `CPRC`, version u16; one byte each for regularizer,
//! bound rule, adaptive rule, order, step rule, flags, bound state, form of the statistic; two zero bytes; then
//! 8 bytes each: regularizer's parameter, μ, three numbers of the bound rule, n, t, λ, two numbers of the bound
//! state, count and two numbers of the statistic, steps active, guarded, not finite; last a CRC-32 (IEEE) of all
//! before. Floats are their bits: what is read back is what was written, to the bit. Fields that a variant does
//! not use are zero.

use core::fmt;

use crate::{
    bound::{Adaptive, Bound, BoundInit, Inflection, Trace},
    constraint::{Constraint, ConstraintConfig, ConstraintRule, Order, State, StepRule, Tally},
    error::ConfigError,
    multiplier::Multiplier,
    regularizer::{AnyRegularizer, Huber, L1, L2, Lp, Regularizer, Std},
    statistic::Statistic,
};

/// Length of an encoded [`Constraint`], in bytes.
pub const ENCODED_LEN: usize = 148;

const LABEL: [u8; 4] = *b"CPRC";
const VERSION: u16 = 1;
const GUARD: u8 = 1;
const SCALE_BY_LR: u8 = 2;
const FLUSH: u8 = 4;
const HAS_RISEN: u8 = 8;
const SMOOTHING: u8 = 16;

/// The buffer for an encoding is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    /// Its length, in bytes.
    pub given: usize,
    /// The length needed: [`ENCODED_LEN`].
    pub limit: usize,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a constraint takes {} bytes, the buffer has {}", self.limit, self.given)
    }
}

impl core::error::Error for EncodeError {}

/// Bytes that are no constraint, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not [`ENCODED_LEN`] bytes.
    Length {
        /// Bytes given.
        given: usize,
        /// Bytes needed.
        limit: usize,
    },
    /// They do not begin with the label.
    Label,
    /// A version that this library does not know.
    Version {
        /// The version of the bytes.
        given: u16,
        /// The version of this library.
        limit: u16,
    },
    /// The checksum differs: the bytes were altered.
    Checksum,
    /// An unknown kind, or one that does not go with the others.
    Kind {
        /// The field.
        field: &'static str,
        /// Its value.
        given: u8,
    },
    /// A hyperparameter out of range.
    Config(ConfigError),
    /// A number of the state out of range.
    State {
        /// The field.
        field: &'static str,
    },
    /// The regularizer is another one than the type asks for.
    Regularizer,
    /// A field that must be zero is not.
    Unused,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { given, limit } => {
                write!(f, "a constraint record has {limit} bytes, this one {given}")
            }
            Self::Label => f.write_str("this is no constraint record: it does not begin with CPRC"),
            Self::Version { given, limit } => write!(
                f,
                "constraint record of version {given}, this library reads version {limit}: update it"
            ),
            Self::Checksum => {
                f.write_str("the constraint record was altered: its checksum does not match")
            }
            Self::Kind { field, given } => {
                write!(f, "constraint record with an unknown or contradicting {field}: {given}")
            }
            Self::Config(error) => write!(f, "constraint record with a bad option: {error}"),
            Self::State { field } => write!(f, "constraint record with {field} out of range"),
            Self::Regularizer => f.write_str("the constraint record is of another regularizer"),
            Self::Unused => f.write_str("constraint record with data where there must be none"),
        }
    }
}

impl core::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        if let Self::Config(error) = self { Some(error) } else { None }
    }
}

impl<R: Regularizer> Constraint<R> {
    /// Writes rule and state, exactly, and returns the number of bytes, [`ENCODED_LEN`].
    ///
    /// # Errors
    /// [`EncodeError`] if the buffer is shorter; nothing is written.
    ///
    /// ```
    /// use cpr_core::{BoundInit, Constraint, ConstraintConfig, ConstraintRule, ENCODED_LEN, L2};
    /// let rule = ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::WarmStart(10)))?;
    /// let constraint = rule.start_from(&[0.5f32, 1.0])?;
    /// let mut bytes = [0; ENCODED_LEN];
    /// constraint.encode(&mut bytes)?;
    /// assert_eq!(Constraint::<L2>::decode(&bytes)?, constraint);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn encode(&self, bytes: &mut [u8]) -> Result<usize, EncodeError> {
        let given = bytes.len();
        let Some((record, _)) = bytes.split_first_chunk_mut::<ENCODED_LEN>() else {
            return Err(EncodeError { given, limit: ENCODED_LEN });
        };
        *record = self.record();
        Ok(ENCODED_LEN)
    }

    fn record(&self) -> [u8; ENCODED_LEN] {
        let config = self.rule.config();
        let state = &self.state;
        let (regularizer, parameter, flush) = match config.regularizer.into_any() {
            AnyRegularizer::L2(L2) => (0, 0.0, false),
            AnyRegularizer::L1(L1) => (1, 0.0, false),
            AnyRegularizer::Std(Std) => (2, 0.0, false),
            AnyRegularizer::Huber(huber) => (3, huber.delta(), false),
            AnyRegularizer::Lp(lp) => (4, lp.p(), lp.flushes()),
        };
        let (init, init_numbers, smoothing) = match config.bound {
            BoundInit::Uniform(kappa) => (0, [kappa.to_bits(), 0, 0], false),
            BoundInit::UniformPerElement(kappa) => (1, [kappa.to_bits(), 0, 0], false),
            BoundInit::Dependent(factor) => (2, [factor.to_bits(), 0, 0], false),
            BoundInit::WarmStart(steps) => (3, [steps, 0, 0], false),
            BoundInit::Inflection(Inflection { interval, smoothing, burn_in }) => {
                let past = smoothing.unwrap_or(0.0).to_bits();
                (4, [interval, burn_in, past], smoothing.is_some())
            }
        };
        let (bound, bound_numbers) = match state.bound {
            Bound::WarmUp => (0, [0, 0]),
            Bound::Watching(Trace::Empty) => (1, [0, 0]),
            Bound::Watching(Trace::One { last }) => (2, [last.to_bits(), 0]),
            Bound::Watching(Trace::Two { last, increase }) => {
                (3, [last.to_bits(), increase.to_bits()])
            }
            Bound::Set { kappa, at } => (4, [kappa.to_bits(), at]),
        };
        let (form, statistic) = match state.carried {
            Statistic::Sum { count, total } => (0, [count, total.to_bits(), 0]),
            Statistic::Moments { count, mean, m2 } => (1, [count, mean.to_bits(), m2.to_bits()]),
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(config.guard, GUARD)
            | flag(config.scale_by_lr, SCALE_BY_LR)
            | flag(flush, FLUSH)
            | flag(state.has_risen, HAS_RISEN)
            | flag(smoothing, SMOOTHING);
        let adaptive = match config.adaptive {
            Adaptive::Off => 0,
            Adaptive::OnRelease => 1,
            Adaptive::WhileInactive => 2,
        };
        let order = match config.order {
            Order::AfterBase => 0,
            Order::BeforeBase => 1,
        };
        let step_rule = match config.step_rule {
            StepRule::Gradient => 0,
            StepRule::Proximal => 1,
        };

        let mut record = [0; ENCODED_LEN];
        let mut writer = Writer(&mut record);
        writer.put(LABEL);
        writer.put(VERSION.to_le_bytes());
        writer.put([regularizer, init, adaptive, order, step_rule, flags, bound, form, 0, 0]);
        writer.put(parameter.to_le_bytes());
        writer.put(config.mu.to_le_bytes());
        writer.numbers(&init_numbers);
        writer.numbers(&[self.count, state.step]);
        writer.put(state.multiplier.get().to_le_bytes());
        writer.numbers(&bound_numbers);
        writer.numbers(&statistic);
        writer.numbers(&[state.tally.active, state.tally.guarded, state.tally.non_finite]);
        let checksum = crc32(record.split_last_chunk::<4>().map_or(&[], |(head, _)| head));
        if let Some((_, last)) = record.split_last_chunk_mut::<4>() {
            *last = checksum.to_le_bytes();
        }
        record
    }

    /// Reads what [`Constraint::encode`] wrote.
    ///
    /// `Constraint<AnyRegularizer>` reads a record of any regularizer.
    ///
    /// # Errors
    /// [`DecodeError`], looked for in the order of its variants. What decodes encodes to the same bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Ok(record) = <&[u8; ENCODED_LEN]>::try_from(bytes) else {
            return Err(DecodeError::Length { given: bytes.len(), limit: ENCODED_LEN });
        };
        let mut reader = Reader(record);
        if reader.take::<4>() != LABEL {
            return Err(DecodeError::Label);
        }
        let version = u16::from_le_bytes(reader.take());
        if version != VERSION {
            return Err(DecodeError::Version { given: version, limit: VERSION });
        }
        let (head, checksum) = record.split_last_chunk::<4>().unwrap_or((&[], &[0; 4]));
        if crc32(head) != u32::from_le_bytes(*checksum) {
            return Err(DecodeError::Checksum);
        }

        let [regularizer, init, adaptive, order, step_rule, flags, bound, form, _, _] =
            reader.take::<10>();
        let flag = |bit: u8| flags & bit != 0;
        let kind = |field, given| DecodeError::Kind { field, given };
        let parameter = reader.float();
        let any = match regularizer {
            0 => L2.into(),
            1 => L1.into(),
            2 => Std.into(),
            3 => Huber::new(parameter).map_err(DecodeError::Config)?.into(),
            4 => {
                let lp = Lp::new(parameter).map_err(DecodeError::Config)?;
                if flag(FLUSH) { lp } else { lp.keep_subnormal() }.into()
            }
            given => return Err(kind("regularizer", given)),
        };
        let mu = reader.float();
        let numbers = [reader.number(), reader.number(), reader.number()];
        let [first, burn_in, past] = numbers;
        let bound_init = match init {
            0 => BoundInit::Uniform(f64::from_bits(first)),
            1 => BoundInit::UniformPerElement(f64::from_bits(first)),
            2 => BoundInit::Dependent(f64::from_bits(first)),
            3 => BoundInit::WarmStart(first),
            4 => BoundInit::Inflection(Inflection {
                interval: first,
                smoothing: flag(SMOOTHING).then_some(f64::from_bits(past)),
                burn_in,
            }),
            given => return Err(kind("bound rule", given)),
        };
        let config = ConstraintConfig {
            regularizer: R::from_any(any).ok_or(DecodeError::Regularizer)?,
            bound: bound_init,
            adaptive: match adaptive {
                0 => Adaptive::Off,
                1 => Adaptive::OnRelease,
                2 => Adaptive::WhileInactive,
                given => return Err(kind("adaptive rule", given)),
            },
            mu,
            order: match order {
                0 => Order::AfterBase,
                1 => Order::BeforeBase,
                given => return Err(kind("order", given)),
            },
            step_rule: match step_rule {
                0 => StepRule::Gradient,
                1 => StepRule::Proximal,
                given => return Err(kind("step rule", given)),
            },
            guard: flag(GUARD),
            scale_by_lr: flag(SCALE_BY_LR),
        };
        let rule = ConstraintRule::new(config).map_err(DecodeError::Config)?;

        let (count, step) = (reader.number(), reader.number());
        let multiplier =
            Multiplier::new(reader.float()).ok_or(DecodeError::State { field: "lambda" })?;
        let (value, second) = (reader.number(), reader.number());
        let number = f64::from_bits(value);
        let bound = match (bound, &bound_init) {
            (0, BoundInit::WarmStart(_)) => Bound::WarmUp,
            (1, BoundInit::Inflection(_)) => Bound::Watching(Trace::Empty),
            (2 | 3, BoundInit::Inflection(_)) if !number.is_finite() => {
                return Err(DecodeError::State { field: "the last sample" });
            }
            (2, BoundInit::Inflection(_)) => Bound::Watching(Trace::One { last: number }),
            // The increase of two finite samples may overflow, but it is a number.
            (3, BoundInit::Inflection(_)) if !f64::from_bits(second).is_nan() => {
                Bound::Watching(Trace::Two { last: number, increase: f64::from_bits(second) })
            }
            (3, BoundInit::Inflection(_)) => {
                return Err(DecodeError::State { field: "the last increase" });
            }
            (4, _) if second > step => {
                return Err(DecodeError::State { field: "the step at which kappa was set" });
            }
            (4, _) if number >= 0.0 => Bound::Set { kappa: number, at: second },
            (4, _) => return Err(DecodeError::State { field: "kappa" }),
            (given, _) => return Err(kind("bound state", given)),
        };
        let [measured, x, y] = [reader.number(), reader.number(), reader.number()];
        let (x, y) = (f64::from_bits(x), f64::from_bits(y));
        let carried = match form {
            // Every measure that is a sum is one of magnitudes: below 0 it could carry κ there.
            0 if x < 0.0 => return Err(DecodeError::State { field: "the sum" }),
            0 => Statistic::Sum { count: measured, total: x },
            1 if y < 0.0 => return Err(DecodeError::State { field: "m2" }),
            1 => Statistic::Moments { count: measured, mean: x, m2: y },
            given => return Err(kind("form of the statistic", given)),
        };
        if bound.kappa().is_none() && multiplier > Multiplier::ZERO {
            return Err(DecodeError::State { field: "lambda before kappa is set" });
        }
        if count > 0 && !rule.config().regularizer.takes(&carried) {
            return Err(kind("form of the statistic", form));
        }
        if measured != count {
            return Err(DecodeError::State { field: "the statistic's count" });
        }
        if count > 0 && count < rule.config().regularizer.fewest_elements() {
            return Err(DecodeError::State { field: "the number of elements" });
        }
        let tally = Tally {
            active: reader.number(),
            guarded: reader.number(),
            non_finite: reader.number(),
        };
        let state = State { step, multiplier, bound, carried, has_risen: flag(HAS_RISEN), tally };
        let constraint = Self { rule, count, state };
        // What a variant does not use is zero: the encoding is one to one.
        if constraint.record() == *record { Ok(constraint) } else { Err(DecodeError::Unused) }
    }
}

/// Fills a record from its front.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn put<const N: usize>(&mut self, field: [u8; N]) {
        if let Some((head, rest)) = core::mem::take(&mut self.0).split_first_chunk_mut::<N>() {
            *head = field;
            self.0 = rest;
        }
    }

    fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.put(number.to_le_bytes());
        }
    }
}

/// Reads a record from its front; zeros past its end, which a record of the right length never reaches.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.0 = rest;
                *head
            }
            None => [0; N],
        }
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn float(&mut self) -> f64 {
        f64::from_bits(self.number())
    }
}

/// CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320), bit by bit: 148 bytes need no table.
fn crc32(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for &byte in bytes {
        remainder ^= u32::from(byte);
        for _ in 0..8 {
            let carry = remainder & 1 != 0;
            remainder >>= 1;
            if carry {
                remainder ^= 0xEDB8_8320;
            }
        }
    }
    !remainder
}

#[cfg(test)]
mod tests;
