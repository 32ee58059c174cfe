//! AdamCPR as an optimizer of Burn: matrices under an l2 bound, vectors free; its state saves with Burn's records.

use burn::optim::{Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor, TensorData};
use cpr_core::base::{Adam, Base};
use cpr_core::{Constraint, ConstraintRule, ENCODED_LEN, L2, Shard, base_step, constrained_step};

#[derive(Clone)]
pub struct AdamCpr {
    pub adam: Adam,
    pub rule: ConstraintRule<L2>,
}

#[derive(Clone)]
pub struct State {
    step: u64,
    moments: [Vec<f32>; 2],
    constraint: Option<Constraint<L2>>,
}

impl Optimizer for AdamCpr {
    type State<const D: usize> = State;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<State>,
    ) -> (Tensor<D>, Option<State>) {
        let (device, shape) = (tensor.device(), tensor.shape());
        let floats = |tensor: Tensor<D>| {
            tensor.try_into_vec_as::<f32>().expect("parameters and gradients in f32")
        };
        let (mut theta, grad) = (floats(tensor), floats(grad));
        let mut state = state.unwrap_or_else(|| State {
            step: 0,
            moments: [vec![0.0; theta.len()], vec![0.0; theta.len()]],
            constraint: (D > 1).then(|| self.rule.start_from(&theta).expect("finite weights")),
        });
        state.step += 1;
        let step = self.adam.at(state.step, lr);
        let moments = state.moments.each_mut().map(Vec::as_mut_slice);
        let shard = Shard::new(&mut theta, &grad, moments).expect("buffers of one length");
        match &mut state.constraint {
            Some(constraint) => constrained_step(constraint, &step, lr, shard),
            None => base_step(&step, shard),
        }
        (Tensor::from_data(TensorData::new(theta, shape), &device), Some(state))
    }

    fn to_device<const D: usize>(state: State, _: &Device) -> State {
        state // in the host's memory, wherever the tensors are
    }
}

impl RecordState for State {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        let mut record = [0u8; ENCODED_LEN];
        let bytes = self.constraint.map_or(0, |c| c.encode(&mut record).unwrap_or(0));
        out.push_scalar(prefix, "step", self.step.into());
        for (name, moment) in ["m", "v"].into_iter().zip(&self.moments) {
            out.push_tensor(prefix, name, TensorData::new(moment.clone(), [moment.len()]));
        }
        out.push_tensor(prefix, "constraint", TensorData::new(record[..bytes].to_vec(), [bytes]));
    }

    fn state_unflatten(prefix: &str, from: &mut StateSource, _: &Device) -> Option<Self> {
        let step = from.take_scalar(prefix, "step")?.try_into().ok()?;
        let moments = [
            from.take_tensor(prefix, "m")?.into_vec().ok()?,
            from.take_tensor(prefix, "v")?.into_vec().ok()?,
        ];
        let record: Vec<u8> = from.take_tensor(prefix, "constraint")?.into_vec().ok()?;
        let constraint =
            if record.is_empty() { None } else { Some(Constraint::decode(&record).ok()?) };
        Some(Self { step, moments, constraint })
    }
}
