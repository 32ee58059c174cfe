use std::path::Path;

use super::*;
use crate::{
    cli::{self, Command},
    optim::{BaseSpec, DecayRule},
};

fn config(flags: &str) -> GrokkingConfig {
    let line = ["cpr", "grokking"].into_iter().chain(flags.split_whitespace());
    match cli::parse(line) {
        Ok(Command::Grokking { config, .. }) => *config,
        other => panic!("{flags}: {other:?}"),
    }
}

fn refusal(flags: &str) -> String {
    let line = ["cpr", "grokking"].into_iter().chain(flags.split_whitespace());
    cli::parse(line).expect_err(flags).to_string()
}

fn with_threads(mut config: GrokkingConfig, threads: usize) -> GrokkingConfig {
    config.run.threads = threads;
    config
}

fn toml(text: &str) -> Result<GrokkingConfig, ConfigError> {
    GrokkingConfig::from_toml(text, Path::new("run.toml"))
}

/// A value other than the default for each key, with what else it needs to have an effect.
const OTHER: &[(&str, &str, &str)] = &[
    ("seed", "7", ""),
    ("threads", "2", ""),
    ("steps", "40", ""),
    ("epochs", "3", ""),
    ("stop_at_accuracy", "0.99", ""),
    ("eval_every", "1", ""),
    ("checkpoint_every", "0", ""),
    ("keep", "0", ""),
    ("out", "elsewhere/runs", ""),
    ("name", "first", ""),
    ("skip_finite_check", "true", ""),
    ("max_bad_steps", "3", ""),
    ("p", "97", ""),
    ("train_fraction", "0.5", ""),
    ("batch", "64", ""),
    ("dim", "64", ""),
    ("heads", "8", ""),
    ("mlp_ratio", "2", ""),
    ("optimizer", "sgd", ""),
    ("lr", "0.3", ""),
    ("schedule", "cosine", ""),
    ("warmup", "10", ""),
    ("min_lr_factor", "0.5", "--schedule linear"),
    ("clip", "1.5", ""),
    ("beta1", "0.8", ""),
    ("beta2", "0.999", ""),
    ("eps", "1e-6", ""),
    ("amsgrad", "true", ""),
    ("momentum", "0.5", "--optimizer sgd"),
    ("dampening", "0.1", "--optimizer sgd"),
    ("nesterov", "true", "--optimizer sgdcpr"),
    ("weight_decay", "0.7", "--optimizer adamw"),
    ("weight_decay_end", "0.1", "--optimizer adamw"),
    ("adadecay_alpha", "2.0", "--optimizer adadecay"),
    ("p_norm", "1.2", "--optimizer padam"),
    ("lambda_p", "0.25", "--optimizer padam"),
    ("padam_late", "true", "--optimizer padam"),
    ("rescale_factor", "2.5", "--optimizer rescale"),
    ("reg", "huber=0.5", ""),
    ("kappa_init", "uniform=3.5", ""),
    ("inflection_smoothing", "0.9", "--kappa-init inflection=5"),
    ("inflection_burn_in", "100", "--kappa-init inflection=5"),
    ("adaptive", "on-release", ""),
    ("mu", "0.25", ""),
    ("order", "before-base", ""),
    ("step_rule", "proximal", ""),
    ("guard", "false", ""),
    ("scale_by_lr", "true", ""),
    ("regularize_embeddings", "false", ""),
];

#[test]
fn every_key_by_flag_by_set_and_through_config_toml() {
    let listed: Vec<_> = OTHER.iter().map(|&(key, ..)| key.to_owned()).collect();
    assert_eq!(listed, GrokkingConfig::keys(), "one row for each key");
    for &(key, value, needs) in OTHER {
        let flag = key.replace('_', "-");
        let by_flag = config(&format!("{needs} --{flag} {value}"));
        assert_ne!(by_flag, config(needs), "{key} changes something");
        assert_eq!(by_flag, config(&format!("{needs} --set {key}={value}")), "{key}");
        assert_eq!(by_flag, config(&format!("{needs} --set {flag}={value}")), "{key}");

        let text = by_flag.to_toml().unwrap();
        let written = text.lines().any(|line| line.starts_with(&format!("{key} = ")));
        assert_eq!(written, key != "threads", "{key}: {text}");
        let threads = by_flag.run.threads;
        assert_eq!(with_threads(toml(&text).unwrap(), threads), by_flag, "{text}");
        assert_eq!(by_flag.resolved().unwrap(), by_flag, "{key}: resolved once for all");
    }
}

