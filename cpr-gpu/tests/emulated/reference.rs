//! The same jobs through cpr-core.

use cpr_core::{
    AnyRegularizer, CHUNK, Constraint, Correction, L2, Pairwise, Real, Shard, Statistic,
    base::Base, base_step, constrained_step, measure,
};
use cpr_tests::path::{WithBase, with_base};

use crate::job::{Found, Job, Parameter, State};

/// What a job leaves behind.
pub(crate) fn run(job: &Job) -> Found {
    let mut counts = [0, 0, 0];
    let mut norm = 0.0;
    let mut inputs: Vec<Vec<Input>> = vec![Vec::new(); job.parameters.len()];
    for call in &job.calls {
        let gradients: Vec<_> =
            job.parameters.iter().enumerate().map(|(i, p)| call.gradient(i, p)).collect();
        let mut scale = None;
        if let Some(limit) = call.clip {
            norm = global_norm(&gradients);
            scale = (norm > limit).then_some(limit / norm);
        }
        if call.check && gradients.iter().flatten().flatten().any(|x| !x.is_finite()) {
            counts[1] += 1;
            counts[2] += 1;
            continue;
        }
        counts[0] += 1;
        counts[2] = 0;
        for (inputs, gradient) in inputs.iter_mut().zip(gradients) {
            inputs.extend(gradient.map(|gradient| Input { lr: call.lr, scale, gradient }));
        }
    }
    let states = job
        .parameters
        .iter()
        .zip(inputs)
        .map(|(parameter, inputs)| {
            if parameter.wide {
                with_base::<f64, _>(&parameter.case, Runner { parameter, inputs: &inputs })
            } else {
                with_base::<f32, _>(&parameter.case, Runner { parameter, inputs: &inputs })
            }
        })
        .collect();
    Found { counts, norm, states }
}

/// √Σg² in the order of the chunks, f32 gradients exact in f64. A parameter without a gradient counts as neutral
/// chunks of the tree.
fn global_norm(gradients: &[Option<Vec<f64>>]) -> f64 {
    let mut whole = Pairwise::new();
    for gradient in gradients.iter().flatten() {
        whole.extend(gradient.chunks(CHUNK).map(|chunk| measure(&L2, chunk)));
    }
    match whole.finish() {
        Statistic::Sum { total, .. } => total.sqrt(),
        Statistic::Moments { .. } => f64::NAN,
    }
}

/// What one parameter gets of a call that steps.
#[derive(Clone, Debug)]
struct Input {
    lr: f64,
    scale: Option<f64>,
    gradient: Vec<f64>,
}

struct Runner<'a> {
    parameter: &'a Parameter,
    inputs: &'a [Input],
}

impl<T: Real> WithBase<T> for Runner<'_> {
    type Output = State;

    fn call<B: Base<T, M>, const M: usize>(self, base: B) -> State
    where
        B::Step: Sync,
    {
        let Self { parameter, inputs } = self;
        let mut theta: Vec<T> = parameter.initial().into_iter().map(T::from_f64).collect();
        let mut moments: [Vec<T>; M] = std::array::from_fn(|_| vec![T::ZERO; theta.len()]);
        let mut constraint: Option<Constraint<AnyRegularizer>> = parameter.constraint();
        for (t, Input { lr, scale, gradient }) in (1..).zip(inputs) {
            let lr = lr * parameter.lr_factor;
            let mut gradient: Vec<T> = gradient.iter().map(|&x| T::from_f64(x)).collect();
            if let &Some(scale) = scale {
                Correction::Scale { scale, center: 0.0 }.apply(&mut gradient);
            }
            let shard =
                Shard::new(&mut theta, &gradient, moments.each_mut().map(Vec::as_mut_slice))
                    .expect("equal lengths");
            match &mut constraint {
                Some(constraint) => constrained_step(constraint, &base.at(t, lr), lr, shard),
                None => base_step(&base.at(t, lr), shard),
            }
        }
        let plain = |values: &[T]| values.iter().map(|&x| Real::to_f64(x)).collect::<Vec<f64>>();
        let theta = plain(&theta);
        let stepped = !inputs.is_empty();
        let low = parameter.low.filter(|_| stepped);
        let halves = low.map(|low| theta.iter().map(|&x| low.value(low.bits(x))).collect());
        let unused = || vec![0.0; theta.len()];
        let moment = |i: usize| moments.get(i).map_or_else(unused, |moment| plain(moment));
        let arrays = [moment(0), moment(1), moment(2), halves.unwrap_or_default()];
        let [first, second, third, low] = arrays;
        State {
            steps: inputs.len() as u64,
            constraint,
            arrays: [theta.clone(), first, second, third, low],
        }
    }
}
