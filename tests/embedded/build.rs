//! Computes on the host what the firmware must come to, and hands the linker the memory map.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use cpr_core::L2;

#[path = "src/problem.rs"]
#[allow(dead_code, reason = "the library uses all of it")]
mod problem;

#[path = "src/head.rs"]
#[allow(dead_code, reason = "the library uses all of it")]
mod head;

use head::{FEATURES, Head, Window};
use problem::{
    Buffers, Trained, adam, decayed, differentiate_only, regularizers, sgd, train, train_free,
    train_set,
};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let (training, fresh) = windows()?;
    let expected = expected(&training, &fresh).ok_or("the host cannot train the problem")?;
    fs::write(out.join("expected.rs"), expected)?;
    let mut code = String::new();
    for (name, windows) in [("TRAINING", &training), ("FRESH", &fresh)] {
        let (n, windows) = (windows.len(), windows.as_slice());
        writeln!(code, "/// Recorded.\npub static {name}: [Window; {n}] = {windows:?};")?;
    }
    fs::write(out.join("windows.rs"), code)?;
    fs::copy("memory.x", out.join("memory.x"))?;
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/problem.rs");
    println!("cargo::rerun-if-changed=src/head.rs");
    println!("cargo::rerun-if-changed=data/sensor.csv");
    println!("cargo::rerun-if-changed=memory.x");
    if env::var_os("CARGO_FEATURE_FIRMWARE").is_some() {
        println!("cargo::rustc-link-arg-bins=-Tlink.x");
    }
    Ok(())
}

/// The recorded windows: three quarters to learn from, the rest to look at afterwards.
fn windows() -> Result<(Vec<Window>, Vec<Window>), Box<dyn Error>> {
    let mut windows = Vec::new();
    for line in fs::read_to_string("data/sensor.csv")?.lines() {
        let (label, features) = line.split_once(',').ok_or("a window is a label and features")?;
        let features = features.split(',').map(str::parse).collect::<Result<Vec<i8>, _>>()?;
        let features =
            <[i8; FEATURES]>::try_from(features).map_err(|_| "another number of features")?;
        windows.push(Window { label: label.parse()?, features });
    }
    let fresh = windows.split_off(windows.len() / 4 * 3);
    Ok((windows, fresh))
}

fn expected(training: &[Window], fresh: &[Window]) -> Option<String> {
    let (mut two, mut none) = (Buffers::<2>::ZERO, Buffers::<0>::ZERO);
    let with_adam = |buffers: &mut _| {
        regularizers().into_iter().map(|r| train(r?, adam(), buffers)).collect::<Option<Vec<_>>>()
    };
    let with_sgd = |buffers: &mut _| {
        regularizers().into_iter().map(|r| train(r?, sgd(), buffers)).collect::<Option<Vec<_>>>()
    };
    let mut code = String::new();
    let mut one = |name: &str, trained: Trained| {
        writeln!(code, "/// Of `{name}`.\npub const {name}: Trained = {trained:?};").ok()
    };
    one("GRADIENT", differentiate_only(&mut none)?)?;
    one("ADAM", train_free(adam(), &mut two)?)?;
    one("L2_ADAM", train(L2, adam(), &mut two)?)?;
    one("L2_SGD", train(L2, sgd(), &mut none)?)?;
    one("SET", train_set(adam(), &mut two)?)?;
    let padam = decayed().map(|base| train_free(base, &mut two));
    let padam = padam.into_iter().collect::<Option<Vec<_>>>()?;
    for (name, all) in
        [("PADAM", padam), ("ANY_ADAM", with_adam(&mut two)?), ("ANY_SGD", with_sgd(&mut none)?)]
    {
        let all: &[Trained] = &all;
        writeln!(code, "/// Of `{name}`.\npub const {name}: [Trained; {}] = {all:?};", all.len())
            .ok()?;
    }
    let mut head = Head::ZERO;
    let head = head.learn(training, fresh)?;
    writeln!(code, "/// Of `HEAD`.\npub const HEAD: Learnt = {head:?};").ok()?;
    Some(code)
}