#[test]
fn the_flags_and_the_struct_have_the_same_defaults() {
    let matches = GrokkingConfig::flags().try_get_matches_from(["grokking"]).unwrap();
    let parsed = <GrokkingConfig as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
    assert_eq!(parsed, GrokkingConfig::default());
}

#[test]
fn later_layers_win() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    std::fs::write(&file, "lr = 0.5\nseed = 5\nbatch = 64\n# κ\nkappa_init = \"uniform=2\"\n")
        .unwrap();
    let file = file.display();
    let layered = config(&format!("--config {file} --set batch=8 --lr 0.25 --batch 16"));
    assert_eq!((layered.run.seed, layered.optim.lr, layered.batch), (5, 0.25, 8));
    assert_eq!(layered.optim.constraint.kappa_init, KappaInit::Uniform(2.0));
    assert_eq!(layered.optim.beta2, 0.98);
    // A flag that repeats the default still overrides the file.
    assert_eq!(config(&format!("--config {file} --lr 0.001")).optim.lr, 0.001);
    // The last --set of a key wins.
    assert_eq!(config("--set seed=3 --set seed=4").run.seed, 4);
    // A file may hold keys of another optimizer.
    assert_eq!(
        config(&format!("--config {file} --optimizer adam")).optim.optimizer,
        OptimizerChoice::Adam
    );
}

#[test]
fn resolving_fills_in_what_the_optimizer_and_the_regularizer_choose() {
    assert_eq!(config("--optimizer adamw").optim.weight_decay, Some(0.1));
    assert_eq!(config("--optimizer adam").optim.weight_decay, Some(0.0));
    let l2 = config("").optim;
    assert_eq!(
        (l2.weight_decay, l2.constraint.mu, l2.constraint.scale_by_lr),
        (None, Some(1.0), Some(false))
    );
    assert_eq!(l2.constraint.order, Some(OrderChoice::AfterBase));
    let lp = config("--reg lp=0.8").optim.constraint;
    assert_eq!((lp.mu, lp.scale_by_lr), (Some(0.1), Some(true)));
    assert_eq!(lp.order, Some(OrderChoice::BeforeBase));
    let sgd = config("--optimizer sgd").to_toml().unwrap();
    assert!(sgd.contains("momentum = 0.9") && !sgd.contains("beta1") && !sgd.contains("kappa"));
}

#[test]
fn every_form_is_read_and_written_as_the_same_text() {
    for form in [
        "dependent=0.8",
        "uniform=0",
        "uniform=inf",
        "per-element=0.01",
        "warm-start=250",
        "warm-start=2x --warmup 5",
        "warm-start=0.5x --warmup 5",
        "inflection --warmup 50",
        "inflection=20",
    ] {
        let config = config(&format!("--kappa-init {form}"));
        assert_eq!(
            Some(config.optim.constraint.kappa_init.to_string().as_str()),
            form.split(' ').next()
        );
    }
    for form in ["l2", "l1", "std", "huber=0.25", "lp=0.8", "lp=2", "lp=3.5"] {
        assert_eq!(config(&format!("--reg {form}")).optim.constraint.reg.to_string(), form);
    }
    assert_eq!(config("--reg huber").optim.constraint.reg, RegularizerChoice::Huber(1.0));
    for form in ["constant", "cosine", "linear", "polynomial=2", "wsd=100"] {
        assert_eq!(config(&format!("--schedule {form}")).optim.schedule.to_string(), form);
    }
    for form in ["off", "on-release", "while-inactive"] {
        assert_eq!(
            config(&format!("--adaptive {form}")).optim.constraint.adaptive.to_string(),
            form
        );
    }
    for form in ["after-base", "before-base"] {
        assert_eq!(
            config(&format!("--order {form}")).optim.constraint.order.unwrap().to_string(),
            form
        );
    }
    for form in ["gradient", "proximal"] {
        assert_eq!(
            config(&format!("--step-rule {form}")).optim.constraint.step_rule.to_string(),
            form
        );
    }
    for form in [
        "adamcpr", "adamw", "adam", "sgd", "sgdcpr", "padam", "adaml1", "adaml32", "adadecay",
        "awd", "amos", "rescale",
    ] {
        assert_eq!(config(&format!("--optimizer {form}")).optim.optimizer.to_string(), form);
    }
    for (form, value) in [("", true), ("=true", true), ("=false", false), (" false", false)] {
        assert_eq!(config(&format!("--amsgrad{form}")).optim.amsgrad, value);
        assert_eq!(config(&format!("--guard{form}")).optim.constraint.guard, value);
        assert_eq!(
            config(&format!("--scale-by-lr{form}")).optim.constraint.scale_by_lr,
            Some(value)
        );
    }
}

