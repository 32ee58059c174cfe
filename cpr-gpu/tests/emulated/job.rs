//! Jobs for the kernels on the CPU: what goes in, how it is written, what comes back.

use std::{
    fmt,
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use cpr_core::{
    AnyRegularizer, Constraint, ConstraintRule,
    base::{AdamConfig, AmosConfig, AmosState, MomentumConfig, SgdConfig},
};
use cpr_host::optim::DecayRule;
use cpr_tests::cases::{Case, Optimizer};
use half::{bf16, f16};

use crate::{
    compile,
    layout::{self, Kind, RECORD, Rule},
};

/// A half type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Low {
    Bf16,
    F16,
}

impl Low {
    pub(crate) fn bits(self, value: f64) -> u16 {
        match self {
            Self::Bf16 => bf16::from_f32(single(value)).to_bits(),
            Self::F16 => f16::from_f32(single(value)).to_bits(),
        }
    }

    pub(crate) fn value(self, bits: u16) -> f64 {
        match self {
            Self::Bf16 => f64::from(bf16::from_bits(bits).to_f32()),
            Self::F16 => f64::from(f16::from_bits(bits).to_f32()),
        }
    }

    fn kind(self) -> u64 {
        if self == Self::Bf16 { 1 } else { 2 }
    }
}

/// The nearest f32.
pub(crate) fn single(value: f64) -> f32 {
    <f32 as cpr_core::Real>::from_f64(value)
}

/// One parameter; its case gives values, gradients and the constraint.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) case: Case,
    pub(crate) wide: bool,
    pub(crate) low: Option<Low>,
    pub(crate) constrained: bool,
    pub(crate) lr_factor: f64,
    /// In place of the case's.
    pub(crate) theta: Option<Vec<f64>>,
    pub(crate) decay_rule: DecayRule,
    /// In place of the case's base: Amos, and its η for this parameter.
    pub(crate) amos: Option<(AmosConfig, f64)>,
}

impl Parameter {
    pub(crate) fn new(case: Case, wide: bool) -> Self {
        Self {
            case,
            wide,
            low: None,
            constrained: true,
            lr_factor: 1.0,
            theta: None,
            decay_rule: DecayRule::Constant,
            amos: None,
        }
    }

    /// θ before the first step, as the parameter's type has it.
    pub(crate) fn initial(&self) -> Vec<f64> {
        if let Some(theta) = &self.theta {
            theta.clone()
        } else if self.wide {
            self.case.initial::<f64>()
        } else {
            self.case.initial::<f32>().into_iter().map(f64::from).collect()
        }
    }

    pub(crate) fn constraint(&self) -> Option<Constraint<AnyRegularizer>> {
        let rule = ConstraintRule::new(self.case.config()).expect("a valid case");
        let theta = self.initial();
        self.constrained.then(|| {
            if self.wide {
                rule.start_from(&theta).expect("a group that can start")
            } else {
                let theta: Vec<f32> = theta.into_iter().map(single).collect();
                rule.start_from(&theta).expect("a group that can start")
            }
        })
    }

    pub(crate) fn rule(&self) -> Rule {
        let base = self.case.base;
        let kind = self.amos.map_or_else(|| self.kind(), |(config, _)| Kind::Amos(config));
        Rule { kind, after: base.decay, decay_rule: self.decay_rule, lr_factor: self.lr_factor }
    }

    fn kind(&self) -> Kind {
        let base = self.case.base;
        let (weight_decay, maximize) = (base.weight_decay, base.maximize);
        match base.optimizer {
            Optimizer::Sgd => Kind::Sgd(SgdConfig { weight_decay, maximize }),
            Optimizer::Momentum { momentum, dampening, nesterov } => {
                Kind::Momentum(MomentumConfig {
                    momentum,
                    dampening,
                    nesterov,
                    weight_decay,
                    maximize,
                })
            }
            Optimizer::Adam { beta1, beta2, eps, amsgrad } => {
                let config = AdamConfig { beta1, beta2, eps, weight_decay, maximize };
                if amsgrad { Kind::AmsGrad(config) } else { Kind::Adam(config) }
            }
        }
    }
}

