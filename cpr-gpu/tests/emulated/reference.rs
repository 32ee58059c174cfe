//! The same jobs through cpr-core.

use cpr_core::{
    AnyRegularizer, CHUNK, Constraint, Correction, L2, Merge, Pairwise, Real, Shard, Statistic,
    base::{
        Adam, Amos, AmosState, AmosStep, AmsGrad, AwdState, Base, BaseRule, Decayed, Momentum,
        ScaleDecay, Sgd, magnitudes,
    },
    base_step, constrained_step, measure,
};
use cpr_host::optim::DecayRule;

use crate::{
    job::{Call, Found, Job, Parameter, State},
    layout::Kind,
};

/// What a job leaves behind.
pub(crate) fn run(job: &Job) -> Found {
    let mut counts = [0, 0, 0];
    let mut norm = 0.0;
    let mut matrices: Vec<Box<dyn Steps + '_>> = job
        .parameters
        .iter()
        .map(|p| if p.wide { start::<f64>(p) } else { start::<f32>(p) })
        .collect();
    let averages = job.parameters.iter().find_map(|parameter| match parameter.decay_rule {
        DecayRule::Awd(rule) => Some(rule),
        _ => None,
    });
    let mut awd = AwdState::default();
    for call in &job.calls {
        let gradients: Vec<_> =
            job.parameters.iter().enumerate().map(|(i, p)| call.gradient(i, p)).collect();
        let mut scale = None;
        if let Some(limit) = call.clip {
            norm = global_norm(&job.parameters, &gradients);
            scale = (norm > limit).then_some(limit / norm);
        }
        if call.check && gradients.iter().flatten().flatten().any(|x| !x.is_finite()) {
            counts[1] += 1;
            counts[2] += 1;
            continue;
        }
        counts[0] += 1;
        counts[2] = 0;
        for (matrix, gradient) in matrices.iter_mut().zip(gradients) {
            matrix.take(gradient, scale);
        }
        if let Some(rule) = averages {
            let whole = |of: fn(&dyn Steps) -> Statistic| {
                let mut whole = Pairwise::new();
                whole.extend(matrices.iter().map(|matrix| of(&**matrix)));
                whole.finish()
            };
            awd = rule.update(awd, &whole(|m| m.squares()[0]), &whole(|m| m.squares()[1]));
        }
        for matrix in &mut matrices {
            matrix.step(call, awd);
        }
    }
    let states = matrices.iter().map(|matrix| matrix.state()).collect();
    Found { counts, norm, awd: awd.factor(), states }
}

/// √Σg² in the order of the chunks, f32 gradients exact in f64. A parameter without a gradient counts as neutral
/// chunks of the tree.
fn global_norm(parameters: &[Parameter], gradients: &[Option<Vec<f64>>]) -> f64 {
    let mut whole = Pairwise::new();
    for (parameter, gradient) in parameters.iter().zip(gradients) {
        match gradient {
            Some(gradient) => {
                whole.extend(gradient.chunks(CHUNK).map(|chunk| measure(&L2, chunk)));
            }
            None => {
                let chunks = parameter.case.n.div_ceil(CHUNK);
                whole.extend(std::iter::repeat_n(Statistic::NEUTRAL, chunks));
            }
        }
    }
    match whole.finish() {
        Statistic::Sum { total, .. } => total.sqrt(),
        Statistic::Moments { .. } => f64::NAN,
    }
}

/// One parameter over the calls, whatever its type and its base.
trait Steps {
    /// The gradient of the next step, scaled by clipping.
    fn take(&mut self, gradient: Option<Vec<f64>>, scale: Option<f64>);

    /// Σw² and Σ(∇w)² of the next step for AWD: of no elements, where it is not under that rule or has no gradient.
    fn squares(&self) -> [Statistic; 2];

    fn step(&mut self, call: &Call, awd: AwdState);

    fn state(&self) -> State;
}

/// The scalars of a step.
trait Scalars<T: Real, const M: usize> {
    type Step: BaseRule<T, M> + Sync;

    fn at(&mut self, t: u64, lr: f64, decay: f64, gradient: &[T]) -> Self::Step;

    fn amos(&self) -> AmosState {
        AmosState::default()
    }
}

struct Scaled<B>(B);

impl<T: Real, B: Base<T, M, Step: Sync> + ScaleDecay, const M: usize> Scalars<T, M> for Scaled<B> {
    type Step = B::Step;

    fn at(&mut self, t: u64, lr: f64, decay: f64, _gradient: &[T]) -> B::Step {
        self.0.scale_decay(decay).at(t, lr)
    }
}

struct Own {
    rule: Amos,
    eta: f64,
    state: AmosState,
}

impl<T: Real, const M: usize> Scalars<T, M> for Own
where
    AmosStep<T>: BaseRule<T, M>,
{
    type Step = AmosStep<T>;

    fn at(&mut self, t: u64, lr: f64, _decay: f64, gradient: &[T]) -> AmosStep<T> {
        let step;
        (self.state, step) = self.rule.step(self.state, t, lr, self.eta, &measure(&L2, gradient));
        step
    }

    fn amos(&self) -> AmosState {
        self.state
    }
}

