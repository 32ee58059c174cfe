//! Parameters in one slice, under the optimizer of this crate.

use std::{collections::BTreeSet, num::NonZeroUsize, path::Path};

use cpr_core::{L2, Report, Statistic, all_finite};

use super::{
    Step, Weights,
    section::{self, Section},
};
use crate::{
    checkpoint::{CheckpointWriter, Meta, Policy, Tensors},
    config::{OptimConfig, RunConfig},
    optim::{Optimizer, Outcome},
    pages::Buffer,
    parallel::Workers,
    param::{Grouping, ParamLayout},
    train::{Constraints, Take, Taken, Target, TrainError},
};

/// Parameters in one slice, their gradient, and the optimizer over them.
#[derive(Debug)]
pub struct FlatWeights {
    layout: ParamLayout,
    grouping: Grouping,
    /// The optimizer's name in the configuration.
    name: String,
    /// The parameters, flat.
    pub theta: Buffer<f32>,
    /// The gradient of the next step, flat.
    pub grads: Buffer<f32>,
    /// The optimizer over them.
    pub optimizer: Optimizer<f32>,
    /// Threads.
    pub workers: Workers,
}

impl FlatWeights {
    /// The parameters `theta` of this layout before the first step, with the optimizer and the threads that a
    /// configuration asks for.
    ///
    /// # Errors
    /// [`TrainError`]: a setting, a parameter that cannot be under its constraint, or threads that cannot be had.
    pub fn new(
        run: &RunConfig,
        optim: &OptimConfig,
        layout: ParamLayout,
        theta: &[f32],
    ) -> Result<Self, TrainError> {
        let mut theta = Buffer::from(theta);
        let grouping = Grouping { embeddings: optim.constraint.regularize_embeddings };
        let mut optimizer = Optimizer::new(optim.spec()?, grouping, &layout, &mut theta)?;
        optimizer.check_gradients(!run.skip_finite_check);
        let workers = match NonZeroUsize::new(run.threads) {
            Some(threads) => Workers::new(threads)?,
            None => Workers::available()?,
        };
        let grads = Buffer::zeros(theta.len());
        let name = optim.optimizer.to_string();
        Ok(Self { layout, grouping, name, theta, grads, optimizer, workers })
    }

    /// Names, shapes and places of the parameters.
    pub const fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// Updates the parameters from the gradient in `grads`, which belongs to this loss; nothing is changed where one of
    /// the two is not finite.
    ///
    /// # Errors
    /// [`TrainError::Optimizer`] where `theta` or `grads` have been replaced by others of another length.
    pub fn step(&mut self, lr: f64, loss: f64) -> Result<Step, TrainError> {
        if !loss.is_finite() {
            self.optimizer.skip();
            return Ok(Step::BadLoss {
                what: match self.first_bad(&self.grads) {
                    Some(name) => format!("the loss and with it the gradient of `{name}`"),
                    None => "the loss".to_owned(),
                },
            });
        }
        let Self { optimizer, workers, theta, grads, .. } = self;
        Ok(match optimizer.step(workers, lr, theta, grads)? {
            Outcome::Skipped { parameter } => {
                let name = optimizer.parameter(parameter).unwrap_or_default();
                Step::BadGradient { what: format!("the gradient of `{name}`") }
            }
            Outcome::Stepped => match optimizer.non_finite_statistic() {
                Some(parameter) => Step::BadStatistic { parameter: parameter.to_owned() },
                None => Step::Taken,
            },
        })
    }

    /// The first parameter, in the order of the layout, with a value that is not finite.
    fn first_bad(&self, values: &[f32]) -> Option<&str> {
        let mut params = self.layout.params().iter();
        let bad = params.find(|param| !all_finite(&values[param.range.clone()]))?;
        Some(&bad.name)
    }
}

impl Weights for FlatWeights {
    fn scale_decay(&mut self, factor: f64) {
        self.optimizer.scale_decay(factor);
    }

    fn skipped(&self) -> Result<u64, TrainError> {
        Ok(self.optimizer.skipped())
    }

    fn reports(&self) -> Result<Vec<(String, Report)>, TrainError> {
        Ok(self.optimizer.reports().map(|(name, report)| (name.to_owned(), report)).collect())
    }