/// How a parameter's gradient is given in a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Given {
    Nothing,
    Own,
    /// Zeros.
    Zero,
    Low(Low),
    /// The half number of bits i for element i, infinite and NaN left out.
    EveryLow(Low),
}

/// One step of the optimizer.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) t: u64,
    pub(crate) lr: f64,
    pub(crate) clip: Option<f64>,
    pub(crate) check: bool,
    /// Times every decay.
    pub(crate) decay: f64,
    pub(crate) given: Vec<Given>,
    /// A gradient that is replaced: (parameter, element, value).
    pub(crate) poison: Option<(usize, usize, f64)>,
}

impl Call {
    pub(crate) fn new(t: u64, lr: f64, parameters: usize) -> Self {
        let given = vec![Given::Own; parameters];
        Self { t, lr, clip: None, check: true, decay: 1.0, given, poison: None }
    }

    /// The gradient of parameter `index`, in the values of the type that it is given in.
    pub(crate) fn gradient(&self, index: usize, parameter: &Parameter) -> Option<Vec<f64>> {
        let case = &parameter.case;
        let mut values: Vec<f64> = match self.given[index] {
            Given::Nothing => return None,
            Given::Own if parameter.wide => case.gradient::<f64>(self.t),
            Given::Own => case.gradient::<f32>(self.t).into_iter().map(f64::from).collect(),
            Given::Zero => vec![0.0; case.n],
            Given::Low(low) => {
                case.gradient::<f64>(self.t).into_iter().map(|x| low.value(low.bits(x))).collect()
            }
            Given::EveryLow(low) => (0..=u16::MAX)
                .map(|bits| low.value(bits))
                .map(|x| if x.is_finite() { x } else { 0.0 })
                .collect(),
        };
        if let Some((at, element, value)) = self.poison
            && at == index
        {
            values[element] = value;
        }
        Some(values)
    }
}

/// Parameters and calls.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) calls: Vec<Call>,
    /// Parameters of one launch.
    pub(crate) capacity: u64,
    /// Blocks and threads in falling order.
    pub(crate) backwards: bool,
    /// Arrays begin this many elements after an aligned address.
    pub(crate) shift: u64,
}

impl Job {
    pub(crate) fn new(name: String, parameters: Vec<Parameter>, calls: Vec<Call>) -> Self {
        Self { name, parameters, calls, capacity: 400, backwards: false, shift: 0 }
    }
}

/// What is left of one parameter.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) steps: u64,
    pub(crate) constraint: Option<Constraint<AnyRegularizer>>,
    /// Of Amos; zeros for the others.
    pub(crate) amos: AmosState,
    /// θ, its moments (three, zero where unused) and the half variable.
    pub(crate) arrays: [Vec<f64>; 5],
}

/// What is left of a job.
#[derive(Debug)]
pub(crate) struct Found {
    /// Steps, skipped, skipped in a row.
    pub(crate) counts: [u64; 3],
    /// Global norm of the last call that asked for it.
    pub(crate) norm: f64,
    /// The average of AWD.
    pub(crate) awd: f64,
    pub(crate) states: Vec<State>,
}

/// The running program.
pub(crate) struct Emulator {
    _child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emulator")
    }
}

/// The program, compiled once.
fn compiled() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    // Products and sums round apart, as in cpr-core.
    PROGRAM.get_or_init(|| compile::program("run", &["-ffp-contract=off"])).as_deref()
}

