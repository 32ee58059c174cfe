//! What the kernels read in device memory, as words of 8 bytes: the structs of kernels/board.cuh.

use cpr_core::{
    AnyRegularizer, Constraint, DecodeError, ENCODED_LEN,
    base::{AdaDecayConfig, AdamConfig, AmosConfig, Decay, MomentumConfig, SgdConfig, WeightDecay},
};
use cpr_host::optim::DecayRule;

/// Words of a `Set`.
pub(crate) const SET: usize = 25;

/// Words of a `Record`: a constraint's record without its checksum, and the index of its parameter.
pub(crate) const RECORD: usize = 19;

/// Bytes of a constraint's record before its checksum.
const BODY: usize = ENCODED_LEN - 4;

/// A base optimizer's hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Sgd(SgdConfig),
    Momentum(MomentumConfig),
    Adam(AdamConfig),
    AmsGrad(AdamConfig),
    Amos(AmosConfig),
}

/// How the parameters of a group are stepped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) kind: Kind,
    pub(crate) after: Option<Decay>,
    pub(crate) decay_rule: DecayRule,
    /// Their learning rate is this multiple of the call's.
    pub(crate) lr_factor: f64,
}

impl Rule {
    /// Its `Set`; the logarithms of β are the device's to fill in.
    pub(crate) fn words(&self) -> [u64; SET] {
        let mut words = [0; SET];
        words[1] = self.lr_factor.to_bits();
        let (decay, maximize) = match self.kind {
            Kind::Sgd(SgdConfig { weight_decay, maximize }) => (weight_decay, maximize),
            Kind::Momentum(config) => {
                words[0] = 1;
                words[5] = config.momentum.to_bits();
                words[6] = config.dampening.to_bits();
                words[7] = u64::from(config.nesterov);
                (config.weight_decay, config.maximize)
            }
            Kind::Adam(config) | Kind::AmsGrad(config) => {
                words[0] = if matches!(self.kind, Kind::Adam(_)) { 2 } else { 3 };
                words[2] = config.beta1.to_bits();
                words[3] = config.beta2.to_bits();
                words[4] = config.eps.to_bits();
                (config.weight_decay, config.maximize)
            }
            Kind::Amos(config) => {
                words[0] = if config.momentum > 0.0 { 5 } else { 4 };
                words[3] = config.beta.to_bits();
                words[5] = config.momentum.to_bits();
                words[20] = config.extra_l2.to_bits();
                (WeightDecay::None, false)
            }
        };
        words[8] = u64::from(maximize);
        (words[9], words[10]) = match decay {
            WeightDecay::None => (0, 0),
            WeightDecay::Coupled(weight) => (1, weight.to_bits()),
            WeightDecay::Decoupled(weight) => (2, weight.to_bits()),
        };
        match self.after {
            None => {}
            Some(Decay::PNorm { p, lambda, late, flush }) => {
                words[11] = 1;
                words[12] = p.to_bits();
                words[13] = lambda.to_bits();
                words[15] = u64::from(late);
                words[16] = u64::from(flush);
            }
            Some(Decay::L1 { lambda, weight_decay }) => {
                words[11] = 2;
                words[13] = lambda.to_bits();
                words[14] = weight_decay.to_bits();
            }
            Some(Decay::ThreeHalves { lambda }) => {
                words[11] = 3;
                words[13] = lambda.to_bits();
            }
        }
        match self.decay_rule {
            DecayRule::Constant => {}
            DecayRule::Awd(awd) => {
                words[17] = 1;
                words[18] = awd.keep().to_bits();
            }
            DecayRule::AdaDecay(rule) => {
                let AdaDecayConfig { alpha, weight_decay } = *rule.config();
                words[17] = 2;
                words[18] = alpha.to_bits();
                words[19] = weight_decay.to_bits();
            }
        }
        words
    }
}

/// The `Record` of a constraint of the parameter of this index.
pub(crate) fn record(constraint: &Constraint<AnyRegularizer>, parameter: u64) -> [u64; RECORD] {
    let mut bytes = [0; ENCODED_LEN];
    // The buffer has the length that it asks for.
    let _written = constraint.encode(&mut bytes);
    let mut words = [0; RECORD];
    for (word, bytes) in words.iter_mut().zip(bytes[..BODY].as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words[RECORD - 1] = parameter;
    words
}

/// The constraint of a `Record`.
///
/// # Errors
/// [`DecodeError`] where the words are no constraint: the kernels and this crate disagree.
pub(crate) fn constraint(words: &[u64]) -> Result<Constraint<AnyRegularizer>, DecodeError> {
    let mut bytes = [0; ENCODED_LEN];
    for (bytes, word) in bytes[..BODY].as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    let checksum = crc32(&bytes[..BODY]);
    bytes[BODY..].copy_from_slice(&checksum.to_le_bytes());
    Constraint::decode(&bytes)
}

/// CRC-32 (IEEE 802.3), as cpr-core seals its records.
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