#[test]
fn each_optimizer_becomes_its_rules() {
    let spec = |flags: &str| config(flags).optim.spec().unwrap();
    let moments = |flags: &str| {
        let spec = spec(flags);
        (spec.regularized.moments(), spec.free.moments(), spec.constraint.is_some())
    };
    assert_eq!(moments(""), (2, 2, true));
    assert_eq!(moments("--amsgrad"), (3, 3, true));
    assert_eq!(moments("--optimizer sgdcpr"), (1, 1, true));
    assert_eq!(moments("--optimizer sgdcpr --momentum 0"), (0, 0, true));
    assert_eq!(moments("--optimizer sgd --nesterov"), (1, 1, false));
    assert_eq!(moments("--optimizer padam"), (2, 2, false));

    use cpr_core::base::WeightDecay;
    let adam = |base| match base {
        BaseSpec::Adam(adam) => adam.config().weight_decay,
        other => panic!("{other:?}"),
    };
    let adamw = spec("--optimizer adamw");
    assert_eq!(adam(adamw.regularized), WeightDecay::Decoupled(0.1));
    assert_eq!(adam(adamw.free), WeightDecay::None);
    let coupled = spec("--optimizer adam --weight-decay 0.5");
    assert_eq!(adam(coupled.regularized), WeightDecay::Coupled(0.5));
    assert_eq!(adam(coupled.free), WeightDecay::None);
    let rescale = spec("--optimizer rescale --rescale-factor 4 --clip 1");
    assert_eq!((rescale.rescale, rescale.clip, rescale.lr), (Some(4.0), Some(1.0), 1e-3));
    assert!(matches!(spec("--optimizer padam").regularized, BaseSpec::DecayedAdam(_)));
    use cpr_core::base::Decay;
    let decay = |flags: &str| match spec(flags).regularized {
        BaseSpec::DecayedAdam(decayed) => *decayed.decay(),
        other => panic!("{other:?}"),
    };
    let l1 = decay("--optimizer adaml1 --lambda-p 0.5 --weight-decay 0.25");
    assert_eq!(l1, Decay::L1 { lambda: 0.5, weight_decay: 0.25 });
    assert_eq!(decay("--optimizer adaml32"), Decay::ThreeHalves { lambda: 1e-3 });

    let awd = spec("--optimizer awd");
    assert_eq!(adam(awd.regularized), WeightDecay::Decoupled(0.01));
    assert_eq!(adam(awd.free), WeightDecay::None);
    assert_eq!(awd.decay, DecayRule::Awd(cpr_core::base::Awd::default()));
    let adadecay = spec("--optimizer adadecay --adadecay-alpha 8 --weight-decay 0.2 --amsgrad");
    let DecayRule::AdaDecay(rule) = adadecay.decay else { panic!("{adadecay:?}") };
    assert_eq!((rule.config().alpha, rule.config().weight_decay), (8.0, 0.2));
    assert!(matches!(adadecay.regularized, BaseSpec::AmsGrad(_)));
    let amos = |base| match base {
        BaseSpec::Amos(amos) => *amos.config(),
        other => panic!("{other:?}"),
    };
    let own = spec("--optimizer amos --beta1 0 --beta2 0.5 --weight-decay 0.1");
    let expected = cpr_core::base::AmosConfig { beta: 0.5, momentum: 0.0, extra_l2: 0.1 };
    assert_eq!(amos(own.regularized), expected);
    assert_eq!(amos(own.free).extra_l2, 0.0);
    assert_eq!((own.regularized.moments(), own.decay), (0, DecayRule::Constant));
    assert_eq!(moments("--optimizer amos"), (1, 1, false));
    let schedule =
        config("--optimizer adamw --weight-decay-end 100").optim.decay_schedule(7).unwrap();
    assert_eq!((schedule.end(), schedule.steps()), (100.0, 7));

    let rule = *spec("--reg std --kappa-init warm-start=2x --warmup 50 --mu 0.5 --guard false")
        .constraint
        .unwrap()
        .config();
    assert_eq!(rule.bound, cpr_core::BoundInit::WarmStart(100));
    assert_eq!(rule.regularizer, cpr_core::Std.into());
    assert_eq!((rule.mu, rule.guard, rule.scale_by_lr), (0.5, false, false));
    let inflection = "--kappa-init inflection --warmup 50 --inflection-burn-in 9";
    let expected = cpr_core::Inflection { interval: 5, smoothing: None, burn_in: 9 };
    let bound = spec(inflection).constraint.unwrap().config().bound;
    assert_eq!(bound, cpr_core::BoundInit::Inflection(expected));
}

