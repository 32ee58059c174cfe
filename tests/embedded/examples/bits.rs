//! Prints what every case comes to on the machine that runs it: compare the outputs of two.
//!
//! Beside the firmware's cases: every regularizer, order and step rule, with Adam and SGD, in f32 and f64, on
//! more elements than a chunk holds.

use cpr_core::base::{Adam, AdamConfig, Base, Sgd, SgdConfig};
use cpr_core::{
    AnyRegularizer, BoundInit, ConstraintConfig, ConstraintRule, Order, Real, Shard, StepRule,
    constrained_step,
};
use cpr_embedded::head::Head;
use cpr_embedded::problem::{
    Buffers, adam, differentiate_only, regularizers, sgd, train, train_free, train_set,
};
use cpr_embedded::windows::{FRESH, TRAINING};

const ELEMENTS: usize = 5003;
const STEPS: u64 = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut two, mut none) = (Buffers::<2>::ZERO, Buffers::<0>::ZERO);
    println!("{:?}", differentiate_only(&mut none));
    println!("{:?}", train_free(adam(), &mut two));
    println!("{:?}", train_set(adam(), &mut two));
    let mut head = Head::ZERO;
    let learnt = head.learn(&TRAINING, &FRESH).ok_or("the head cannot learn")?;
    println!("{learnt:?}");
    learnt.tell(|text| print!("{}", String::from_utf8_lossy(text)));
    for regularizer in regularizers().into_iter().flatten() {
        println!("{:?}", train(regularizer, adam(), &mut two));
        println!("{:?}", train(regularizer, sgd(), &mut none));
        for order in [Order::AfterBase, Order::BeforeBase] {
            for step_rule in [StepRule::Gradient, StepRule::Proximal] {
                let config = ConstraintConfig {
                    order,
                    step_rule,
                    mu: 0.02,
                    ..ConstraintConfig::new(regularizer, BoundInit::Dependent(0.5))
                };
                let (adam, sgd) =
                    (Adam::new(AdamConfig::default())?, Sgd::new(SgdConfig::default())?);
                sweep::<f32, _, 2>(config, adam)?;
                sweep::<f64, _, 2>(config, adam)?;
                sweep::<f32, _, 0>(config, sgd)?;
                sweep::<f64, _, 0>(config, sgd)?;
            }
        }
    }
    Ok(())
}

fn sweep<T: Real, B: Base<T, M>, const M: usize>(
    config: ConstraintConfig<AnyRegularizer>,
    base: B,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut seed = 3u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        T::from_f64(f64::from(seed) / f64::from(1u32 << 31) - 1.0)
    };
    let mut theta: Vec<T> = (0..ELEMENTS).map(|_| random()).collect();
    let mut moments = [(); M].map(|()| vec![T::ZERO; ELEMENTS]);
    let mut constraint = ConstraintRule::new(config)?.start_from(&theta)?;
    for t in 1..=STEPS {
        let grad: Vec<T> = theta.iter().map(|&x| random() - x).collect();
        let moments = moments.each_mut().map(|moment| moment.as_mut_slice());
        let shard = Shard::new(&mut theta, &grad, moments)?;
        constrained_step(&mut constraint, &base.at(t, 0.02), 0.02, shard);
    }
    let digest = theta.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, x| {
        (hash ^ Real::to_f64(*x).to_bits()).wrapping_mul(0x0100_0000_01b3)
    });
    let report = constraint.report();
    println!("{digest:016x} {:016x} {:016x}", report.value.to_bits(), report.lambda.to_bits());
    Ok(())
}