impl Emulator {
    pub(crate) fn start() -> Option<Self> {
        let mut child = Command::new(compiled()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program just compiled");
        let input = BufWriter::new(child.stdin.take().expect("piped"));
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Some(Self { _child: child, input, output })
    }

    fn put(&mut self, words: &[u64]) {
        for word in words {
            self.input.write_all(&word.to_le_bytes()).expect("the program reads");
        }
    }

    fn put_values(&mut self, values: &[f64], wide: bool) {
        for &value in values {
            let word = if wide { value.to_bits() } else { u64::from(single(value).to_bits()) };
            self.put(&[word]);
        }
    }

    fn take(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.output.read_exact(&mut bytes).expect("the program answers");
        u64::from_le_bytes(bytes)
    }

    fn take_values(&mut self, count: usize, read: impl Fn(u64) -> f64) -> Vec<f64> {
        (0..count).map(|_| read(self.take())).collect()
    }

    pub(crate) fn run(&mut self, job: &Job) -> Found {
        let constraints: Vec<_> = job.parameters.iter().map(Parameter::constraint).collect();
        let records = constraints.iter().flatten().count() as u64;
        let count = job.parameters.len() as u64;
        self.put(&[count, count, records, job.calls.len() as u64]);
        self.put(&[u64::from(job.backwards), job.capacity]);
        for parameter in &job.parameters {
            self.put(&parameter.rule().words());
        }
        let mut record = 0;
        for (index, (parameter, constraint)) in (0..).zip(job.parameters.iter().zip(&constraints)) {
            record += u64::from(constraint.is_some());
            let (wide, low) = (parameter.wide, parameter.low.map_or(0, Low::kind));
            let own = if constraint.is_some() { record } else { 0 };
            self.put(&[u64::from(wide), low, parameter.case.n as u64, index, own, job.shift]);
            self.put(&[parameter.amos.map_or(0.0, |(_, eta)| eta).to_bits()]);
            self.put_values(&parameter.initial(), wide);
        }
        for (index, constraint) in (0..).zip(&constraints) {
            if let Some(constraint) = constraint {
                self.put(&layout::record(constraint, index));
            }
        }
        for call in &job.calls {
            self.put(&[call.lr.to_bits(), call.clip.unwrap_or(0.0).to_bits()]);
            self.put(&[u64::from(call.check), u64::from(call.clip.is_some())]);
            self.put(&[call.decay.to_bits()]);
            for (index, parameter) in job.parameters.iter().enumerate() {
                let values = call.gradient(index, parameter).unwrap_or_default();
                match call.given[index] {
                    Given::Nothing => self.put(&[0]),
                    Given::Own | Given::Zero => {
                        self.put(&[1]);
                        self.put_values(&values, parameter.wide);
                    }
                    Given::Low(low) | Given::EveryLow(low) => {
                        self.put(&[1 + low.kind()]);
                        let words: Vec<u64> =
                            values.iter().map(|&x| u64::from(low.bits(x))).collect();
                        self.put(&words);
                    }
                }
            }
        }
        self.input.flush().expect("the program reads");
        self.answer(job, &constraints)
    }

    fn answer(&mut self, job: &Job, constraints: &[Option<Constraint<AnyRegularizer>>]) -> Found {
        let clock: Vec<u64> = (0..11).map(|_| self.take()).collect();
        let steps: Vec<u64> = job.parameters.iter().map(|_| self.take()).collect();
        let mut after = Vec::new();
        for constraint in constraints {
            after.push(constraint.map(|_| {
                let words: Vec<u64> = (0..RECORD).map(|_| self.take()).collect();
                layout::constraint(&words).expect("a record of the core")
            }));
        }
        let amos: Vec<_> = job
            .parameters
            .iter()
            .map(|_| {
                let [v, b] = [self.take(), self.take()].map(f64::from_bits);
                AmosState::new(v, b).expect("a state of the core")
            })
            .collect();
        let mut states = Vec::new();
        for (((parameter, steps), constraint), amos) in
            job.parameters.iter().zip(steps).zip(after).zip(amos)
        {
            let (n, wide, low) = (parameter.case.n, parameter.wide, parameter.low);
            let own = |word: u64| {
                if wide {
                    f64::from_bits(word)
                } else {
                    f64::from(f32::from_bits(u32::try_from(word).expect("32 bits")))
                }
            };
            let half = |word: u64| {
                let bits = u16::try_from(word).expect("16 bits");
                low.map_or(0.0, |low| low.value(bits))
            };
            let arrays = std::array::from_fn(|i| match i {
                0..4 => self.take_values(n, own),
                _ => self.take_values(if low.is_some() { n } else { 0 }, half),
            });
            states.push(State { steps, constraint, amos, arrays });
        }
        let counts = [clock[3], clock[4], clock[5]];
        let [norm, awd] = [clock[7], clock[10]].map(f64::from_bits);
        Found { counts, norm, awd, states }
    }
}
