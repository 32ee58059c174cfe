//! Recorded trajectories of the published code through the Candle variables of the optimizer's CPU path.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test by panicking")]

use std::{collections::BTreeSet, fs, path::Path as File};

use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use cpr_core::{AnyRegularizer, ConfigError, ConstraintConfig};
use cpr_gpu::{
    Base, Builder, Groups, Optim, Outcome, Override, Path, Strict, group::Values, optim::Params,
};
use cpr_host::conformance::{
    BaseChoice, EngineError, Precision, ReplayEngine, ReplaySetup, Standing, check_file_on,
};

/// The base of a recording as hyperparameters.
#[derive(Clone, Debug)]
struct Recorded {
    lr: f64,
    base: Base,
}

impl Params for Recorded {
    const NAME: &'static str = "recorded";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn decay(&self) -> f64 {
        0.0
    }

    fn base(&self, _decay: Option<f64>) -> Result<Base, ConfigError> {
        Ok(self.base)
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        None
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// Variables with their names.
type Named = Vec<(String, Var)>;

/// The optimizer over variables, as a user makes it.
#[derive(Default)]
struct Candle {
    run: Option<(Optim<Recorded>, Named)>,
    ran: u64,
}

fn tensor(values: &[f64], dtype: DType) -> candle_core::Result<Tensor> {
    Tensor::new(values, &Device::Cpu)?.to_dtype(dtype)
}

fn wide(values: Values) -> Vec<f64> {
    match values {
        Values::F32(values) => values.into_iter().map(f64::from).collect(),
        Values::F64(values) => values,
    }
}

impl ReplayEngine for Candle {
    fn start(&mut self, setup: &ReplaySetup) -> Result<(), EngineError> {
        let dtype = match setup.precision {
            Precision::F32 => DType::F32,
            Precision::F64 => DType::F64,
        };
        let base = match setup.base {
            BaseChoice::Sgd(base) => Base::Sgd(base),
            BaseChoice::Momentum(base) => Base::Momentum(base),
            BaseChoice::Adam(base) => Base::Adam(base),
            BaseChoice::AmsGrad(base) => Base::AmsGrad(base),
            BaseChoice::DecayedAdam(base) => Base::DecayedAdam(base),
            BaseChoice::DecayedAmsGrad(base) => Base::DecayedAmsGrad(base),
        };
        let mut vars = Vec::new();
        let mut groups = Groups::everything();
        for parameter in &setup.parameters {
            vars.push((
                parameter.name.clone(),
                Var::from_tensor(&tensor(&parameter.init, dtype)?)?,
            ));
            if let Some(rule) = parameter.constraint {
                groups = groups.with(Override::new(&parameter.name)?.constraint(*rule.config()));
            }
        }
        let optimizer = Builder::new(Recorded { lr: 0.0, base })
            .groups(groups)
            .strict(Strict::On)
            .threads(2.try_into()?)
            .from_named(vars.clone())?;
        self.run = Some((optimizer, vars));
        Ok(())
    }

    fn step(&mut self, lr: f64, grads: &[Vec<f64>]) -> Result<(), EngineError> {
        let (optimizer, vars) = self.run.as_mut().ok_or("not started")?;
        let mut store = GradStore::default();
        for ((_, var), grads) in vars.iter().zip(grads) {
            store.insert(var, tensor(grads, var.dtype())?);
        }
        candle_nn::Optimizer::set_learning_rate(optimizer, lr);
        assert_eq!(optimizer.path(), Path::Cpu);
        assert_eq!(optimizer.apply(&store)?, Outcome::Stepped);
        self.ran += 1;
        Ok(())
    }

    fn standings(&self) -> Result<Vec<Standing>, EngineError> {
        let (optimizer, vars) = self.run.as_ref().ok_or("not started")?;
        let mut standings = Vec::new();
        for (name, var) in vars {
            let state = optimizer.state_of(name)?;
            standings.push(Standing {
                // What the user sees: the variable itself.
                theta: var.to_dtype(DType::F64)?.to_vec1()?,
                moments: state.moments.into_iter().map(wide).collect(),
                report: state.constraint.map(|constraint| constraint.report()),
            });
        }
        Ok(standings)
    }
}

fn replay_all(folder: &File) -> usize {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let mut kinds = BTreeSet::new();
    for file in &files {
        let mut engine = Candle::default();
        let report = check_file_on(file, &mut engine).unwrap();
        assert!(report.passed, "{}: {:?}", file.display(), report.complaints());
        assert!(report.largest.theta.is_some() && engine.ran >= 10, "{}", file.display());
        kinds.insert((report.kind, report.precision));
    }
    assert_eq!(kinds.iter().map(|(kind, _)| kind).collect::<BTreeSet<_>>().len(), 4);
    files.len()
}

#[test]
fn the_selection_passes_on_the_cpu() {
    let folder = File::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/trajectories");
    assert_eq!(replay_all(&folder), 11);
}

#[test]
fn every_shared_recording_passes_on_the_cpu() {
    let folder = File::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden/trajectories");
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return;
    }
    assert!(replay_all(&folder) >= 178);
}
