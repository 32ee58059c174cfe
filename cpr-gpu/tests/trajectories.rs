//! Recorded trajectories of the published code through Candle variables: on the optimizer's CPU path, and with the
//! feature `cuda` on its CUDA path, where there is a device for it.

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

/// The optimizer over variables of a device, as a user makes it.
struct Candle {
    device: Device,
    run: Option<(Optim<Recorded>, Named)>,
    ran: u64,
}

impl Candle {
    const fn on(device: Device) -> Self {
        Self { device, run: None, ran: 0 }
    }

    /// The path that must have run, and what a step says on it.
    const fn expected(&self) -> (Path, Outcome) {
        match self.device {
            Device::Cuda(_) => (Path::Cuda, Outcome::Queued),
            _ => (Path::Cpu, Outcome::Stepped),
        }
    }

    fn tensor(&self, values: &[f64], dtype: DType) -> candle_core::Result<Tensor> {
        Tensor::new(values, &Device::Cpu)?.to_dtype(dtype)?.to_device(&self.device)
    }
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
                Var::from_tensor(&self.tensor(&parameter.init, dtype)?)?,
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
        let (_, vars) = self.run.as_ref().ok_or("not started")?;
        let mut store = GradStore::default();
        for ((_, var), grads) in vars.iter().zip(grads) {
            store.insert(var, self.tensor(grads, var.dtype())?);
        }
        let expected = self.expected();
        let (optimizer, _) = self.run.as_mut().ok_or("not started")?;
        candle_nn::Optimizer::set_learning_rate(optimizer, lr);
        assert_eq!((optimizer.path(), optimizer.apply(&store)?), expected);
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

fn replay_all(folder: &File, device: &Device) -> usize {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let mut kinds = BTreeSet::new();
    for file in &files {
        let mut engine = Candle::on(device.clone());
        let report = check_file_on(file, &mut engine).unwrap();
        assert!(report.passed, "{}: {:?}", file.display(), report.complaints());
        assert!(report.largest.theta.is_some() && engine.ran >= 10, "{}", file.display());
        kinds.insert((report.kind, report.precision));
    }
    assert_eq!(kinds.iter().map(|(kind, _)| kind).collect::<BTreeSet<_>>().len(), 4);
    files.len()
}

/// Every recording of the repository, and of the shared folder where the checkout has one beside it.
fn everything_passes_on(device: &Device) {
    // Where the test runs, not where it was compiled: scripts/gpu-check.sh runs it on another machine, from the root.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| "cpr-gpu".into());
    let package = File::new(&package);
    assert_eq!(replay_all(&package.join("../tests/data/trajectories"), device), 11);
    let shared = package.join("../../shared/golden/trajectories");
    if !shared.is_dir() {
        eprintln!("skipped the shared recordings: there is no folder {}", shared.display());
        return;
    }
    let replayed = replay_all(&shared, device);
    assert!(replayed >= 178);
    eprintln!("{replayed} shared recordings passed on {:?}", device.location());
}

#[test]
fn every_recording_passes_on_the_cpu() {
    everything_passes_on(&Device::Cpu);
}

#[test]
#[cfg(feature = "cuda")]
fn every_recording_passes_on_cuda() {
    match Device::new_cuda(0) {
        Ok(device) => everything_passes_on(&device),
        Err(error) => println!("skipped: there is no CUDA device ({error})"),
    }
}