#[test]
fn length_of_the_run() {
    let config = |steps, epochs| RunConfig { steps, epochs, ..Default::default() };
    assert_eq!(config(0, 1000).total_steps(8), 8000);
    assert_eq!(config(17, 1000).total_steps(8), 17);
}

/// Flags and the message that they get.
const BAD_FLAGS: &[(&str, &str)] = &[
    ("--seed -1", "--seed -1: expected a whole number, 0 or more"),
    ("--seed 9223372036854775808", "--seed 9223372036854775808: it must be at most 2^63 - 1"),
    ("--threads 1025", "--threads 1025: it must be at most 1024"),
    ("--steps 1e4", "--steps 1e4: expected a whole number, 0 or more"),
    ("--epochs 0", "--epochs 0: it must be at least 1"),
    ("--steps 5 --epochs 3", "--epochs 3: has no effect with --steps 5"),
    ("--stop-at-accuracy 0", "--stop-at-accuracy 0: it must be in (0, 1]"),
    ("--stop-at-accuracy 99", "--stop-at-accuracy 99: it must be in (0, 1]"),
    ("--eval-every 0", "--eval-every 0: it must be at least 1"),
    ("--max-bad-steps 0", "--max-bad-steps 0: it must be at least 1"),
    ("--out=", "--out needs a value"),
    (
        "--name ..",
        "--name \"..\": it starts with `.` or `-`; use letters, digits and `.`, `_`, `-`, `+`, `=`",
    ),
    (
        "--name a/b",
        "--name \"a/b\": it has other characters; use letters, digits and `.`, `_`, `-`, `+`, `=`",
    ),
    ("--p 1", "--p 1: it must be 2 to 2048"),
    ("--p 100000", "--p 100000: it must be 2 to 2048"),
    ("--train-fraction 1", "--train-fraction 1: it must be in (0, 1)"),
    ("--train-fraction nan", "--train-fraction NaN: it must be in (0, 1)"),
    (
        "--p 2 --train-fraction 0.1",
        "--train-fraction 0.1: it must leave at least one of the p^2 pairs on each side",
    ),
    ("--batch 0", "--batch 0: it must be 1 to 2^24"),
    ("--heads 0", "--heads 0: it must be at least 1"),
    ("--heads 3", "dim = 128: it must be a multiple of --heads 3"),
    ("--dim 0", "--dim 0: it must be 1 to 16384"),
    ("--mlp-ratio 65", "--mlp-ratio 65: it must be 1 to 64"),
    (
        "--optimizer adamx",
        "--optimizer adamx: expected one of adamcpr, adamw, adam, sgd, sgdcpr, padam, adaml1, adaml32, adadecay, awd, amos, rescale",
    ),
    ("--lr 0", "--lr 0: it must be finite and above 0"),
    ("--lr=-1e-3", "--lr -0.001: it must be finite and above 0"),
    ("--lr inf", "--lr inf: it must be finite and above 0"),
    ("--lr fast", "--lr fast: expected a number"),
    ("--lr", "--lr needs a value"),
    ("--lr 1 --lr 2", "--lr is given twice"),
    (
        "--schedule exp",
        "--schedule exp: expected constant, cosine, linear, polynomial=POWER or wsd=STEPS (of the decay)",
    ),
    ("--schedule polynomial=0", "--schedule polynomial=0: the power must be finite and above 0"),
    (
        "--schedule wsd=0",
        "--schedule wsd=0: wsd decays over 0 steps: give it at least 1, or choose constant",
    ),
    (
        "--steps 10 --warmup 11",
        "--warmup 11: 11 steps of warm-up and 0 of decay do not fit into 10 steps: shorten them, or train longer",
    ),
    (
        "--steps 10 --schedule wsd=8 --warmup 3",
        "--schedule wsd=8: 3 steps of warm-up and 8 of decay do not fit into 10 steps: shorten them, or train longer",
    ),
    ("--min-lr-factor 0.5", "--min-lr-factor 0.5: has no effect with --schedule constant"),
    ("--schedule cosine --min-lr-factor 2", "--min-lr-factor 2: it must be in [0, 1]"),
    ("--clip 0", "--clip 0: it must be above 0, or inf for none"),
    ("--beta1 1", "--beta1 1: it must be in [0, 1)"),
    ("--beta2 -0.5", "--beta2 -0.5: it must be in [0, 1)"),
    ("--eps -1", "--eps -1: it must be finite and at least 0"),
    ("--amsgrad maybe", "--amsgrad maybe: expected one of true, false"),
    ("--optimizer padam --amsgrad", "--amsgrad true: has no effect with --optimizer padam"),
    ("--optimizer sgd --momentum 1", "--momentum 1: it must be in [0, 1)"),
    ("--optimizer sgd --dampening 2", "--dampening 2: it must be in [0, 1]"),
    (
        "--optimizer sgd --nesterov --momentum 0",
        "--nesterov true: nesterov needs momentum > 0 and dampening = 0",
    ),
    (
        "--optimizer sgd --dampening 0.5 --momentum 0",
        "--dampening 0.5: it must be 0 where momentum is 0",
    ),
    ("--momentum 0.5", "--momentum 0.5: has no effect with --optimizer adamcpr"),
    ("--weight-decay 0.1", "--weight-decay 0.1: has no effect with --optimizer adamcpr"),
    ("--optimizer adamw --weight-decay -1", "--weight-decay -1: it must be finite and at least 0"),
    ("--optimizer amos --weight-decay -1", "--weight-decay -1: it must be finite and at least 0"),
    ("--optimizer amos --beta1 1", "--beta1 1: it must be in [0, 1)"),
    ("--optimizer amos --beta2 1", "--beta2 1: it must be in [0, 1)"),
    ("--optimizer amos --eps 0.5", "--eps 0.5: has no effect with --optimizer amos"),
    ("--optimizer adadecay --adadecay-alpha 101", "--adadecay-alpha 101: it must be in [0, 100]"),
    ("--adadecay-alpha 0.5", "--adadecay-alpha 0.5: has no effect with --optimizer adamcpr"),
    (
        "--optimizer adamw --weight-decay-end -1",
        "--weight-decay-end -1: it must be finite and at least 0",
    ),
    ("--weight-decay-end 0.5", "--weight-decay-end 0.5: has no effect with --optimizer adamcpr"),
    ("--optimizer adaml1 --lambda-p -1", "--lambda-p -1: it must be finite and at least 0"),
    ("--optimizer adaml32 --lambda-p inf", "--lambda-p inf: it must be finite and at least 0"),
    ("--optimizer padam --p-norm 0", "--p-norm 0: it must be above 0 and at most 64"),
    ("--optimizer padam --lambda-p nan", "--lambda-p NaN: it must be finite and at least 0"),
    ("--optimizer rescale --rescale-factor 0", "--rescale-factor 0: it must be finite and above 0"),
    (
        "--optimizer adamw --kappa-init uniform=1",
        "--kappa-init uniform=1: has no effect with --optimizer adamw",
    ),
    ("--set optimizer=adamw --set mu=1", "--set mu=1.0: has no effect with --optimizer adamw"),
    ("--reg l3", "--reg l3: expected l2, l1, std, huber, huber=DELTA or lp=P (numbers)"),
    ("--reg lp=0", "--reg lp=0: its number must be above 0 and at most 64"),
    ("--reg huber=nan", "--reg huber=NaN: its number must be finite and above 0"),
    (
        "--reg lp=0.5 --order after-base",
        "--order after-base: an lp bound with p = 0.5 <= 1 needs the order BeforeBase: after an Adam step R cannot get below a floor set by the learning rate, and lambda winds up",
    ),
    (
        "--kappa-init dependent",
        "--kappa-init dependent: expected dependent=K, uniform=K, per-element=K (numbers), warm-start=STEPS, warm-start=2x (times the warm-up), inflection or inflection=STEPS",
    ),
    ("--kappa-init dependent=0", "--kappa-init dependent=0: its number must be finite and above 0"),
    ("--kappa-init uniform=-1", "--kappa-init uniform=-1: its number must be at least 0"),
    ("--kappa-init uniform=nan", "--kappa-init uniform=NaN: its number must be at least 0"),
    ("--kappa-init warm-start=0", "--kappa-init warm-start=0: it must be at least 1 step"),
    (
        "--kappa-init warm-start=2x",
        "--kappa-init warm-start=2x: it is measured in learning-rate warm-ups: give --warmup, or a number of steps",
    ),
    (
        "--kappa-init warm-start=-1x --warmup 9",
        "--kappa-init warm-start=-1x: its number must be finite and above 0",
    ),
    (
        "--kappa-init inflection",
        "--kappa-init inflection: it is measured in learning-rate warm-ups: give --warmup, or a number of steps",
    ),
    ("--kappa-init inflection=0", "--kappa-init inflection=0: it must be at least 1 step"),
    (
        "--kappa-init inflection=5 --inflection-smoothing 1",
        "--inflection-smoothing 1: it must be in [0, 1)",
    ),
    (
        "--inflection-burn-in 5",
        "--inflection-burn-in 5: has no effect with --kappa-init dependent=0.8",
    ),
    (
        "--reg std --kappa-init per-element=1",
        "--kappa-init per-element=1: a bound per element needs a regularizer that is a sum over elements: for std give the bound on R itself",
    ),
    ("--mu -1", "--mu -1: it must be finite and at least 0"),
    ("--order during", "--order during: expected one of after-base, before-base"),
    ("--lrr 1", "unknown argument `--lrr`"),
    ("--set lr=-1", "--set lr=-1: it must be finite and above 0"),
    ("--set lr=fast", "--set lr=fast: expected a number"),
    ("--set learning_rat=1", "--set: unknown key `learning_rat`: did you mean `lr`?"),
    ("--set kapa_init=uniform=1", "--set: unknown key `kapa_init`: did you mean `kappa_init`?"),
    (
        "--set train-fractoin=0.5",
        "--set: unknown key `train_fractoin`: did you mean `train_fraction`?",
    ),
    ("--set lr", "--set lr: expected key=value"),
];