/// A parameter before its first step.
fn start<'a, T: Real + 'a>(parameter: &'a Parameter) -> Box<dyn Steps + 'a> {
    let rule = parameter.rule();
    let adam = |config| Adam::new(config).expect("in range");
    match (rule.kind, rule.after) {
        (Kind::Sgd(config), _) => {
            Matrix::<T, _, 0>::start(parameter, Scaled(Sgd::new(config).expect("in range")))
        }
        (Kind::Momentum(config), _) => {
            Matrix::<T, _, 1>::start(parameter, Scaled(Momentum::new(config).expect("in range")))
        }
        (Kind::Adam(config), None) => Matrix::<T, _, 2>::start(parameter, Scaled(adam(config))),
        (Kind::Adam(config), Some(decay)) => {
            let decayed = Decayed::new(adam(config), decay).expect("in range");
            Matrix::<T, _, 2>::start(parameter, Scaled(decayed))
        }
        (Kind::AmsGrad(config), None) => {
            Matrix::<T, _, 3>::start(parameter, Scaled(AmsGrad(adam(config))))
        }
        (Kind::AmsGrad(config), Some(decay)) => {
            let decayed = Decayed::new(AmsGrad(adam(config)), decay).expect("in range");
            Matrix::<T, _, 3>::start(parameter, Scaled(decayed))
        }
        (Kind::Amos(config), _) => {
            let rule = Amos::new(config).expect("in range");
            let eta = parameter.amos.expect("a parameter under Amos").1;
            let own = Own { rule, eta, state: AmosState::default() };
            if config.momentum > 0.0 {
                Matrix::<T, _, 1>::start(parameter, own)
            } else {
                Matrix::<T, _, 0>::start(parameter, own)
            }
        }
    }
}

struct Matrix<'a, T, S, const M: usize> {
    parameter: &'a Parameter,
    scalars: S,
    theta: Vec<T>,
    moments: [Vec<T>; M],
    constraint: Option<Constraint<AnyRegularizer>>,
    gradient: Option<Vec<T>>,
    t: u64,
}

impl<'a, T: Real + 'a, S: Scalars<T, M> + 'a, const M: usize> Matrix<'a, T, S, M> {
    fn start(parameter: &'a Parameter, scalars: S) -> Box<dyn Steps + 'a> {
        let theta: Vec<T> = parameter.initial().into_iter().map(T::from_f64).collect();
        let moments = std::array::from_fn(|_| vec![T::ZERO; theta.len()]);
        let constraint = parameter.constraint();
        Box::new(Self { parameter, scalars, theta, moments, constraint, gradient: None, t: 0 })
    }
}

impl<T: Real, S: Scalars<T, M>, const M: usize> Steps for Matrix<'_, T, S, M> {
    fn take(&mut self, gradient: Option<Vec<f64>>, scale: Option<f64>) {
        self.gradient = gradient.map(|gradient| {
            let mut gradient: Vec<T> = gradient.into_iter().map(T::from_f64).collect();
            if let Some(scale) = scale {
                Correction::Scale { scale, center: 0.0 }.apply(&mut gradient);
            }
            gradient
        });
    }

    fn squares(&self) -> [Statistic; 2] {
        match (&self.gradient, self.parameter.decay_rule) {
            (Some(gradient), DecayRule::Awd(_)) => {
                [measure(&L2, &self.theta), measure(&L2, gradient)]
            }
            _ => [Statistic::NEUTRAL; 2],
        }
    }

    fn step(&mut self, call: &Call, awd: AwdState) {
        let Self { parameter, scalars, theta, moments, constraint, .. } = self;
        let Some(gradient) = &self.gradient else { return };
        self.t += 1;
        let lr = call.lr * parameter.lr_factor;
        let decay = match parameter.decay_rule {
            DecayRule::Awd(_) => call.decay * awd.factor(),
            _ => call.decay,
        };
        let step = scalars.at(self.t, lr, decay, gradient);
        let shard = Shard::new(theta, gradient, moments.each_mut().map(Vec::as_mut_slice))
            .expect("equal lengths");
        match (constraint, parameter.decay_rule) {
            (Some(constraint), _) => constrained_step(constraint, &step, lr, shard),
            (None, DecayRule::AdaDecay(rule)) => {
                let rule = rule.scale_decay(call.decay);
                base_step(&rule.before(step, lr, &magnitudes(gradient)), shard);
            }
            (None, _) => base_step(&step, shard),
        }
    }

    fn state(&self) -> State {
        let plain = |values: &[T]| values.iter().map(|&x| Real::to_f64(x)).collect::<Vec<f64>>();
        let theta = plain(&self.theta);
        let low = self.parameter.low.filter(|_| self.t > 0);
        let halves = low.map(|low| theta.iter().map(|&x| low.value(low.bits(x))).collect());
        let unused = || vec![0.0; theta.len()];
        let moment = |i: usize| self.moments.get(i).map_or_else(unused, |moment| plain(moment));
        let arrays = [moment(0), moment(1), moment(2), halves.unwrap_or_default()];
        let [first, second, third, low] = arrays;
        State {
            steps: self.t,
            constraint: self.constraint,
            amos: self.scalars.amos(),
            arrays: [theta.clone(), first, second, third, low],
        }
    }
}