    fn squares(&self) -> Result<Vec<(String, f64)>, TrainError> {
        let squares = self.layout.params().iter().map(|param| {
            let total = match cpr_core::measure(&L2, &self.theta[param.range.clone()]) {
                Statistic::Sum { total, .. } => total,
                Statistic::Moments { .. } => f64::NAN,
            };
            (param.name.clone(), total)
        });
        Ok(squares.collect())
    }

    fn first_non_finite(&self) -> Result<Option<String>, TrainError> {
        Ok(self.first_bad(&self.theta).map(str::to_owned))
    }

    fn groups(&self) -> String {
        self.grouping.table(&self.layout)
    }

    fn checkpoint<R>(
        &self,
        meta: Meta,
        write: impl FnOnce(&CheckpointWriter<'_>) -> R,
    ) -> Result<R, TrainError> {
        let section = Section {
            name: &self.name,
            t: self.optimizer.steps(),
            skipped: self.optimizer.skipped(),
            rescale_norm: self.optimizer.rescale_norm(),
            awd_average: self.optimizer.awd_average(),
        };
        let meta = Meta { optimizer: Some(section.of_step(meta.step)), ..meta };
        let mut writer = CheckpointWriter::new(meta);
        for param in self.layout.params() {
            writer = writer.tensor(&param.name, &param.shape, &self.theta[param.range.clone()]);
        }
        let state = self.optimizer.state();
        Ok(write(&self.optimizer.write(&self.layout, &state, writer)))
    }

    fn take(
        &mut self,
        path: &Path,
        meta: &Meta,
        mut tensors: Tensors,
        take: Take,
        target: Target,
    ) -> Result<Taken, TrainError> {
        let layout = &self.layout;
        let mut names = BTreeSet::new();
        for param in layout.params() {
            // What is missing is remembered, and named below.
            if let Ok(values) = tensors.take_f32(&param.name, &param.shape) {
                self.theta[param.range.clone()].copy_from_slice(&values);
                names.insert(param.name.as_str());
            }
        }
        if take.reset_optimizer {
            tensors.discard_optimizer();
        }
        let stored = tensors.has_constraints();
        let own = self.optimizer.reports().next().is_some();
        let mut t = None;
        let mut afresh = Vec::new();
        if take.reset_optimizer {
            self.optimizer.take_constraints(&self.theta, &mut tensors, |_| false, false)?;
        } else {
            let at = section::t(path, meta)?;
            t = self.optimizer.take_moments(layout, &mut tensors, at)?.then_some(at);
            // Whether a run has constraints follows from its optimizer: only a new run may have another.
            let wanted = stored || target == Target::SameRun;
            afresh = self.optimizer.take_constraints(
                &self.theta,
                &mut tensors,
                |name| wanted && names.contains(name),
                take.partial,
            )?;
        }
        let constraints = match (stored, own) {
            (false, false) => Constraints::Absent,
            (true, true) => Constraints::Kept { afresh },
            (false, true) => Constraints::Afresh,
            (true, false) if target == Target::SameRun => Constraints::Absent,
            (true, false) => Constraints::LeftBehind(tensors.discard_constraints()),
        };
        let weights = names.len();
        let policy = if take.partial { Policy::Partial } else { Policy::Strict };
        let binding = tensors.finish(policy)?;
        if let Some(norm) = section::rescale_norm(path, meta)? {
            self.optimizer.set_rescale_norm(norm);
        } else {
            self.optimizer.rescale(&mut self.theta);
        }
        // The average goes with the moments: without them it starts afresh too.
        if let Some(average) = section::awd_average(path, meta)?.filter(|_| t.is_some())
            && !self.optimizer.set_awd_average(average)
        {
            return Err(TrainError::BadMeta { path: path.to_owned(), field: "awd_average" });
        }
        if target == Target::SameRun {
            self.optimizer.set_skipped(meta.non_finite.steps);
        }
        Ok(Taken {
            path: path.to_owned(),
            kind: meta.kind.clone(),
            step: meta.step,
            optimizer: meta.optimizer.as_ref().map(|optimizer| optimizer.name.clone()),
            weights,
            t,
            constraints,
            binding,
        })
    }
}