#[test]
fn bad_flags_each_with_its_message() {
    let given: Vec<_> = BAD_FLAGS.iter().map(|&(flags, _)| (flags, refusal(flags))).collect();
    let expected = BAD_FLAGS.iter().map(|&(flags, message)| (flags, message.to_owned()));
    let wrong: Vec<_> = given.iter().zip(expected).filter(|(a, b)| *a != b).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// TOML and the message that it gets.
const BAD_TOML: &[(&str, &str)] = &[
    ("lrr = 1", "run.toml:1: unknown key `lrr`: did you mean `lr`?"),
    (
        "seed = 3\n\nweight-decay = 1",
        "run.toml:3: unknown key `weight-decay`: did you mean `weight_decay`?",
    ),
    ("xyzzy = 1", "run.toml:1: unknown key `xyzzy`"),
    ("# a comment\n[run]\nseed = 1", "run.toml:2: `run` is a table, but the keys are flat"),
    ("lr = 'fast'", "run.toml:1: lr = \"fast\": expected a number"),
    ("lr = [1]", "run.toml:1: lr = [1]: expected a number"),
    ("\nsteps = 1.5", "run.toml:2: steps = 1.5: expected a whole number, 0 or more"),
    ("steps = -1", "run.toml:1: steps = -1: expected a whole number, 0 or more"),
    ("batch = -1", "run.toml:1: batch = -1: expected a whole number, 0 or more"),
    ("guard = 1", "run.toml:1: guard = 1: expected true or false"),
    ("name = 1", "run.toml:1: name = 1: expected a string in quotes"),
    (
        "optimizer = 'adamx'",
        "run.toml:1: optimizer = \"adamx\": expected one of adamcpr, adamw, adam, sgd, sgdcpr, padam, adaml1, adaml32, adadecay, awd, amos, rescale",
    ),
    (
        "reg = 'l3'",
        "run.toml:1: reg = \"l3\": expected l2, l1, std, huber, huber=DELTA or lp=P (numbers)",
    ),
    ("reg = 2", "run.toml:1: reg = 2: expected a string in quotes"),
    ("seed = 1\nlr = nan", "run.toml:2: lr = NaN: it must be finite and above 0"),
    (
        "kappa_init = 'uniform=-1'",
        "run.toml:1: kappa_init = uniform=-1: its number must be at least 0",
    ),
    ("mu = -0.5", "run.toml:1: mu = -0.5: it must be finite and at least 0"),
    (
        "steps = 5\nwarmup = 6",
        "run.toml:2: warmup = 6: 6 steps of warm-up and 0 of decay do not fit into 5 steps: shorten them, or train longer",
    ),
];

#[test]
fn bad_toml_each_with_its_message() {
    let given = |text: &str| toml(text).expect_err(text).to_string();
    let given: Vec<_> = BAD_TOML.iter().map(|&(text, _)| (text, given(text))).collect();
    let expected = BAD_TOML.iter().map(|&(text, message)| (text, message.to_owned()));
    let wrong: Vec<_> = given.iter().zip(expected).filter(|(a, b)| *a != b).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_toml_at_all() {
    for (text, line) in [("seed = ", 1), ("seed = 1\nseed = 2", 2), ("lr = 1\n\0", 2), ("a b", 1)] {
        let message = toml(text).expect_err(text).to_string();
        assert!(message.starts_with(&format!("run.toml:{line}: ")), "{text:?}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    assert_eq!(toml("").unwrap(), config(""));
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    let message = |path: &Path| GrokkingConfig::from_file(path).unwrap_err().to_string();
    assert!(message(&path).contains("cannot read the configuration"));
    assert!(message(folder.path()).contains("cannot read the configuration"));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(message(&path).contains("UTF-8"), "{}", message(&path));
    std::fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    assert!(message(&path).contains("at most 1048576 bytes"), "{}", message(&path));
    std::fs::write(&path, " ".repeat(1 << 20)).unwrap();
    assert_eq!(GrokkingConfig::from_file(&path).unwrap(), config(""));
}

#[test]
fn every_refusal_says_what_to_do_next() {
    for &(flags, _) in BAD_FLAGS {
        let line = ["cpr", "grokking"].into_iter().chain(flags.split_whitespace());
        let error = cli::parse(line).expect_err(flags);
        let hint = error.hint().unwrap_or_default();
        assert!(!hint.is_empty() && !hint.contains('\n'), "{flags}: {hint}");
    }
    for &(text, _) in BAD_TOML {
        let hint = toml(text).expect_err(text).hint().unwrap_or_default();
        assert!(!hint.is_empty() && !hint.contains('\n'), "{text}: {hint}");
    }
}

#[test]
fn damaged_toml_is_refused_in_one_line_or_read() {
    let text = config("--reg huber=0.5 --name first --schedule cosine").to_toml().unwrap();
    let damage = |damaged: &[u8]| {
        let Ok(damaged) = std::str::from_utf8(damaged) else { return };
        if let Err(error) = toml(damaged) {
            let message = error.to_string();
            assert!(!message.contains('\n') && message.len() < 400, "{damaged:?}: {message:?}");
        }
    };
    for cut in 0..text.len() {
        damage(&text.as_bytes()[..cut]);
    }
    for at in 0..text.len() {
        let mut damaged = text.clone().into_bytes();
        for byte in [b'\n', b'"', b'=', b'[', b'-', 0, damaged[at] ^ 1] {
            damaged[at] = byte;
            damage(&damaged);
        }
    }
    damage(format!("lr = [{}]", "1,".repeat(10_000)).as_bytes());
    damage(format!("{} = 1", "k".repeat(10_000)).as_bytes());
    damage(b"name = \"\"\"a\nb\"\"\"");
    damage(b"\"a\\nb\" = 1");
    damage(b"lr = {a = {b = [1, {c = 2}]}}");
}
